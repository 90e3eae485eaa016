"""Exact accumulators: what a fitted feature knows of its rows, in integers, so that a row can be taken out again.

Sums of floating-point numbers depend on their order and cannot be undone. Every float64 is an integer times 2^-1074, so
sums of numbers are integers in units of 2^-1074 and sums of squares integers in units of 2^-2148 (`maths.exact_sums`).
Adding and subtracting are then exact and commute: after a deletion, the accumulator equals the one counted on the
retained rows, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import isqrt

import numpy as np

from expunge.maths import exact_sums
from expunge.maths.correct_rounding import UNIT
from expunge.schema import Array


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
        return cls.of_columns(np.asarray(values)[:, None])[0]

    @classmethod
    def of_columns(cls, values: Array) -> tuple[Moments, ...]:
        """The accumulators of the columns of `values` (n, p), finite or NaN."""
        numbers = np.asarray(values, dtype=np.float64)
        missing = np.isnan(numbers)
        present = np.where(missing, 0.0, numbers)
        totals = exact_sums.sums(present).integers(-UNIT)
        squares = exact_sums.squares(present).integers(-2 * UNIT)
        absent = missing.sum(0).tolist()
        return tuple(
            cls(len(numbers) - gone, gone, total, square)
            for gone, total, square in zip(absent, totals, squares, strict=True)
        )

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
