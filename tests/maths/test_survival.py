"""Survival decides whether stitching beats doing nothing, exactly; its forecast is exact where ages matter by ratio."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from expunge.maths.survival import distance_ratio, growth_to, survival, survival_to


@given(seed=st.integers(0, 2**32), share=st.floats(-1, 2).filter(lambda s: abs(s - 0.5) > 1e-6))
def test_stitching_beats_doing_nothing_just_where_more_than_half_survives(seed: int, share: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    change, noise = (torch.randn(6, generator=generator, dtype=torch.float64) for _ in range(2))
    across = noise - noise @ change / (change @ change) * change
    end = share * change + 10 * across
    assert survival(change, end) == pytest.approx(share, abs=1e-9)
    assert bool((change - end).norm() < end.norm()) == (share > 0.5)
    truly = float((change - end).norm() / end.norm())
    assert distance_ratio(share, float(end.norm() / change.norm())) == pytest.approx(truly, rel=1e-6)


def test_of_no_change_nothing_survives_and_it_is_no_better_than_doing_nothing() -> None:
    assert survival(torch.zeros(3), torch.ones(3)) == 0.0


@pytest.mark.parametrize("c", [0.0, 0.4, 2.0])
@pytest.mark.parametrize("k", [0.0, 0.01, 0.3])
@pytest.mark.parametrize("n", [10, 31])
def test_survival_by_age_and_by_a_share_a_block_is_forecast_exactly(c: float, k: float, n: int) -> None:
    known = [max((m / n) ** c * math.exp(-k * (n - m)), 1e-3) for m in range(1, n + 1)]
    known[: n // 5 - 1] = [9.0] * (n // 5 - 1)  # not looked at
    if min(known) > 1e-3:
        assert survival_to(60, known) == pytest.approx((n / 60) ** c * math.exp(-k * (60 - n)))
    assert survival_to(n, known) == 1.0


def test_a_change_that_grew_is_taken_to_stay() -> None:
    assert survival_to(60, [1.02 ** (10 - m) for m in range(1, 11)]) == 1.0


def test_a_change_that_is_gone_survives_no_further() -> None:
    assert 0 < survival_to(60, [1.0] * 4 + [-0.2] * 5 + [1.0]) < 1e-3


@pytest.mark.parametrize("g", [0.0, 0.3, 1.5])
def test_growth_by_age_is_forecast_exactly(g: float) -> None:
    lengths = [9.0, *(0.2 * m**g for m in range(2, 11))]  # the first is not looked at
    assert growth_to(60, lengths) == pytest.approx(6**g)
    assert growth_to(10, lengths) == 1.0


def test_that_a_change_will_shrink_is_not_taken_for_granted() -> None:
    assert growth_to(60, [m**-1.0 for m in range(1, 11)]) == 1.0
    assert growth_to(60, [*(m**-1.0 for m in range(1, 10)), 0.0]) == 1.0


def test_a_change_that_is_small_beside_what_is_to_come_brings_the_model_hardly_nearer() -> None:
    """What networks do: all of it survives, and it is a tenth of the whole."""
    assert distance_ratio(1.0, 10.0) == pytest.approx(0.99**0.5)
    assert distance_ratio(1.0, 1.0) == 0.0
    assert distance_ratio(0.0, 1.0) == pytest.approx(2**0.5)


@pytest.mark.parametrize("keep", [0.9, 0.95, 0.98, 0.985, 0.988, 0.995, 1.0])
def test_changes_that_shrink_by_one_factor_a_block_are_judged_rightly(keep: float) -> None:
    changes: list[Tensor] = [keep**m * torch.ones(3, dtype=torch.float64) for m in range(1, 11)]
    forecast = survival_to(60, [survival(change, changes[-1]) for change in changes])
    assert forecast == pytest.approx(keep**50, rel=1e-6)
    assert (forecast > 0.5) == (keep > 0.986)


def test_noise_on_what_is_known_moves_the_forecast_little() -> None:
    generator = np.random.default_rng(0)
    known = [(m / 20) ** 0.3 for m in range(1, 21)]
    forecasts = [survival_to(60, np.array(known) * np.exp(0.02 * generator.normal(size=20))) for _ in range(50)]
    assert np.mean(forecasts) == pytest.approx((20 / 60) ** 0.3, abs=0.1)
    assert np.std(forecasts) < 0.1
