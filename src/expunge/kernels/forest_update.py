"""A forest after rows left it or came: each tree's words are read once and written anew. See forest_layout.

Along the paths of the changed rows counts are brought up to date; a feature one of whose kept values vanished (or that
got a value of smaller priority) is looked at again from the node's rows; where the best split is another, both children
are built anew. All else is copied as it is, and parts that no changed row reaches are not even read.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from expunge.kernels import forest_layout as at
from expunge.kernels.compiled import compiled, words_at
from expunge.kernels.forest_build import buffers_of, build, divided, most_words, room, write_leaf
from expunge.kernels.forest_node import (
    SIDE,
    VALUES,
    add_to_totals,
    best_split,
    derived,
    examined,
    goes_left,
    look,
    rank,
    stops,
)
from expunge.kernels.forest_store import fetch, indexed, joined

U64 = np.uint64
SAME, NONE = -1, -2  # of a part: as before; there is none any more


@compiled
def leaf_keys(old: Any, start: int, end: int, p: Any, keys: Any, count: int) -> Any:
    """Append the keys of all leaves in old[start:end] to `keys` from `count` on; how many there are then."""
    header = at.TOTALS + p[at.NODE_TOTALS]
    while start < end:
        if old[start + at.FEATURE] < 0:
            for i in range(old[start + at.MEMBERS]):
                o = start + header + 2 * i
                keys[count] = joined(old[o], old[o + 1])
                count += 1
        start += old[start + at.SIZE]
    return count


@compiled
def members(old: Any, start: int, end: int, depth: int, path: int, p: Any, parts_at: Any, like: Any) -> Any:
    """The keys of all rows below a node that was at old[start:end]."""
    keys = np.empty(old[start + at.MEMBERS], np.uint64)
    count = leaf_keys(old, start, end, p, keys, 0)
    if depth < p[at.CUT]:
        levels = p[at.CUT] - depth
        for part in range(path << levels, (path + 1) << levels):
            if parts_at[part, 1] > 0:
                words = words_at(parts_at[part, 0], parts_at[part, 1], like)
                count = leaf_keys(words, 0, len(words), p, keys, count)
    return keys


@compiled
def with_changes(keys: Any, changes: Any, index: Any, store: Any, X: Any, t: Any, w: Any, kept: Any) -> Any:
    """Fetch rows by key, without those that left, with those of `changes` that came; how many there are."""
    EX, et, ew, ekeys = changes
    p = len(EX)
    count = fetch(keys, store, np.int64(0), p, X, t, w, kept)
    for e in index:
        if ew[e] > 0:
            for f in range(p):
                X[count * p + f] = EX[f, e]
            t[count], w[count], kept[count] = et[e], ew[e], ekeys[e]
            count += 1
    return count


@compiled
def column_after(
    keys: Any, changes: Any, index: Any, store: Any, feature: int, x: Any, t: Any, w: Any, kept: Any
) -> Any:
    """One column, targets and weights of the rows with these keys after the changes; how many there are."""
    EX, et, ew, _ = changes
    count = fetch(keys, store, feature, feature + 1, x, t, w, kept)
    for e in index:
        if ew[e] > 0:
            x[count], t[count], w[count] = EX[feature, e], et[e], ew[e]
            count += 1
    return count


@compiled
def add_inside(channel: Any, values: Any, x: Any, amount: Any, categorical: Any) -> None:
    """Add to a channel of candidates, at each value where a row of code x goes left."""
    if categorical:
        for i in range(len(values)):
            channel[i] += amount * (values[i] == x)
    else:
        for i in range(len(values)):
            channel[i] += amount * (x <= values[i])


@compiled
def changed_feature(  # noqa: C901
    old: Any, s: int, changes: Any, index: Any, node: Any, most: int, fixed: Any, out: Any, o: int
) -> Any:
    """The feature at old[s:] with the changes counted, at out[o:]; its words, -1 where the rows must be looked at."""
    EX, et, ew, _ = changes
    secret, p, categorical = fixed
    feature, count, extra = old[s], old[s + 1], old[s + 2]
    channels, category = p[at.CHANNELS], categorical[feature]
    size = at.COUNTED + (3 + channels) * count
    out[o : o + size] = old[s : s + size]
    first = o + at.COUNTED
    values, equal = out[first : first + count], out[first + count : first + 2 * count]
    left = out[first + 2 * count : first + 3 * count]
    key, last = U64(0), U64(0)
    came = False
    for e in index:
        came = came or ew[e] > 0
    if came and extra >= 0:
        key = derived(secret, node, VALUES, feature)
        last = rank(key, old[s + at.COUNTED + extra])
    for e in index:
        x, t, w = EX[feature, e], et[e], ew[e]
        known = 0
        for i in range(count):
            same = values[i] == x
            known += same
            equal[i] += w * same
        add_inside(left, values, x, w, category)
        if p[at.CLASSES] == 0:
            add_inside(out[first + 3 * count : first + 4 * count], values, x, w * t, category)
        elif t > 0:
            add_inside(out[first + (2 + t) * count : first + (3 + t) * count], values, x, w, category)
        if w > 0 and known == 0 and (count < most or rank(key, x) < last):
            return -1
    gone = 0
    for i in range(count):
        gone += equal[i] == 0
    if not gone:
        return size
    if count == most:
        return -1
    return _closed_up(out, o, channels)


@compiled
def _closed_up(out: Any, o: int, channels: int) -> Any:
    """Take the values without rows out of the feature at out[o:], where all values of the node are kept; its words."""
    count, kept = out[o + 1], 0
    first = o + at.COUNTED
    for i in range(count):
        kept += out[first + count + i] != 0
    to = first
    equal = np.empty(count, out.dtype)
    equal[:] = out[first + count : first + 2 * count]
    for row in range(3 + channels):
        for i in range(count):
            if equal[i] != 0:
                out[to] = out[first + row * count + i]
                to += 1
    out[o + 1] = kept
    return at.COUNTED + (3 + channels) * kept


@compiled
def left_before(old: Any, s: int, p: Any, changes: Any, index: Any, categorical: Any) -> Any:
    """Rows left of the old split of the node at old[s:], after the changes; -1 where no counts are kept."""
    feature, value = old[s + at.FEATURE], old[s + at.VALUE]
    o = s + at.TOTALS + p[at.NODE_TOTALS]
    seen = old[o]
    o += 1
    for _ in range(seen):
        count = old[o + 1]
        if old[o] == feature:
            for i in range(count):
                if old[o + at.COUNTED + i] == value:
                    total = old[o + at.COUNTED + 2 * count + i]
                    for e in index:
                        total += changes[2][e] * goes_left(changes[0][feature, e], value, categorical[feature])
                    return total
        o += at.COUNTED + (3 + p[at.CHANNELS]) * count
    return -1


@compiled
def keys_after(keys: Any, changes: Any, index: Any) -> Any:
    """The keys without those of rows that left, with those of rows that came."""
    left = np.empty(len(index), np.uint64)
    gone, came = 0, 0
    for e in index:
        if changes[2][e] < 0:
            left[gone] = changes[3][e]
            gone += 1
        else:
            came += 1
    left = np.sort(left[:gone])
    after = np.empty(len(keys) + came, np.uint64)
    count = 0
    for key in keys:
        place = np.searchsorted(left, key)
        if place == gone or left[place] != key:
            after[count] = key
            count += 1
    for e in index:
        if changes[2][e] > 0:
            after[count] = changes[3][e]
            count += 1
    return after[:count]


@compiled
def counted(
    old: Any, s: int, changes: Any, index: Any, key: Any, depth: int, fixed: Any, out: Any, o: int, looked: Any
) -> Any:
    """Bring the features of the decision at old[s:] up to date, at out[o:]; the end.

    -1 where a feature must be looked at again and `keys` (of the node's rows before the changes) are not given; -2
    where a feature began or ceased to vary, so that the node must look at others.
    """
    secret, p, categorical = fixed
    keys, store, kept, scratch, counters = looked
    most = p[at.CANDIDATES] + 1 if depth >= p[at.RANDOM_DEPTH] else 2
    seen = old[s]
    out[o] = seen
    s, o = s + 1, o + 1
    for _ in range(seen):
        feature = np.int64(old[s])
        words = changed_feature(old, s, changes, index, key, most, fixed, out, o)
        if words < 0:
            if len(keys) == 0:
                return -1
            x, tx, wx = scratch[1]
            values = derived(secret, key, VALUES, feature)
            size = column_after(keys, changes, index, store, feature, x, tx, wx, kept)
            words = examined(feature, categorical[feature], x, tx, wx, size, values, most, p, scratch[0], out, o)
            counters[at.REFRESHED] += 1
            counters[at.REFRESHED_ROWS] += size
        if (old[s + 1] > 1) != (out[o + 1] > 1):
            return -2
        s += at.COUNTED + (3 + p[at.CHANNELS]) * old[s + 1]
        o += words
    return o


@compiled
def update_trees(
    old_crowns: Any,
    old_ends: Any,
    parts_at: Any,
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
        store: of the rows after the changes, see `fetch`.
        changes: codes (p, e) int32, targets (e,), weights (e,), negative for rows that left, and keys (e,) uint64.
        roots: keys of the trees. like: an array of the words' type.

    Returns:
        As `grow_trees`; a part that is SAME (-1) lies where it lay.
    """
    trees, size = len(roots), len(changes[3])
    capacity = np.sum(store[0][:, 1]) + size
    gathered = (
        np.empty(capacity * p[at.FEATURES], np.int32),
        np.empty(capacity, like.dtype),
        np.empty(capacity, like.dtype),
        np.empty(capacity, np.uint64),
    )
    scratch = buffers_of(capacity, p, like)
    crowns = np.zeros(trees + 1, np.int64)
    lies = np.full((trees, 1 << p[at.CUT], 2), SAME, np.int64)
    of_crowns = old_ends[-1] - old_ends[0] + 4096
    of_parts = (np.sum(parts_at[:, :, 1]) >> max(p[at.CUT] - 1, 0)) + 4096
    zero = np.int64(0)  # a literal would be a type of its own
    state = (
        np.empty(of_crowns, like.dtype),
        zero,
        np.empty(of_parts, like.dtype),
        zero,
        np.zeros(at.COUNTERS, np.int64),
    )
    index = np.arange(size).astype(np.int32)
    fixed = (secret, p, categorical)
    rows = indexed(store)
    for tree in range(trees):
        crown = old_crowns[old_ends[tree] : old_ends[tree + 1]]
        state = update_tree(
            crown, parts_at[tree], rows, changes, index, roots[tree], fixed, gathered, scratch, state, lies[tree], like
        )
        crowns[tree + 1] = state[1]
    return state[0][: state[1]], crowns, state[2][: state[3]], lies, state[4]


@compiled
def update_tree(  # noqa: C901
    old_crown: Any,
    parts_at: Any,
    store: Any,
    changes: Any,
    index: Any,
    root: Any,
    fixed: Any,
    gathered: Any,
    scratch: Any,
    state: Any,
    ends: Any,
    like: Any,
) -> Any:
    """One tree after the changes, appended to `state`; see `update_trees` and `build`."""
    secret, p, categorical = fixed
    crown, crown_used, parts, parts_used, counters = state
    cut, header = p[at.CUT], at.TOTALS + p[at.NODE_TOTALS]
    tasks = np.empty((p[at.MAX_DEPTH] + 3, 7), np.int64)
    task_keys = np.empty(len(tasks), np.uint64)
    spare = np.empty(len(index), index.dtype)
    tasks[0] = (0, len(old_crown), 0, len(index), 0, 0, -1)
    if cut == 0:
        tasks[0, 1] = parts_at[0, 1]
    task_keys[0] = root
    no_keys = np.empty(0, np.uint64)
    zero, one = np.int64(0), np.int64(1)  # literals would have each kernel compiled for a type of their own
    waiting = 1
    while waiting:
        waiting -= 1
        s, old_end, e0, e1, depth, path, parent = tasks[waiting]
        key = task_keys[waiting]
        above = depth < cut
        if depth == cut and e0 == e1:
            continue
        old = old_crown if above else words_at(parts_at[path, 0], parts_at[path, 1], like)
        wanted = max(most_words(p), header + 2 * (old[s + at.MEMBERS] + e1 - e0), old_end - s)
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
        if e0 == e1:
            after = o + old_end - s
            out[o:after] = old[s:old_end]
            if above:
                crown_used = after
            else:
                parts_used = after
                ends[path, 1] = after
            continue
        counters[at.VISITED] += 1
        here = index[e0:e1]
        out[o : o + header] = old[s : s + header]
        size = np.int64(old[s + at.MEMBERS])
        came = 0
        for e in here:
            add_to_totals(out, o, changes[1][e], changes[2][e], p)
            size += 1 if changes[2][e] > 0 else -1
            came += changes[2][e] > 0
        was_leaf = old[s + at.FEATURE] < 0
        feature, value, inside, after, have, before = -1, 0, 0, -2, -1, -1
        keys = no_keys
        X, t, w, kept = gathered
        if not stops(out, o, depth, p):
            if not was_leaf and size >= at.SMALL and old[s + header] > 0:
                before = left_before(old, s, p, changes, here, categorical)
                looked = (keys, store, kept, scratch, counters)
                after = counted(old, s + header, changes, here, key, depth, fixed, out, o + header, looked)
                if after == -1:
                    keys = members(old, s, old_end, depth, path, p, parts_at, like)
                    looked = (keys, store, kept, scratch, counters)
                    after = counted(old, s + header, changes, here, key, depth, fixed, out, o + header, looked)
            if after == -2:
                keys = members(old, s, old_end, depth, path, p, parts_at, like)
                have = with_changes(keys, changes, here, store, X, t, w, kept)
                counters[at.REFRESHED_ROWS] += have
                rows = np.arange(have).astype(np.int32)
                after = look(
                    X,
                    p[at.FEATURES],
                    one,
                    t,
                    w,
                    rows,
                    secret,
                    key,
                    depth,
                    p,
                    categorical,
                    scratch[0],
                    scratch[1],
                    out,
                    o + header,
                )
            feature, value, inside = best_split(out, o, p, categorical, scratch[2])
            if size < at.SMALL:
                out[o + header], after = 0, o + header + 1
                if not was_leaf:
                    f, v, before = old[s + at.FEATURE], old[s + at.VALUE], 0
                    for i in range(have):
                        before += w[i] * goes_left(X[i * p[at.FEATURES] + f], v, categorical[f])
        if feature < 0:
            if above and not was_leaf:
                ends[path << (cut - depth) : (path + 1) << (cut - depth)] = NONE
            counters[at.COLLAPSED] += not was_leaf
            keys = members(old, s, old_end, depth, path, p, parts_at, like)
            after = write_leaf(out, o, keys_after(keys, changes, here), p)
        else:
            out[o + at.SIZE], out[o + at.MEMBERS], out[o + at.RIGHT] = after - o, size, 0
            out[o + at.FEATURE], out[o + at.VALUE] = feature, value
        if above:
            crown_used = after
        else:
            parts_used = after
            ends[path, 1] = after
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
        if have < 0:
            keys = members(old, s, old_end, depth, path, p, parts_at, like)
            have = with_changes(keys, changes, here, store, X, t, w, kept)
        counters[at.REBUILT] += 1
        counters[at.REBUILT_ROWS] += have
        if p[at.DRY]:
            continue
        if above:
            ends[path << (cut - depth) : (path + 1) << (cut - depth)] = NONE
        rows = np.arange(have).astype(np.int32)
        room_for = np.empty(have, np.int32)
        middle = divided(rows, zero, have, X, p[at.FEATURES], feature, value, categorical[feature], room_for)
        data = (X, p[at.FEATURES], np.int64(1), t, w, kept)
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
                secret,
                p,
                categorical,
                scratch,
                state,
                ends,
            )
        crown, crown_used, parts, parts_used, _ = state
    return crown, crown_used, parts, parts_used, counters
