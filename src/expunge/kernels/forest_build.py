"""A subtree from its rows, in preorder; and a forest from all rows. See forest_layout."""

from __future__ import annotations

from typing import Any

import numpy as np

from expunge.kernels import forest_layout as at
from expunge.kernels.compiled import compiled
from expunge.kernels.forest_node import SIDE, add_to_totals, best_split, derived, goes_left, look, stops

U64 = np.uint64


@compiled
def room(out: Any, used: int, wanted: int) -> Any:
    """`out`, or a longer copy of it where fewer than `wanted` words are free."""
    if used + wanted <= len(out):
        return out
    longer = np.empty(max(2 * len(out), used + wanted), out.dtype)
    longer[:used] = out[:used]
    return longer


@compiled
def most_words(p: Any) -> Any:
    """The most words a decision can take."""
    return (
        at.TOTALS
        + p[at.NODE_TOTALS]
        + 1
        + p[at.FEATURES] * (at.COUNTED + (3 + p[at.CHANNELS]) * (p[at.CANDIDATES] + 1))
    )


@compiled
def buffers_of(rows: int, p: Any, like: Any) -> Any:
    """Scratch: (ranks, values and places of a feature), (a feature's codes, targets, weights), scores."""
    most = p[at.CANDIDATES] + 2
    selecting = (
        np.empty(rows, np.uint32),
        np.empty((2, 2 * most + 16), np.uint64),
        np.empty(2 * most + 2, np.int32),
        np.empty(rows, np.int32),
        np.empty(most, np.int32),
        np.empty(most, np.int32),
        np.empty((1 + max(p[at.CLASSES], 2), most), like.dtype),
    )
    gathered = (np.empty(rows, np.int32), np.empty(rows, like.dtype), np.empty(rows, like.dtype))
    return selecting, gathered, np.empty((3, most), np.float64)


@compiled
def in_order_of_keys(keys: Any) -> None:
    """Sort keys where they stand: Shell's sort, which compiles fast and is at its best where they are nearly sorted."""
    size, gap = len(keys), 1
    while 3 * gap + 1 < size:
        gap = 3 * gap + 1
    while gap > 0:
        for i in range(gap, size):
            key, j = keys[i], i
            while j >= gap and keys[j - gap] > key:
                keys[j] = keys[j - gap]
                j -= gap
            keys[j] = key
        gap //= 3


@compiled
def write_leaf(out: Any, o: int, keys: Any, p: Any) -> Any:
    """Finish the leaf at out[o:], whose totals stand there, with its rows' keys (sorted here); its end."""
    size = len(keys)
    in_order_of_keys(keys)
    start = o + at.TOTALS + p[at.NODE_TOTALS]
    for i in range(size):
        out[start + 2 * i] = np.int32(np.uint32(keys[i] & U64(0xFFFFFFFF)))
        out[start + 2 * i + 1] = np.int32(np.uint32(keys[i] >> U64(32)))
    out[o + at.SIZE] = at.TOTALS + p[at.NODE_TOTALS] + 2 * size
    out[o + at.MEMBERS] = size
    out[o + at.FEATURE], out[o + at.VALUE], out[o + at.RIGHT] = -1, 0, 0
    return start + 2 * size


@compiled
def divided(
    index: Any, start: int, end: int, X: Any, by_row: int, offset: int, value: Any, categorical: Any, spare: Any
) -> Any:
    """Bring the rows of index[start:end] that go left to the front, in order; where those that go right begin."""
    middle, others = start, 0
    for i in range(start, end):
        row = index[i]
        left = goes_left(X[row * by_row + offset], value, categorical)
        index[middle] = row
        spare[others] = row
        middle += left
        others += not left
    for i in range(others):
        index[middle + i] = spare[i]
    return middle


@compiled
def build(
    rows: Any,
    index: Any,
    first: int,
    last: int,
    depth: int,
    key: Any,
    path: int,
    secret: Any,
    p: Any,
    categorical: Any,
    scratch: Any,
    state: Any,
    ends: Any,
) -> Any:
    """The subtree over the rows index[first:last], appended to the crown or to its parts by depth; the new `state`.

    Args:
        rows: codes (flat), words from row to row and from feature to feature, targets, weights, keys.
        depth, key, path: of the subtree's root; the path is the number of its sides, of the part's root below the cut.
        state: crown, its words used, parts, their words used, counters. ends: (2^CUT, 2) where each part lies.
    """
    X, by_row, by_feature, t, w, keys = rows
    crown, crown_used, parts, parts_used, counters = state
    selecting, gathered, scores = scratch
    cut, header = p[at.CUT], at.TOTALS + p[at.NODE_TOTALS]
    tasks = np.empty((p[at.MAX_DEPTH] - depth + 3, 5), np.int64)
    task_keys = np.empty(len(tasks), np.uint64)
    tasks[0] = (first, last, depth, path, -1)
    task_keys[0] = key
    spare = np.empty(last - first, index.dtype)
    waiting = 1
    while waiting:
        waiting -= 1
        start, end, depth, path, parent = tasks[waiting]
        key = task_keys[waiting]
        above = depth < cut
        wanted = max(most_words(p), header + 2 * (end - start))
        if above:
            crown = room(crown, crown_used, wanted)
            out, o = crown, crown_used
        else:
            parts = room(parts, parts_used, wanted)
            out, o = parts, parts_used
        if parent >= 0:
            out[parent + at.RIGHT] = o - parent
        if depth == cut:
            ends[path, 0] = o
        counters[at.REBUILT_NODES] += 1
        out[o : o + header] = 0
        for i in range(start, end):
            add_to_totals(out, o, t[index[i]], w[index[i]], p)
        feature, value = -1, 0
        if not stops(out, o, depth, p):
            after = look(
                X,
                by_row,
                by_feature,
                t,
                w,
                index[start:end],
                secret,
                key,
                depth,
                p,
                categorical,
                selecting,
                gathered,
                out,
                o + header,
            )
            feature, value, _ = best_split(out, o, p, categorical, scores)
            if end - start < at.SMALL:
                out[o + header], after = 0, o + header + 1
        if feature < 0:
            after = write_leaf(out, o, keys[index[start:end]], p)
        else:
            out[o + at.SIZE], out[o + at.MEMBERS], out[o + at.RIGHT] = after - o, end - start, 0
            out[o + at.FEATURE], out[o + at.VALUE] = feature, value
            middle = divided(index, start, end, X, by_row, feature * by_feature, value, categorical[feature], spare)
            below = 2 * path if above else path
            same = depth + 1 != cut
            tasks[waiting] = (middle, end, depth + 1, below + above, o if same else -1)
            task_keys[waiting] = derived(secret, key, SIDE, 1)
            tasks[waiting + 1] = (start, middle, depth + 1, below, -1)
            task_keys[waiting + 1] = derived(secret, key, SIDE, 0)
            waiting += 2
        if above:
            crown_used = after
        else:
            parts_used = after
            ends[path, 1] = after
    return crown, crown_used, parts, parts_used, counters


@compiled
def grow_trees(codes: Any, t: Any, w: Any, keys: Any, roots: Any, secret: Any, p: Any, categorical: Any) -> Any:
    """Trees over all rows, given by column and sorted by key.

    Args:
        codes: (p, n) int32, contiguous. t, w: (n,) of the words' type. keys: (n,) uint64. roots: keys of the trees.

    Returns:
        Words of all crowns, where each ends (trees + 1,), words of all parts, where each part lies (trees, 2^CUT, 2),
        -2 where there is none; counters.
    """
    n, zero = len(keys), np.int64(0)  # a literal in a tuple is a type of its own: all would be compiled twice
    rows = (codes.ravel(), zero + 1, zero + n, t, w, keys)
    scratch = buffers_of(n, p, t)
    crowns = np.zeros(len(roots) + 1, np.int64)
    lies = np.full((len(roots), 1 << p[at.CUT], 2), -2, np.int64)
    state = (np.empty(1024, t.dtype), zero, np.empty(1024, t.dtype), zero, np.zeros(at.COUNTERS, np.int64))
    index = np.empty(n, np.int32)
    for tree in range(len(roots)):
        for i in range(n):
            index[i] = i
        state = build(rows, index, zero, n, zero, roots[tree], zero, secret, p, categorical, scratch, state, lies[tree])
        crowns[tree + 1] = state[1]
    return state[0][: state[1]], crowns, state[2][: state[3]], lies, state[4]
