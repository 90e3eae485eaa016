"""The k nearest rows, exactly: every pair's distance, ties by the order of the rows.

    euclidean   sum_j (q_j - x_j)^2          (its root is the distance)
    manhattan   sum_j |q_j - x_j|
    cosine      1 - sum_j q_j x_j / (|q| |x|)      (1 where one of them is zero)

A pair's value is a function of the two rows alone (`kernels.pairwise`), and of equally near rows the earlier is nearer:
with the rows in the order of their keys, the neighbours of a query do not depend on rows that are not there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from expunge.kernels import pairwise

Matrix = NDArray[np.float64]
Places = NDArray[np.int64]
METRICS = ("cosine", "euclidean", "manhattan")
QUERIES, ROWS = 64, 4096  # of one tile of distances: 2 MiB


def nearest(queries: Matrix, blocks: Iterable[Matrix], k: int, metric: str) -> tuple[Matrix, Places]:
    """Distances and places of the `k` nearest rows, (m, k), nearest first; k at most the number of rows.

    Args:
        queries: (m, p). blocks: the rows in their order, (n_i, p) each. metric: one of `METRICS`.
    """
    queries = np.ascontiguousarray(queries)
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
