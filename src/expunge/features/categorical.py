"""Categorical columns: one column of zeros and ones a level.

The levels are declared public, or exactly those of the rows in use: a level whose last row is forgotten is gone, and
the width changes with it, which only learning again can honour.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from expunge.errors import InputError, SchemaError
from expunge.features.accumulators import Levels
from expunge.features.feature import Feature, Fitted, State, check_columns, column, public_note
from expunge.noise import NoiseKey
from expunge.schema import TEXT, Array


@dataclass(frozen=True)
class Categorical(Feature):
    """Levels of text (or of integers) as one-hot columns, in the order of the vocabulary.

    Args:
        columns: names of the columns.
        levels: the declared public levels of each column, or () to take exactly those of the rows, sorted as text.
        from_rows: whether declared levels were read from rows (`declare_public`); it is told.
        other: adds a column for levels outside the vocabulary and missing values; without it they are all zeros.
    """

    columns: tuple[str, ...]
    levels: tuple[tuple[str, ...], ...] = ()
    other: bool = False
    from_rows: bool = False

    def __post_init__(self) -> None:
        check_columns("Categorical", self.columns)
        if self.levels and len(self.levels) != len(self.columns):
            raise InputError(f"{len(self.columns)} columns need as many tuples of levels; {len(self.levels)} given.")
        for name, levels in zip(self.columns, self.levels, strict=False):
            if isinstance(levels, str) or not levels or len(set(levels)) < len(levels) or "" in levels:
                raise InputError(f"The levels of {name!r} are different, non-empty texts; given: {levels!r}.")

    @property
    def statistics(self) -> str:
        """Public where levels are declared, else exact."""
        return "public" if self.levels else "exact"

    def accumulate(self, columns: Mapping[str, Array]) -> State:
        """How often each level occurs, a column; () where the levels are declared."""
        if self.levels:
            return ()
        return tuple(Levels.of(_texts(name, column(columns, name))) for name in self.columns)

    def fit(self, state: State, noise: NoiseKey | None, purpose: str) -> Fitted:
        """`levels`: the vocabulary of each column."""
        del noise, purpose  # nothing is drawn
        return {"levels": self.levels or tuple(part.vocabulary for part in state if isinstance(part, Levels))}

    def transform(self, fitted: Fitted, columns: Mapping[str, Array]) -> NDArray[np.float64]:
        """(n, number of levels), plus one column a column with `other`."""
        parts = [
            _one_hot(_texts(name, column(columns, name)), tuple(levels), self.other)
            for name, levels in zip(self.columns, fitted["levels"], strict=True)
        ]
        return np.concatenate(parts, axis=1)

    def assumptions(self) -> tuple[str, ...]:
        """What is declared of the levels."""
        if self.levels:
            return (public_note("levels", self.columns, self.from_rows),)
        names = ", ".join(self.columns)
        return (f"levels of column(s) {names} are exactly those in use: two releases together may give a row away",)


def _texts(name: str, values: Array) -> Array:
    """A column as text; missing values are empty."""
    if values.ndim > 1:
        raise SchemaError(f"Column {name!r} holds {values.shape[1:]} values a row; a categorical column holds one.")
    match values.dtype.kind:
        case "T":
            return values
        case "i" | "u":
            return values.astype(TEXT)
        case "b":
            return values.astype(np.int64).astype(TEXT)
        case "f":
            present = ~np.isnan(values)
            if not np.array_equal(values[present], np.trunc(values[present])) or np.isinf(values).any():
                raise InputError(f"Column {name!r} holds fractions or infinities; levels are text or whole numbers.")
            texts = np.full(len(values), "", dtype=TEXT)
            texts[present] = values[present].astype(np.int64).astype(TEXT)
            return texts
    raise SchemaError(f"Column {name!r} has type {values.dtype}; text or whole numbers were expected.")


def _one_hot(texts: Array, levels: tuple[str, ...], other: bool) -> NDArray[np.float64]:
    hot = np.zeros((len(texts), len(levels) + other))
    if not len(texts):
        return hot
    place = {level: index for index, level in enumerate(levels)}
    outside = len(levels) if other else -1
    places = np.array([place.get(text, outside) for text in texts.tolist()], dtype=np.int64)
    known = np.flatnonzero(places >= 0)
    hot[known, places[known]] = 1.0
    return hot
