"""Sums of min(R_i, R_j) over each row i and its nearest other row j: all that CODEC and FOCI need of neighbours.

Where several rows are equally near, their mean is taken. A sum is a pair (whole, share) of integers, the number
whole + share / 2^52: integers add up to the same in any order, so the result depends neither on the order of the rows,
nor on how neighbours were found, nor on threads, and the numpy twin is equal bit for bit.

A candidate's column comes last in a squared distance, so the distance without it is a lower bound, in floating point
too: the search goes outwards by the columns that are in already and stops at the first bound beyond the best. Rows that
are distinct points are searched for many candidates at a time (the inner loop runs over candidates); rows that share
points, as on discrete data, by point: within one, equal and next values stand beside each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from expunge.kernels.kd_tree import Tree, open_box, squares_in_numpy

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Orders = NDArray[np.int32]
Sum = tuple[int, int]

SHARES = 1 << 52  # of one: the denominator of the second integer
LANES = 128  # candidates at most that are searched for together
TIE = 1 << 34  # one tie, above the sum of ranks in one number: exact in float64 for that many rows
MOST_IN_LANES = 1 << 17
LONG = 4096  # rows from which a scan along a line is faster
SEEDS = 4  # places to either side of a row on a line that are looked at first


@dataclass(frozen=True, eq=False)
class Given:
    """Rows by the columns that are in already.

    Attributes:
        tree: points (g, d): the distinct ones, or one for each row. place: (n,) the point of each row.
        starts: (g + 1,) the rows of point h are number `starts[h]` to `starts[h + 1]` in the order of their points.
        near: of distinct points, as `nearest_few` gives them; None where there is a point for each row.
    """

    tree: Tree
    place: Ints
    starts: Ints
    near: tuple[Ints, Floats] | None


def minima_on_lines(columns: Floats, orders: Orders, ranks: Ints) -> Ints:
    """The sum over each column by itself: (p, 2).

    Args:
        columns: (p, n). orders: (p, n) its rows by ascending value, and by rank where equal. ranks: (n,).
    """
    sums = np.empty((len(columns), 2), dtype=np.int64)
    _minima_on_lines(columns, orders, ranks, sums)
    return sums


def minima_of_candidates(given: Given, columns: Floats, orders: Orders, which: Ints, ranks: Ints) -> Ints:
    """The sum over the columns of `given` with one more after them, for each of the columns `which` (c,): (c, 2).

    Args:
        given: see `Given`. columns, orders, ranks: as for `minima_on_lines`; orders are not read where each row has a
            point of its own.
    """
    tree, sums = given.tree, np.empty((len(which), 2), dtype=np.int64)
    boxes = (tree.points, tree.low, tree.high, tree.spans)
    if given.near is None:
        rows = np.argsort(given.place)
        if tree.points.shape[1] == 1 and len(rows) >= LONG:
            rows = rows[np.argsort(tree.points[:, 0], kind="stable")]
            line = np.sort(tree.points[:, 0])
            _minima_beside_a_line(line, np.ascontiguousarray(columns[np.ix_(which, rows)]), ranks[rows], sums)
            return sums
        for some in np.array_split(np.arange(len(which)), -(-len(which) // LANES)):
            slab = np.ascontiguousarray(columns[np.ix_(which[some], rows)].T)
            _minima_in_lanes(*boxes, slab, ranks[rows], sums[some[0] : some[-1] + 1])
        return sums
    who, far = given.near
    few, others = far.shape[1], len(far) - 1
    reach = far[:, -1] if 0 < few < others else np.full(len(far), np.inf if few == others else -1.0)
    _minima_by_points(*boxes, given.place, given.starts, who, far, reach, columns, orders, which, ranks, sums)
    return sums


def minima_of_several(columns: Floats, ranks: Ints, several: int) -> Sum:
    """The sum over the `several` nearest rows, averaged; those at the last distance share what is left of the places.

    Args:
        columns: (d, n). ranks: (n,). several: from 1 to n - 1. Takes time n^2 d.
    """
    whole, share = _minima_of_several(np.ascontiguousarray(columns), ranks, several)
    return int(whole), int(share)


def minima_of_drawn(columns: Floats, ranks: Ints, draws: Floats) -> Sum:
    """The sum over one nearest row each: of c equally near ones, in the order of the rows, number floor(draw c).

    Args:
        columns: (d, n). ranks: (n,). draws: (n,) uniform in [0, 1). Takes time n^2 d.
    """
    return int(_minima_of_drawn(np.ascontiguousarray(columns), ranks, draws)), 0


def minima_in_numpy(columns: Floats, ranks: Ints, several: int = 1) -> Sum:
    """The twin of all sums above that average, from matrices (n, n)."""
    squares = squares_in_numpy(columns.T)
    np.fill_diagonal(squares, np.inf)
    last = np.sort(squares, axis=1)[:, several - 1, None]
    minima = np.minimum(ranks[:, None], ranks[None, :])
    below, at = squares < last, squares == last
    ties, left = at.sum(1), several - below.sum(1)
    count = several * ties
    quotient, rest = np.divmod((below * minima).sum(1) * ties + left * (at * minima).sum(1), count)
    share = int((rest / count * SHARES).astype(np.int64).sum())
    return int(quotient.sum()) + share // SHARES, share % SHARES


@njit(cache=True, nogil=True, error_model="numpy")
def _added(whole: int, share: int, total: int, count: int) -> Any:
    """The sum with total / count more."""
    if count == 1:
        return whole + total, share
    q = total // count
    share += int((total - q * count) / count * SHARES)
    if share >= SHARES:
        return whole + q + 1, share - SHARES
    return whole + q, share


@njit(cache=True, nogil=True, error_model="numpy")
def _among_equals(ranks: Any, start: int, stop: int, whole: int, share: int) -> Any:
    """The sum with the rows from `start` to `stop`, at distance 0 from each other, of ascending ranks."""
    below = 0
    for i in range(start, stop):
        whole, share = _added(whole, share, below + ranks[i] * (stop - 1 - i), stop - start - 1)
        below += ranks[i]
    return whole, share


@njit(cache=True, nogil=True, error_model="numpy")
def _beside(x: Any, ranks: Any, i: int, start: int, stop: int, far: float, best: float, total: int, count: int) -> Any:
    """The best with the rows before `i` (down to `start`) and from i on (up to `stop`) of a value x, ascending.

    `best` squared is that of `total` and `count`; `far` is added to each gap squared, `i` the place of the value.
    """
    value, rank = x[i], ranks[i]
    left = i - 1
    while left >= start:
        square = far + (value - x[left]) * (value - x[left])
        if square > best:
            break
        if square < best:
            best, total, count = square, 0, 0
        total += min(rank, ranks[left])
        count += 1
        left -= 1
    right = i + 1
    while right < stop:
        square = far + (value - x[right]) * (value - x[right])
        if square > best:
            break
        if square < best:
            best, total, count = square, 0, 0
        total += min(rank, ranks[right])
        count += 1
        right += 1
    return best, total, count


@njit(cache=True, nogil=True, error_model="numpy")
def _within(
    x: Any, ranks: Any, value: float, rank: int, start: int, stop: int, far: float, best: float, total: int, count: int
) -> Any:
    """`_beside` for a value that stands elsewhere: the rows from `start` to `stop` have ascending x."""
    low, high = start, stop
    while low < high:
        middle = (low + high) // 2
        if x[middle] < value:
            low = middle + 1
        else:
            high = middle
    left = low - 1
    while left >= start:
        square = far + (value - x[left]) * (value - x[left])
        if square > best:
            break
        if square < best:
            best, total, count = square, 0, 0
        total += min(rank, ranks[left])
        count += 1
        left -= 1
    while low < stop:
        square = far + (value - x[low]) * (value - x[low])
        if square > best:
            break
        if square < best:
            best, total, count = square, 0, 0
        total += min(rank, ranks[low])
        count += 1
        low += 1
    return best, total, count


@njit(cache=True, nogil=True, error_model="numpy")
def _minima_on_lines(columns: Any, orders: Any, ranks: Any, sums: Any) -> None:
    n = len(ranks)
    x, r = np.empty(n), np.empty(n, dtype=np.int64)
    for j in range(len(columns)):
        for i in range(n):
            x[i], r[i] = columns[j, orders[j, i]], ranks[orders[j, i]]
        whole, share, i = 0, 0, 0
        while i < n:
            stop = i + 1
            while stop < n and x[stop] == x[i]:
                stop += 1
            if stop - i > 1:
                whole, share = _among_equals(r, i, stop, whole, share)
            else:
                _, total, count = _beside(x, r, i, 0, n, 0.0, np.inf, 0, 0)
                whole, share = _added(whole, share, total, count)
            i = stop
        sums[j, 0], sums[j, 1] = whole, share


@njit(cache=True, nogil=True, error_model="numpy")
def _minima_beside_a_line(line: Any, columns: Any, ranks: Any, sums: Any) -> None:
    n = len(line)
    for j in range(len(columns)):
        x, whole, share = columns[j], 0, 0
        for g in range(n):
            here, value, rank, best = line[g], x[g], ranks[g], np.inf
            for h in range(max(0, g - SEEDS), min(n, g + SEEDS + 1)):
                square = (here - line[h]) * (here - line[h]) + (value - x[h]) * (value - x[h])
                if square < best and h != g:
                    best = square
            total, count = 0, 0
            for step in (-1, 1):
                h = g + step
                while 0 <= h < n:
                    far = (here - line[h]) * (here - line[h])
                    if far > best:
                        break
                    square = far + (value - x[h]) * (value - x[h])
                    if square <= best:
                        if square < best:
                            best, total, count = square, 0, 0
                        total += min(rank, ranks[h])
                        count += 1
                    h += step
            whole, share = _added(whole, share, total, count)
        sums[j, 0], sums[j, 1] = whole, share


@njit(cache=True, nogil=True, error_model="numpy")
def _minima_in_lanes(points: Any, low: Any, high: Any, spans: Any, slab: Any, ranks: Any, sums: Any) -> None:
    n, d = points.shape
    nodes, lanes = len(spans), slab.shape[1]
    stack, bounds = np.empty(128, dtype=np.int64), np.empty(128)
    best, held = np.empty(lanes), np.empty(lanes)
    sums[:] = 0
    for g in range(n):
        best[:], held[:] = np.inf, 0.0
        worst, top = np.inf, 1
        stack[0], bounds[0] = 0, 0.0
        while top:
            top -= 1
            v = stack[top]
            if bounds[top] > worst:
                continue
            if 2 * v + 2 < nodes:
                open_box(points[g], low, high, v, stack, bounds, top)
                top += 2
                continue
            for h in range(spans[v, 0], spans[v, 1]):
                far = 0.0
                for k in range(d):
                    gap = points[g, k] - points[h, k]
                    far += gap * gap
                if far <= worst and h != g:
                    _compared(slab, g, h, far, float(TIE + min(ranks[g], ranks[h])), best, held)
            worst = best[0]
            for j in range(1, lanes):
                worst = max(worst, best[j])
        for j in range(lanes):
            total = int(held[j])
            sums[j, 0], sums[j, 1] = _added(sums[j, 0], sums[j, 1], total % TIE, total // TIE)


@njit(cache=True, nogil=True, error_model="numpy")
def _compared(slab: Any, g: int, h: int, far: float, one: float, best: Any, held: Any) -> None:
    """Hold row h against the best of row g, for each lane; without a branch, so that lanes go side by side.

    `one` is a tie and the lesser rank; `held` sums these over all that are equally near.
    """
    for j in range(slab.shape[1]):
        gap = slab[g, j] - slab[h, j]
        square, before, sum_ = far + gap * gap, best[j], held[j]
        sum_ = sum_ + one if square == before else sum_
        held[j] = one if square < before else sum_
        best[j] = square if square < before else before  # noqa: FURB136 (min is slower: it asks for NaN)


@njit(cache=True, nogil=True, error_model="numpy")
def _arrange(place: Any, starts: Any, column: Any, order: Any, ranks: Any, x: Any, r: Any, next_: Any) -> None:
    """The column's values and the ranks, by point, and by ascending value within one."""
    for h in range(len(next_)):
        next_[h] = starts[h]
    for k in range(len(order)):
        i = order[k]
        at = next_[place[i]]
        next_[place[i]] = at + 1
        x[at], r[at] = column[i], ranks[i]


@njit(cache=True, nogil=True, error_model="numpy")
def _minima_by_points(
    points: Any, low: Any, high: Any, spans: Any, place: Any, starts: Any, who: Any, far: Any, reach: Any,
    columns: Any, orders: Any, which: Any, ranks: Any, sums: Any,
) -> None:  # fmt: skip
    n, next_ = len(ranks), np.empty(len(points), dtype=np.int64)
    x, r = np.empty(n), np.empty(n, dtype=np.int64)
    for c in range(len(which)):
        _arrange(place, starts, columns[which[c]], orders[which[c]], ranks, x, r, next_)
        sums[c, 0], sums[c, 1] = _by_points(points, low, high, spans, starts, who, far, reach, x, r)


@njit(cache=True, nogil=True, error_model="numpy")
def _by_points(
    points: Any, low: Any, high: Any, spans: Any, starts: Any, who: Any, far: Any, reach: Any, x: Any,
    ranks: Any,
) -> Any:  # fmt: skip
    few, whole, share = who.shape[1], 0, 0
    stack, bounds = np.empty(128, dtype=np.int64), np.empty(128)
    for g in range(len(points)):
        i, end = starts[g], starts[g + 1]
        while i < end:
            stop = i + 1
            while stop < end and x[stop] == x[i]:
                stop += 1
            if stop - i > 1:
                whole, share = _among_equals(ranks, i, stop, whole, share)
                i = stop
                continue
            value, rank = x[i], ranks[i]
            best, total, count = np.inf, 0, 0
            if end - starts[g] > 1:
                best, total, count = _beside(x, ranks, i, starts[g], end, 0.0, best, total, count)
            t = 0
            while t < few and far[g, t] <= best:
                h = who[g, t]
                best, total, count = _within(
                    x, ranks, value, rank, starts[h], starts[h + 1], far[g, t], best, total, count
                )
                t += 1
            if best >= reach[g]:  # others may be as near: search the tree, with what is known as the bound
                best, total, count = _searched(points, low, high, spans, starts, g, i, x, ranks, best, stack, bounds)
            whole, share = _added(whole, share, total, count)
            i = stop
    return whole, share


@njit(cache=True, nogil=True, error_model="numpy")
def _searched(
    points: Any, low: Any, high: Any, spans: Any, starts: Any, g: int, i: int, x: Any, ranks: Any, best: float,
    stack: Any, bounds: Any,
) -> Any:  # fmt: skip
    """All rows at the least distance from row i of point g, which is at most `best`."""
    total, count, top = 0, 0, 1
    stack[0], bounds[0] = 0, 0.0
    nodes, d = len(spans), points.shape[1]
    while top:
        top -= 1
        v = stack[top]
        if bounds[top] > best:
            continue
        if 2 * v + 2 < nodes:
            open_box(points[g], low, high, v, stack, bounds, top)
            top += 2
            continue
        for h in range(spans[v, 0], spans[v, 1]):
            if h == g:
                best, total, count = _beside(x, ranks, i, starts[g], starts[g + 1], 0.0, best, total, count)
                continue
            square = 0.0
            for k in range(d):
                gap = points[g, k] - points[h, k]
                square += gap * gap
            if square <= best:
                best, total, count = _within(
                    x, ranks, x[i], ranks[i], starts[h], starts[h + 1], square, best, total, count
                )
    return best, total, count


@njit(cache=True, nogil=True, error_model="numpy")
def _squares_from(columns: Any, i: int, squares: Any) -> None:
    squares[:] = 0.0
    for k in range(len(columns)):
        value, column = columns[k, i], columns[k]
        for j in range(len(squares)):
            gap = value - column[j]
            squares[j] += gap * gap
    squares[i] = np.inf


@njit(cache=True, nogil=True, error_model="numpy")
def _minima_of_several(columns: Any, ranks: Any, several: int) -> Any:
    n, whole, share = columns.shape[1], 0, 0
    squares, near = np.empty(n), np.empty(several)
    for i in range(n):
        _squares_from(columns, i, squares)
        near[:] = np.inf
        for j in range(n):
            if squares[j] < near[several - 1]:
                place = several - 1
                while place > 0 and near[place - 1] > squares[j]:
                    near[place] = near[place - 1]
                    place -= 1
                near[place] = squares[j]
        last = near[several - 1]
        below, at, under, ties = 0, 0, 0, 0
        for j in range(n):
            if squares[j] < last:
                below += min(ranks[i], ranks[j])
                under += 1
            elif squares[j] == last and j != i:
                at += min(ranks[i], ranks[j])
                ties += 1
        whole, share = _added(whole, share, below * ties + (several - under) * at, several * ties)
    return whole, share


@njit(cache=True, nogil=True, error_model="numpy")
def _minima_of_drawn(columns: Any, ranks: Any, draws: Any) -> int:
    n, whole = columns.shape[1], 0
    squares = np.empty(n)
    for i in range(n):
        _squares_from(columns, i, squares)
        best = squares.min()
        count = 0
        for j in range(n):
            if squares[j] == best:
                count += 1
        chosen = min(int(draws[i] * count), count - 1)
        for j in range(n):
            if squares[j] == best:
                if not chosen:
                    whole += min(ranks[i], ranks[j])
                    break
                chosen -= 1
    return whole
