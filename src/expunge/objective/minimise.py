"""Minimise an objective over rows to a gradient's norm: Newton where a Hessian fits, L-BFGS where it does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from expunge.errors import NotConverged, Refused
from expunge.maths import newton
from expunge.maths.newton import NewtonSolution
from expunge.objective.bounds import Magnitudes, largest_residual, measuring
from expunge.objective.linear import LinearObjective
from expunge.objective.objective import Objective
from expunge.rows import Rows

MARGIN = 0.9  # of a tolerance that a solve aims at; the rest is for rounding
Solve = Callable[[Tensor], Tensor]


def minimise(
    objective: Objective,
    rows: Rows,
    start: Tensor,
    *,
    tol: float,
    dense: bool,
    solve: Solve | None = None,
) -> NewtonSolution:
    """A point where the gradient's norm is at most `tol`, and the passes over the rows it took.

    Args:
        start: (d,). dense: whether to take Hessians (d, d). solve: the inverse of one from nearby, if any.

    Raises:
        NotConverged: rounding or an iteration limit stood in the way.
    """
    solution = newton.minimise(
        lambda w: objective.value_and_gradient(w, rows),
        lambda w: objective.gradient(w, rows),
        (lambda w: objective.hessian(w, rows)) if dense else None,
        start,
        solve,
        tol=tol,
    )
    if not solution.converged:
        raise NotConverged(
            f"The gradient's norm stopped at {solution.residual:.2g} after {solution.passes} passes, and {tol:.2g} is "
            "needed: scale the columns, raise l2, or ask for less."
        )
    return solution


def minimise_within(
    objective: LinearObjective,
    rows: Rows,
    start: Tensor,
    *,
    tolerance: float,
    dense: bool,
    solve: Solve | None = None,
) -> NewtonSolution:
    """A point where the *true* gradient's norm is at most `tolerance`: the measured one and all rounding.

    The bound of rounding is measured on these very rows: features may have been fitted again since the last step, and
    what bounded the rows then bounds them no longer.

    Raises:
        Refused: rounding alone may exceed the tolerance. NotConverged: as for `minimise`.
    """
    found: list[Magnitudes] = []

    def measured(large: Magnitudes) -> None:
        found.append(large)
        _check_rounding(largest_residual(objective, start, rows, large, 0.0), tolerance)  # no solver can mend it

    solved = minimise(objective, measuring(rows, measured), start, tol=MARGIN * tolerance, dense=dense, solve=solve)
    (large,) = found
    floor = largest_residual(objective, solved.x, rows, large, 0.0)
    if floor < tolerance < solved.residual + floor:  # late releases: rounding takes more than the margin
        less = MARGIN * (tolerance - floor)
        further = minimise(objective, rows, solved.x, tol=less, dense=dense, solve=solve)
        solved = replace(further, passes=solved.passes + further.passes)
    _check_rounding(largest_residual(objective, solved.x, rows, large, solved.residual), tolerance)
    return solved


def _check_rounding(residual: float, tolerance: float) -> None:
    if not residual <= tolerance:
        raise Refused(
            f"A gradient of at most {tolerance:.2g} is promised, and in float64 it is known only to be at most "
            f"{residual:.2g}: scale the columns, raise noise_std or l2, or begin a new vault (its releases count anew)."
        )
