"""The published distances of rewinding: limits, what they say of a network, and what they refuse."""

from __future__ import annotations

import math

import pytest

from expunge.errors import InputError
from expunge.maths.privacy import noise_std_for
from expunge.maths.rewind import convex_distance, nonconvex_distance, strongly_convex_distance


def test_rewinding_everything_is_retraining() -> None:
    assert nonconvex_distance(100, 5, 1.0, 0.1, 2.0, 30, 30) == 0
    assert convex_distance(100, 5, 1.0, 0.1, 2.0, 30, 30) == 0
    assert strongly_convex_distance(100, 5, 1.0, 0.1, 2.0, 30, 30, 0.5) == 0


def test_forgetting_nothing_moves_nothing() -> None:
    assert nonconvex_distance(100, 0, 1.0, 0.1, 2.0, 30, 10) == 0


def test_the_general_form_nears_the_convex_one_where_steps_are_short_and_it_is_never_smaller() -> None:
    short = 1e-6
    assert nonconvex_distance(100, 5, 1.0, short, 2.0, 30, 10) == pytest.approx(
        convex_distance(100, 5, 1.0, short, 2.0, 30, 10), rel=1e-3
    )
    for step in (0.01, 0.1, 1.0):
        general, convex = (f(100, 5, 1.0, step, 2.0, 30, 10) for f in (nonconvex_distance, convex_distance))
        assert general > convex > strongly_convex_distance(100, 5, 1.0, min(step, 0.9), 2.0, 30, 10, 0.5)


def test_a_vanishing_strong_convexity_gives_the_convex_form() -> None:
    assert strongly_convex_distance(100, 5, 1.0, 0.1, 2.0, 30, 10, 1e-9) == pytest.approx(
        convex_distance(100, 5, 1.0, 0.1, 2.0, 30, 10), rel=1e-6
    )


def test_on_the_digits_perceptron_it_asks_for_noise_of_ninety_thousand() -> None:
    """T = 360 steps of 0.01, L = 4, half rewound, 50 of 1,437 rows, G = 1, (1, 1e-5)."""
    distance = nonconvex_distance(1437, 50, 1.0, 0.01, 4.0, 360, 180)
    assert 8e4 < noise_std_for(distance, 1.0, 1e-5) < 1e5
    assert noise_std_for(nonconvex_distance(1437, 50, 1.0, 0.001, 4.0, 360, 180), 1.0, 1e-5) < 0.2


def test_more_rewinding_helps_convex_losses_and_an_overflow_is_infinite() -> None:
    convex = [convex_distance(100, 5, 1.0, 0.1, 2.0, 30, k) for k in range(31)]
    assert convex == sorted(convex, reverse=True)
    assert nonconvex_distance(100, 5, 1.0, 1.0, 10.0, 10_000, 5) == math.inf


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((100, 100, 1.0, 0.1, 2.0, 30, 10), "m < n"),
        ((100, 5, 1.0, 0.1, 2.0, 30, 31), "K <= T"),
        ((100, 5, -1.0, 0.1, 2.0, 30, 10), "G >= 0"),
        ((100, 5, 1.0, 0.0, 2.0, 30, 10), "positive"),
    ],
)
def test_numbers_out_of_range_are_refused(
    arguments: tuple[int, int, float, float, float, int, int], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        nonconvex_distance(*arguments)


def test_steps_too_long_for_the_bound_are_refused() -> None:
    with pytest.raises(InputError, match="2/L"):
        convex_distance(100, 5, 1.0, 1.1, 2.0, 30, 10)
    with pytest.raises(InputError, match="contract"):
        strongly_convex_distance(100, 5, 1.0, 1.0, 2.0, 30, 10, 0.5)
