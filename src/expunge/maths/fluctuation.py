"""Detrended fluctuation analysis of a short series [Peng et al. 1994], and a power law fitted with its exponent.

The profile of a series x_1..x_n is y_k = (x_1 - mean) + .. + (x_k - mean). For windows of s points, cut from both ends
of the profile [Kantelhardt et al. 2002], each window is freed of its straight line, and

    F(s) = root mean square of what is left,    alpha = slope of log F(s) against log s.

White noise has alpha 1/2, a random walk 3/2, fractional Gaussian noise of Hurst exponent H has H. Windows have at least
4 points (a line through 3 leaves next to nothing) and at most half of the series, so two sizes, the fewest that have a
slope, need 10 points.

The exponent is one of fluctuation, not of decay: on a smooth decline the trend inside every window is what is left, and
alpha lies near 2 whatever the rate of the decline.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from expunge.errors import InputError

SMALLEST_WINDOW = 4
SHORTEST = 10  # the fewest points with two sizes of window
SIZES = 16  # of windows, at most
NOTHING = 1e-12  # of the spread of the series: rounding

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class PowerLaw:
    """Y(x) = a x^-exponent + b."""

    a: float
    exponent: float
    b: float

    def at(self, x: float) -> float:
        """Y(x)."""
        return float(self.a * x**-self.exponent + self.b)

    def slope(self, x: float) -> float:
        """Y'(x) = -a exponent x^(-exponent - 1)."""
        return float(-self.a * self.exponent * x ** (-self.exponent - 1))


def fluctuations(series: Sequence[float]) -> tuple[Numbers, Numbers]:
    """The sizes s of the windows, and F(s); both empty where the series does not fluctuate.

    Raises:
        InputError: fewer than 10 points, or one is not finite.
    """
    x = np.asarray(series, dtype=np.float64)
    if x.ndim != 1 or len(x) < SHORTEST or not np.isfinite(x).all():
        raise InputError(
            f"A series of shape {x.shape} was given; fluctuation analysis needs at least {SHORTEST} finite numbers."
        )
    profile = np.cumsum(x - x.mean())
    sizes = np.unique(np.round(np.geomspace(SMALLEST_WINDOW, len(x) // 2, SIZES)).astype(int))
    roots = np.array([np.sqrt(np.mean(_detrended(profile, size) ** 2)) for size in sizes])
    moving = roots > NOTHING * np.abs(x).max()
    return sizes[moving].astype(np.float64), roots[moving]


def exponent(series: Sequence[float]) -> float:
    """Alpha: the least-squares slope of log F(s) against log s.

    Raises:
        InputError: see `fluctuations`; or the series is constant (or so but for its ends), and has no exponent.
    """
    sizes, roots = fluctuations(series)
    if len(sizes) < 2:
        raise InputError("The series is constant: it does not fluctuate, and has no exponent.")
    return float(np.polynomial.Polynomial.fit(np.log(sizes), np.log(roots), 1).convert().coef[1])


def fit(series: Sequence[float], alpha: float) -> PowerLaw:
    """The a and b that minimise the sum over x = 1..n of (a x^-alpha + b - series_x)^2."""
    y = np.asarray(series, dtype=np.float64)
    x = np.arange(1, len(y) + 1, dtype=np.float64)
    (a, b), *_ = np.linalg.lstsq(np.stack([x**-alpha, np.ones_like(x)], axis=1), y, rcond=None)
    return PowerLaw(float(a), alpha, float(b))


def power_law(series: Sequence[float]) -> PowerLaw:
    """The fit with the series' own exponent; of a series that does not fluctuate, the constant a = 0.

    Raises:
        InputError: see `fluctuations`.
    """
    if len(fluctuations(series)[0]) < 2:
        return PowerLaw(0.0, 1.0, float(np.mean(series)))
    return fit(series, exponent(series))


def _detrended(profile: Numbers, size: int) -> Numbers:
    """The windows of `size` points from both ends, (windows, size), each without its straight line."""
    whole = len(profile) // size * size
    windows = np.concatenate([profile[:whole].reshape(-1, size), profile[-whole:].reshape(-1, size)])
    line, _ = np.linalg.qr(np.stack([np.ones(size), np.arange(size, dtype=np.float64)], axis=1))
    left: Numbers = windows - windows @ line @ line.T
    return left
