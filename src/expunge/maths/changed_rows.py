"""DeltaGrad's two formulas for the mean gradient after rows have left or joined a batch [Wu et al. 2020, Alg. 1].

A batch of b rows had the mean loss gradient g at the old weights. `gone` of its rows leave (a negative number joins).
At the new weights, v away, with `product` = (H + l2) v the product with the approximated Hessian of F over all b rows,

    exact         (1/(b - gone)) sum over the rows there are now
    approximate   (b (g + product - l2 v) - sum over the rows that leave) / (b - gone)      (+ sum of those that join)

The penalty is kept apart: g has none, and the secant pairs have it, so that their curvature is at least l2.
"""

from __future__ import annotations

import torch
from torch import Tensor

Vector = Tensor


def moved_mean(g: Vector, product: Vector, v: Vector, l2: float) -> Vector:
    """The old batch's mean gradient at the new weights, approximately, (d,)."""
    return torch.add(product, g).sub_(v, alpha=l2)


def mean_without(mean: Vector, changed_sum: Vector, before: int, gone: int) -> Vector:
    """The mean gradient of the rows there are now, from that of the `before` old ones at the same weights, (d,).

    Args:
        changed_sum: the sum over the rows that leave, or over those that join (then `gone` is negative).
    """
    if not before:
        return changed_sum.double() / -gone
    return torch.sub(mean, changed_sum, alpha=(1.0 if gone > 0 else -1.0) / before).mul_(before / (before - gone))


def secant_change(mean: Vector, g: Vector, v: Vector, l2: float) -> Vector:
    """The y of the pair (v, y): how the gradient of F over the *whole* old batch changed along v, penalty included."""
    return torch.sub(mean, g).add_(v, alpha=l2)


def forcing(g: Vector, changed_sum: Vector, before: int, gone: int) -> float:
    """Length of the change of the mean gradient at equal weights: what drives the two trajectories apart."""
    return float((mean_without(g, changed_sum, before, gone) - g).norm())
