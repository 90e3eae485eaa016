r"""The BFGS Hessian of a few secant pairs, as a product with a vector [Byrd, Nocedal & Schnabel 1994, theorem 2.3].

For pairs (s_i, y_i), oldest first, with S = [s_1 .. s_m], Y = [y_1 .. y_m], sigma = y_m.s_m / s_m.s_m,

    B v = sigma v - W^T M^-1 W v,    W = [Y; sigma S] (2m, d),    M = [[-D, L^T], [L, sigma S^T S]] (2m, 2m)

with D the diagonal of S^T Y and L its strict lower part. B maps s_m to y_m, and is positive definite where every
s_i.y_i > 0. It costs 4 m d multiplications. (`lbfgs.two_loop` is the inverse.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Pair = tuple[Tensor, Tensor]  # s (d,) and y (d,), float64
LARGEST_CONDITION = 1e10  # of M: above it the pairs repeat one another


@dataclass(frozen=True, eq=False)
class CompactHessian:
    """`pairs`: those it was made of, oldest first. `scale`: sigma. `wide`: W (2m, d). `middle`: M^-1 (2m, 2m)."""

    pairs: tuple[Pair, ...]
    scale: float
    wide: Tensor
    middle: Tensor

    def product(self, v: Tensor) -> Tensor:
        """B v, (d,)."""
        return torch.addmv(self.scale * v, self.wide.T, self.middle @ (self.wide @ v), alpha=-1.0)


def compact(pairs: Sequence[Pair]) -> CompactHessian:
    """The Hessian of one pair or more, each with s.y > 0; the oldest are dropped while M is nearly singular.

    A pair may be scaled by any number: each is divided by the length of its s first, so that M has one unit.
    """
    kept = [(s / s.norm(), y / s.norm()) for s, y in pairs]
    while True:
        S, Y = torch.stack([s for s, _ in kept]), torch.stack([y for _, y in kept])
        SY = S @ Y.T
        scale = float(SY[-1, -1])  # s.s = 1
        lower = SY.tril(-1)
        M = torch.cat(
            [torch.cat([-SY.diagonal().diag(), lower.T], 1), torch.cat([lower, scale * (S @ S.T)], 1)]
        )  # fmt: skip
        if len(kept) == 1 or float(torch.linalg.cond(M)) <= LARGEST_CONDITION:
            wide = torch.cat([Y, scale * S])
            return CompactHessian(tuple(pairs[-len(kept) :]), scale, wide, torch.linalg.inv(M))
        kept = kept[1:]


def curvature(pair: Pair) -> float:
    """s.y / s.s: the mean curvature along s; not positive where the function is not convex there."""
    s, y = pair
    square = float(s @ s)
    return float(s @ y) / square if square > 0 else -math.inf
