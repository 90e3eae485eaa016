"""One Newton step of a linear objective away from rows that leave (or towards rows that come), and all that bounds it.

Sums over rows, as in Guo et al. 2020: with n_r rows after the step, the sum loss L_r is n_r F_r, and so are its
derivatives. `maths.newton_residual` has the bounds.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial, reduce

import torch
from torch import Tensor

from expunge.maths import newton_residual, woodbury
from expunge.maths.conjugate_gradient import conjugate_gradient
from expunge.maths.floating_point import gradient_floor, rounding, true_norm
from expunge.maths.linear_models import additions
from expunge.maths.losses import Logistic, MultilabelLogistic
from expunge.maths.newton_residual import Moved
from expunge.objective.anchor import Anchor
from expunge.objective.bounds import largest_residual, magnitudes
from expunge.objective.columns import column, numbers
from expunge.objective.linear import LinearObjective
from expunge.objective.minimise import MARGIN, Solve
from expunge.objective.tilted import minimise_tilted
from expunge.rows import Rows

PRECISION = 1e-12  # of Delta that a linear solve aims at; what it leaves is measured and charged
PRODUCTS = 300  # of Hessian and vector that a linear solve may take


@dataclass(frozen=True, eq=False)
class NewtonRemoval:
    """The step taken: from where to `point`, flat.

    Attributes:
        step: point less start, by head (k, q). moved: what it did to the scores of the rows that stay.
        arithmetic: what rounding and the linear solve add to the residual. passes: over the rows that stay.
    """

    point: Tensor
    step: Tensor
    moved: Moved
    arithmetic: float
    passes: int


def newton_removal(
    objective: LinearObjective, w: Tensor, after: Rows, changed: Rows, *, sign: int, anchor: Anchor | None, dense: bool
) -> NewtonRemoval:
    """The point w + H^-1 Delta, H over the rows `after` the change; Delta sums loss gradient + l2 w over `changed`.

    Args:
        sign: 1 where `changed` left, -1 where it came. anchor: a factored Hessian nearby, over the rows before.
        dense: whether a fresh Hessian is taken where no anchor helps; else conjugate gradient works alone.
    """
    n, m = len(after), len(changed)
    delta = sign * (objective.gradient_sum(w, changed) + m * objective.l2 * w) / n
    product = objective.hvp(w, after)
    solve, passes = _preconditioner(objective, w, after, changed, sign, anchor, dense)
    tol = PRECISION * float(torch.linalg.vector_norm(delta))
    solved = conjugate_gradient(product, delta, tol=tol, max_iterations=PRODUCTS, preconditioner=solve)
    point = w + solved.x
    step = point - w
    unsolved = float(torch.linalg.vector_norm(product(step) - delta))
    lost = m * largest_residual(objective, w, changed, magnitudes(changed), 0.0)
    sums = _moved(objective, step, after)
    product_error = true_norm(unsolved, _floor(objective, step, after, sums.longest), objective.dimension)
    rounded = n * (product_error + _curvature_error(objective, w, step, sums.longest)) + lost + _rounded(n * delta)
    return NewtonRemoval(point, objective.matrix(step), sums, rounded, passes + solved.evaluations + 3)


def third_derivative(objective: LinearObjective) -> float:
    """Sup |loss'''| by the score of a head: 0 for the squared loss."""
    logistic = isinstance(objective.loss, Logistic | MultilabelLogistic)
    return newton_residual.THIRD_LOGISTIC if logistic else 0.0


def step_bounds(
    objective: LinearObjective,
    taken: NewtonRemoval,
    spectral: float,
    *,
    changed: int,
    before: int,
    linear: Tensor,
    beta: float,
    row: float | None,
) -> dict[str, float]:
    """What the step may add to ||grad L_b||, by bound; `worst_case` only where a public row norm is declared.

    Args:
        spectral: at least ||X||_2 of the rows that stay. changed: m. before: n. linear: b, flat. row: public R.
        beta: at least ||grad L_b|| before the step.
    """
    third, sums, step = third_derivative(objective), taken.moved, taken.step
    bounds = {
        "per_sample": newton_residual.per_sample(third, sums, step),
        "data_dependent": newton_residual.data_dependent(third, spectral, sums, step),
        "published": newton_residual.published(third, spectral, sums, step),
    }
    if row is not None:
        bounds["worst_case"] = newton_residual.worst_case(
            third, row=row, l2=objective.l2, before=before, after=sums.rows, changed=changed,
            linear=torch.linalg.vector_norm(objective.matrix(linear), dim=1), residual=beta, unsolved=taken.arithmetic,
        )  # fmt: skip
    return bounds


def residual(objective: LinearObjective, w: Tensor, rows: Rows, linear: Tensor) -> tuple[float, float]:
    """||grad L_b(w)|| of the sum loss, as measured, and the largest it can truly be; one pass and one for magnitudes.

    Args:
        linear: b, flat (d,).
    """
    n = len(rows)
    measured = float(torch.linalg.vector_norm(objective.gradient(w, rows) + linear / n))
    beside = rounding(4) * float(torch.linalg.vector_norm(linear)) / n
    true = largest_residual(objective, w, rows, magnitudes(rows), measured) + beside + rounding(4) * measured
    return n * measured, n * true


def minimised(
    objective: LinearObjective,
    rows: Rows,
    start: Tensor,
    linear: Tensor,
    *,
    tol: float,
    dense: bool,
    solve: Solve | None,
) -> tuple[Tensor, float, int]:
    """A point where the mean loss with b^T w / n has a gradient of at most `tol`, the true sum residual, and passes.

    Raises:
        NotConverged: rounding or an iteration limit stood in the way.
    """
    found = minimise_tilted(objective, rows, linear / len(rows), start, dense=dense, tol=MARGIN * tol, solve=solve)
    return found.x, residual(objective, found.x, rows, linear)[1], found.passes + 1


def spectral(objective: LinearObjective, rows: Rows, *, dense: bool) -> float:
    """At least ||X||_2 of these rows with their constant: by eigenvalues of X^T X, or the Frobenius norm. One pass."""
    q = objective.inputs + objective.intercept
    gram, squares = torch.zeros((q, q), dtype=torch.float64), 0.0
    for table in rows.tables():
        X = numbers("x", column(table.columns, "x")).reshape(len(table), -1).double()
        X = torch.cat([X, X.new_ones((len(X), 1))], 1) if objective.intercept else X
        if dense:
            gram += X.T @ X
        else:
            squares += float(X.square().sum())
    if dense:
        return newton_residual.spectral_bound(gram, len(rows))
    return newton_residual.frobenius_bound(squares, len(rows) * q)


def longest(objective: LinearObjective, rows: Rows) -> float:
    """The longest row, its constant included."""
    return max((float(_lengths(objective, table.columns["x"]).max()) for table in rows.tables()), default=0.0)


def _preconditioner(
    objective: LinearObjective, w: Tensor, after: Rows, changed: Rows, sign: int, anchor: Anchor | None, dense: bool
) -> tuple[Solve | None, int]:
    """A solve near H, and the passes it took: the anchor's, down-dated for rows that left, or that of H itself."""
    if anchor is not None:
        near = anchor.without(objective, changed) if sign > 0 else anchor.solve
        if near is not None:
            return near, 0
    if not dense:
        return None, 0
    return partial(woodbury.solve, woodbury.cholesky(objective.hessian(w, after))), 1


def _lengths(objective: LinearObjective, x: object) -> Tensor:
    X = numbers("x", x).double()  # type: ignore[arg-type]
    return (X.reshape(len(X), -1).square().sum(1) + float(objective.intercept)).sqrt() * (1 + 1e-12)


def _moved(objective: LinearObjective, step: Tensor, rows: Rows) -> Moved:
    parts = [
        newton_residual.moved(
            _lengths(objective, table.columns["x"]).to(step.device), objective.scores(step, table.columns)
        )
        for table in rows.tables()
    ]
    return reduce(Moved.joined, parts)


def _curvature(objective: LinearObjective) -> float:
    return 0.25 if third_derivative(objective) else 1.0


def _floor(objective: LinearObjective, step: Tensor, rows: Rows, row: float) -> float:
    """The rounding of a Hessian product with `step`, mean loss: a gradient whose slopes are curvature times moves."""
    length = float(torch.linalg.vector_norm(step))
    return gradient_floor(
        rows=min(len(rows), additions(map(len, rows.blocks))),
        inputs=objective.inputs + objective.intercept,
        outputs=objective.outputs,
        row_norm=row,
        weight_norm=length,
        l2=objective.l2,
        slope=_curvature(objective) * row * length,
        curvature=_curvature(objective),
    )


def _rounded(delta: Tensor) -> float:
    return rounding(8) * float(torch.linalg.vector_norm(delta))  # of a few operations on Delta and on the step itself


def _curvature_error(objective: LinearObjective, w: Tensor, step: Tensor, row: float) -> float:
    """What the rounding of the scores at w does to a product with `step`: the curvature is that of a point nearby."""
    scores = rounding(objective.inputs + 9) * row * float(torch.linalg.vector_norm(w))
    return third_derivative(objective) * scores * row**2 * float(torch.linalg.vector_norm(step))
