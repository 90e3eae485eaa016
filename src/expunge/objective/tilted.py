"""Minimising an objective plus a linear term: training under objective perturbation."""

from __future__ import annotations

from torch import Tensor

from expunge.errors import NotConverged
from expunge.maths import newton
from expunge.maths.newton import NewtonSolution
from expunge.objective.minimise import Solve
from expunge.objective.objective import Objective
from expunge.rows import Rows


def minimise_tilted(
    objective: Objective,
    rows: Rows,
    tilt: Tensor,
    start: Tensor,
    *,
    dense: bool,
    tol: float = 1e-10,
    solve: Solve | None = None,
) -> NewtonSolution:
    """The minimiser of F(w; rows) + tilt^T w, to a gradient of `tol`.

    Args:
        tilt, start: (d,). dense: whether to take Hessians (d, d). solve: the inverse of one from nearby, if any.

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
        solve,
        tol=tol,
    )
    if not solved.converged:
        raise NotConverged(
            f"The gradient's norm stopped at {solved.residual:.2g} after {solved.passes} passes, and {tol:.2g} is "
            "needed: scale the columns, raise l2 or tol, or lower noise_std."
        )
    return solved
