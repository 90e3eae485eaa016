r"""Curvature from two points: rank-one secants, and solves with a few of them on a diagonal.

A change g of the gradient along a step s says of a Hessian H that H s = g; the symmetric one of rank one that does is

    g g^T / (g^T s),      where g^T s > 0.

(Not g g^T / ||s||_1, which has the unit of a squared Hessian.) With few of them nothing large is ever inverted:
(λ I + U C U^T)^-1 b costs O(d) by the eigenvalues of a matrix of the size of C.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from expunge.errors import NotConverged


@dataclass(frozen=True, eq=False)
class LowRankSolution:
    """`x` (d,), and how many directions of negative curvature were `clamped` to none."""

    x: Tensor
    clamped: int


def secant_weight(gradient_change: Tensor, step: Tensor) -> float:
    """1 / (g^T s), or 0 where the curvature along the step is not positive."""
    along = float(gradient_change @ step)
    return 1.0 / along if along > 0 else 0.0


def solve_on_diagonal(U: Tensor, weights: Tensor, diagonal: float, b: Tensor) -> LowRankSolution:
    """(diagonal I + U diag(weights) U^T)^-1 b, negative curvature taken as none.

    Args:
        U: (d, k), k small. weights: (k,) of either sign. diagonal: lambda. b: (d,).

    Raises:
        NotConverged: the diagonal is not positive.
    """
    if not diagonal > 0:
        raise NotConverged(f"A curvature of rank {U.shape[1]} needs a positive diagonal, not {diagonal}: raise l2.")
    Q, R = torch.linalg.qr(U)
    values, vectors = torch.linalg.eigh((R * weights) @ R.T)
    floor = torch.finfo(values.dtype).eps * float(values.abs().max()) * len(values)
    clamped = int((values < -floor).sum())
    values = values.clamp(min=0)
    along = Q @ (vectors * (values / (diagonal + values))) @ (vectors.T @ (Q.T @ b))
    return LowRankSolution((b - along) / diagonal, clamped)
