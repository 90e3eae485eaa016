"""The Hessian of a linear objective, kept from request to request: the rows that leave are subtracted, none is read."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from expunge.objective.linear import LinearObjective
from expunge.objective.objective import Objective
from expunge.rows import Rows


@dataclass(frozen=True, eq=False)
class KeptHessian:
    """`matrix` (d, d): of the mean loss with l2 over `rows` rows, at the weights of the record that keeps it."""

    matrix: Tensor
    rows: int

    def without(self, objective: Objective, w: Tensor, forgotten: Rows) -> Tensor:
        """The Hessian at the same `w` (d,) over the rows that remain, exact but for rounding."""
        remain = self.rows - len(forgotten)
        return (self.rows * self.matrix - len(forgotten) * objective.hessian(w, forgotten)) / remain


def kept_hessian(objective: Objective, w: Tensor, rows: Rows, *, dense_limit: int) -> KeptHessian | None:
    """The Hessian at `w` (d,) over `rows`; None for a network, or more than `dense_limit` weights."""
    if not isinstance(objective, LinearObjective) or objective.dimension > dense_limit:
        return None
    return KeptHessian(objective.hessian(w, rows), len(rows))
