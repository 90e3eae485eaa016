"""What an iterative solver hands back."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Solution:
    """The answer of an iterative solver. Nothing is raised when the tolerance was missed: look at `converged`.

    Attributes:
        x: the best point found, (d,). converged: whether `residual` <= tol.
        iterations: steps taken. evaluations: calls of the function given (products, or gradients).
        residual: norm at `x` of what should be zero, computed there and not carried by a recurrence.
    """

    x: Tensor
    converged: bool
    iterations: int
    evaluations: int
    residual: float
