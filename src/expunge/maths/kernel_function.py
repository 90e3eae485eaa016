"""Kernels of support vector machines.

linear  a.b        polynomial  (gamma a.b + coef0)^degree        rbf  exp(-gamma |a - b|^2)
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

KINDS = ("linear", "polynomial", "rbf")


@dataclass(frozen=True)
class KernelFunction:
    """One kernel. `kind` is one of `KINDS`; polynomial and rbf read `gamma`, polynomial `coef0` and `degree` too."""

    kind: str
    gamma: float
    coef0: float
    degree: int

    def matrix(self, a: Tensor, b: Tensor, norms: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """K(a_i, b_j), (m, n), from one matrix product: the last bits of an entry depend on the whole block.

        Args:
            norms: `squares` of a and b, where they are known.
        """
        inner = a @ b.T
        match self.kind:
            case "linear":
                return inner
            case "polynomial":
                return (self.gamma * inner + self.coef0) ** self.degree
            case _:  # in place: these blocks are large
                own, other = norms or (squares(a), squares(b))
                squared = inner.mul_(-2.0).add_(own[:, None]).add_(other).clamp_(min=0.0)
                return squared.mul_(-self.gamma).exp_()

    def largest(self, norms: Tensor) -> float:
        """max_i K(x_i, x_i), given the `squares` of the rows: no entry of the matrix is larger."""
        if self.kind == "rbf":
            return 1.0
        norm = float(norms.max())
        return norm if self.kind == "linear" else (abs(self.gamma) * norm + abs(self.coef0)) ** self.degree

    def sensitivity(self, norms: Tensor) -> float:
        """How many times the relative rounding error of a product |x|^2 an entry's error is, at most."""
        norm = float(norms.max())
        match self.kind:
            case "linear":
                return norm
            case "polynomial":
                base = abs(self.gamma) * norm + abs(self.coef0)
                return self.degree * base**self.degree
            case _:
                return 1.0 + 4 * self.gamma * norm


def squares(x: Tensor) -> Tensor:
    """|x_i|^2, (n,), each added up in the order of the columns: a function of the row alone."""
    total = x.new_zeros(len(x))
    for column in x.T.contiguous():
        total = total + column * column
    return total
