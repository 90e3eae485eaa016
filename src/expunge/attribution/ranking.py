"""Rows in the order in which they should be looked at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from expunge import keyed
from expunge.errors import InputError
from expunge.rows import Rows
from expunge.schema import Array


@dataclass(frozen=True, eq=False)
class Ranking:
    """Scores of rows; the highest is the first to look at. Equal scores go by the rows' keys, not by their places.

    Attributes:
        by: what the scores are, in words. ids: (n,). scores: (n,) finite.
    """

    by: str
    ids: Array
    scores: NDArray[np.float64]

    @classmethod
    def of(cls, by: str, rows: Rows, scores: NDArray[np.float64]) -> Ranking:
        """The ranking of these rows by these scores.

        Raises:
            InputError: a score is not finite.
        """
        if len(bad := rows.ids[~np.isfinite(scores)]):
            raise InputError(f"The score of row {bad[0]} is not finite: the model or the row holds a number too large.")
        return cls(by, rows.ids, np.asarray(scores, dtype=np.float64))

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def order(self) -> NDArray[np.int64]:
        """Places of the rows, the first to look at first."""
        return np.lexsort((keyed.keys_of(self.ids), -self.scores))

    def first(self, count: int) -> tuple[str, ...]:
        """The ids of the `count` highest.

        Raises:
            InputError: count is not between 0 and the number of rows.
        """
        if not 0 <= count <= len(self):
            raise InputError(f"{count} rows were asked for, and {len(self)} are ranked.")
        return tuple(str(name) for name in self.ids[self.order[:count]])

    def found(self, known: Iterable[str | int]) -> NDArray[np.float64]:
        """Recall: the share of the `known` rows among the first 1, 2, ..., n; (n,).

        Raises:
            InputError: none is known, or one is not ranked.
        """
        wanted = {str(name) for name in known}
        hit = np.isin(keyed.keys_of(self.ids), keyed.keys_of(wanted))
        if not wanted or hit.sum() != len(wanted):
            raise InputError(f"{len(wanted)} rows are said to be known, and {hit.sum()} of them are ranked.")
        return np.cumsum(hit[self.order]) / len(wanted)

    def average_precision(self, known: Iterable[str | int]) -> float:
        """The mean, over the known rows, of the precision at each of them: 1 where they come first."""
        recall = self.found(known)
        steps = np.diff(recall, prepend=0.0)
        count = np.round(recall / recall[-1] * (steps > 0).sum())
        return float(np.sum(steps * count / np.arange(1, len(recall) + 1)))
