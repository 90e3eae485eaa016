r"""Sums of floating-point numbers and of their products that are exact, and so can be undone.

Floating-point sums depend on their order, and subtracting a number does not undo adding it. Every float64 is an integer
times a power of two; here a sum is kept as such an integer, in digits of base 2^20,

    value = sum_k digits[k] 2^(20 (place + k)),    -2^19 <= digits[k] < 2^19,

Kulisch's long accumulator with its zeros left out. Adding and subtracting are exact and commute; the digits of a number
are unique, and places at which every entry is zero are trimmed at both ends, so the stored form is a function of the
multiset of what was added and of nothing else: not of the order, not of numbers that were there once. All of float64
is covered, subnormal numbers too, and no sum overflows.

Products are exact because digits are short: 8,192 products of two 20-bit numbers add up to less than 2^53, so BLAS adds
them in float64 without rounding. The cost is one matrix product for each pair of places that the rows of a chunk use
(float64 numbers of like size use four places, float32 two or three, whole numbers below a million one).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from expunge.errors import InputError
from expunge.maths.correct_rounding import (
    BASE_BITS,
    FEW_DIGITS,
    SMALLEST_NORMAL,
    magnitude,
    nearest,
    nearest_of_few,
)
from expunge.maths.digit_slices import product, slices

Array = NDArray[Any]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

CHUNK_ROWS = 1 << (53 - 2 * BASE_BITS)
_CHUNK_NUMBERS = 1 << 21  # memory, not exactness
_FEW = 64  # rows that are added up one by one: a sparse product would not pay
_HALF = 1 << (BASE_BITS - 1)
_LARGEST_DIVISOR = 1 << (62 - BASE_BITS)


@dataclass(frozen=True, eq=False)
class ExactSums:
    """An array of exact numbers, each an integer times 2^(20 place).

    Attributes:
        digits: (digits, *shape) int32, least significant first. place: of digits[0]; 0 where all is zero.
    """

    digits: Tensor
    place: int

    @classmethod
    def of(cls, values: ArrayLike) -> ExactSums:
        """The numbers themselves, of any shape: finite floats, or integers of at most 62 bits.

        Raises:
            InputError: a number is NaN or infinite, or an integer has more bits.
        """
        numbers = np.asarray(values)
        if numbers.dtype.kind in "iub":
            if numbers.size and not -(2**62) <= int(numbers.min()) <= int(numbers.max()) <= 2**62:
                raise InputError("Exact sums take integers of at most 62 bits; give larger ones as float64.")
            return _canonical(numbers.astype(np.int64)[None], 0)
        found = _Collected(numbers.shape)
        for place, where, digits in slices(numbers.astype(np.float64).reshape(1, -1)):
            if len(where):
                found.add(place, digits.reshape(numbers.shape))
        return found.exact()

    @classmethod
    def zeros(cls, *shape: int) -> ExactSums:
        """Sums of nothing."""
        return cls(torch.zeros((0, *shape), dtype=torch.int32), 0)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array of numbers."""
        return tuple(self.digits.shape[1:])

    def __add__(self, other: ExactSums) -> ExactSums:
        return _combined(self, other, 1)

    def __sub__(self, other: ExactSums) -> ExactSums:
        return _combined(self, other, -1)

    def __mul__(self, other: ExactSums) -> ExactSums:
        """Entry by entry, with numpy's broadcasting."""
        mine, theirs = _wide(self), _wide(other)
        shape = np.broadcast_shapes(self.shape, other.shape)
        out = np.zeros((max(len(mine) + len(theirs) - 1, 0), *shape), dtype=np.int64)
        for k, digit in enumerate(mine):
            for j, another in enumerate(theirs):
                out[k + j] += digit * another  # at most 220 places of 2^38: far from 2^63
        return _canonical(out, self.place + other.place)

    def transposed_times(self, other: ExactSums) -> ExactSums:
        """`sum_k a_k b_k'`, (p, q), of a (K, p) and b (K, q).

        Raises:
            ValueError: K is above 2^14: float64 would round the products of digits.
        """
        if self.shape[0] > 1 << 14:
            raise ValueError(f"At most 2^14 rows of exact sums can be multiplied; {self.shape[0]} were given.")
        found = _Collected((*self.shape[1:], *other.shape[1:]))
        theirs = other.digits.numpy().astype(np.float64)
        for k, mine in enumerate(self.digits.numpy().astype(np.float64)):
            for j, digits in enumerate(theirs):
                found.add(self.place + other.place + k + j, mine.T @ digits)
        return found.exact()

    def __getitem__(self, where: Any) -> ExactSums:
        """Some of the numbers, as numpy would index an array of them."""
        return _canonical(_wide(self)[(slice(None), *(where if isinstance(where, tuple) else (where,)))], self.place)

    def sum(self, axis: int = 0) -> ExactSums:
        """The sum along an axis."""
        return _canonical(_wide(self).sum(axis=axis + 1 if axis >= 0 else axis), self.place)

    def rounded(self) -> Floats:
        """The numbers in float64, each correctly rounded (half to even).

        Raises:
            InputError: a number is beyond the largest float64.
        """
        exponent = BASE_BITS * self.place
        if len(self.digits) <= FEW_DIGITS and exponent >= SMALLEST_NORMAL:
            return nearest_of_few(_wide(self), exponent)
        digits, negative = magnitude(_wide(self))
        return nearest(digits, exponent, negative, np.zeros(self.shape, dtype=bool))

    def over(self, counts: ArrayLike) -> Floats:
        """The quotients by positive integers (which broadcast), each correctly rounded: means, for instance.

        Raises:
            InputError: a quotient is beyond the largest float64. ValueError: a count is not in 1..2^42 - 1.
        """
        divisor = np.asarray(counts, dtype=np.int64)
        if divisor.size and not (divisor.min() >= 1 and divisor.max() < _LARGEST_DIVISOR):
            raise ValueError("Exact sums are divided by counts from 1 to 2^42 - 1.")
        shape = np.broadcast_shapes(self.shape, divisor.shape)
        digits, negative = magnitude(_wide(self))
        extra = 7  # places below the last one: three for the divisor's bits, four for those of the quotient
        quotient = np.zeros((len(digits) + extra, *shape), dtype=np.int64)
        rest = np.zeros(shape, dtype=np.int64)
        for k in range(len(quotient) - 1, -1, -1):
            rest = (rest << BASE_BITS) + (digits[k - extra] if k >= extra else 0)
            quotient[k], rest = rest // divisor, rest % divisor
        return nearest(quotient, BASE_BITS * (self.place - extra), np.broadcast_to(negative, shape), rest > 0)

    def integers(self, unit: int) -> list[int]:
        """The numbers, flattened, as Python integers in units of 2^unit, of which they must be multiples."""
        digits = _wide(self).reshape(len(self.digits), math.prod(self.shape))
        totals = [0] * digits.shape[1]
        for k in range(len(digits) - 1, -1, -1):
            totals = [(total << BASE_BITS) + digit for total, digit in zip(totals, digits[k].tolist(), strict=True)]
        shift = BASE_BITS * self.place - unit
        return [total << shift if shift >= 0 else total >> -shift for total in totals]


def sums(x: ArrayLike, groups: Ints | None = None, count: int = 1) -> ExactSums:
    """`sum_i x_i`, shape (...), of x (n, ...); by groups (n,) in [0, count), shape (count, ...).

    Raises:
        InputError: a number is NaN or infinite.
    """
    return _summed(x, groups, count, 1)


def squares(x: ArrayLike, groups: Ints | None = None, count: int = 1) -> ExactSums:
    """`sum_i x_i^2`, entry by entry; shapes as in `sums`.

    Raises:
        InputError: a number is NaN or infinite.
    """
    return _summed(x, groups, count, 2)


def gram(x: ArrayLike, groups: Ints | None = None, count: int = 1) -> ExactSums:
    """`sum_i x_i x_i'`, (p, p), of x (n, p); by groups (n,) in [0, count), shape (count, p, p).

    Raises:
        InputError: a number is NaN or infinite.
    """
    numbers = np.asarray(x, dtype=np.float64)
    p = numbers.shape[1]
    found = _Collected((count, p, p))
    for group, chunk in _chunks(numbers, groups, count):
        parts = list(slices(chunk))
        for k, left in enumerate(parts):
            found.add(2 * left[0], left[2].T @ left[2], group)
            for right in parts[k + 1 :]:
                both = product(left, right).astype(np.int64)
                found.add(left[0] + right[0], both + both.T, group)
    exact = found.exact()
    return exact[0] if groups is None else exact


def products(x: ArrayLike, y: ArrayLike) -> ExactSums:
    """`sum_i x_i y_i'`, (p, q), of x (n, p) and y (n, q).

    Raises:
        InputError: a number is NaN or infinite.
    """
    left, right = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    found = _Collected((left.shape[1], right.shape[1]))
    size = _chunk_rows(left.shape[1] + right.shape[1], CHUNK_ROWS)
    for start in range(0, len(left), size):
        others = list(slices(right[start : start + size]))
        for mine in slices(left[start : start + size]):
            for theirs in others:
                found.add(mine[0] + theirs[0], product(mine, theirs))
    return found.exact()


class _Collected:
    """Sums under way: integers of at most 54 bits by place, carried before 64 bits could overflow."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.total, self.pending, self.added = ExactSums.zeros(*shape), dict[int, Ints](), 0

    def add(self, place: int, numbers: Array, where: Any = ...) -> None:
        if self.added == 256:
            self.carry()
        if place not in self.pending:
            self.pending[place] = np.zeros(self.total.shape, dtype=np.int64)
        self.pending[place][where] += numbers.astype(np.int64)
        self.added += 1

    def carry(self) -> None:
        first, last = min(self.pending), max(self.pending)
        wide = np.zeros((last - first + 1, *self.total.shape), dtype=np.int64)
        for place, numbers in self.pending.items():
            wide[place - first] = numbers
        self.total, self.pending, self.added = self.total + _canonical(wide, first), {}, 0

    def exact(self) -> ExactSums:
        if self.pending:
            self.carry()
        return self.total


def _summed(x: ArrayLike, groups: Ints | None, count: int, power: int) -> ExactSums:
    numbers = np.asarray(x, dtype=np.float64)
    shape, flat = numbers.shape[1:], numbers.reshape(len(numbers), math.prod(numbers.shape[1:]))
    found = _Collected((count, flat.shape[1]))
    size = _chunk_rows(flat.shape[1], CHUNK_ROWS if power == 2 else _CHUNK_NUMBERS)
    for start in range(0, len(flat), size):
        codes = None if groups is None else groups[start : start + size]
        parts = list(slices(flat[start : start + size]))
        for k, (place, rows, digits) in enumerate(parts):
            if power == 1:
                found.add(place, _by_group(digits, None, rows, codes, count))
                continue
            found.add(2 * place, _by_group(digits, digits, rows, codes, count))
            for finer, finer_rows, others in parts[k + 1 :]:
                mine = digits if len(rows) == len(finer_rows) else digits[np.searchsorted(rows, finer_rows)]
                found.add(place + finer, 2 * _by_group(mine, others, finer_rows, codes, count).astype(np.int64))
    exact = found.exact()
    shaped = exact.digits.reshape(len(exact.digits), *(() if groups is None else (count,)), *shape)
    return ExactSums(shaped, exact.place)


def _by_group(digits: Floats, times: Floats | None, rows: Ints, codes: Ints | None, count: int) -> Floats:
    """Sums (count, p) of digits (m, p), or of their products, of these rows of a chunk; all partial sums below 2^53."""
    if codes is None:
        return np.asarray(digits.sum(0) if times is None else np.einsum("ij,ij->j", digits, times))[None]
    numbers = digits if times is None else digits * times
    if len(rows) < _FEW:
        found = np.zeros((count, numbers.shape[1]))
        np.add.at(found, codes[rows], numbers)
        return found
    from scipy.sparse import csr_array  # slow to import

    member = csr_array((np.ones(len(rows)), (codes[rows], np.arange(len(rows)))), shape=(count, len(rows)))
    return np.asarray(member @ numbers)


def _chunks(x: Floats, groups: Ints | None, count: int) -> Iterator[tuple[int, Floats]]:
    """The rows in pieces, each of one group, and its group."""
    size = _chunk_rows(x.shape[1], CHUNK_ROWS)
    if groups is None:
        yield from ((0, x[start : start + size]) for start in range(0, len(x), size))
        return
    order = np.argsort(groups, kind="stable")
    ends = np.searchsorted(groups[order], np.arange(count + 1))
    for group in range(count):
        members = order[ends[group] : ends[group + 1]]
        yield from ((group, x[members[start : start + size]]) for start in range(0, len(members), size))


def _chunk_rows(width: int, most: int) -> int:
    return max(1, min(most, _CHUNK_NUMBERS // max(width, 1)))


def _wide(exact: ExactSums) -> Ints:
    return exact.digits.numpy().astype(np.int64)


def _combined(a: ExactSums, b: ExactSums, sign: int) -> ExactSums:
    if a.shape != b.shape:
        raise ValueError(f"Exact sums of the shapes {a.shape} and {b.shape} do not add up.")
    if not len(b.digits):
        return a
    if not len(a.digits) and sign == 1:
        return b
    first = min(a.place, b.place) if len(a.digits) else b.place
    last = max(a.place + len(a.digits), b.place + len(b.digits))
    wide = np.zeros((last - first, *a.shape), dtype=np.int64)
    wide[a.place - first :][: len(a.digits)] += a.digits.numpy()
    wide[b.place - first :][: len(b.digits)] += sign * b.digits.numpy()
    return _canonical(wide, first)


def _canonical(wide: Ints, place: int) -> ExactSums:
    """Integers of at most 63 bits at each place as digits: carried upwards, zeros at both ends trimmed."""
    digits, carry = [], np.zeros(wide.shape[1:], dtype=np.int64)
    for total in wide:
        total = total + carry
        carry = (total + _HALF) >> BASE_BITS
        digits.append((total - (carry << BASE_BITS)).astype(np.int32))
    while carry.any():
        total = carry
        carry = (total + _HALF) >> BASE_BITS
        digits.append((total - (carry << BASE_BITS)).astype(np.int32))
    used = [k for k, digit in enumerate(digits) if digit.any()]
    if not used:
        return ExactSums.zeros(*wide.shape[1:])
    return ExactSums(torch.from_numpy(np.stack(digits[used[0] : used[-1] + 1])), place + used[0])
