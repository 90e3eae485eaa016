"""Rows kept in buckets: equal to keeping what is left, in any order, and erased where they leave."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expunge.errors import DuplicateRows, InputError
from expunge.learners.kept_rows import LARGEST, bucketed, in_order, measurable, size, with_rows, without
from expunge.record import digest
from expunge.rows import Rows


def some_rows(n: int = 40, seed: int = 0) -> Rows:
    generator = np.random.default_rng(seed)
    return Rows.of(generator.normal(size=(n, 2)), np.arange(n) % 3, classes=3)


ROWS = some_rows()


@settings(max_examples=40)
@given(
    st.lists(st.sets(st.integers(0, 38), min_size=1, max_size=12), min_size=1, max_size=4),
    st.integers(1, 9),
    st.integers(1, 5),
)
def test_leaving_and_coming_back_in_any_order_gives_the_same_buckets(
    steps: list[set[int]], capacity: int, back: int
) -> None:
    kept, gone = bucketed(ROWS, capacity), set[int]()
    for step in steps:
        now = sorted(step - gone)
        if now:
            kept = without(kept, ROWS.only(now).keys, capacity)
        gone |= step
        assert digest(kept) == digest(bucketed(ROWS.without(gone), capacity))
    returning = sorted(gone)[:back]
    kept = with_rows(kept, ROWS.only(returning), capacity)
    stays = gone - set(returning)
    assert digest(kept) == digest(bucketed(ROWS.without(stays) if stays else ROWS, capacity))
    assert size(kept) == 40 - len(stays)


def test_one_row_touches_one_bucket_and_its_bytes_are_erased() -> None:
    rows = some_rows(400)
    before = bucketed(rows, 32)
    after = without(before, rows.only([7]).keys, 32)
    same = [name for name in after if name in before and after[name] is before[name]]
    assert len(before) - len(same) <= 2
    value = rows.columns["x"][7].tobytes()
    assert any(value in bucket.x.numpy().tobytes() for bucket in before.values())
    assert not any(value in bucket.x.numpy().tobytes() for bucket in after.values())
    # not even in the memory behind the tensors
    assert all(bucket.x.untyped_storage().nbytes() == bucket.x.numel() * 8 for bucket in after.values())


def test_a_bucket_and_its_sibling_become_one_where_both_fit() -> None:
    rows, capacity = some_rows(), 39
    assert len(bucketed(rows, capacity)) >= 2
    after = without(bucketed(rows, capacity), rows.only([0]).keys, capacity)
    assert list(after) == [""]
    assert digest(after) == digest(bucketed(rows.without([0]), capacity))


def test_rows_stand_in_the_order_of_their_keys() -> None:
    kept = in_order(bucketed(ROWS, 4))
    assert kept.keys.tolist() == sorted(ROWS.keys.tolist())


def test_unknown_and_double_rows_are_refused() -> None:
    kept = bucketed(ROWS, 4)
    other = Rows.of(np.zeros((1, 2)), [0], ids=["stranger"], classes=3)
    for capacity in (4, 64):
        with pytest.raises(InputError, match="never learned, or is gone"):
            without(bucketed(ROWS, capacity), other.keys, capacity)
    with pytest.raises(DuplicateRows, match="Give new rows new ids"):
        with_rows(kept, ROWS.only([3]), 4)


def test_numbers_whose_squares_overflow_are_refused_and_negative_zero_is_zero() -> None:
    with pytest.raises(InputError, match="scale the columns"):
        measurable({"x": np.array([[2 * LARGEST]])})
    assert not np.signbit(measurable({"x": np.array([[-0.0]])}).numpy()).any()
