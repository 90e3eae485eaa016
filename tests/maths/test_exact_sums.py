"""Exact sums equal sums of fractions, round once, and keep nothing of what was added and taken away again."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expunge import record
from expunge.errors import InputError
from expunge.maths import exact_sums
from expunge.maths.exact_sums import CHUNK_ROWS, ExactSums

EDGES = [0.0, -0.0, 5e-324, -5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, -1.7976931348623157e308, 0.1]
numbers = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from(EDGES)
middling = st.floats(-1e9, 1e9) | st.floats(width=32, min_value=-1e4, max_value=1e4)


def columns_of(elements):
    return st.integers(1, 3).flatmap(lambda p: st.lists(st.lists(elements, min_size=p, max_size=p), max_size=12))


def array(rows, p=None) -> np.ndarray:
    return np.array(rows, dtype=np.float64).reshape(len(rows), -1 if rows else (p or 1))


def fractions(exact: ExactSums) -> list[Fraction]:
    return [Fraction(number, 2**2148) for number in exact.integers(-2148)]


def total(terms) -> Fraction:
    return sum(terms, Fraction(0))


def nearest(exact: Fraction) -> float:
    return exact.numerator / exact.denominator  # Python rounds the quotient of integers correctly


@settings(max_examples=20)
@given(columns_of(numbers))
def test_sums_squares_and_products_are_those_of_fractions(rows) -> None:
    x = array(rows)
    exact = [[Fraction(v) for v in row] for row in x.tolist()]
    p = range(x.shape[1])
    assert fractions(exact_sums.sums(x)) == [total(row[j] for row in exact) for j in p]
    assert fractions(exact_sums.squares(x)) == [total(row[j] ** 2 for row in exact) for j in p]
    gram = [total(row[i] * row[j] for row in exact) for i in p for j in p]
    assert fractions(exact_sums.gram(x)) == fractions(exact_sums.products(x, x)) == gram


@settings(max_examples=20)
@given(columns_of(numbers), st.integers(1, 4), st.randoms(use_true_random=False))
def test_sums_by_groups_are_those_of_each_group(rows, count, random) -> None:
    x = array(rows)
    groups = np.array([random.randrange(count) for _ in rows], dtype=np.int64)
    for of in (exact_sums.sums, exact_sums.squares, exact_sums.gram):
        parts = of(x, groups, count)
        for group in range(count):
            assert record.digest(parts[group]) == record.digest(of(x[groups == group]))
        assert record.digest(parts.sum(0)) == record.digest(of(x))


@settings(max_examples=20)
@given(kept=columns_of(numbers), gone=columns_of(numbers))
def test_what_is_taken_away_leaves_no_trace(kept, gone) -> None:
    x = array(kept)
    other = np.resize(array(gone), (len(gone), x.shape[1]))
    for of in (exact_sums.sums, exact_sums.squares, exact_sums.gram):
        clean = record.digest(of(x))
        assert record.digest(of(np.concatenate([other, x])) - of(other)) == clean
        assert record.digest(of(x[::-1]) + of(other) - of(other)) == clean
        assert record.digest(of(other) + of(x) - of(other)) == clean


@given(columns_of(numbers), st.integers(1, 2**42 - 1))
def test_quotients_are_rounded_once(rows, count) -> None:
    exact = exact_sums.sums(array(rows))
    assert (exact.over(1000) * 1.0).tolist() == [nearest(f / 1000) for f in fractions(exact)]
    try:
        expected = [nearest(f / count) for f in fractions(exact)]
    except OverflowError:
        with pytest.raises(InputError, match="beyond the largest"):
            exact.over(count)
    else:
        assert exact.over(count).tolist() == expected


@given(st.integers(-(2**200), 2**200) | st.integers(-(2**59), 2**59), st.integers(-1200, 900))
def test_rounding_is_to_the_nearest_even_also_of_subnormal_numbers(number, power) -> None:
    value = Fraction(number) * Fraction(2) ** power
    digits, rest = [], number  # any digits will do: `_canonical` carries them
    while rest:
        digits.append(rest % 2**20)
        rest = (rest - rest % 2**20) >> 20 if rest > 0 or rest < -1 else 0
        if rest == -1:
            digits.append(-1)
            rest = 0
    wide = np.array(digits, dtype=np.int64).reshape(-1, 1) * (1 << power % 20)
    exact = exact_sums._canonical(wide, power // 20)
    try:
        expected = nearest(value)
    except OverflowError:
        with pytest.raises(InputError, match="beyond the largest"):
            exact.rounded()
    else:
        assert exact.rounded().tolist() == [expected]


def test_halves_go_to_even_and_one_bit_far_below_decides() -> None:
    one = ExactSums.of([1.0, 1.0 + 2**-52, 1.0, 1.0])
    half = ExactSums.of([2.0**-53] * 4)
    tiny = ExactSums.of([0.0, 0.0, 5e-324, -5e-324])
    assert (one + half + tiny).rounded().tolist() == [1.0, 1 + 2**-51, 1 + 2**-52, 1.0]
    assert ExactSums.of(2**53 + 1).over(3) == 3002399751580331.0  # 2^53 / 3 is half a unit less


@settings(max_examples=40)
@given(columns_of(middling))
def test_exact_numbers_multiply_exactly_and_broadcast(rows) -> None:
    x = array(rows)
    sums, squares = exact_sums.sums(x), exact_sums.squares(x)
    n = ExactSums.of(np.int64(len(x)))
    spread = fractions(n * squares - sums * sums)
    assert spread == [len(x) * s - t * t for s, t in zip(fractions(squares), fractions(sums), strict=True)]
    assert all(value >= 0 for value in spread)
    outer = sums[:, None] * sums[None, :]
    assert fractions(outer) == [a * b for a in fractions(sums) for b in fractions(sums)]
    assert record.digest(ExactSums.of(x).transposed_times(ExactSums.of(x))) == record.digest(exact_sums.gram(x))


@given(st.lists(st.integers(-(2**62), 2**62), min_size=1, max_size=5))
def test_integers_and_floats_are_themselves(values) -> None:
    exact = ExactSums.of(np.array(values, dtype=np.int64))
    assert exact.integers(0) == values
    assert ExactSums.of(np.array(values, dtype=np.float64)).rounded().tolist() == [float(v) for v in values]


def test_chunks_of_the_largest_digits_do_not_round() -> None:
    n = 2 * CHUNK_ROWS + 3
    largest = float(2**20 - 1)
    x = np.full((n, 2), largest + largest * 2**-20)  # both digits at their largest
    x[:, 1] *= -1
    square = Fraction(float(x[0, 0])) ** 2
    assert fractions(exact_sums.gram(x)) == [n * square, -n * square, -n * square, n * square]
    assert fractions(exact_sums.products(x, x[:, :1])) == [n * square, -n * square]
    assert fractions(exact_sums.squares(x, np.zeros(n, dtype=np.int64), 1)) == [n * square, n * square]
    assert fractions(exact_sums.sums(x)) == [n * Fraction(float(v)) for v in x[0]]


def test_thousands_of_additions_and_removals_in_any_order_end_at_the_same_bytes() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3000, 3)) * 2.0 ** rng.integers(-40, 40, size=(3000, 3))
    clean = exact_sums.gram(x[2900:])
    for order in (rng.permutation(2900), np.arange(2900)):
        left = exact_sums.gram(x)
        for row in order[:600]:
            left = left - exact_sums.gram(x[row : row + 1])
        left = left - exact_sums.gram(x[order[600:]])
        assert record.digest(left) == record.digest(clean)


def test_a_huge_row_that_left_is_not_in_the_form() -> None:
    x = np.array([[1.0, 2.0], [1e300, 3e-300], [0.5, 0.25]])
    left = exact_sums.gram(x) - exact_sums.gram(x[1:2])
    assert left.digits.shape == exact_sums.gram(x[[0, 2]]).digits.shape
    assert len(left.digits) == 2
    nothing = left - exact_sums.gram(x[[2, 0]])
    assert record.digest(nothing) == record.digest(ExactSums.zeros(2, 2))
    assert nothing.rounded().tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_cancellation_loses_nothing_and_overflow_is_refused() -> None:
    assert exact_sums.sums(np.array([1e308, 1e308, 1.0, -1e308, -1e308])).rounded() == 1.0
    assert exact_sums.sums(np.array([1.7e308, 1.7e308])).over(2) == 1.7e308
    with pytest.raises(InputError, match="scale the columns"):
        exact_sums.sums(np.array([1.7e308, 1.7e308])).rounded()
    with pytest.raises(InputError, match="finite"):
        exact_sums.sums(np.array([1.0, np.nan]))
    with pytest.raises(InputError, match="finite"):
        ExactSums.of([np.inf])
    with pytest.raises(InputError, match="62 bits"):
        ExactSums.of(np.array([2**63], dtype=np.uint64))
    with pytest.raises(ValueError, match="counts"):
        exact_sums.sums(np.ones(3)).over(0)
    with pytest.raises(ValueError, match="shapes"):
        exact_sums.sums(np.ones((3, 1))) - exact_sums.sums(np.ones((3, 2)))


def test_exact_sums_survive_storage() -> None:
    for exact in (exact_sums.gram(np.array([[1e-300, 3.0]])), ExactSums.zeros(2, 2), ExactSums.of(5)):
        tree, tensors = record.encode(exact)
        again = record.decode(tree, tensors)
        assert record.digest(again) == record.digest(exact)
        assert again.integers(-2148) == exact.integers(-2148)
