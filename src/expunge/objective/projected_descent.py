r"""Projected full-batch gradient descent on a ball over a linear objective, with every gradient counted.

    w+ = Proj(w - eta grad F(w)),    Proj(w) = w min(1, radius / ||w||)

A step of eta <= 2/(m + beta) contracts towards the minimiser on the ball by 1 - eta m, so a number of steps known in
advance, or a last step that was measured, ||w+ - w*|| <= (1 - eta m) ||w - w+|| / (eta m), bounds what is left.

Rounding: the computed step differs from the true one by at most eta g + r, g bounding the gradient's rounding anywhere
on the ball (`maths.floating_point`) and r that of the step and projection. Under a contraction by 1 - eta m such errors
never sum to more than (eta g + r) / (eta m): the *floor*, which is added to every bound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from expunge.errors import InputError, NotConverged, Refused
from expunge.maths import descent
from expunge.maths.floating_point import rounding, true_norm
from expunge.maths.privacy import projected_distance
from expunge.objective.bounds import ADMITTED, Magnitudes, largest_residual, magnitudes, too_long
from expunge.objective.columns import targets
from expunge.objective.linear import LinearObjective
from expunge.objective.minimise import minimise
from expunge.rows import Rows

LOSSES = ("cross_entropy", "huber", "logistic", "multilabel_logistic", "squared")
HALVINGS = 200
MOST_STEPS = 200_000


@dataclass(frozen=True)
class Ball:
    """Constants of an objective over ||w|| <= radius and every row a public bound admits; no row was looked at.

    Attributes:
        lipschitz: of a row's loss. smoothness: beta, of the objective, with its l2. reach: the norm of the minimiser
            on the ball, at most. row, target: what is admitted as the norms of (x, 1) and of y.
    """

    objective: LinearObjective
    radius: float
    row: float
    target: float
    lipschitz: float
    smoothness: float
    reach: float

    @property
    def step_size(self) -> float:
        """2 / (m + beta), the step that contracts fastest."""
        return 2 / (self.objective.l2 + self.smoothness)

    def rate(self, step_size: float) -> float:
        """The contraction 1 - eta m of one step."""
        return 1 - step_size * self.objective.l2

    def gradient(self, *, published: bool = False) -> float:
        """The norm of a row's gradient with its share of l2, at most: at any w (published), or at a minimiser."""
        return self.lipschitz + self.objective.l2 * (self.radius if published else self.reach)

    def farthest(self, w: Tensor) -> float:
        """How far w (d,) can be from the minimiser on the ball of any rows."""
        return float(torch.linalg.vector_norm(w)) + self.reach

    def project(self, w: Tensor) -> Tensor:
        """The nearest point of the ball."""
        norm = float(torch.linalg.vector_norm(w))
        return w * (self.radius / norm) if norm > self.radius else w

    def floor(self, rows: Rows, step_size: float) -> float:
        """The distance below which float64 vouches for no descent over these rows."""
        d = self.objective.dimension
        edge = torch.full((d,), self.radius * (1 + 1e-9) / math.sqrt(d), dtype=torch.float64)
        gradient = largest_residual(self.objective, edge, rows, Magnitudes(self.row, self.target), 0.0)
        step = rounding(d + 8) * 2 * (self.radius + step_size * self.gradient(published=True))
        return (gradient + step / step_size) / self.objective.l2

    def check(self, rows: Rows) -> Rows:
        """The rows themselves.

        Raises:
            InputError: one is longer than the ball's constants allow.
        """
        found = magnitudes(rows)
        if found.row > self.row:
            raise InputError(too_long(math.sqrt(self.row**2 - 1), found.row))
        if math.isfinite(self.target) and found.target > self.target:
            raise InputError(f"A target is longer than target_norm={self.target:.6g}: scale or clip by a public rule.")
        w = torch.zeros(self.objective.dimension, dtype=torch.float64)
        for table in rows.tables():  # no step may be needed, and then nothing else would read them
            targets(table, self.objective.loss, self.objective.outputs, w)
        return rows


def ball(objective: LinearObjective, *, radius: float, row_norm: float, target_norm: float | None) -> Ball:
    """The constants of an objective on a ball, from public bounds alone; the intercept's constant 1 is counted.

    Args:
        target_norm: bounds ||y|| of a regression; "squared" needs it, "huber" gains by it, a class has none.

    Raises:
        InputError: the constants overflow.
    """
    row, target = ADMITTED * math.hypot(1.0, row_norm), math.inf if target_norm is None else ADMITTED * target_norm
    slope, curvature, at_zero = descent.loss_constants(objective.loss, objective.outputs, row, radius, target)
    lipschitz = slope * row
    reach = descent.farthest_minimiser(radius, lipschitz, at_zero, objective.l2)
    smoothness = curvature * row * row + objective.l2
    if not math.isfinite(smoothness * lipschitz):
        raise InputError(f"row_norm={row_norm}, radius={radius}, target_norm={target_norm}: too large to be squared.")
    return Ball(objective, radius, row, target, lipschitz, smoothness, reach)


def check_public_bounds(loss: str, l2: float, radius: float, row_norm: float, target_norm: float | None) -> None:
    """What makes the constants of a ball finite.

    Raises:
        InputError: one of the numbers is not.
    """
    if loss not in LOSSES:
        raise InputError(f"The loss is {loss!r}; a certificate needs a convex one of {', '.join(LOSSES)}.")
    for name, value in (("l2", l2), ("radius", radius), ("row_norm", row_norm)):
        if not 0 < value < math.inf:
            raise InputError(f"{name} is {value}; a positive finite number is needed, such as 1.0.")
    if (loss == "squared" and target_norm is None) or not 0 < (target_norm or 1.0) < math.inf:
        raise InputError(f"target_norm is {target_norm}; the squared loss needs a public bound of |y|: try 1.0.")


def descended(
    within: Ball, rows: Rows, start: Tensor, *, farthest: float, distance: float, weak: bool, measured: bool
) -> tuple[Tensor, int]:
    """A point within `distance` of the minimiser on the ball, rounding included, and the number of steps it took.

    Args:
        start: (d,), at most `farthest` from that minimiser. weak: use the 1/T rate alone, with steps of 1/beta.
            measured: stop when the last step says so, not after the number of steps that `farthest` takes.

    Raises:
        InputError: a row is longer than the ball's constants allow, or its target does not fit the loss. Refused:
            float64 cannot vouch for the distance.
    """
    step_size = 1 / within.smoothness if weak else within.step_size
    target = above_floor(distance, within.floor(within.check(rows), step_size))
    if measured:
        return descend_until(within, rows, start, step_size, target=target, farthest=farthest)
    if weak:
        steps = descent.sublinear_iterations(farthest, target, within.objective.l2, within.smoothness)
    else:
        steps = descent.linear_iterations(farthest, target, within.rate(step_size))
    check_affordable(steps)
    return descend(within, rows, start, step_size, steps), steps


def descend(within: Ball, rows: Rows, start: Tensor, step_size: float, iterations: int) -> Tensor:
    """`iterations` projected steps from `start` (d,), one gradient of every row each."""
    w = start
    for _ in range(iterations):
        w = within.project(w - step_size * within.objective.gradient(w, rows))
    return w


def descend_until(
    within: Ball, rows: Rows, start: Tensor, step_size: float, *, target: float, farthest: float
) -> tuple[Tensor, int]:
    """Projected steps until the last one measured says that the minimiser on the ball is within `target`; their number.

    Args:
        target: the distance, the floor taken off already. farthest: of the start, which bounds the number of steps.

    Raises:
        NotConverged: more steps than a contraction takes. Refused: more than anybody waits for.
    """
    m, rate = within.objective.l2, within.rate(step_size)
    last = target * step_size * m / (1 + rate)  # ||w - w+|| <= (1 + rate) ||w - w*||
    w = start
    for count in range(1, 3 + descent.linear_iterations(farthest, last / 2, rate)):
        check_affordable(count)
        before, w = w, within.project(w - step_size * within.objective.gradient(w, rows))
        step = true_norm(float(torch.linalg.vector_norm(w - before)), 0.0, len(w))
        if rate * projected_distance(step, step_size, m, within.smoothness) <= target:
            return w, count
    raise NotConverged(f"Descent did not come within {target:.2g} in {count} steps: raise noise_std or l2.")


def check_affordable(steps: int) -> None:
    """Refuse what would run for hours.

    Raises:
        Refused: more than `MOST_STEPS`.
    """
    if steps > MOST_STEPS:
        raise Refused(
            f"Descent would take {steps:,} passes over the rows or more, and {MOST_STEPS:,} is the limit: declare a "
            "smaller row_norm, raise l2 or noise_std, or take certified-newton, which needs a few."
        )


def above_floor(distance: float, floor: float) -> float:
    """What of a distance is left for descent when rounding has taken its part.

    Raises:
        Refused: nothing is.
    """
    if not distance > floor:
        raise Refused(
            f"A distance of {distance:.2g} is promised, and float64 vouches for no less than {floor:.2g}: raise "
            "noise_std or l2, give smaller bounds, or begin a new vault (its releases count anew)."
        )
    return distance - floor


def minimiser_on_ball(within: Ball, rows: Rows, *, tol: float, dense_limit: int = 4000) -> Tensor:
    """The minimiser on the ball, (d,): where the free one lies outside, l2 is raised until its norm is the radius."""
    objective = within.objective

    def at(extra: float) -> Tensor:
        raised = LinearObjective(objective.loss, objective.l2 + extra, objective.inputs, objective.outputs)
        return minimise(raised, rows, raised.start(0), tol=tol, dense=objective.dimension <= dense_limit).x

    def outside(w: Tensor) -> bool:
        return float(torch.linalg.vector_norm(w)) > within.radius

    if not outside(free := at(0.0)):
        return free
    low, high = 0.0, objective.l2
    while outside(at(high)):
        low, high = high, 2 * high
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if not low < middle < high or high - low < 1e-13 * high:
            break
        low, high = (middle, high) if outside(at(middle)) else (low, middle)
    return at(high)
