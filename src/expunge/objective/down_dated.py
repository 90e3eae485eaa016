"""A fit and its Hessian after rows have left it: what a Newton step away from them needs, and how far it may end.

Everything is taken at the fit, so a row that leaves is subtracted and no retained row is read again. `maths.one_step`
derives the step and its bounds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from expunge.errors import InputError, MustRetrain, NotConverged
from expunge.maths import one_step, woodbury
from expunge.maths.floating_point import rounding
from expunge.objective.bounds import Magnitudes, largest_residual, magnitudes, measuring
from expunge.objective.linear import LinearObjective
from expunge.objective.minimise import minimise_within
from expunge.rows import Rows


@dataclass(frozen=True, eq=False)
class DownDated:
    """A fit over `learned` rows, seen from the `size` of them that are left.

    Attributes:
        fit: (d,), with a gradient over all `learned` rows of norm `residual` at most, rounding included.
        hessian: (d, d), of the mean loss with l2 over the rows left, at the fit.
        gradient: (d,), the sum over those that left of loss gradient plus l2 fit. error: of `gradient`, at most.
    """

    fit: Tensor
    hessian: Tensor
    gradient: Tensor
    learned: int
    size: int
    residual: float
    error: float = 0.0

    def without(self, objective: LinearObjective, forgotten: Rows) -> DownDated:
        """The same fit, seen from fewer rows."""
        w, k, size = self.fit, len(forgotten), self.size - len(forgotten)
        gradient = self.gradient + objective.gradient_sum(w, forgotten) + k * objective.l2 * w
        hessian = (self.size * self.hessian - k * objective.hessian(w, forgotten)) / size
        error = k * largest_residual(objective, w, forgotten, magnitudes(forgotten), 0.0)
        error += self.error + rounding(4) * (norm(gradient) + k * objective.l2 * norm(w))
        return replace(self, hessian=hessian, gradient=gradient, size=size, error=error)

    def step(self) -> Tensor:
        """H_r^-1 G / n_r, (d,).

        Raises:
            MustRetrain: rounding has left no positive definite Hessian.
        """
        try:
            factor = woodbury.cholesky(self.hessian)
        except NotConverged as failed:
            raise MustRetrain("Rounding ate the curvature of the rows that are left: learn again.") from failed
        return woodbury.solve(factor, self.gradient / self.size)

    def published(self, objective: LinearObjective, step: Tensor, row: float) -> dict[str, float]:
        """The bounds that read no row: gamma with the fit's residual, the one from the step taken, and rounding.

        Args:
            step: as `step` gave it. row: at least the norm of any row learned, with its constant 1.
        """
        loss, l2, gone, length = objective.loss, objective.l2, self.learned - self.size, norm(step)
        if not 2 * gone <= self.learned:
            return {"published_bound": math.inf}
        solved = norm(self.hessian @ step - self.gradient / self.size)
        solved += rounding(len(step) + 4) * (norm(self.hessian) * length + norm(self.gradient))
        wrong = one_step.hessian_rounding(
            loss, row=row, weight=norm(self.fit), inputs=objective.inputs + 1, outputs=objective.outputs,
            learned=self.learned, forgotten=gone, l2=l2,
        )  # fmt: skip
        slack = (solved + wrong * length + self.error / self.size) / l2 + rounding(4) * (norm(self.fit) + length)
        gamma = one_step.published_distance(
            loss, row=row, outputs=objective.outputs, l2=l2,
            learned=self.learned, forgotten=gone, residual=self.residual,
        )  # fmt: skip
        taken = one_step.step_distance(loss, row=row, step=length, l2=l2)
        return {"published_bound": gamma + slack, "step_bound": taken, "rounding_bound": slack}

    def measured(self, objective: LinearObjective, step: Tensor, retained: Rows) -> dict[str, float]:
        """The bound that one pass over the retained rows gives: the gradient's true norm over l2."""
        found: list[Magnitudes] = []
        at = self.fit + step
        residual = norm(objective.gradient(at, measuring(retained, found.append)))
        true = largest_residual(objective, at, retained, found[0], residual)
        return {"passes": 1.0, "residual": residual, "measured_bound": true / objective.l2}


def fitted(objective: LinearObjective, rows: Rows, *, tolerance: float, dense_limit: int) -> DownDated:
    """The minimiser over `rows`, to a true gradient of at most `tolerance`, and the Hessian there.

    Raises:
        InputError: the model has more than `dense_limit` parameters. NotConverged, Refused: as for `minimise_within`.
    """
    if objective.dimension > dense_limit:
        raise InputError(f"{objective.dimension} parameters: a Hessian is kept up to dense_limit={dense_limit}.")
    fit = minimise_within(objective, rows, objective.start(0), tolerance=tolerance, dense=True).x
    hessian, nothing = objective.hessian(fit, rows), torch.zeros_like(fit)
    return DownDated(fit, hessian, nothing, len(rows), len(rows), tolerance)


def norm(tensor: Tensor) -> float:
    """The Euclidean norm of all numbers."""
    return float(torch.linalg.vector_norm(tensor))
