"""Exact accumulators: what a fitted feature knows of its rows, in integers, so that a row can be taken out again.

Sums of floating-point numbers depend on their order and cannot be undone. Every float64 is an integer times 2^-1074, so
sums of numbers are integers in units of 2^-1074 and sums of squares integers in units of 2^-2148 (Kulisch's long
accumulator). Adding and subtracting are then exact and commute: after a deletion, the accumulator equals the one
counted on the retained rows, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from expunge.schema import Array

UNIT = 1074  # the smallest positive float64 is 2^-1074
_LIMB = 18  # bits a limb: a 53-bit mantissa has three
_CHUNK = 1 << 14  # rows a chunk: sums of 38-bit products over a chunk stay below 2^53, exact in a float64 bincount


@dataclass(frozen=True)
class Moments:
    """The count, sum and sum of squares of numbers, exact; and how many were missing (NaN).

    Attributes:
        count: numbers present. missing: NaNs. total: sum in units of 2^-1074. squares: sum of squares in units of
            2^-2148.
    """

    count: int = 0
    missing: int = 0
    total: int = 0
    squares: int = 0

    @classmethod
    def of(cls, values: Array) -> Moments:
        """The accumulator of `values` (n,), finite or NaN."""
        numbers = np.asarray(values, dtype=np.float64)
        present = numbers[~np.isnan(numbers)]
        total = squares = 0
        for start in range(0, len(present), _CHUNK):
            chunk_total, chunk_squares = _sums(present[start : start + _CHUNK])
            total, squares = total + chunk_total, squares + chunk_squares
        return cls(len(present), len(numbers) - len(present), total, squares)

    def __add__(self, other: Moments) -> Moments:
        return Moments(
            self.count + other.count,
            self.missing + other.missing,
            self.total + other.total,
            self.squares + other.squares,
        )

    def __sub__(self, other: Moments) -> Moments:
        if other.count > self.count or other.missing > self.missing:
            raise ValueError("More rows are taken out of an accumulator than it counted.")
        return Moments(
            self.count - other.count,
            self.missing - other.missing,
            self.total - other.total,
            self.squares - other.squares,
        )

    @property
    def mean(self) -> float:
        """The mean, correctly rounded; 0 where nothing was counted."""
        return self.total / (self.count << UNIT) if self.count else 0.0

    @property
    def std(self) -> float:
        """The standard deviation (of the population): exact in integers, rounded at the end; 0 iff constant.

        With n numbers, `std = sqrt(n * squares - total^2) / n` in units of 2^-1074.
        """
        if not self.count:
            return 0.0
        spread = self.count * self.squares - self.total**2
        return isqrt(spread << 128) / (self.count << (UNIT + 64))  # 64 more bits than the root itself needs


@dataclass(frozen=True)
class Levels:
    """How often each level of a categorical column was seen; levels that are gone are not listed."""

    counts: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, levels: Iterable[str]) -> Levels:
        """The accumulator of texts; an empty text is a missing value and not counted."""
        values, counts = np.unique(np.asarray(levels, dtype=np.dtypes.StringDType()), return_counts=True)
        return cls({level: count for level, count in zip(values.tolist(), counts.tolist(), strict=True) if level})

    def __add__(self, other: Levels) -> Levels:
        return _levels(self.counts, other.counts, 1)

    def __sub__(self, other: Levels) -> Levels:
        return _levels(self.counts, other.counts, -1)

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The levels seen, sorted as text."""
        return tuple(sorted(self.counts))


Accumulator = Moments | Levels


def _levels(counts: Mapping[str, int], change: Mapping[str, int], sign: int) -> Levels:
    changed = dict(counts)
    for level, count in change.items():
        changed[level] = changed.get(level, 0) + sign * count
    if min(changed.values(), default=0) < 0:
        raise ValueError("More rows are taken out of an accumulator than it counted.")
    return Levels({level: changed[level] for level in sorted(changed) if changed[level]})


def _sums(x: NDArray[np.float64]) -> tuple[int, int]:
    """Exact sums of x and x^2 in units of 2^-1074 and 2^-2148, for at most `_CHUNK` finite numbers.

    Each |x| is a 53-bit integer m times 2^e. Its limbs and the limbs of m^2 are summed per exponent (exactly, as all
    partial sums stay below 2^53) and only these few sums become Python integers.
    """
    fraction, exponent = np.frexp(x)
    mantissa = np.abs(np.ldexp(fraction, 53)).astype(np.int64)
    low, middle, high = (mantissa >> shift & ((1 << _LIMB) - 1) for shift in (0, _LIMB, 2 * _LIMB))
    sign = np.where(x < 0, -1, 1)
    places = exponent.astype(np.int64) - 53
    first = int(places.min())
    places -= first
    linear = (low * sign, middle * sign, high * sign)
    square = (low * low, 2 * low * middle, 2 * low * high + middle * middle, 2 * middle * high, high * high)
    return _weighted(linear, places, first, 1), _weighted(square, places, first, 2)


def _weighted(limbs: tuple[NDArray[np.int64], ...], places: NDArray[np.int64], first: int, power: int) -> int:
    """`sum_k sum_i limbs[k][i] 2^(18 k + power (first + places[i]))` in units of 2^(-1074 power)."""
    total = 0  # in units of 2^(power * first)
    for position, limb in enumerate(limbs):
        for place, value in enumerate(np.bincount(places, weights=limb.astype(np.float64)).tolist()):
            if value:
                total += int(value) << (_LIMB * position + power * place)
    shift = power * (first + UNIT)
    return total << shift if shift >= 0 else total >> -shift  # nothing is lost: each x is a multiple of 2^-1074
