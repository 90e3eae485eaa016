"""How often each level of a categorical column was seen in each class: integers, so that rows can leave again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class LevelCounts:
    """`levels`, sorted as text, and `counts` (levels, classes) int64; a level without a row is not listed."""

    levels: tuple[str, ...]
    counts: Tensor

    @classmethod
    def of(cls, texts: NDArray[Any], groups: Ints, classes: int) -> LevelCounts:
        """The counts of `texts` (n,) by groups (n,) in [0, classes); an empty text is a missing value, not counted."""
        names, which = np.unique(texts, return_inverse=True)
        counts = np.bincount(which * classes + groups, minlength=len(names) * classes).reshape(len(names), classes)
        return _listed(dict(zip(names.tolist(), counts, strict=True)), classes)

    def __add__(self, other: LevelCounts) -> LevelCounts:
        return _changed(self, other, 1)

    def __sub__(self, other: LevelCounts) -> LevelCounts:
        return _changed(self, other, -1)


def _changed(a: LevelCounts, b: LevelCounts, sign: int) -> LevelCounts:
    classes = a.counts.shape[1]
    nothing = np.zeros(classes, dtype=np.int64)
    changed = dict(zip(a.levels, a.counts.numpy(), strict=True))
    for level, counts in zip(b.levels, b.counts.numpy(), strict=True):
        changed[level] = changed.get(level, nothing) + sign * counts
        if (changed[level] < 0).any():
            raise ValueError("More rows are taken out of the counts of levels than they counted.")
    return _listed(changed, classes)


def _listed(counts: dict[str, Ints], classes: int) -> LevelCounts:
    levels = tuple(sorted(level for level, each in counts.items() if level and each.any()))
    table = np.array([counts[level] for level in levels], dtype=np.int64).reshape(len(levels), classes)
    return LevelCounts(levels, torch.from_numpy(table))
