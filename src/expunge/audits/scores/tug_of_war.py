"""Tug of war: forgotten, retained and test accuracy at once, each beside retraining [Zhao et al. 2024, section 3].

    ToW = (1 - |a_f^U - a_f^*|) (1 - |a_r^U - a_r^*|) (1 - |a_t^U - a_t^*|)

in [0, 1], 1 best. ToW-MIA puts |MIA^U - MIA^*| in the place of the forgotten rows' accuracies. Doing nothing scores
high wherever a retrained model gets the forgotten rows right too: print it beside.
"""

from __future__ import annotations


def tug_of_war(own: tuple[float, float, float], retrained: tuple[float, float, float]) -> float:
    """ToW of accuracies on (forgotten, retained, test) rows; for ToW-MIA give the attack's rate first."""
    product = 1.0
    for one, other in zip(own, retrained, strict=True):
        product *= 1.0 - abs(one - other)
    return product
