"""Minimising an objective plus a linear term: training under objective perturbation."""

from __future__ import annotations

from torch import Tensor

from expunge.errors import NotConverged
from expunge.maths import newton
from expunge.objective.objective import Objective
from expunge.rows import Rows


def minimise_tilted(objective: Objective, rows: Rows, tilt: Tensor, start: Tensor, *, dense: bool) -> Tensor:
    """The minimiser of F(w; rows) + tilt^T w, to a gradient of 1e-10.

    Args:
        tilt, start: (d,). dense: whether to take Hessians (d, d).

    Raises:
        NotConverged: rounding or an iteration limit stood in the way.
    """

    def value_and_gradient(at: Tensor) -> tuple[Tensor, Tensor]:
        value, gradient = objective.value_and_gradient(at, rows)
        return value + tilt @ at, gradient + tilt

    solved = newton.minimise(
        value_and_gradient,
        lambda at: objective.gradient(at, rows) + tilt,
        (lambda at: objective.hessian(at, rows)) if dense else None,
        start,
        None,
        tol=1e-10,
    )
    if not solved.converged:
        raise NotConverged(
            f"The perturbed training stopped at a gradient of {solved.residual:.2g}: raise l2, or lower noise_std."
        )
    return solved.x
