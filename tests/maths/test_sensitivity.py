"""What a row weighs: sensitivity, scaling down, and the epsilon that machine noise keeps."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from expunge.errors import InputError
from expunge.maths.floating_point import under_true_noise
from expunge.maths.privacy import epsilon_of, mu_of
from expunge.maths.sensitivity import machine_epsilon, output_sensitivity, within_norm


def test_the_published_constant_where_the_loss_at_zero_says_nothing() -> None:
    assert output_sensitivity(rows=50, l2=0.1, gradient=3.0, at_zero=math.inf) == pytest.approx(2 * 3 / (0.1 * 50))


def test_a_small_penalty_shortens_it_almost_by_half() -> None:
    short = output_sensitivity(rows=50, l2=1e-4, gradient=1.0, at_zero=math.log(2))
    assert short == pytest.approx((1 + math.sqrt(2e-4 * math.log(2))) / (1e-4 * 50))
    assert short < 0.51 * output_sensitivity(rows=50, l2=1e-4, gradient=1.0, at_zero=math.inf)


@pytest.mark.parametrize(
    "bad", [{"rows": 0}, {"l2": 0.0}, {"l2": math.inf}, {"gradient": math.inf}, {"gradient": -1.0}, {"at_zero": -1.0}]
)
def test_numbers_out_of_range_are_refused(bad: dict[str, float]) -> None:
    good = {"rows": 5, "l2": 0.1, "gradient": 1.0, "at_zero": 1.0}
    with pytest.raises(InputError, match="a sensitivity needs"):
        output_sensitivity(**(good | bad))  # type: ignore[arg-type]


@given(
    st.lists(st.lists(st.floats(-1e308, 1e308, allow_subnormal=False), min_size=3, max_size=3), min_size=1, max_size=5),
    st.floats(1e-3, 1e3),
)
def test_no_row_is_longer_than_the_norm_and_short_rows_stay(values: list[list[float]], row_norm: float) -> None:
    x = torch.tensor(values, dtype=torch.float64)
    short = within_norm(x, row_norm)
    assert all(math.hypot(*row) <= row_norm for row in short.tolist())
    for before, after in zip(x, short, strict=True):
        if math.hypot(*before.tolist()) <= row_norm * (1 - 1e-8):
            assert torch.equal(before, after)
        else:
            assert math.hypot(*after.tolist()) >= row_norm * (1 - 1e-8)
            assert float(torch.nn.functional.cosine_similarity(before, after, 0)) > 0.999 or bool(
                before.abs().max() > 1e150
            )


@given(st.floats(1e-3, 3.0), st.floats(1e-8, 1e-2), st.integers(1, 5000), st.integers(1, 10_000))
def test_machine_noise_is_paid_for(mu: float, delta: float, coordinates: int, releases: int) -> None:
    epsilon = machine_epsilon(mu, delta, coordinates, 20, releases, 0.01)
    assert epsilon >= max(0.01, epsilon_of(mu, delta))
    assert mu_of(*under_true_noise(epsilon, delta, coordinates, 20, releases=releases)) >= mu * (1 - 1e-9)
    assert epsilon <= max(0.01, 1.05 * epsilon_of(mu, delta)) + 0.1


def test_where_machine_noise_leaves_nothing_epsilon_is_infinite() -> None:
    assert machine_epsilon(20.0, 1e-5, 100, 20, 1, 0.01) == math.inf
    assert machine_epsilon(math.inf, 1e-5, 100, 20, 1, 0.01) == math.inf
