"""The k nearest rows, exactly: every pair's distance, ties by the order of the rows.

    euclidean   sum_j (q_j - x_j)^2          (its root is the distance)
    manhattan   sum_j |q_j - x_j|
    cosine      1 - sum_j q_j x_j / (|q| |x|)      (1 where one of them is zero)

A pair's value is a function of the two rows alone (`kernels.pairwise`), and of equally near rows the earlier is nearer:
with the rows in the order of their keys, the neighbours of a query do not depend on rows that are not there.

Many queries on many rows of few columns go through a k-d tree, built for the call and kept nowhere. It only finds a
radius that holds the k nearest; which they are is decided among the rows within by the same distances, so the answer is
the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from expunge.kernels import pairwise

Matrix = NDArray[np.float64]
Places = NDArray[np.int64]
METRICS = ("cosine", "euclidean", "manhattan")
POWERS = {"euclidean": 2.0, "manhattan": 1.0}  # the metrics that a k-d tree knows
QUERIES, ROWS = 64, 4096  # of one tile of distances: 2 MiB
TREE_COLUMNS, TREE_ROWS, TREE_QUERIES = 6, 5_000, 300  # at most, at least, at least: where a tree is worth building


def nearest(queries: Matrix, blocks: Iterable[Matrix], k: int, metric: str) -> tuple[Matrix, Places]:
    """Distances and places of the `k` nearest rows, (m, k), nearest first; k at most the number of rows.

    Args:
        queries: (m, p). blocks: the rows in their order, (n_i, p) each. metric: one of `METRICS`.
    """
    queries, blocks = np.ascontiguousarray(queries), list(blocks)
    many = len(queries) >= TREE_QUERIES and sum(map(len, blocks)) >= TREE_ROWS
    if many and queries.shape[1] <= TREE_COLUMNS and metric in POWERS:
        return _by_tree(queries, np.concatenate(blocks), k, metric)
    return _by_pass(queries, blocks, k, metric)


def _by_pass(queries: Matrix, blocks: Sequence[Matrix], k: int, metric: str) -> tuple[Matrix, Places]:
    best, where = np.full((len(queries), k), np.inf), np.full((len(queries), k), -1, dtype=np.int64)
    first = 0
    for block in blocks:
        for start in range(0, len(block), ROWS):
            rows = block[start : start + ROWS]
            transposed = np.ascontiguousarray(rows.T)
            for q in range(0, len(queries), QUERIES):
                part = slice(q, q + QUERIES)
                tile = np.empty((len(queries[part]), len(rows)))
                MEASURES[metric](queries[part], transposed, tile)
                pairwise.keep_smallest(tile, first + start, best[part], where[part])
        first += len(block)
    return (np.sqrt(best) if metric == "euclidean" else best), where


def _by_tree(queries: Matrix, rows: Matrix, k: int, metric: str) -> tuple[Matrix, Places]:
    """As `_by_pass`: the tree's radius, made a little larger than rounding could have made it smaller."""
    tree, power = KDTree(rows), POWERS[metric]
    reach = np.asarray(tree.query(queries, [k], p=power)[0])
    within = tree.query_ball_point(queries, reach[:, 0] * (1 + 1e-9) + 1e-150, p=power, return_sorted=True)
    distances, where = np.empty((len(queries), k)), np.empty((len(queries), k), dtype=np.int64)
    for place, near in enumerate(within):
        found = np.array(near, dtype=np.int64)
        one = slice(place, place + 1)
        distances[one], among = _by_pass(queries[one], [rows[found]], k, metric)
        where[one] = found[among]
    return distances, where


def _cosine(a: Matrix, bt: Matrix, out: Matrix) -> None:
    pairwise.products(a, bt, out)
    lengths = np.sqrt(_squares(a))[:, None], np.sqrt(_squares(bt.T))
    scale = lengths[0] * lengths[1]
    np.divide(out, scale, out=out, where=scale > 0)
    out[scale == 0] = 0.0
    np.subtract(1.0, out, out=out)
    np.maximum(out, 0.0, out=out)


def _squares(x: Matrix) -> Matrix:
    """Squared lengths (n,), added up in the order of the columns."""
    total = np.zeros(len(x))
    for column in x.T:
        total += column * column
    return total


MEASURES: dict[str, Callable[[Matrix, Matrix, Matrix], None]] = {
    "cosine": _cosine,
    "euclidean": pairwise.squared_distances,
    "manhattan": pairwise.absolute_distances,
}
