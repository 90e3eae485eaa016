"""Buckets are a function of the set of keys."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from expunge.maths.key_buckets import bits, buckets_of, holder, home, joined

HIGH = 1 << 63


def named(keys: list[int], capacity: int) -> dict[str, list[int]]:
    ordered = np.array(sorted(keys), dtype=np.uint64)
    return {name: ordered[part].tolist() for name, part in buckets_of(ordered, capacity)}


def test_worked_example() -> None:
    keys = [0, 1 << 62, HIGH, HIGH + 1, HIGH + (1 << 62)]
    assert named(keys, 5) == {"": keys}
    assert named(keys, 3) == {"0": keys[:2], "1": keys[2:]}
    assert named(keys, 2) == {"0": keys[:2], "10": keys[2:4], "11": keys[4:]}


@settings(max_examples=60)
@given(st.sets(st.one_of(st.integers(0, 40), st.integers(0, 2**64 - 1)), max_size=40), st.integers(1, 6))
def test_every_key_is_in_one_bucket_that_is_small_enough_and_no_smaller_than_it_must(
    keys: set[int], capacity: int
) -> None:
    found = named(list(keys), capacity)
    assert sorted(key for part in found.values() for key in part) == sorted(keys)
    names = sorted(found)
    for name, part in found.items():
        assert 0 < len(part) <= capacity
        assert all(bits(key).startswith(name) and holder(names, key) == name for key in part)
        above = [key for key in keys if name and bits(key).startswith(name[:-1])]
        assert not name or len(above) > capacity
        assert joined({n: len(p) for n, p in found.items()}, name, capacity) == name


def test_a_key_without_a_bucket_gets_the_shortest_name() -> None:
    names = ["000", "01", "1110"]
    assert holder(names, int("0010".ljust(64, "0"), 2)) is None
    assert home(names, int("0010".ljust(64, "0"), 2)) == "001"
    assert home(names, int("10".ljust(64, "0"), 2)) == "10"
    assert home([], 5) == ""
