"""The published distances of rewinding, held against trainings that are run: full-batch descent in plain numpy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from expunge.maths.rewind import convex_distance, nonconvex_distance, strongly_convex_distance

Vector = NDArray[np.float64]
N, M, STEPS = 60, 6, 40
GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(N, 3))
X[:M] += 4.0  # the forgotten rows pull elsewhere
Y = np.sign(X @ np.array([1.0, -1.0, 0.5]) + GENERATOR.normal(size=N))


def run(gradients: Callable[[Vector], Vector], step: float, rewound: int) -> tuple[float, float]:
    """Distance of the rewound weights to the retrained ones, and the largest gradient of a row met on either path."""
    largest = 0.0

    def descend(w: Vector, first: int, count: int) -> Vector:
        nonlocal largest
        for _ in range(count):
            rows = gradients(w)
            largest = max(largest, float(np.linalg.norm(rows, axis=1).max()))
            w = w - step * rows[first:].mean(0)
        return w

    retrained = descend(np.zeros(3), M, STEPS)
    rewindable = descend(np.zeros(3), 0, STEPS - rewound)
    return float(np.linalg.norm(descend(rewindable, M, rewound) - retrained)), largest


def logistic(l2: float) -> Callable[[Vector], Vector]:
    return lambda w: -(Y / (1 + np.exp(Y * (X @ w))))[:, None] * X + l2 * w


def sines(w: Vector) -> Vector:
    """Gradients of the losses cos(x.w + y): bounded, smooth and not convex."""
    return -np.sin(X @ w + Y)[:, None] * X


L = float((np.linalg.norm(X, axis=1) ** 2).max())


@pytest.mark.parametrize("rewound", [0, 1, 10, 20, 39, 40])
def test_no_training_lands_further_than_the_bounds(rewound: int) -> None:
    for step in (0.003, 0.02):
        apart, G = run(logistic(0.0), step, rewound)
        assert apart <= convex_distance(N, M, G, step, L / 4, STEPS, rewound) + 1e-12
        assert apart <= nonconvex_distance(N, M, G, step, L / 4, STEPS, rewound) + 1e-12
        apart, G = run(logistic(0.5), step, rewound)
        assert apart <= strongly_convex_distance(N, M, G, step, L / 4 + 0.5, STEPS, rewound, 0.5) + 1e-12
        apart, G = run(sines, step, rewound)
        assert apart <= nonconvex_distance(N, M, G, step, L, STEPS, rewound) + 1e-12


def test_the_convex_bound_is_met_with_equality_by_two_rows_that_pull_against_one_another() -> None:
    """So no factor can be gained, and the comparison above can fail."""
    step, steps, rewound, pull = 0.01, 30, 10, 1.0

    def train(first: float, count: int, w: float) -> float:
        return w - step * first * count  # linear losses: constant gradients

    whole = ((-pull) + pull) / 2  # forgotten row -1, retained +1
    retrained, rewindable = train(pull, steps, 0.0), train(pull, rewound, train(whole, steps - rewound, 0.0))
    bound = convex_distance(2, 1, pull, step, 1.0, steps, rewound)
    assert bound == pytest.approx(abs(retrained - rewindable))


def test_the_quadratic_law_in_closed_form() -> None:
    """Quadratic losses mu/2 |w - a_i|^2: paths differ by mean shift times (1 - s^(T-K)) s^K, s = 1 - eta mu."""
    mu, step, rewound = 0.7, 0.2, 15
    centres = GENERATOR.normal(size=(N, 3))
    apart, G = run(lambda w: mu * (w - centres), step, rewound)
    s = 1 - step * mu
    shift = np.linalg.norm(centres.mean(0) - centres[M:].mean(0))
    assert apart == pytest.approx(shift * (1 - s ** (STEPS - rewound)) * s**rewound, rel=1e-9)
    assert apart <= strongly_convex_distance(N, M, G, step, mu, STEPS, rewound, mu)
