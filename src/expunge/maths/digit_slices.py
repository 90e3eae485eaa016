"""Floating-point numbers as sums of short integers, whose products BLAS adds up without rounding."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from expunge.errors import InputError
from expunge.maths.correct_rounding import BASE_BITS

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

Slice = tuple[int, Ints, Floats]


def slices(x: Floats) -> Iterator[Slice]:
    """`x = sum_k digits_k 2^(20 place_k)`: (place, rows, digits (rows, p)), falling; integers below 2^20 in size.

    A slice holds the rows that have anything left below the slices before it, so its rows are among theirs.
    """
    if not np.isfinite(x).all():
        raise InputError("Exact sums need finite numbers; NaN or infinity was given. Fill or leave out such rows.")
    rows, rest = np.arange(len(x)), x
    while (left := (rest != 0).any(1)).any():
        if not left.all():
            rows, rest = rows[left], rest[left]
        place = (math.frexp(np.abs(rest).max())[1] - 1) // BASE_BITS
        digits = np.trunc(_scaled(rest, -BASE_BITS * place))
        yield place, rows, digits
        rest = rest - _scaled(digits, BASE_BITS * place)  # exact: both are multiples of the last bit of `rest`


def _scaled(x: Floats, power: int) -> Floats:
    """`x 2^power`; a product is quicker than ldexp, and as exact where 2^power and what matters of it are normal."""
    return x * 2.0**power if abs(power) < 900 else np.ldexp(x, power)


def product(left: Slice, right: Slice) -> Floats:
    """`left' right` over the rows of both."""
    if len(left[1]) == len(right[1]) and (left[1] is right[1] or np.array_equal(left[1], right[1])):
        return left[2].T @ right[2]
    _, mine, theirs = np.intersect1d(left[1], right[1], assume_unique=True, return_indices=True)
    return left[2][mine].T @ right[2][theirs]
