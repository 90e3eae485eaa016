"""Detrended fluctuation analysis on series whose exponent is known, and the power law fitted with it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.errors import InputError
from expunge.maths import fluctuation
from expunge.maths.fluctuation import PowerLaw, exponent, fit, fluctuations, power_law

LENGTH, SERIES = 1024, 12


def gaussian_noise(hurst: float, generator: np.random.Generator) -> np.ndarray:
    """Fractional Gaussian noise, exactly: Davies & Harte's embedding of its covariance in a circle."""
    lag = np.arange(LENGTH + 1.0)
    covariance = 0.5 * ((lag + 1) ** (2 * hurst) - 2 * lag ** (2 * hurst) + np.abs(lag - 1) ** (2 * hurst))
    power = np.fft.fft(np.concatenate([covariance, covariance[-2:0:-1]])).real
    assert power.min() > -1e-9
    white = generator.normal(size=len(power)) + 1j * generator.normal(size=len(power))
    return np.fft.fft(np.sqrt(np.maximum(power, 0) / len(power)) * white).real[:LENGTH]


@pytest.mark.parametrize("hurst", [0.3, 0.5, 0.7, 0.9])
def test_fractional_gaussian_noise_has_its_hurst_exponent(hurst: float, generator: np.random.Generator) -> None:
    found = [exponent(gaussian_noise(hurst, generator)) for _ in range(SERIES)]
    assert np.mean(found) == pytest.approx(hurst, abs=0.04)
    assert np.std(found) < 0.08


def test_white_noise_has_one_half_and_its_running_sum_one_more(generator: np.random.Generator) -> None:
    white = generator.normal(size=(SERIES, LENGTH))
    assert np.mean([exponent(series) for series in white]) == pytest.approx(0.5, abs=0.04)
    assert np.mean([exponent(np.cumsum(series)) for series in white]) == pytest.approx(1.5, abs=0.08)


@pytest.mark.parametrize("n", [10, 11, 23, 200])
def test_fluctuations_are_those_of_windows_fitted_one_by_one(n: int, generator: np.random.Generator) -> None:
    series = generator.normal(size=n)
    sizes, roots = fluctuations(series)
    profile = np.cumsum(series - series.mean())
    assert sizes[0] == 4
    assert sizes[-1] == n // 2
    for size, root in zip(sizes.astype(int), roots, strict=True):
        starts = [*range(0, n - size + 1, size), *range(n % size, n - size + 1, size)]
        x, left = np.arange(size), []
        for start in starts:
            window = profile[start : start + size]
            left.append(np.mean((window - np.polyval(np.polyfit(x, window, 1), x)) ** 2))
        assert root == pytest.approx(math.sqrt(np.mean(left)), rel=1e-9)
    assert exponent(series) == pytest.approx(np.polyfit(np.log(sizes), np.log(roots), 1)[0], rel=1e-9)


def test_units_and_levels_do_not_change_the_exponent(generator: np.random.Generator) -> None:
    series = generator.normal(size=100)
    assert exponent(1e-3 * series + 5) == pytest.approx(exponent(series), rel=1e-6)


@pytest.mark.parametrize("series", [np.zeros(12), np.full(30, 0.1), np.r_[5.0, np.zeros(11)]], ids=["0", "0.1", "end"])
def test_a_constant_series_has_no_exponent_and_says_so(series: np.ndarray) -> None:
    with pytest.raises(InputError, match="The series is constant"):
        exponent(series)
    assert power_law(series).slope(12) == 0
    assert power_law(series).at(12) == pytest.approx(series.mean())


@pytest.mark.parametrize("n", [0, 1, 9])
def test_a_short_series_is_refused(n: int) -> None:
    for function in (exponent, fluctuations, power_law):
        with pytest.raises(InputError, match="at least 10 finite numbers"):
            function(np.arange(float(n)))
    assert fluctuation.SHORTEST == 10
    assert len(fluctuations(np.arange(10.0) ** 2)[0]) == 2  # the fewest that have a slope
    with pytest.raises(InputError, match="at least 10 finite numbers"):
        exponent([*range(11), math.nan])


@given(
    a=st.floats(-3, 3).filter(lambda a: abs(a) > 0.01),
    alpha=st.floats(0.1, 2.5),
    b=st.floats(-2, 2),
    n=st.integers(10, 60),
)
def test_a_power_law_is_recovered_with_its_derivative(a: float, alpha: float, b: float, n: int) -> None:
    law = PowerLaw(a, alpha, b)
    found = fit([law.at(x) for x in range(1, n + 1)], alpha)
    assert (found.a, found.b) == (pytest.approx(a, rel=1e-6), pytest.approx(b, rel=1e-6, abs=1e-6))
    step = 1e-4 * n
    assert found.slope(n) == pytest.approx((law.at(n + step) - law.at(n - step)) / (2 * step), rel=1e-5, abs=1e-12)
    assert found.slope(n) == pytest.approx(-a * alpha * n ** (-alpha - 1), rel=1e-6)


def test_the_fit_is_the_least_squares_one(generator: np.random.Generator) -> None:
    series = generator.normal(size=15)
    law = fit(series, 0.7)

    def loss(a: float, b: float) -> float:
        return float(sum((a * x**-0.7 + b - y) ** 2 for x, y in enumerate(series, start=1)))

    least = loss(law.a, law.b)
    assert all(loss(law.a + i, law.b + j) > least for i in (-0.01, 0, 0.01) for j in (-0.01, 0, 0.01) if i or j)
    assert power_law(series) == fit(series, exponent(series))


def test_on_a_smooth_decline_the_exponent_is_not_the_rate_and_the_slope_comes_out_too_small() -> None:
    """What the docs say of the rule: with 10 points it finds alpha near 2.5 whatever the rate was."""
    shares = []
    for rate in (0.3, 0.5, 1.0):
        decline = PowerLaw(1.0, rate, 0.1)
        law = power_law([decline.at(x) for x in range(1, 11)])
        assert law.exponent == pytest.approx(2.5, abs=0.1)
        shares.append(law.slope(10) / decline.slope(10))
    assert [round(share, 3) for share in shares] == [0.021, 0.028, 0.063]


def test_the_exponent_of_ten_points_is_noise(generator: np.random.Generator) -> None:
    found = [exponent(generator.normal(size=10)) for _ in range(200)]
    assert np.std(found) > 0.8
