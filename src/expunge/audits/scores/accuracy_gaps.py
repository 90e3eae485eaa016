"""UA, RA, TA, MIA and their average gap to retraining [Fan et al. 2024 (SalUn), section 5]."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from expunge.audits.metrics import Floats


def unlearning_accuracy(forgotten_accuracy: float) -> float:
    """UA = 1 - a_f. High is good only where retraining is high too: read it as a gap."""
    return 1.0 - forgotten_accuracy


def mia_efficacy(retained: Floats, test: Floats, forgotten: Floats) -> float:
    """Share of forgotten rows that an attacker calls non-members; confidences p_y of each set of rows, (n,).

    The attacker is an RBF support vector machine (C = 3, gamma "auto") fitted to tell retained rows from equally many
    test rows, as published. It never sees a forgotten row, so its threshold is the same for each.
    """
    from sklearn.svm import SVC  # slow to import

    size = min(len(retained), len(test))
    picked = [side[np.unique(np.linspace(0, len(side) - 1, size).astype(np.int64))] for side in (retained, test)]
    x = np.concatenate(picked)[:, None]
    member = np.repeat([1, 0], [len(side) for side in picked])
    attacker = SVC(C=3, gamma="auto", kernel="rbf").fit(x, member)
    return float(np.mean(attacker.predict(forgotten[:, None]) == 0))


def average_gap(own: Mapping[str, float], retrained: Mapping[str, float]) -> float:
    """Mean |x^U - x^*| over the figures that both have (UA, RA, TA, MIA); 0 is retraining.

    A mean of gaps of unequal spread: one gap of 0.08 in MIA outweighs a broken test accuracy. Print the four too.
    """
    names = sorted(own.keys() & retrained.keys())
    return float(np.mean([abs(own[name] - retrained[name]) for name in names]))
