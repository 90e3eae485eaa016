"""What naive Bayes knows of its rows: counts and exact sums by class, which add and subtract."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from expunge.maths import exact_sums
from expunge.maths.exact_sums import ExactSums
from expunge.maths.level_counts import LevelCounts


@dataclass(frozen=True, eq=False)
class ClassStatistics:
    """Exact statistics of rows in K classes, all integers.

    Attributes:
        counts: rows of each class, (K,) int64. numbers: how many of them have the number (it is not NaN), (K, p) int64.
        sums, squares: of the p columns of numbers, (K, p); squares are 0 where they are not asked for.
        levels: of each categorical column, by name.
    """

    counts: Tensor
    numbers: Tensor
    sums: ExactSums
    squares: ExactSums
    levels: Mapping[str, LevelCounts]

    @classmethod
    def none(cls, classes: int, numbers: int, names: Iterable[str]) -> ClassStatistics:
        """Those of no row."""
        nothing = ExactSums.zeros(classes, numbers)
        empty = LevelCounts((), torch.zeros((0, classes), dtype=torch.int64))
        counts = torch.zeros(classes, dtype=torch.int64)
        absent = torch.zeros((classes, numbers), dtype=torch.int64)
        return cls(counts, absent, nothing, nothing, dict.fromkeys(sorted(names), empty))

    @classmethod
    def of(
        cls,
        x: NDArray[np.float64],
        levels: Mapping[str, NDArray[Any]],
        groups: NDArray[np.int64],
        classes: int,
        *,
        with_squares: bool,
    ) -> ClassStatistics:
        """Those of numbers (n, p), NaN where missing, and texts (n,) by name, in classes (n,)."""
        counts = np.bincount(groups, minlength=classes).astype(np.int64)
        numbers, missing = np.repeat(counts[:, None], x.shape[1], axis=1), np.isnan(x)
        if missing.any():
            row, column = np.nonzero(missing)
            np.subtract.at(numbers, (groups[row], column), 1)
            x = np.where(missing, 0.0, x)
        return cls(
            torch.from_numpy(counts),
            torch.from_numpy(numbers),
            exact_sums.sums(x, groups, classes),
            exact_sums.squares(x, groups, classes) if with_squares else ExactSums.zeros(classes, x.shape[1]),
            {name: LevelCounts.of(levels[name], groups, classes) for name in sorted(levels)},
        )

    def __add__(self, other: ClassStatistics) -> ClassStatistics:
        return ClassStatistics(
            self.counts + other.counts,
            self.numbers + other.numbers,
            self.sums + other.sums,
            self.squares + other.squares,
            {name: counts + other.levels[name] for name, counts in self.levels.items()},
        )

    def __sub__(self, other: ClassStatistics) -> ClassStatistics:
        if bool((self.numbers < other.numbers).any() or (self.counts < other.counts).any()):
            raise ValueError("More rows are taken out of a class than it counted.")
        return ClassStatistics(
            self.counts - other.counts,
            self.numbers - other.numbers,
            self.sums - other.sums,
            self.squares - other.squares,
            {name: counts - other.levels[name] for name, counts in self.levels.items()},
        )
