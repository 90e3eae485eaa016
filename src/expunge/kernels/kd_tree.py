"""A balanced k-d tree with exact bounds: the nearest few of every point, to the last bit of what a plain loop finds.

Squared distances are added up column by column, from the first to the last. The bound of a box adds the gaps to its
sides in the same order, and rounding is monotone, so in floating point too no point of a box is nearer than its bound.
Node v has the children 2v + 1 and 2v + 2; its points are `order[spans[v, 0]:spans[v, 1]]`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEAF = 32  # points at most in a box that is not divided


@dataclass(frozen=True, eq=False)
class Tree:
    """`points` (n, d) in the order of the leaves, boxes `low`, `high` (nodes, d), `spans` (nodes, 2).

    `order` (n,): which of the points given stands where.
    """

    points: Floats
    order: Ints
    low: Floats
    high: Floats
    spans: Ints


def tree_of(points: Floats) -> Tree:
    """The tree of points (n, d), n and d at least 1."""
    n, d = points.shape
    depth = 0
    while (n + (1 << depth) - 1) >> depth > LEAF:
        depth += 1
    nodes = (2 << depth) - 1
    order, spans = np.arange(n), np.zeros((nodes, 2), dtype=np.int64)
    low, high = np.empty((nodes, d)), np.empty((nodes, d))
    _divide(np.ascontiguousarray(points), order, spans, low, high)
    return Tree(np.ascontiguousarray(points[order]), order, low, high, spans)


def nearest_few(tree: Tree, few: int) -> tuple[Ints, Floats]:
    """For each point of `tree.points` the `few` nearest others, (n, few), and their squared distances, ascending.

    Which of several at the last distance are listed is left open; `few` is at most n - 1.
    """
    n = len(tree.points)
    who, far = np.zeros((n, few), dtype=np.int64), np.empty((n, few))
    if few:
        _nearest_few(tree.points, tree.low, tree.high, tree.spans, who, far)
    return who, far


def nearest_few_in_numpy(tree: Tree, few: int) -> Floats:
    """The distances of `nearest_few`, bit for bit."""
    squares = squares_in_numpy(tree.points)
    np.fill_diagonal(squares, np.inf)
    return np.sort(squares, axis=1)[:, :few]


def squares_in_numpy(points: Floats) -> Floats:
    """Squared distances of points (n, d) to each other, (n, n), added up column by column."""
    squares = np.zeros((len(points), len(points)))
    for column in points.T:
        squares += np.square(column[:, None] - column[None, :])
    return squares


@njit(cache=True, nogil=True, error_model="numpy")
def _divide(points: Any, order: Any, spans: Any, low: Any, high: Any) -> None:
    nodes, d = low.shape
    spans[0, 0], spans[0, 1] = 0, len(order)
    for v in range(nodes):
        start, stop = spans[v]
        for k in range(d):
            low[v, k], high[v, k] = np.inf, -np.inf
        for i in range(start, stop):
            for k in range(d):
                value = points[order[i], k]
                low[v, k] = min(low[v, k], value)
                high[v, k] = max(high[v, k], value)
        if 2 * v + 2 < nodes:
            middle = (start + stop) // 2
            widest, width = 0, -1.0
            for k in range(d):
                if high[v, k] - low[v, k] > width:
                    widest, width = k, high[v, k] - low[v, k]
            if stop - start > 1:
                _select(points, order, start, stop - 1, middle, widest)
            spans[2 * v + 1, 0], spans[2 * v + 1, 1] = start, middle
            spans[2 * v + 2, 0], spans[2 * v + 2, 1] = middle, stop


@njit(cache=True, nogil=True, error_model="numpy")
def _select(points: Any, order: Any, left: int, right: int, middle: int, k: int) -> None:
    """Hoare's selection: the smaller half by column k before `middle`."""
    while left < right:
        pivot = points[order[(left + right) // 2], k]
        i, j = left, right
        while i <= j:
            while points[order[i], k] < pivot:
                i += 1
            while points[order[j], k] > pivot:
                j -= 1
            if i <= j:
                order[i], order[j] = order[j], order[i]
                i += 1
                j -= 1
        if middle <= j:
            right = j
        elif middle >= i:
            left = i
        else:
            return


@njit(cache=True, nogil=True, error_model="numpy")
def box_bound(point: Any, low: Any, high: Any) -> Any:
    """No point of the box from `low` to `high` (d,) is nearer to `point` (d,) than this, squared."""
    bound = 0.0
    for k in range(len(point)):
        gap = max(low[k] - point[k], point[k] - high[k], 0.0)
        bound += gap * gap
    return bound


@njit(cache=True, nogil=True, error_model="numpy")
def open_box(point: Any, low: Any, high: Any, v: int, stack: Any, bounds: Any, top: int) -> None:
    """Put both halves of box v on the stack, at `top` and above, the nearer one on top."""
    one = box_bound(point, low[2 * v + 1], high[2 * v + 1])
    two = box_bound(point, low[2 * v + 2], high[2 * v + 2])
    first = 1 if one <= two else 2
    stack[top], bounds[top] = 2 * v + 3 - first, max(one, two)
    stack[top + 1], bounds[top + 1] = 2 * v + first, min(one, two)


@njit(cache=True, nogil=True, error_model="numpy")
def _nearest_few(points: Any, low: Any, high: Any, spans: Any, who: Any, far: Any) -> None:
    n, d = points.shape
    nodes, few = len(spans), who.shape[1]
    stack, bounds = np.empty(128, dtype=np.int64), np.empty(128)
    for g in range(n):
        near, names = far[g], who[g]
        near[:] = np.inf
        top = 1
        stack[0], bounds[0] = 0, 0.0
        while top:
            top -= 1
            v = stack[top]
            if bounds[top] >= near[few - 1]:
                continue
            if 2 * v + 2 < nodes:
                open_box(points[g], low, high, v, stack, bounds, top)
                top += 2
                continue
            for h in range(spans[v, 0], spans[v, 1]):
                square = 0.0
                for k in range(d):
                    gap = points[g, k] - points[h, k]
                    square += gap * gap
                if square >= near[few - 1] or h == g:
                    continue
                place = few - 1
                while place > 0 and near[place - 1] > square:
                    near[place], names[place] = near[place - 1], names[place - 1]
                    place -= 1
                near[place], names[place] = square, h
