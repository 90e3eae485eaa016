r"""The BFGS Hessian of a few secant pairs, as a product with a vector [Byrd, Nocedal & Schnabel 1994, theorem 2.3].

For pairs (s_i, y_i), oldest first, with S = [s_1 .. s_m], Y = [y_1 .. y_m], sigma = y_m.s_m / s_m.s_m,

    B v = sigma v - W^T M^-1 W v,    W = [Y; sigma S] (2m, d),    M = [[-D, L^T], [L, sigma S^T S]] (2m, 2m)

with D the diagonal of S^T Y and L its strict lower part. B maps s_m to y_m, and is positive definite where every
s_i.y_i > 0. A product costs 4 m d multiplications. (`lbfgs.two_loop` is the inverse.)

B maps older s_i to y_i only where they are conjugate to the later ones (s_i.y_j = 0). Secant pairs along one path are
nearly parallel, and the plain B forgets what the difference of two of them says. `conjugate` takes from each pair its
parts along the later ones first (Gram-Schmidt under s.y, in coefficients): differences of secant pairs are secant
pairs, where the Hessian hardly changed between them, and B then maps all of them as a block update would.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Pair = tuple[Tensor, Tensor]  # s (d,) and y (d,), float64
Square = NDArray[np.float64]
LARGEST_CONDITION = 1e12  # of M: above it the pairs repeat one another
NEW_SHARE = 1e-3  # of |s| that a pair must add to the later ones: what rounding leaves of less is noise


@dataclass(frozen=True, eq=False)
class CompactHessian:
    """`scale`: sigma. `wide`: W (2m, d). `solved`: M^-1 W (2m, d)."""

    scale: float
    wide: Tensor
    solved: Tensor

    def product(self, v: Tensor) -> Tensor:
        """B v, (d,)."""
        return torch.addmv(self.scale * v, self.wide.T, self.solved @ v, alpha=-1.0)


def compact(pairs: Sequence[Pair], *, conjugate: bool = False, floor: float = 0.0) -> CompactHessian:
    """The Hessian of one pair or more, oldest first; the newest must have s.y > 0.

    Older pairs that add nothing new, or no curvature above `floor`, are left out.
    """
    S, Y = torch.stack([s for s, _ in pairs]), torch.stack([y for _, y in pairs])
    SY, SS = (S @ Y.T).numpy(), (S @ S.T).numpy()
    T = _conjugated(SY, SS, floor) if conjugate else np.diag(SS.diagonal() ** -0.5)
    while True:
        sy, ss = T @ SY @ T.T, T @ SS @ T.T
        scale = float(sy[-1, -1])  # s.s = 1
        lower = np.tril(sy, -1)
        M = np.block([[-np.diag(sy.diagonal()), lower.T], [lower, scale * ss]])
        if len(T) == 1 or np.linalg.cond(M) <= LARGEST_CONDITION:
            break
        T = T[1:]  # the oldest goes
    combined = torch.from_numpy(T)
    wide = torch.cat([combined @ Y, scale * (combined @ S)])
    return CompactHessian(scale, wide, torch.from_numpy(np.linalg.inv(M)) @ wide)


def curvature(pair: Pair) -> float:
    """s.y / s.s: the mean curvature along s; not positive where the function is not convex there."""
    s, y = pair
    square = float(s @ s)
    return float(s @ y) / square if square > 0 else -math.inf


def _conjugated(SY: Square, SS: Square, floor: float) -> Square:
    """Combinations T (k, m) of pairs, oldest first, with s of length 1 and s_i.y_j = 0 for i older than j."""
    kept: list[NDArray[np.float64]] = []
    for i in range(len(SY))[::-1]:
        t = np.eye(len(SY))[i]
        for _ in range(2):  # once more, against rounding
            for later in kept:
                t = t - (t @ SY @ later) / (later @ SY @ later) * later
        square = float(t @ SS @ t)
        if kept and not (square > NEW_SHARE**2 * SS[i, i] and t @ SY @ t > floor * square):
            continue
        kept.append(t / math.sqrt(square))
    return np.array(kept[::-1])
