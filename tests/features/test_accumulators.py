"""Accumulators are exact: they equal sums of fractions, and taking rows out leaves no trace of them."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge import record
from expunge.features.accumulators import Levels, Moments
from expunge.maths.exact_sums import CHUNK_ROWS

numbers = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from(
    [0.0, -0.0, 5e-324, -5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, -1.7976931348623157e308, 1.0, 0.1]
)
values = st.lists(numbers | st.just(float("nan")), max_size=30)


def of(xs: list[float]) -> Moments:
    return Moments.of(np.array(xs, dtype=np.float64))


@given(values)
def test_sums_are_those_of_fractions(xs: list[float]) -> None:
    moments = of(xs)
    exact = [Fraction(x) for x in xs if x == x]
    assert moments.count == len(exact)
    assert moments.missing == len(xs) - len(exact)
    assert Fraction(moments.total, 2**1074) == sum(exact)
    assert Fraction(moments.squares, 2**2148) == sum(x * x for x in exact)


@given(kept=values, gone=values)
def test_taking_rows_out_leaves_the_accumulator_of_the_others(kept: list[float], gone: list[float]) -> None:
    after = of(kept + gone) - of(gone)
    assert after == of(kept) == of(kept[::-1])
    assert record.digest(after) == record.digest(of(kept))
    assert np.float64(after.mean).tobytes() == np.float64(of(kept).mean).tobytes()
    assert np.float64(after.std).tobytes() == np.float64(of(kept).std).tobytes()
    assert of(kept) + of(gone) == of(gone) + of(kept) == of(kept + gone)


@given(st.lists(numbers, min_size=1, max_size=20))
def test_mean_is_correctly_rounded(xs: list[float]) -> None:
    exact = sum(map(Fraction, xs)) / len(xs)
    assert of(xs).mean == exact.numerator / exact.denominator


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20))
def test_std_is_the_root_of_the_exact_variance(xs: list[float]) -> None:
    exact = [Fraction(x) for x in xs]
    mean = sum(exact) / len(xs)
    variance = sum((x - mean) ** 2 for x in exact) / len(xs)
    found = Fraction(of(xs).std)
    slack = Fraction(1, 2**52)
    assert found**2 <= variance * (1 + slack) ** 2 + Fraction(1, 2**2100)
    assert found**2 >= variance * (1 - slack) ** 2 - Fraction(1, 2**2100)


@given(x=numbers, n=st.integers(1, 9))
def test_a_constant_column_has_no_spread(x: float, n: int) -> None:
    assert of([x] * n).std == 0
    assert of([x] * n).mean == x


def test_cancellation_loses_nothing() -> None:
    assert of([1e300, 1.0, -1e300]).mean == 1 / 3
    assert of([1e8 + 1, 1e8 - 1] * 1000).std == 1.0
    assert (of([1e300, 5e-324]) - of([1e300])).mean == 5e-324


def test_many_chunks_add_up() -> None:
    xs = np.random.default_rng(0).normal(size=3 * CHUNK_ROWS + 5)
    xs[0] = 1.5  # all limbs of one chunk at their largest
    largest = np.full(CHUNK_ROWS, np.nextafter(2.0, 0))
    moments = Moments.of(np.concatenate([xs, largest]))
    exact = sum(map(Fraction, xs.tolist())) + CHUNK_ROWS * Fraction(float(largest[0]))
    squares = sum(Fraction(x) ** 2 for x in xs.tolist()) + CHUNK_ROWS * Fraction(float(largest[0])) ** 2
    assert Fraction(moments.total, 2**1074) == exact
    assert Fraction(moments.squares, 2**2148) == squares


def test_more_rows_cannot_leave_than_came() -> None:
    with pytest.raises(ValueError, match="More rows"):
        of([1.0]) - of([1.0, 2.0])
    with pytest.raises(ValueError, match="More rows"):
        Levels.of(["a"]) - Levels.of(["b"])


texts = st.lists(st.sampled_from(["a", "b", "ä", "None", "", "nan", "z" * 40]), max_size=20)


@given(kept=texts, gone=texts)
def test_levels_without_rows_are_not_listed(kept: list[str], gone: list[str]) -> None:
    after = Levels.of(kept + gone) - Levels.of(gone)
    assert after == Levels.of(kept)
    assert record.digest(after) == record.digest(Levels.of(kept[::-1]))
    assert after.vocabulary == tuple(sorted(set(kept) - {""}))
    assert all(count == kept.count(level) for level, count in after.counts.items())


def test_accumulators_survive_storage() -> None:
    for part in (of([1e308, -5e-324, 3.0]), Levels.of(["b", "a"])):
        tree, tensors = record.encode(part)
        assert record.decode(tree, tensors) == part
