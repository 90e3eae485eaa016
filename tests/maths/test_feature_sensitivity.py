"""Sensitivity to features: the coefficient of what was drawn, groups, baselines, what a gradient does not see."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import expunge
from expunge import codec, feature_sensitivity
from expunge.errors import InputError


def test_it_is_the_coefficient_of_the_function_and_the_draws() -> None:
    weights, x = np.array([3.0, 1.0, 0.0]), np.array([0.5, -1.0, 2.0])
    found = feature_sensitivity(lambda rows: rows @ weights, x, times=300, batch=70, seed=4)
    draws = np.random.default_rng(4).standard_normal((300, 3))
    expected = [codec((x + 0.1 * draws) @ weights, draws[:, j]).statistic for j in range(3)]
    np.testing.assert_array_equal(found.coefficients, expected)
    assert found.coefficients[0] > 3 * found.threshold > 0
    assert found.coefficients[2] < found.threshold


def test_batches_and_increasing_maps_change_nothing() -> None:
    def function(rows: Any) -> Any:
        return rows[:, 0] * rows[:, 1] + rows[:, 2]

    x = np.array([1.0, 2.0, 0.0])
    found = feature_sensitivity(function, x, times=200).coefficients
    other = feature_sensitivity(lambda rows: np.exp(function(rows)), x, times=200, batch=7).coefficients
    np.testing.assert_array_equal(found, other)


def test_it_sees_what_a_gradient_does_not() -> None:
    found = feature_sensitivity(lambda rows: rows[:, 1] ** 2, np.zeros(3), times=500)
    assert found.coefficients.argmax() == 1
    assert found.coefficients[1] > 0.9
    assert (found.coefficients[[0, 2]] < found.threshold).all()


def test_a_function_of_one_feature_that_is_kept_or_not_is_determined_by_it() -> None:
    x, baseline = np.array([[1.0, 2.0], [3.0, 4.0]]), np.zeros((2, 2))
    found = feature_sensitivity(lambda rows: rows[:, 1, 0], x, baseline=baseline, times=100)
    assert found.coefficients[2] == 1.0
    assert (np.delete(found.coefficients, 2) < 0.5).all()


def test_groups_change_together() -> None:
    x, groups = np.ones((2, 3)), np.array([[0, 0, 1], [1, 1, 2]])
    seen = []

    def function(rows: Any) -> Any:
        seen.append(rows)
        return rows[:, 0, 1] - rows[:, 0, 0] + rows[:, 1, 2]

    found = feature_sensitivity(function, x, groups=groups, times=50).coefficients
    rows = np.concatenate(seen)
    assert rows.shape == (50, 2, 3)
    np.testing.assert_array_equal(rows[:, 0, 0], rows[:, 0, 1])
    np.testing.assert_array_equal(rows[:, 0, 2], rows[:, 1, 1])
    assert found.argmax() == 2
    assert found.shape == (3,)


def test_a_constant_function_depends_on_nothing() -> None:
    found = feature_sensitivity(lambda rows: np.ones(len(rows)), [1.0, 2.0], times=20)
    np.testing.assert_array_equal(found.coefficients, [0.0, 0.0])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"groups": [0, 2]}, "no gap"),
        ({"groups": [0]}, r"shape \(1,\)"),
        ({"groups": [0.5, 1.0]}, "whole numbers"),
        ({"baseline": [0.0]}, "baseline"),
        ({"times": 2}, "times=2"),
        ({"noise_scale": 0.0}, "noise_scale=0.0"),
        ({"x": [np.nan, 1.0]}, "NaN"),
        ({"function": lambda rows: rows}, "a number for each"),
        ({"function": lambda rows: np.full(len(rows), np.inf)}, "what the function gives"),
    ],
)
def test_bad_input_is_explained(options: dict[str, Any], told: str) -> None:
    given: dict[str, Any] = {"function": lambda rows: rows[:, 0], "x": [1.0, 2.0]} | options
    with pytest.raises(InputError, match=told):
        feature_sensitivity(given.pop("function"), given.pop("x"), **given)


def test_it_is_public() -> None:
    assert "feature_sensitivity" in expunge.__all__
