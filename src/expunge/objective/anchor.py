"""An anchor: the factored Hessian of a linear objective at one point, over given rows. Newton steps nearby reuse it.

It knows the point and the rows it was taken at. Whoever promises that neither can be told from what is stored must
replace it: its difference to a Hessian over fewer rows is the rows that left.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from expunge.errors import NotConverged
from expunge.maths import woodbury
from expunge.objective.linear import LinearObjective
from expunge.objective.minimise import Solve
from expunge.rows import Rows

REFINEMENTS = 100  # each shrinks the error by m / rows
STANDS = 1e-13
FEW = 4  # a change of rank up to d / FEW goes through Woodbury; beyond that a new factor is cheaper


@dataclass(frozen=True, eq=False)
class Anchor:
    """`factor`: lower Cholesky factor (d, d) of the Hessian at `point` (d,) over `rows` rows."""

    point: Tensor
    factor: Tensor
    rows: int

    def solve(self, b: Tensor) -> Tensor:
        """The inverse Hessian times b."""
        return woodbury.solve(self.factor, b)

    def without(self, objective: LinearObjective, forgotten: Rows) -> Solve | None:
        """Solves with the Hessian over the rows that remain (up to a share of l2); None where only a new one helps."""
        remain = self.rows - len(forgotten)
        if remain <= 0:
            return None
        scale = self.rows / remain
        try:
            if self._few(objective, forgotten):
                root = objective.hessian_root(self.point, forgotten)
                return woodbury.down_date(self.factor, root / remain**0.5, scale=scale)
            left = objective.hessian(self.point, forgotten)
            hessian = scale * (self.factor @ self.factor.T) - len(forgotten) / remain * left
            return partial(woodbury.solve, woodbury.cholesky(hessian))
        except NotConverged:  # rounding ate the rows that left: they were nearly all there was in some direction
            return None

    def inverse_without(self, objective: LinearObjective, forgotten: Rows) -> Solve | None:
        """`without`, exact in the share of l2 too: x <- B^-1 (b + c x) until it stands, c = l2 m / (rows - m)."""
        approximate = self.without(objective, forgotten)
        if approximate is None or not self._few(objective, forgotten):
            return approximate
        excess = objective.l2 * len(forgotten) / (self.rows - len(forgotten))

        def solve(b: Tensor) -> Tensor:
            x = approximate(b)
            for _ in range(REFINEMENTS):
                x, before = approximate(b + excess * x), x
                if torch.linalg.vector_norm(x - before) <= STANDS * torch.linalg.vector_norm(x):
                    break
            return x

        return solve

    def _few(self, objective: LinearObjective, forgotten: Rows) -> bool:
        return len(forgotten) * objective.outputs * FEW <= objective.dimension


def anchored(objective: LinearObjective, point: Tensor, rows: Rows) -> Anchor:
    """The anchor at `point` over `rows`, in one pass."""
    return Anchor(point, woodbury.cholesky(objective.hessian(point, rows)), len(rows))
