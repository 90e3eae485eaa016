"""A forest read out as a table of nodes, and predictions from one. See forest_layout."""

from __future__ import annotations

from typing import Any

import numpy as np

from expunge.kernels import forest_layout as at
from expunge.kernels.compiled import compiled, words_at
from expunge.kernels.forest_node import goes_left


@compiled
def table_of(crowns: Any, ends: Any, parts_at: Any, p: Any, table: Any, totals: Any, starts: Any) -> Any:
    """All nodes in preorder; how many. With tables of no length they are only counted.

    Args:
        parts_at: (trees, 2^CUT, 2) addresses and words.
        table: (m, 4) int64: feature (-1: leaf), value, index of the right child, depth.
        totals: (m, 1 + totals) of the words' type: rows, then the node's totals.
        starts: (trees + 1,) where each tree begins.
    """
    count, cut = 0, p[at.CUT]
    tasks = np.empty((p[at.MAX_DEPTH] + 3, 4), np.int64)
    for tree in range(len(ends) - 1):
        starts[tree] = count
        tasks[0] = (ends[tree] if cut else 0, 0, 0, -1)
        waiting = 1
        while waiting:
            waiting -= 1
            s, depth, path, parent = tasks[waiting]
            above = depth < cut
            words = crowns if above else words_at(parts_at[tree, path, 0], parts_at[tree, path, 1], crowns)
            feature = words[s + at.FEATURE]
            if len(table):
                if parent >= 0:
                    table[parent, 2] = count
                table[count, 0], table[count, 1], table[count, 2], table[count, 3] = (
                    feature,
                    words[s + at.VALUE],
                    0,
                    depth,
                )
                totals[count, 0] = words[s + at.ROWS]
                for i in range(p[at.NODE_TOTALS]):
                    totals[count, 1 + i] = words[s + at.TOTALS + i]
            if feature >= 0:
                below = 2 * path if above else path
                right, left = s + words[s + at.RIGHT], s + words[s + at.SIZE]
                if depth + 1 == cut:
                    right, left = 0, 0
                tasks[waiting] = (right, depth + 1, below + above, count)
                tasks[waiting + 1] = (left, depth + 1, below, -1)
                waiting += 2
            count += 1
    starts[len(ends) - 1] = count
    return count


@compiled
def sums_of(
    codes: Any, starts: Any, features: Any, values: Any, rights: Any, categorical: Any, leaves: Any, out: Any
) -> None:
    """out[i] += the values of the leaves that row i of codes (n, p) reaches, over all trees.

    Args:
        rights: (m,) index of the right child; at a leaf, of its row in leaves.
    """
    for tree in range(len(starts) - 1):
        for i in range(len(codes)):
            node = starts[tree]
            while features[node] >= 0:
                f = features[node]
                left = goes_left(codes[i, f], values[node], categorical[f])
                node = node + 1 if left else rights[node]
            for c in range(leaves.shape[1]):
                out[i, c] += leaves[rights[node], c]
