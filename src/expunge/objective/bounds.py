"""What can be bounded of a linear objective before or beside its minimisation: rounding, and the step of a deletion."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce

import numpy as np
import torch
from torch import Tensor

from expunge.maths.floating_point import gradient_floor, true_norm
from expunge.maths.linear_models import additions
from expunge.maths.losses import CrossEntropy, Huber, Logistic, MultilabelLogistic, Squared
from expunge.maths.privacy import doing_nothing_distance
from expunge.objective.columns import finite, numbers
from expunge.objective.linear import LinearObjective
from expunge.rows import Rows, Table

ADMITTED = 1 + 2e-9  # times a public bound, as `magnitudes` are rounded up: what a constant must hold for


@dataclass(frozen=True)
class Magnitudes:
    """How large rows are: `row`, at least the norm of any row of `x` with its constant 1; `target`, of any row of y."""

    row: float
    target: float

    def joined(self, other: Magnitudes) -> Magnitudes:
        """What bounds both."""
        return Magnitudes(max(self.row, other.row), max(self.target, other.target))


def magnitudes(rows: Rows) -> Magnitudes:
    """The magnitudes of these rows, in one pass."""
    return reduce(Magnitudes.joined, map(_magnitudes, rows.tables()), Magnitudes(1.0, 0.0))


def too_long(declared: float, row: float) -> str:
    """What to tell of a row that is longer than was declared in public; `row`: its norm with the constant 1."""
    return (
        f"A row is longer than row_norm={declared:.6g}: it is {math.sqrt(row**2 - 1):.4g} long. Declare a larger one "
        "by a rule that owes nothing to the rows (public bounds of the columns, say), or clip rows by such a rule."
    )


def measuring(rows: Rows, measured: Callable[[Magnitudes], None]) -> Rows:
    """The same rows; `measured` gets their magnitudes in the midst of the first pass over them: no pass of its own."""
    seen: dict[int, Magnitudes] = {}

    def watch(table: Table) -> Table:
        block = int(table.keys[0])
        if block not in seen:
            seen[block] = _magnitudes(table)
            if len(seen) == len(rows.blocks):
                measured(reduce(Magnitudes.joined, seen.values()))
        return table

    return rows.map(watch, rows.schema, keep=False)


def largest_residual(objective: LinearObjective, w: Tensor, rows: Rows, large: Magnitudes, measured: float) -> float:
    """The largest norm the gradient at `w` over `rows` can truly have, when `measured` came out."""
    weight = float(torch.linalg.vector_norm(w))
    slope, curvature = _bounds(objective, weight, large)
    floor = gradient_floor(
        rows=min(len(rows), additions(map(len, rows.blocks))),
        inputs=objective.inputs + objective.intercept,
        outputs=objective.outputs,
        row_norm=large.row,
        weight_norm=weight,
        l2=objective.l2,
        slope=slope,
        curvature=curvature,
    )
    return true_norm(measured, floor, objective.dimension)


def measured_distance(objective: LinearObjective, w: Tensor, rows: Rows) -> tuple[float, float]:
    """The true gradient's norm at most, rounding included, and how far `w` then is from the minimiser; one pass."""
    found: list[Magnitudes] = []
    gradient = objective.gradient(w, measuring(rows, found.append))
    residual = largest_residual(objective, w, rows, found[0], float(torch.linalg.vector_norm(gradient)))
    return residual, residual / objective.strong_convexity


def a_priori_distance(objective: LinearObjective, w: Tensor, retained: int, forgotten: Rows) -> float:
    """How far the minimiser moves at most when these rows leave, from their size alone; `w` is a release nearby."""
    large, weight = magnitudes(forgotten), float(torch.linalg.vector_norm(w))
    each = large.row * _bounds(objective, weight, large)[0] + objective.l2 * weight
    return doing_nothing_distance(len(forgotten) * each, retained, len(forgotten), objective.l2)


def _magnitudes(table: Table) -> Magnitudes:
    x = np.asarray(table.columns["x"]).reshape(len(table), -1)
    y = np.asarray(table.y, dtype=np.float64).reshape(len(table), -1)
    row = float(np.sqrt(1.0 + np.einsum("ij,ij->i", x, x, dtype=np.float64).max(initial=0.0)))
    if not math.isfinite(row):
        finite("x", numbers("x", table.columns["x"]))  # says which row
    target = float(np.sqrt(np.square(y).sum(1).max(initial=0.0)))
    return Magnitudes(row * (1 + 1e-9), target * (1 + 1e-9))  # rounded up


def _bounds(objective: LinearObjective, weight: float, large: Magnitudes) -> tuple[float, float]:
    """Upper bounds of the loss's first and second derivative by the scores of any row."""
    match objective.loss:
        case CrossEntropy():
            return math.sqrt(2), 0.5
        case Logistic():
            return 1.0, 0.25
        case MultilabelLogistic():
            return math.sqrt(objective.outputs), 0.25
        case Huber(threshold):
            return threshold * math.sqrt(objective.outputs), 1.0
        case Squared():
            return large.row * weight + large.target, 1.0
        case _:
            return math.inf, math.inf
