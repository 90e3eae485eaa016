"""What changes of rows do to one node of a tree: its features, its candidates, its rows. See forest_layout."""

from __future__ import annotations

from typing import Any

import numpy as np

from expunge.kernels import forest_layout as at
from expunge.kernels.compiled import compiled, words_at
from expunge.kernels.forest_build import put_in_order
from expunge.kernels.forest_node import VALUES, derived, examined, goes_left, rank
from expunge.kernels.forest_refill import refilled
from expunge.kernels.forest_store import joined, located, read_column, read_targets

U64 = np.uint64
VANISHED, ARRIVED = -1, -2  # of a kept value of a feature
ASKS, OTHERS = -1, -2  # of a node: it asks for its rows; it must look at other features


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
def members(old: Any, start: int, end: int, depth: int, path: int, p: Any, parts_at: Any, like: Any, keys: Any) -> Any:
    """The keys of all rows below a node that was at old[start:end], in the array `keys`."""
    count = leaf_keys(old, start, end, p, keys, 0)
    if depth < p[at.CUT]:
        levels = p[at.CUT] - depth
        for part in range(path << levels, (path + 1) << levels):
            if parts_at[part, 1] > 0:
                words = words_at(parts_at[part, 0], parts_at[part, 1], like)
                count = leaf_keys(words, 0, len(words), p, keys, count)
    return keys[:count]


@compiled
def located_after(keys: Any, changes: Any, index: Any, store: Any, p: Any, rows: Any) -> Any:
    """Find the rows with these keys after the changes, and read their targets and weights; how many there are.

    Args:
        rows: places, targets, weights and keys to be set, and an empty array of int32.
    """
    places, t, w, kept, words = rows
    count = located(keys, store, places, kept, np.int64(0))
    for e in index:
        if changes[2][e] > 0:
            count = located(changes[3][e : e + 1], store, places, kept, count)
    read_targets(places, count, p, words, t, w)
    return count


@compiled
def copy_words(old: Any, start: int, end: int, out: Any, o: int) -> None:
    """Copy old[start:end] to out[o:]."""
    words, to = old[start:end], out[o : o + end - start]
    for i in range(len(words)):
        to[i] = words[i]


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
def changed_feature(
    old: Any, s: int, changes: Any, index: Any, node: Any, most: int, fixed: Any, out: Any, o: int
) -> Any:
    """The feature at old[s:] with the changes counted, at out[o:]; its words.

    VANISHED where a kept value has no row and another must follow it, ARRIVED where a new value belongs to the kept.
    """
    EX, et, ew, _ = changes
    secret, p, categorical = fixed
    feature, count, extra = np.int64(old[s]), np.int64(old[s + 1]), np.int64(old[s + 2])
    classes, channels, category = p[at.CLASSES], p[at.CHANNELS], categorical[feature]
    size = at.COUNTED + (3 + channels) * count
    copy_words(old, s, s + size, out, o)
    first = o + at.COUNTED
    values, equal = out[first : first + count], out[first + count : first + 2 * count]
    left = out[first + 2 * count : first + 3 * count]
    key, last = U64(0), U64(0)
    for e in index:
        if ew[e] > 0 and extra >= 0:
            key = derived(secret, node, VALUES, feature)
            last = rank(key, old[s + at.COUNTED + extra])
            break
    for e in index:
        x, t, w = EX[feature, e], et[e], ew[e]
        known = 0
        for i in range(count):
            same = values[i] == x
            known += same
            equal[i] += w * same
        add_inside(left, values, x, w, category)
        if classes == 0:
            add_inside(out[first + 3 * count : first + 4 * count], values, x, w * t, category)
        elif t > 0:
            add_inside(out[first + (2 + t) * count : first + (3 + t) * count], values, x, w, category)
        if w > 0 and known == 0 and (count < most or rank(key, x) < last):
            return ARRIVED
    for i in range(count):
        if equal[i] == 0:
            return VANISHED
    return size


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
    """The keys without those of rows that left, with those of rows that came, in order."""
    size = len(keys) + len(index)
    left, after, starts = np.empty(len(index), np.uint64), np.empty(2 * size, np.uint64), np.empty(size + 2, np.int32)
    gone, count = 0, 0
    for e in index:
        if changes[2][e] < 0:
            after[gone] = changes[3][e]
            gone += 1
    put_in_order(after, gone, starts, left)
    for key in keys:
        low, high = 0, gone
        while low < high:
            middle = (low + high) >> 1
            if left[middle] < key:
                low = middle + 1
            else:
                high = middle
        if low == gone or left[low] != key:
            after[count] = key
            count += 1
    for e in index:
        if changes[2][e] > 0:
            after[count] = changes[3][e]
            count += 1
    sorted_keys = after[size:]
    put_in_order(after, count, starts, sorted_keys)
    return sorted_keys[:count]


@compiled
def counted(
    old: Any, s: int, changes: Any, index: Any, key: Any, depth: int, fixed: Any, out: Any, o: int, size: int,
    rows: Any, scratch: Any, counters: Any,
) -> Any:  # fmt: skip
    """Bring the features of the decision at old[s:] up to date, at out[o:]; the end.

    ASKS where a feature must be looked at again and `rows` (`size` of them, of the node after the changes) are not
    given: size < 0; OTHERS where a feature began or ceased to vary, so that the node must look at others.
    """
    secret, p, categorical = fixed
    places, t, w, _, words = rows
    most = p[at.CANDIDATES] + 1 if depth >= p[at.RANDOM_DEPTH] else 2
    seen = old[s]
    out[o] = seen
    s, o = s + 1, o + 1
    for _ in range(seen):
        feature = np.int64(old[s])
        length = changed_feature(old, s, changes, index, key, most, fixed, out, o)
        if length < 0:
            category, x = categorical[feature], scratch[1][0]
            arrived, full = length == ARRIVED, old[s + 1] == most
            values, last, have = U64(0), U64(0), 0
            if full or arrived:
                if size < 0:
                    return ASKS
                values, have = derived(secret, key, VALUES, feature), size
                read_column(places, size, feature, words, x)
                counters[at.REFRESHED] += 1
                counters[at.REFRESHED_ROWS] += size
            if arrived:
                length = examined(feature, category, x, t, w, size, values, most, p, scratch[0], out, o)
            else:
                if full:
                    last = rank(values, old[s + at.COUNTED + old[s + 2]])
                length = refilled(category, x, t, w, have, values, most, last, p, scratch[0], out, o)
        if (old[s + 1] > 1) != (out[o + 1] > 1):
            return OTHERS
        s += at.COUNTED + (3 + p[at.CHANNELS]) * old[s + 1]
        o += length
    return o
