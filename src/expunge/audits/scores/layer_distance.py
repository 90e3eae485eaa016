"""Layer distance: which layers moved, beside retraining [Golatkar et al. 2020, section 6]."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from expunge.audits.scores.consistency import weight_distance


def layer_distances(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> dict[str, float]:
    """||theta_l^U - theta_l^*||_2 of every floating-point tensor both have in one shape, by name.

    Networks that differ by an exchange of units are equal in function and far apart here: compare with the distances
    that two retrained models have.
    """
    found = {
        name: weight_distance({name: first[name]}, {name: second[name]}) for name in sorted(first) if name in second
    }
    return {name: value for name, value in found.items() if value is not None}
