"""Limited-memory BFGS for smooth convex functions, to the limit of float64 (Nocedal & Wright 2006, algorithm 7.5).

Differs from the textbook in: close to the minimum the value no longer falls measurably while the gradient still does,
so the line search allows the value the rounding error of itself and lets the slope decide (Hager & Zhang 2005, the
approximate Wolfe conditions); where no step is found the pairs are dropped once before the search gives up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from expunge.maths.solution import Solution

Pair = tuple[Tensor, Tensor]  # (a step s, the change y of the gradient along it), s.y > 0
ARMIJO = 1e-4
CURVATURE = 0.9
TRIALS = 40  # evaluations in one line search
PATIENCE = 40  # iterations without a smaller gradient or a measurably smaller value
ROUNDING = 1e-14  # a value is known to this relative error


@dataclass(frozen=True, eq=False)
class _Point:
    x: Tensor
    value: float
    gradient: Tensor
    norm: float


def two_loop(pairs: Sequence[Pair], vector: Tensor, initial: Callable[[Tensor], Tensor]) -> Tensor:
    """The BFGS inverse Hessian of `pairs` (oldest first) on top of the inverse `initial`, times `vector`."""
    q, weights = vector, []
    for s, y in reversed(pairs):
        weight = torch.dot(s, q) / torch.dot(s, y)
        q = q - weight * y
        weights.append(weight)
    r = initial(q)
    for (s, y), weight in zip(pairs, reversed(weights), strict=True):
        r = r + (weight - torch.dot(y, r) / torch.dot(s, y)) * s
    return r


def minimise(
    value_and_gradient: Callable[[Tensor], tuple[Tensor | float, Tensor]],
    start: Tensor,
    *,
    tol: float,
    max_iterations: int,
    memory: int = 10,
) -> Solution:
    """Minimise a smooth function until ||gradient|| <= tol (absolute). Deterministic.

    Args:
        value_and_gradient: x -> (value, gradient (d,)). start: (d,), float64 for tolerances below 1e-6.
        memory: how many pairs (s, y) are kept.
    """
    evaluations = 0

    def evaluate(x: Tensor) -> _Point:
        nonlocal evaluations
        evaluations += 1
        value, gradient = value_and_gradient(x)
        return _Point(x, float(value), gradient.detach(), float(torch.linalg.vector_norm(gradient)))

    point = best = evaluate(start.detach().clone())
    pairs: list[Pair] = []
    iteration = idle = 0
    while best.norm > tol and iteration < max_iterations and idle < PATIENCE:
        direction = -two_loop(pairs, point.gradient, partial(_scaled, pairs))
        first = 1.0 if pairs else min(1.0, 1.0 / point.norm)
        found = _line_search(evaluate, point, direction, first)
        if found is None:
            if not pairs:
                break
            pairs = []
            continue
        s, y = found.x - point.x, found.gradient - point.gradient
        if torch.dot(s, y) > 0:
            pairs = [*pairs, (s, y)][-memory:]
        fell = found.value < point.value - ROUNDING * abs(point.value)
        idle = 0 if fell or found.norm < 0.99 * best.norm else idle + 1
        best = found if found.norm <= best.norm else best
        point = found
        iteration += 1
    return Solution(best.x, best.norm <= tol, iteration, evaluations, best.norm)


def _scaled(pairs: Sequence[Pair], vector: Tensor) -> Tensor:
    """The usual initial inverse: the newest pair's s.y / y.y times the identity."""
    if not pairs:
        return vector
    s, y = pairs[-1]
    return vector * (torch.dot(s, y) / torch.dot(y, y))


def _line_search(evaluate: Callable[[Tensor], _Point], origin: _Point, direction: Tensor, step: float) -> _Point | None:
    """A point along `direction` that meets the strong Wolfe conditions up to rounding; None where there is none."""
    slope = float(torch.dot(origin.gradient, direction))
    if not -math.inf < slope < 0:
        return None
    slack = ROUNDING * abs(origin.value)
    low, high = (0.0, origin.value, slope), None
    for _ in range(TRIALS):
        trial = evaluate(origin.x + step * direction)
        along = float(torch.dot(trial.gradient, direction))
        too_high = not trial.value <= origin.value + ARMIJO * step * slope + slack
        if not too_high and abs(along) <= -CURVATURE * slope:
            return trial
        if too_high or along > 0:
            high = (step, trial.value, along)
        else:
            low = (step, trial.value, along)
        step = 2 * step if high is None else _between(low, high)
    return None


def _between(low: tuple[float, float, float], high: tuple[float, float, float]) -> float:
    """The minimum of the cubic through two (step, value, slope), kept away from both ends; else the middle."""
    (a, value_a, slope_a), (b, value_b, slope_b) = low, high
    width = b - a
    d = slope_a + slope_b - 3 * (value_b - value_a) / width
    inside = d * d - slope_a * slope_b
    if math.isfinite(inside) and inside >= 0:
        root = math.sqrt(inside)
        denominator = slope_b - slope_a + 2 * root
        if denominator > 0:
            step = b - width * (slope_b + root - d) / denominator
            if a + 0.1 * width < step < b - 0.1 * width:
                return step
    return a + width / 2
