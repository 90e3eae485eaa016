"""A subtree from its rows, in preorder; and a forest from all rows. See forest_layout."""

from __future__ import annotations

from typing import Any

import numpy as np

from expunge.kernels import forest_layout as at
from expunge.kernels.compiled import compiled, lent
from expunge.kernels.forest_node import SIDE, best_split, derived, gather, goes_left, hashed, look, stops

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
        np.empty((2, 2 * most + 80), np.uint64),
        np.empty(2 * most + 2, np.int32),
        np.empty(rows, np.int32),
        np.empty(most, np.int32),
        np.empty(most, np.int32),
        np.empty((1 + max(p[at.CLASSES], 2), most), like.dtype),
        np.empty(p[at.FEATURES], np.uint64),
        np.empty(rows, np.uint64),
        np.empty(rows + 2, np.int32),
    )
    gathered = (np.empty(rows, np.int32), np.empty(rows, like.dtype), np.empty(rows, like.dtype))
    return selecting, gathered, np.empty((3, most), np.float64)


@compiled
def lent_buffers(scratch: Any) -> Any:
    """The same buffers, `lent`."""
    b, (x, t, w), scores = scratch
    first = (lent(b[0]), lent(b[1]), lent(b[2]), lent(b[3]))
    second = (lent(b[4]), lent(b[5]), lent(b[6]), lent(b[7]), lent(b[8]), lent(b[9]))
    return first + second, (lent(x), lent(t), lent(w)), lent(scores)


@compiled
def put_in_order(keys: Any, size: int, starts: Any, out: Any) -> None:
    """Sort keys[:size] into `out`, which is another array. Keys are as good as uniform: almost no two share a slot.

    Args:
        starts: scratch, longer than size.
    """
    for i in range(size + 1):
        starts[i] = 0
    for i in range(size):
        starts[np.int64(((keys[i] >> U64(32)) * U64(size)) >> U64(32)) + 1] += 1
    for i in range(size):
        starts[i + 1] += starts[i]
    for i in range(size):
        slot = np.int64(((keys[i] >> U64(32)) * U64(size)) >> U64(32))
        out[starts[slot]] = keys[i]
        starts[slot] += 1
    for i in range(1, size):
        key, j = out[i], i
        while j > 0 and out[j - 1] > key:
            out[j] = out[j - 1]
            j -= 1
        out[j] = key


@compiled
def write_leaf(out: Any, o: int, keys: Any, size: int, p: Any) -> Any:
    """Finish the leaf at out[o:], whose totals stand there, with its rows' keys[:size], which are in order; its end."""
    start = o + at.TOTALS + p[at.NODE_TOTALS]
    out[o + at.SIZE], out[o + at.MEMBERS] = at.TOTALS + p[at.NODE_TOTALS] + 2 * size, size
    out[o + at.FEATURE], out[o + at.VALUE], out[o + at.RIGHT] = -1, 0, 0
    words = out[start : start + 2 * size]
    for i in range(size):
        words[2 * i] = np.int32(np.uint32(keys[i] & U64(0xFFFFFFFF)))
        words[2 * i + 1] = np.int32(np.uint32(keys[i] >> U64(32)))
    return start + 2 * size


@compiled
def count_totals(out: Any, o: int, size: int, gathered: Any, p: Any) -> None:
    """Set the totals of the node at out[o:] to those of the gathered rows."""
    _, t, w = gathered
    rows, first, second = np.int64(0), np.int64(0), np.int64(0)
    for i in range(size):
        rows += w[i]
    out[o + at.ROWS] = rows
    if p[at.CLASSES] == 0:
        for i in range(size):
            first += w[i] * t[i]
            second += w[i] * hashed(t[i])
        out[o + at.TOTALS], out[o + at.TOTALS + 1] = first, second
        return
    for c in range(1, p[at.CLASSES]):
        first = np.int64(0)
        for i in range(size):
            first += w[i] if t[i] == c else 0
        out[o + at.TOTALS + c - 1] = first


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
    fixed: Any,
    scratch: Any,
    state: Any,
    ends: Any,
) -> Any:
    """The subtree over the rows index[first:last], appended to the crown or to its parts by depth; the new `state`.

    Args:
        rows: codes (flat), words from row to row and from feature to feature, targets, weights, keys. They are sorted
            by key, and so are the rows of each leaf, because each division keeps the order.
        depth, key, path: of the subtree's root; the path is the number of its sides, of the part's root below the cut.
        state: crown, its words used, parts, their words used, counters. ends: (2^CUT, 2) where each part lies.
    """
    X, by_row, by_feature, t, w, keys = rows
    secret, p, categorical = fixed
    crown, crown_used, parts, parts_used, counters = state
    selecting, gathered, scores = scratch
    cut, header = p[at.CUT], at.TOTALS + p[at.NODE_TOTALS]
    tasks = np.empty((p[at.MAX_DEPTH] - depth + 3, 5), np.int64)
    task_keys = np.empty(len(tasks), np.uint64)
    tasks[0] = (first, last, depth, path, -1)
    task_keys[0] = key
    spare, of_leaf = selecting[3], selecting[8]  # free between features
    waiting = 1
    while waiting:
        waiting -= 1
        start, end, depth, path, parent = (
            tasks[waiting, 0],
            tasks[waiting, 1],
            tasks[waiting, 2],
            tasks[waiting, 3],
            tasks[waiting, 4],
        )
        key = task_keys[waiting]
        above = depth < cut
        wanted = max(most_words(p), header + 2 * (end - start))
        if above:
            crown = room(crown, crown_used, wanted)
            out, o = lent(crown), crown_used
        else:
            parts = room(parts, parts_used, wanted)
            out, o = lent(parts), parts_used
        if parent >= 0:
            out[parent + at.RIGHT] = o - parent
        if depth == cut:
            ends[path, 0] = o
        counters[at.REBUILT_NODES] += 1
        gather(t, w, index, start, end, gathered)
        count_totals(out, o, end - start, gathered, p)
        feature, value = -1, 0
        if not stops(out, o, depth, p):
            after = look(
                X,
                by_row,
                by_feature,
                index,
                start,
                end,
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
            here = index[start:end]
            for i in range(len(here)):
                of_leaf[i] = keys[here[i]]
            after = write_leaf(out, o, of_leaf, end - start, p)
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
    rows = (lent(codes.ravel()), zero + 1, zero + n, lent(t), lent(w), lent(keys))
    owned = buffers_of(n, p, t)
    scratch = lent_buffers(owned)
    crowns = np.zeros(len(roots) + 1, np.int64)
    lies = np.full((len(roots), 1 << p[at.CUT], 2), -2, np.int64)
    state = (np.empty(1024, t.dtype), zero, np.empty(1024, t.dtype), zero, np.zeros(at.COUNTERS, np.int64))
    index = np.empty(n, np.int32)
    fixed = (lent(secret), lent(p), lent(categorical))
    for tree in range(len(roots)):
        for i in range(n):
            index[i] = i
        state = build(rows, lent(index), zero, n, zero, roots[tree], zero, fixed, scratch, state, lent(lies[tree]))
        crowns[tree + 1] = state[1]
    state[4][at.VISITED] += owned[1][0].size - n + index.size - n  # 0: both live until here
    return state[0][: state[1]], crowns, state[2][: state[3]], lies, state[4]
