"""A forest after rows left it or came: each tree's words are read once and written anew. See forest_layout.

Along the paths of the changed rows counts are brought up to date; a feature one of whose kept values vanished (or that
got a value of smaller priority) is looked at again from the node's rows; where the best split is another, both children
are built anew. All else is copied as it is, and parts that no changed row reaches are not even read.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from expunge.kernels import forest_layout as at
from expunge.kernels.compiled import compiled, lent, words_at
from expunge.kernels.forest_build import buffers_of, build, divided, lent_buffers, most_words, room, write_leaf
from expunge.kernels.forest_change import (
    ASKS,
    OTHERS,
    copy_words,
    counted,
    keys_after,
    left_before,
    located_after,
    members,
)
from expunge.kernels.forest_node import SIDE, add_to_totals, best_split, derived, goes_left, look, stops
from expunge.kernels.forest_store import read_column

SAME, NONE, IN_PLACE = -1, -2, -3  # of a part: as before; there is none any more; it stands where room was made for it


@compiled
def reached(old_crowns: Any, old_ends: Any, changes: Any, p: Any, categorical: Any, marks: Any) -> None:
    """Mark (trees, 2^CUT) the parts that the changed rows come to by the splits there were."""
    for tree in range(len(old_ends) - 1):
        crown = old_crowns[old_ends[tree] : old_ends[tree + 1]]
        for e in range(changes.shape[1]):
            s, path = 0, 0
            for level in range(p[at.CUT] + 1):
                if level == p[at.CUT]:
                    marks[tree, path] = 1
                    break
                feature = crown[s + at.FEATURE]
                if feature < 0:
                    break
                left = goes_left(changes[feature, e], crown[s + at.VALUE], categorical[feature])
                s += crown[s + at.SIZE] if left else crown[s + at.RIGHT]
                path = 2 * path + (not left)


@compiled
def update_trees(
    old_crowns: Any,
    old_ends: Any,
    parts_at: Any,
    rooms: Any,
    store: Any,
    changes: Any,
    roots: Any,
    secret: Any,
    p: Any,
    categorical: Any,
    like: Any,
) -> Any:
    """Every tree after the changes.

    Args:
        old_crowns, old_ends: words of the crowns as they were, and where each begins and the last ends (trees + 1,).
        parts_at: (trees, 2^CUT, 2) addresses and words of the parts as they were.
        rooms: the same of memory that each part may be written to; 0 words where there is none.
        store: of the rows after the changes, see `located`, with an empty array of int32 at its end.
        changes: codes (p, e) int32, targets (e,), weights (e,), negative for rows that left, and keys (e,) uint64.
        roots: keys of the trees. like: an array of the words' type.

    Returns:
        As `grow_trees`; a part that is SAME (-1) lies where it lay, one IN_PLACE (-3) in its room, so many words.
    """
    trees, size = len(roots), len(changes[3])
    capacity = np.sum(store[0][:, 1]) + size
    owned = buffers_of(capacity, p, like)
    codes, places, kept = (
        np.empty(capacity * p[at.FEATURES], np.int32),
        np.empty((2, capacity), np.int64),
        np.empty(capacity, np.uint64),
    )
    scratch = lent_buffers(owned)
    buckets, numbers, first, bits, words = store
    read = (lent(places), scratch[1][1], scratch[1][2], lent(kept), lent(words), lent(codes))
    crowns = np.zeros(trees + 1, np.int64)
    lies = np.full((trees, 1 << p[at.CUT], 2), SAME, np.int64)
    of_crowns = old_ends[-1] - old_ends[0] + 2 * most_words(p) + 4096
    zero = np.int64(0)  # a literal would be a type of its own
    state = (
        np.empty(of_crowns, like.dtype),
        zero,
        np.empty(4 * most_words(p) + 4096, like.dtype),
        zero,
        np.zeros(at.COUNTERS, np.int64),
    )
    index = np.arange(size).astype(np.int32)
    fixed = (lent(secret), lent(p), lent(categorical))
    rows = (lent(buckets), lent(numbers), lent(first), bits)
    changed = (lent(changes[0]), lent(changes[1]), lent(changes[2]), lent(changes[3]))
    lent_crowns, lent_parts, lent_rooms, lent_lies = lent(old_crowns), lent(parts_at), lent(rooms), lent(lies)
    for tree in range(trees):
        state = update_tree(
            lent_crowns[old_ends[tree] : old_ends[tree + 1]],
            lent_parts[tree],
            lent_rooms[tree],
            rows,
            changed,
            lent(index),
            roots[tree],
            fixed,
            read,
            scratch,
            state,
            lent_lies[tree],
            lent(like),
        )
        crowns[tree + 1] = state[1]
    state[4][at.VISITED] += owned[1][0].size - len(kept) + places.shape[1] - len(kept)  # 0: what was lent lives on
    state[4][at.VISITED] += len(codes) - p[at.FEATURES] * len(kept) + len(index) - size
    return state[0][: state[1]], crowns, state[2][: state[3]], lies, state[4]


@compiled
def update_tree(  # noqa: C901
    old_crown: Any,
    parts_at: Any,
    rooms: Any,
    store: Any,
    changes: Any,
    index: Any,
    root: Any,
    fixed: Any,
    read: Any,
    scratch: Any,
    state: Any,
    ends: Any,
    like: Any,
) -> Any:
    """One tree after the changes, appended to `state`; see `update_trees` and `build`."""
    secret, p, categorical = fixed
    crown, crown_used, spill, spilled, counters = state
    places, t, w, kept, words, X = read
    located_rows = (places, t, w, kept, words)
    cut, header = p[at.CUT], at.TOTALS + p[at.NODE_TOTALS]
    tasks = np.empty((p[at.MAX_DEPTH] + 3, 7), np.int64)
    task_keys = np.empty(len(tasks), np.uint64)
    spare = np.empty(len(index), index.dtype)
    tasks[0] = (0, len(old_crown), 0, len(index), 0, 0, -1)
    if cut == 0:
        tasks[0, 1] = parts_at[0, 1]
    task_keys[0] = root
    zero, one = np.int64(0), np.int64(1)  # literals would have each kernel compiled for a type of their own
    parts, parts_used, open_part = spill, spilled, -1
    waiting = 1
    while waiting or open_part >= 0:
        if open_part >= 0 and (not waiting or tasks[waiting - 1, 4] <= cut):  # that part is finished
            if parts.ctypes.data == rooms[open_part, 0]:
                ends[open_part, 0] = IN_PLACE
                ends[open_part, 1] = parts_used
            else:
                spill = room(spill, spilled, parts_used)
                copy_words(parts, zero, parts_used, spill, spilled)
                ends[open_part, 0] = spilled
                spilled += parts_used
                ends[open_part, 1] = spilled
            open_part = -1
            continue
        waiting -= 1
        s, old_end, e0, e1 = tasks[waiting, 0], tasks[waiting, 1], tasks[waiting, 2], tasks[waiting, 3]
        depth, path, parent = tasks[waiting, 4], tasks[waiting, 5], tasks[waiting, 6]
        key = task_keys[waiting]
        above = depth < cut
        if depth == cut:
            if e0 == e1:
                continue
            parts, parts_used, open_part = words_at(rooms[path, 0], rooms[path, 1], like), zero, path
        old = old_crown if above else words_at(parts_at[path, 0], parts_at[path, 1], like)
        was_leaf = old[s + at.FEATURE] < 0
        if e0 == e1:
            wanted = old_end - s
        elif was_leaf:
            wanted = header + 2 * (old[s + at.MEMBERS] + e1 - e0)
        else:  # as many features as before
            wanted = header + 1 + old[s + header] * (at.COUNTED + (3 + p[at.CHANNELS]) * (p[at.CANDIDATES] + 1))
        if above:
            crown = room(crown, crown_used, wanted)
            out, o = lent(crown), crown_used
        else:
            parts = room(parts, parts_used, wanted)
            out, o = lent(parts), parts_used
        if parent >= 0:
            out[parent + at.RIGHT] = o - parent
        if e0 == e1:
            after = o + old_end - s
            copy_words(old, s, old_end, out, o)
            if above:
                crown_used = after
            else:
                parts_used = after
            continue
        counters[at.VISITED] += 1
        here = index[e0:e1]
        copy_words(old, s, s + header, out, o)
        size = np.int64(old[s + at.MEMBERS])
        came = 0
        for e in here:
            add_to_totals(out, o, changes[1][e], changes[2][e], p)
            size += 1 if changes[2][e] > 0 else -1
            came += changes[2][e] > 0
        feature, value, inside, after, have, before = -1, 0, 0, OTHERS, -1, -1
        if not stops(out, o, depth, p):
            if not was_leaf and size >= at.SMALL and old[s + header] > 0:
                before = left_before(old, s, p, changes, here, categorical)
                after = counted(
                    old, s + header, changes, here, key, depth, fixed, out, o + header, have, located_rows, scratch,
                    counters,
                )  # fmt: skip
            if after < 0:
                keys = members(old, s, old_end, depth, path, p, parts_at, like, scratch[0][8])
                have = located_after(keys, changes, here, store, p, located_rows)
            if after == ASKS:
                after = counted(
                    old, s + header, changes, here, key, depth, fixed, out, o + header, have, located_rows, scratch,
                    counters,
                )  # fmt: skip
            if after == OTHERS:
                counters[at.REFRESHED_ROWS] += have
                for f in range(p[at.FEATURES]):
                    read_column(places, have, f, words, X[f * have : (f + 1) * have])
                rows = np.arange(have).astype(np.int32)
                if above:
                    crown = room(crown, crown_used + header, most_words(p))
                    out = lent(crown)
                else:
                    parts = room(parts, parts_used + header, most_words(p))
                    out = lent(parts)
                after = look(
                    X, one, have, rows, zero, have, secret, key, depth, p, categorical, scratch[0], scratch[1], out,
                    o + header,
                )  # fmt: skip
            feature, value, inside = best_split(out, o, p, categorical, scratch[2])
            if size < at.SMALL:
                out[o + header], after = 0, o + header + 1
                if not was_leaf:
                    split, v, before = np.int64(old[s + at.FEATURE]), old[s + at.VALUE], 0
                    for i in range(have):
                        before += w[i] * goes_left(X[split * have + i], v, categorical[split])
        if feature < 0:
            if above and not was_leaf:
                ends[path << (cut - depth) : (path + 1) << (cut - depth)] = NONE
            counters[at.COLLAPSED] += not was_leaf
            keys = members(old, s, old_end, depth, path, p, parts_at, like, scratch[0][8])
            left = keys_after(keys, changes, here)
            if above:
                crown = room(crown, crown_used + header, 2 * len(left))
                out = lent(crown)
            else:
                parts = room(parts, parts_used + header, 2 * len(left))
                out = lent(parts)
            after = write_leaf(out, o, left, len(left), p)
        else:
            out[o + at.SIZE], out[o + at.MEMBERS], out[o + at.RIGHT] = after - o, size, 0
            out[o + at.FEATURE], out[o + at.VALUE] = feature, value
        if above:
            crown_used = after
        else:
            parts_used = after
        if feature < 0:
            continue
        was = np.int64(old[s + at.VALUE])
        kept_children = (
            not was_leaf
            and feature == old[s + at.FEATURE]
            and (value == was or (not categorical[feature] and came == 0 and inside == before))
        )
        below, lower_cut = 2 * path if above else path, depth + 1 == cut
        if kept_children:  # the rows that left are where the old split sent them
            middle = divided(index, e0, e1, changes[0][feature], one, zero, was, categorical[feature], spare)
            right = s + old[s + at.RIGHT]
            tasks[waiting] = (right, old_end, middle, e1, depth + 1, below + above, -1 if lower_cut else o)
            tasks[waiting + 1] = (s + old[s + at.SIZE], right, e0, middle, depth + 1, below, -1)
            if lower_cut:
                tasks[waiting, :2] = (0, parts_at[below + 1, 1])
                tasks[waiting + 1, :2] = (0, parts_at[below, 1])
            task_keys[waiting] = derived(secret, key, SIDE, 1)
            task_keys[waiting + 1] = derived(secret, key, SIDE, 0)
            waiting += 2
            continue
        keys = members(old, s, old_end, depth, path, p, parts_at, like, scratch[0][8])
        ordered = keys_after(keys, changes, here)
        have = located_after(ordered, changes, index[:0], store, p, located_rows)
        counters[at.REBUILT] += 1
        counters[at.REBUILT_ROWS] += have
        if p[at.DRY]:
            continue
        if above:
            ends[path << (cut - depth) : (path + 1) << (cut - depth)] = NONE
        for f in range(p[at.FEATURES]):
            read_column(places, have, f, words, X[f * have : (f + 1) * have])
        rows = np.arange(have).astype(np.int32)
        of_rows = (t[:have].copy(), w[:have].copy())  # building gathers over these
        middle = divided(rows, zero, have, X, one, feature * have, value, categorical[feature], scratch[0][3])
        data = (X, one, have, of_rows[0], of_rows[1], kept)
        if above:
            state = (crown, crown_used, spill, spilled, counters)
        else:
            state = (crown, crown_used, parts, parts_used, counters)
        for side in range(2):
            first, last = (0, middle) if side == 0 else (middle, have)
            if side == 1 and not lower_cut:
                if above:
                    state[0][o + at.RIGHT] = state[1] - o
                else:
                    state[2][o + at.RIGHT] = state[3] - o
            state = build(
                data,
                rows,
                first,
                last,
                depth + 1,
                derived(secret, key, SIDE, side),
                below + side * above,
                fixed,
                scratch,
                state,
                ends,
            )
        if above:
            crown, crown_used, spill, spilled, _ = state
        else:
            crown, crown_used, parts, parts_used, _ = state
    return crown, crown_used, spill, spilled, counters
