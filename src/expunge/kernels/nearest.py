"""Squared distances of rows to centres, each row by itself: one loop over the columns, from the first to the last.

A matrix product would be faster and would not do: BLAS adds in an order that depends on the shapes, so a row's distance
would change in its last bit when other rows leave. Here a row's numbers are a function of that row and the centres.
The inner loop runs over the centres, whose sums are independent of each other, so it can be vectorised as it stands.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def nearest(x: Floats, centres: Floats) -> Ints:
    """The centre nearest to each row, (n,); of equally near ones the first.

    Args:
        x: rows (n, p). centres: (k, p), k at least 1 where there is a row.
    """
    _check(x, centres)
    codes = np.empty(len(x), dtype=np.int64)
    _nearest(np.ascontiguousarray(x), np.ascontiguousarray(centres.T), codes)
    return codes


def square_distances(x: Floats, centres: Floats) -> Floats:
    """The squared distance of each row to each centre, (n, k)."""
    _check(x, centres)
    squares = np.empty((len(x), len(centres)))
    _square_distances(np.ascontiguousarray(x), np.ascontiguousarray(centres.T), squares)
    return squares


def square_distances_in_numpy(x: Floats, centres: Floats) -> Floats:
    """`square_distances`, bit for bit."""
    squares = np.zeros((len(x), len(centres)))
    for j in range(x.shape[1]):
        apart = x[:, j, None] - centres[None, :, j]
        squares += apart * apart
    return squares


def nearest_in_numpy(x: Floats, centres: Floats) -> Ints:
    """`nearest`, number for number."""
    if not len(x):
        return np.empty(0, dtype=np.int64)
    return np.asarray(square_distances_in_numpy(x, centres).argmin(axis=1), dtype=np.int64)


def _check(x: Floats, centres: Floats) -> None:
    """Compiled code looks at no bounds."""
    if x.shape[1] != centres.shape[1]:
        raise ValueError(f"Rows of {x.shape[1]} numbers and centres of {centres.shape[1]} have no distance.")


@njit(cache=True, nogil=True, error_model="numpy")
def _nearest(x: Any, transposed: Any, codes: Any) -> None:
    rows, columns = x.shape
    count = transposed.shape[1]
    squares = np.empty(count)
    for i in range(rows):
        squares[:] = 0.0
        for j in range(columns):
            value = x[i, j]
            for k in range(count):
                apart = value - transposed[j, k]
                squares[k] += apart * apart
        best = 0
        for k in range(1, count):
            if squares[k] < squares[best]:
                best = k
        codes[i] = best


@njit(cache=True, nogil=True, error_model="numpy")
def _square_distances(x: Any, transposed: Any, squares: Any) -> None:
    rows, columns = x.shape
    count = transposed.shape[1]
    for i in range(rows):
        squares[i, :] = 0.0
        for j in range(columns):
            value = x[i, j]
            for k in range(count):
                apart = value - transposed[j, k]
                squares[i, k] += apart * apart
