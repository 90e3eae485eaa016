"""Distances and products of pairs of rows, added up feature by feature in one order.

A pair's value depends on the two rows and on nothing else: not on which other rows stand in the block, nor on how many,
as it would in a matrix product of BLAS. So what is learned from it does not depend on rows that left.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
TILE = 256  # rows of `b` that stay in the nearest cache while every row of `a` passes


@numba.njit(nogil=True, cache=True)
def squared_distances(a: Matrix, bt: Matrix, out: Matrix) -> None:
    """Write sum_j (a_ij - b_rj)^2 into `out` (m, n); `a` (m, p), `bt` (p, n) the other rows transposed."""
    p, n = bt.shape
    for start in range(0, n, TILE):
        stop = min(n, start + TILE)
        for i in range(len(a)):
            for r in range(start, stop):
                out[i, r] = 0.0
            for j in range(p):
                value = a[i, j]
                for r in range(start, stop):
                    gap = value - bt[j, r]
                    out[i, r] += gap * gap


@numba.njit(nogil=True, cache=True)
def absolute_distances(a: Matrix, bt: Matrix, out: Matrix) -> None:
    """Write sum_j |a_ij - b_rj| into `out` (m, n); `a` (m, p), `bt` (p, n) the other rows transposed."""
    p, n = bt.shape
    for start in range(0, n, TILE):
        stop = min(n, start + TILE)
        for i in range(len(a)):
            for r in range(start, stop):
                out[i, r] = 0.0
            for j in range(p):
                value = a[i, j]
                for r in range(start, stop):
                    out[i, r] += abs(value - bt[j, r])


@numba.njit(nogil=True, cache=True)
def products(a: Matrix, bt: Matrix, out: Matrix) -> None:
    """Write sum_j a_ij b_rj into `out` (m, n); `a` (m, p), `bt` (p, n) the other rows transposed."""
    p, n = bt.shape
    for start in range(0, n, TILE):
        stop = min(n, start + TILE)
        for i in range(len(a)):
            for r in range(start, stop):
                out[i, r] = 0.0
            for j in range(p):
                value = a[i, j]
                for r in range(start, stop):
                    out[i, r] += value * bt[j, r]


@numba.njit(nogil=True, cache=True)
def keep_smallest(values: Matrix, first: int, best: Matrix, where: Any) -> None:
    """Put what is smaller into the sorted `best` (m, k), and `first` + its column into `where`; ties: the earlier."""
    k = best.shape[1]
    for i in range(len(values)):
        for r in range(values.shape[1]):
            value = values[i, r]
            if value < best[i, k - 1]:
                place = k - 1
                while place > 0 and best[i, place - 1] > value:
                    best[i, place], where[i, place] = best[i, place - 1], where[i, place - 1]
                    place -= 1
                best[i, place], where[i, place] = value, first + r


def plain_squared_distances(a: Matrix, bt: Matrix, out: Matrix) -> None:
    """The twin of `squared_distances` in numpy: the same sums in the same order."""
    out[:] = 0.0
    for j, row in enumerate(bt):
        gap = a[:, j, None] - row
        out += gap * gap


def plain_absolute_distances(a: Matrix, bt: Matrix, out: Matrix) -> None:
    """The twin of `absolute_distances` in numpy."""
    out[:] = 0.0
    for j, row in enumerate(bt):
        out += np.abs(a[:, j, None] - row)


def plain_products(a: Matrix, bt: Matrix, out: Matrix) -> None:
    """The twin of `products` in numpy."""
    out[:] = 0.0
    for j, row in enumerate(bt):
        out += a[:, j, None] * row


def plain_keep_smallest(values: Matrix, first: int, best: Matrix, where: Any) -> None:
    """The twin of `keep_smallest` in numpy: a stable sort of both."""
    k = best.shape[1]
    joined = np.concatenate([best, values], axis=1)
    places = np.concatenate([where, np.broadcast_to(first + np.arange(values.shape[1]), values.shape)], axis=1)
    order = np.argsort(joined, axis=1, kind="stable")[:, :k]
    best[:], where[:] = np.take_along_axis(joined, order, 1), np.take_along_axis(places, order, 1)
