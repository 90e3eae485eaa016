"""Counts of levels by class: what leaves is not listed, and no more can leave than came."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge import record
from expunge.maths.level_counts import LevelCounts

TEXT = np.dtypes.StringDType()
seen = st.lists(st.tuples(st.sampled_from(["b", "a", "ä", "", "nan", "z" * 30]), st.integers(0, 2)), max_size=15)


def of(rows: list[tuple[str, int]]) -> LevelCounts:
    groups = np.array([group for _, group in rows], dtype=np.int64)
    return LevelCounts.of(np.array([text for text, _ in rows], dtype=TEXT), groups, 3)


@given(kept=seen, gone=seen)
def test_levels_without_rows_are_not_listed(kept, gone) -> None:
    after = of(kept + gone) - of(gone)
    assert record.digest(after) == record.digest(of(kept[::-1]))
    assert after.levels == tuple(sorted({text for text, _ in kept} - {""}))
    assert after.counts.tolist() == [[kept.count((level, group)) for group in range(3)] for level in after.levels]
    assert record.digest(of(kept) + of(gone)) == record.digest(of(kept + gone))


def test_more_rows_cannot_leave_than_came() -> None:
    with pytest.raises(ValueError, match="More rows"):
        of([("a", 0)]) - of([("a", 1)])
