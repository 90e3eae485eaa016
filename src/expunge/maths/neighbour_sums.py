"""Columns made ready for nearest neighbours, ranks of a target, and the sums that CODEC and FOCI are made of.

With R_i = #{j: y_j <= y_i}, L_i = #{j: y_j >= y_i} and Q(S) = sum_i min(R_i, R_M(i)), M(i) the row nearest to i in the
columns S, everything is a ratio of integers up to the shares of ties (`kernels.rank_minima`):

    T(y, Z) = (n Q(Z) - sum L^2) / sum L (n - L),      T(y, Z | X) = (Q(X, Z) - Q(X)) / (sum R - Q(X)).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from expunge.errors import InputError
from expunge.kernels.kd_tree import nearest_few, tree_of
from expunge.kernels.rank_minima import (
    MOST_IN_LANES,
    SHARES,
    Given,
    Orders,
    Sum,
    minima_of_candidates,
    minima_on_lines,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MOST_ROWS = 2_000_000  # beyond, sums of products of three ranks would leave 64 bits
FEW = 24  # neighbours listed for each point; for the others the tree is searched
DISTINCT = 0.8  # of the rows: where so many points are distinct, each row gets one
TINY = 2.0**-300  # of the largest number: what is smaller is zero, so that no square of a gap vanishes


@dataclass(frozen=True, eq=False)
class Ranks:
    """`up` R (n,), with the sums over the rows of R, of L^2 and of L (n - L)."""

    up: Ints
    total: int
    squares: int
    spread: int

    def coefficient(self, q: Sum) -> float:
        """T(y, Z) from Q(Z); NaN where y is constant."""
        n = len(self.up)
        return (n * q[0] - self.squares + n * q[1] / SHARES) / self.spread if self.spread else np.nan

    def conditional(self, both: Sum, given: Sum) -> float:
        """T(y, Z | X) from Q(X, Z) and Q(X); NaN where X determines y."""
        left = self.total - given[0] - given[1] / SHARES
        return (both[0] - given[0] + (both[1] - given[1]) / SHARES) / left if left else np.nan


def ranks_of(y: ArrayLike) -> Ranks:
    """The ranks of a target (n,) of numbers.

    Raises:
        InputError: fewer than 3 rows or more than 2 million, another shape, or a number that is not finite.
    """
    target = numbers("y", y)
    if target.ndim != 1 or not 3 <= len(target) <= MOST_ROWS:
        raise InputError(f"y has the shape {target.shape}; (n,) was expected, n from 3 to {MOST_ROWS:,}.")
    _, code, count = np.unique(target, return_inverse=True, return_counts=True)
    up, down = np.cumsum(count)[code], np.cumsum(count[::-1])[::-1][code]
    return Ranks(up, int(up.sum()), int((down * down).sum()), int((down * (len(up) - down)).sum()))


def numbers(name: str, values: Any) -> Floats:
    """An array as float64.

    Raises:
        InputError: it holds something else than finite numbers.
    """
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} holds something else than numbers; give codes for text.") from error
    if not np.isfinite(array).all():
        raise InputError(f"{name} holds {int((~np.isfinite(array)).sum())} NaN or infinite values: leave them out.")
    return array


def columns_of(n: int, **parts: Any) -> Floats:
    """The columns (d, n) of named values (n,) or (n, d), scaled together by a power of two, which changes no order.

    Raises:
        InputError: another number of rows than n, no column, or a number that is not finite.
    """
    blocks = []
    for name, values in parts.items():
        array = numbers(name, values)
        block = array[:, None] if array.ndim == 1 else array
        if block.ndim != 2 or len(block) != n or not block.shape[1]:
            raise InputError(f"{name} has the shape {array.shape}; ({n},) or ({n}, columns) was expected for this y.")
        blocks.append(block)
    together = np.concatenate(blocks, axis=1) if len(blocks) > 1 else blocks[0]
    largest = float(np.abs(together).max())
    scaled = np.ldexp(together.T, -int(np.frexp(largest)[1]) if largest else 0)
    return np.ascontiguousarray(np.where(np.abs(scaled) < TINY, 0.0, scaled))  # -0.0, too, which sorts apart


def standardised(columns: Floats, how: str) -> Floats:
    """Columns (d, n) of mean 0 and standard deviation 1 ("sd", by n - 1), on [0, 1] ("range"), or as they are ("no").

    Constant columns become zero.

    Raises:
        InputError: there is no such way.
    """
    match how:
        case "no":
            return columns
        case "sd":
            centred: Floats = columns - columns.mean(axis=1, keepdims=True)
            width = columns.std(axis=1, ddof=1, keepdims=True)
        case "range":
            centred = columns - columns.min(axis=1, keepdims=True)
            width = np.ptp(columns, axis=1, keepdims=True)
        case _:
            raise InputError(f"There is no standardisation {how!r}; choose sd, range or no.")
    constant = (columns == columns[:, :1]).all(axis=1)
    centred /= np.where(constant[:, None], 1.0, width)
    centred[constant] = 0.0
    centred += 0.0  # -0.0 sorts apart
    return centred


def orders_of(columns: Floats, ranks: Ints) -> Orders:
    """The rows of each column (p, n) by ascending value, and by rank where equal."""
    by_rank = np.argsort(ranks, kind="stable").astype(np.int32)
    ascending: Orders = by_rank[np.argsort(columns[:, by_rank], axis=1, kind="stable")]
    return ascending


def given(columns: Floats, *, few: int = FEW) -> Given:
    """The rows by columns (d, n), in a tree; where many share a point, distinct points and `few` neighbours of each."""
    n = columns.shape[1]
    order = np.lexsort(columns[::-1])
    ordered = columns[:, order]
    new = np.concatenate([[True], (ordered[:, 1:] != ordered[:, :-1]).any(axis=0)])
    if n <= MOST_IN_LANES and new.sum() >= DISTINCT * n:
        new[:] = True
    tree = tree_of(np.ascontiguousarray(ordered[:, new].T))
    where = np.empty(len(tree.order), dtype=np.int64)
    where[tree.order] = np.arange(len(tree.order))
    place = np.empty(n, dtype=np.int64)
    place[order] = where[np.cumsum(new) - 1]
    starts = np.concatenate([[0], np.cumsum(np.bincount(place, minlength=len(where)))])
    return Given(tree, place, starts, None if new.all() else nearest_few(tree, min(few, len(where) - 1)))


def sum_over(columns: Floats, ranks: Ints) -> Sum:
    """Q over columns (d, n)."""
    if len(columns) == 1:
        return _pair(minima_on_lines(columns, orders_of(columns, ranks), ranks)[0])
    nothing = np.zeros((1, len(ranks)))
    where = given(columns, few=0)
    return _pair(minima_of_candidates(where, nothing, orders_of(nothing, ranks), np.zeros(1, dtype=np.int64), ranks)[0])


def sums_with(
    where: Given | None, columns: Floats, orders: Orders, which: Ints, ranks: Ints, *, threads: int = 1
) -> list[Sum]:
    """Q over the columns of `where` with each of `which` (c,) of `columns` (p, n) after them, in so many threads."""

    def part(some: Ints) -> Ints:
        if where is None:
            return minima_on_lines(columns[some], orders[some], ranks)
        return minima_of_candidates(where, columns, orders, some, ranks)

    if threads <= 1:
        return [_pair(q) for q in part(which)]
    with ThreadPoolExecutor(threads) as pool:
        return [_pair(q) for q in np.concatenate(list(pool.map(part, np.array_split(which, threads))))]


def _pair(q: Ints) -> Sum:
    return int(q[0]), int(q[1])
