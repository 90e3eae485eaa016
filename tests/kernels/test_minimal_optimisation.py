"""The compiled optimiser takes the same steps as its twin, bit for bit, and ends where the conditions hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from expunge.kernels.minimal_optimisation import minimise_in_pairs, plain_minimise_in_pairs


def problem(seed: int, n: int = 30) -> tuple[Any, ...]:
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(n, 3))
    y = np.where(x[:, 0] + 0.5 * generator.normal(size=n) > 0, 1.0, -1.0)
    kernel = np.exp(-((x[:, None] - x) ** 2).sum(2) / 3)
    return kernel, y, generator.integers(1, 3, n).astype(float), np.zeros(n), -np.ones(n)


@pytest.mark.parametrize("limit", [1, 7, 10_000])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_compiled_steps_equal_the_twins_bit_for_bit(seed: int, limit: int) -> None:
    one, other = problem(seed), problem(seed)
    taken = minimise_in_pairs(*one, 1e-6, limit)
    assert taken == plain_minimise_in_pairs(*other, 1e-6, limit)
    assert one[3].tobytes() == other[3].tobytes()
    assert one[4].tobytes() == other[4].tobytes()


def test_it_stops_where_the_conditions_hold_and_keeps_to_the_box() -> None:
    kernel, y, upper, alpha, gradient = problem(3)
    minimise_in_pairs(kernel, y, upper, alpha, gradient, 1e-9, 10_000)
    assert abs(y @ alpha) < 1e-12
    assert ((alpha >= 0) & (alpha <= upper)).all()
    slope = (y[:, None] * y * kernel) @ alpha - 1
    assert np.allclose(slope, gradient, atol=1e-9)
    score = -y * slope
    up, down = np.where(y > 0, alpha < upper, alpha > 0), np.where(y > 0, alpha > 0, alpha < upper)
    assert score[up].max() - score[down].min() <= 1e-8
