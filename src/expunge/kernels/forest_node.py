"""One node: which features it looks at, their candidates and counts, and the best split. See forest_layout."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from expunge.kernels import forest_layout as at
from expunge.kernels.compiled import compiled
from expunge.kernels.siphash import half_siphash, priorities, siphash

U64, U32 = np.uint64, np.uint32
SIDE, ORDER, VALUES = 0, 1, 2  # purposes of a node's hashes
FLIP = U32(0x80000000)
DIRECT = 12  # up to so many candidates of two classes, each is counted by itself
MET = 64  # ranks met lately, by their lowest bits of priority
LINEAR = 64  # up to so many values, comparing with each is faster than searching


@compiled
def derived(secret: Any, node: Any, purpose: int, which: int) -> Any:
    """64 bits of a node for a purpose (a child's key, a feature's place in the order, the key of its priorities)."""
    return siphash(secret[0], secret[1], node, (U64(purpose) << U64(32)) | U64(which))


@compiled
def rank(key: Any, code: Any) -> Any:
    """A value's place among the node's values of a feature: its priority, then the value. Smallest are kept."""
    return (U64(half_siphash(key, U32(code), 1, 3)) << U64(32)) | U64(U32(U32(code) ^ FLIP))


@compiled
def ordered_ranks(  # noqa: C901
    x: Any, drawn: Any, chosen: Any, size: int, most: int, ranks: Any
) -> Any:
    """The `most` smallest distinct ranks of the values of the chosen rows, in order, to ranks[0]; how many.

    A few are ordered by counting, without a branch; many (equal ones, mostly) by insertion: a rank that was met lately
    is passed over.
    """
    into, given = ranks[0], ranks[1]
    if size <= 2 * most + 18:
        for c in range(size):
            i = chosen[c]
            given[c] = (U64(drawn[i]) << U64(32)) | U64(U32(U32(x[i]) ^ FLIP))
            into[c] = U64(0)
        for c in range(size):
            new, place = given[c], 0
            for i in range(size):
                place += given[i] < new
            into[place] = new
        count = 0
        for c in range(size):
            if c == 0 or into[c] != 0:
                into[count] = into[c]
                count += 1
        return min(count, most)
    count = 0
    for slot in range(MET):
        given[slot] = U64(slot == 0) << U64(32)  # a rank that would stand in another slot
    for c in range(size):
        i = chosen[c]
        new = (U64(drawn[i]) << U64(32)) | U64(U32(U32(x[i]) ^ FLIP))
        low = np.int64(drawn[i] & U32(MET - 1))
        if given[low] == new:
            continue
        given[low] = new
        place = count
        while place > 0 and into[place - 1] > new:
            place -= 1
        if place == most or (place > 0 and into[place - 1] == new):
            continue
        for j in range(min(count, most - 1), place, -1):
            into[j] = into[j - 1]
        into[place] = new
        count = min(count + 1, most)
    return count


@compiled
def smallest(x: Any, size: int, key: Any, most: int, drawn: Any, ranks: Any, chosen: Any) -> Any:
    """The `most` smallest ranks of the distinct values of x[:size], ascending; how many there are.

    Only rows below a limit that likely suffices are put in order; where it does not (few distinct values), all are.
    """
    priorities(x, size, key, drawn)
    share = (1.5 * most + 6) / size
    while True:
        limit = U32(np.int64(share * 4294967295.0)) if share < 1 else U32(0xFFFFFFFF)
        below = 0
        for i in range(size):
            chosen[below] = i
            below += drawn[i] <= limit
        count = ordered_ranks(x, drawn, chosen, below, most, ranks)
        if count == most or share >= 1:
            return count
        share = 1.0


@compiled
def in_order(x: Any, size: int, values: Any, places: Any, marks: Any) -> Any:
    """The distinct values of x[:size] in order, and which of them each is in `places`; how many. By counting."""
    for i in range(size):
        places[i], marks[i] = 0, -1
    for j in range(size):
        value = x[j]
        for i in range(size):
            places[i] += value < x[i]
    for i in range(size):
        marks[places[i]] = i
    count = 0
    for place in range(size):
        if marks[place] >= 0:
            values[count] = x[marks[place]]
            marks[place] = count
            count += 1
    for i in range(size):
        places[i] = marks[places[i]]
    return count


@compiled
def place_among(x: Any, size: int, values: Any, count: int, places: Any) -> None:
    """places[i]: how many of the `count` sorted values are below x[i], without a branch."""
    if count <= LINEAR:
        for i in range(size):
            places[i] = 0
        for j in range(count):
            value = values[j]
            for i in range(size):
                places[i] += value < x[i]
        return
    steps = 0
    while (1 << steps) <= count:
        steps += 1
    for i in range(count, 1 << steps):
        values[i] = 2**31 - 1
    for i in range(size):
        place = 0
        for step in range(steps - 1, -1, -1):
            place += (values[place + (1 << step) - 1] < x[i]) << step
        places[i] = place


@compiled
def tally(
    x: Any, t: Any, w: Any, size: int, values: Any, places: Any, count: int, categorical: Any, classes: int, counts: Any
) -> None:
    """Count rows by place, without a branch: counts[0] those equal to the value there; then those of each class.

    For a regression: then all of them, then the sums of their targets. Of a category only rows equal to it count.
    """
    for row in range(len(counts)):
        for i in range(count + 1):
            counts[row, i] = 0
    if classes == 0:
        for i in range(size):
            place, weight = places[i], w[i]
            same = values[place] == x[i]
            counts[0, place] += weight * same
            if categorical:
                weight *= same
            counts[1, place] += weight
            counts[2, place] += weight * t[i]
    elif categorical:
        for i in range(size):
            place = places[i]
            weight = w[i] * (values[place] == x[i])
            counts[0, place] += weight
            counts[1 + t[i], place] += weight
    else:
        for i in range(size):
            place, weight = places[i], w[i]
            counts[0, place] += weight * (values[place] == x[i])
            counts[1 + t[i], place] += weight


@compiled
def count_value(
    x: Any, t: Any, w: Any, size: int, value: Any, categorical: Any, classes: int, out: Any, o: int, count: int
) -> None:
    """Count the rows x[:size] at one candidate, whose value stands at out[o] among `count`: equal, left, channels."""
    equal, left = np.int64(0), np.int64(0)
    if classes == 2 and not categorical:
        few, inside, ones = np.int32(0), np.int32(0), np.int32(0)  # as wide as the words: more go side by side
        for i in range(size):
            here = np.int32(w[i]) if x[i] <= value else np.int32(0)
            few = np.int32(few + (here if x[i] == value else np.int32(0)))
            inside = np.int32(inside + here)
            ones = np.int32(ones + (here & np.int32(-t[i])))
        out[o + count], out[o + 2 * count], out[o + 3 * count] = few, inside, ones
        return
    for i in range(size):
        same = x[i] == value
        equal += w[i] * same
        left += w[i] * (same if categorical else x[i] <= value)
    out[o + count], out[o + 2 * count] = equal, left
    for c in range(1, max(classes, 2)):
        total = np.int64(0)
        for i in range(size):
            inside_too = x[i] == value if categorical else x[i] <= value
            total += w[i] * inside_too * (t[i] if classes == 0 else t[i] == c)
        out[o + (2 + c) * count] = total


@compiled
def examined(  # noqa: C901
    feature: int,
    categorical: int,
    x: Any,
    t: Any,
    w: Any,
    size: int,
    key: Any,
    most: int,
    p: Any,
    b: Any,
    out: Any,
    o: int,
) -> Any:
    """Write a feature's candidates and counts over the rows x[:size] to out[o:]; the words written."""
    drawn, ranks, values, places, marks, raw, counts, _, _, _ = b
    extra = U32(0)
    few = size < most
    if few:  # all values are kept, whatever their priorities
        count = in_order(x, size, values, places, marks)
    else:
        count = smallest(x, size, key, most, drawn, ranks, places)
        for i in range(count):
            raw[i] = np.int32(U32(U32(ranks[0, i] & U64(0xFFFFFFFF)) ^ FLIP))
        extra = U32(raw[count - 1])
        in_order(raw, count, values, places, marks)
    channels = p[at.CHANNELS]
    out[o], out[o + 1], out[o + 2] = feature, count, -1
    first = o + at.COUNTED
    for i in range(count):
        out[first + i] = values[i]
        if count == most and U32(values[i]) == extra:
            out[o + 2] = i
    if p[at.CLASSES] == 2 and count <= DIRECT:
        for i in range(count):
            count_value(x, t, w, size, values[i], categorical, 2, out, first + i, count)
        return at.COUNTED + (3 + channels) * count
    for i in range(first + count, first + (3 + channels) * count):
        out[i] = 0
    values[count] = 2**31 - 1
    if not few:
        place_among(x, size, values, count, places)
    tally(x, t, w, size, values, places, count, categorical, p[at.CLASSES], counts)
    for i in range(count):
        out[first + count + i] = counts[0, i]
    if p[at.CLASSES] == 0:
        for row in range(2):
            for i in range(count):
                out[first + (2 + row) * count + i] = counts[1 + row, i]
    else:
        for row in range(p[at.CLASSES]):
            for i in range(count):
                out[first + 2 * count + i] += counts[1 + row, i]
                if row > 0:
                    out[first + (2 + row) * count + i] = counts[1 + row, i]
    left = first + 2 * count
    if not categorical:
        for row in range(1 + channels):
            start = left + row * count
            for i in range(1, count):
                out[start + i] += out[start + i - 1]
    return at.COUNTED + (3 + channels) * count


@compiled
def xlogx(n: float) -> Any:
    """N log n, 0 at 0."""
    return n * math.log(n) if n > 0 else 0.0


@compiled
def scored(out: Any, o: int, node: int, p: Any, buffers: Any) -> None:
    """buffers[0, i]: how pure the split at value i of the feature at out[o:] is (larger: purer); the same for all.

    Gini: sum_c L_c^2 / L + sum_c R_c^2 / R. Entropy: sum_c xlogx(L_c) - xlogx(L), and the same on the right.
    Regression: S_L^2 / L + S_R^2 / R.
    """
    count = out[o + 1]
    left = o + at.COUNTED + 2 * count
    rows, classes = float(out[node + at.ROWS]), p[at.CLASSES]
    lefts, channel, scores = out[left : left + count], out[left + count : left + 2 * count], buffers[0]
    right = buffers[1]
    if classes == 0:
        total = out[node + at.TOTALS]
        for i in range(count):
            inside, outside = float(channel[i]), float(total - channel[i])
            scores[i], right[i] = inside * inside, outside * outside
            scores[i] = scores[i] / float(lefts[i]) + right[i] / (rows - float(lefts[i]))
        return
    if classes == 2 and not p[at.ENTROPY]:
        ones = float(out[node + at.TOTALS])
        zeros = rows - ones
        for i in range(count):
            n, inside = float(lefts[i]), float(channel[i])
            rest, outside = n - inside, ones - inside
            other = zeros - rest
            scores[i], right[i] = inside * inside + rest * rest, outside * outside + other * other
            scores[i] = scores[i] / n + right[i] / (rows - n)  # numpy's zero division, where this runs as plain Python
        return
    all_rest = rows
    for i in range(count):
        buffers[0, i], buffers[1, i], buffers[2, i] = 0.0, 0.0, float(out[left + i])
    for c in range(1, classes):
        total_of = float(out[node + at.TOTALS + c - 1])
        all_rest -= total_of
        _add(out, left + c * count, count, total_of, p[at.ENTROPY], buffers)
    for i in range(count):
        inside, outside = buffers[2, i], all_rest - buffers[2, i]
        n = float(out[left + i])
        if p[at.ENTROPY]:
            buffers[0, i] += xlogx(inside)
            buffers[1, i] += xlogx(outside)
            buffers[0, i] = (buffers[0, i] - xlogx(n)) + (buffers[1, i] - xlogx(rows - n))
        else:
            buffers[0, i] += inside * inside
            buffers[1, i] += outside * outside
            buffers[0, i] = buffers[0, i] / n + buffers[1, i] / (rows - n)


@compiled
def _add(out: Any, channel: int, count: int, total: float, entropy: int, buffers: Any) -> None:
    """Add one class's share to both sides' sums, and take it from what is left for class 0."""
    for i in range(count):
        inside = float(out[channel + i])
        outside = total - inside
        buffers[2, i] -= inside
        buffers[0, i] += xlogx(inside) if entropy else inside * inside
        buffers[1, i] += xlogx(outside) if entropy else outside * outside


@compiled
def best_split(out: Any, node: int, p: Any, categorical: Any, buffers: Any) -> Any:
    """The feature (-1: none), value and rows left of the best split of the node at out[node:].

    Ties go to the lower feature, then to the lower value.
    """
    rows, least = out[node + at.ROWS], max(p[at.MIN_LEAF], 1)
    o = node + at.TOTALS + p[at.NODE_TOTALS]
    seen = out[o]
    o += 1
    feature, value, inside, best = -1, 0, 0, -math.inf
    for _ in range(seen):
        count, extra = out[o + 1], out[o + 2]
        first = o + at.COUNTED
        left = first + 2 * count
        if count > 1:
            scored(out, o, node, p, buffers)
            if not categorical[out[o]] and out[left + count - 1] == rows:
                extra = -1  # the maximum is among the k+1, and is no candidate
            lefts, scores = out[left : left + count], buffers[0]
            for i in range(count):
                n, score = lefts[i], scores[i]
                if score < best or n < least or rows - n < least or i == extra:
                    continue
                if score > best or (score == best and out[o] < feature):
                    feature, value, inside, best = out[o], out[first + i], n, score
        o += at.COUNTED + (3 + p[at.CHANNELS]) * count
    return feature, value, inside


@compiled
def goes_left(code: Any, value: Any, categorical: Any) -> Any:
    """Whether a row goes left: code <= value, for a category code == value."""
    return code == value if categorical else code <= value


@compiled
def hashed(target: Any) -> Any:
    """A mix of an integer target, so that sums tell whether all targets of a node are equal (splitmix64)."""
    z = U64(target) + U64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> U64(30))) * U64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> U64(27))) * U64(0x94D049BB133111EB)
    return np.int64(z ^ (z >> U64(31)))


@compiled
def add_to_totals(out: Any, node: int, target: Any, weight: Any, p: Any) -> None:
    """Count one row (weight negative: one row less) in the totals of the node at out[node:]."""
    out[node + at.ROWS] += weight
    if p[at.CLASSES] == 0:
        out[node + at.TOTALS] += weight * target
        out[node + at.TOTALS + 1] += weight * hashed(target)
    elif target > 0:
        out[node + at.TOTALS + target - 1] += weight


@compiled
def stops(out: Any, node: int, depth: int, p: Any) -> Any:
    """Whether the node at out[node:] is a leaf by its depth, its size or its purity."""
    rows = out[node + at.ROWS]
    if depth >= p[at.MAX_DEPTH] or rows < p[at.MIN_SPLIT] or rows < 2 * p[at.MIN_LEAF]:
        return True
    if p[at.CLASSES] == 0:
        total, hashes = out[node + at.TOTALS], out[node + at.TOTALS + 1]
        return total % rows == 0 and rows * hashed(total // rows) == hashes
    rest = rows
    for c in range(p[at.CLASSES] - 1):
        if out[node + at.TOTALS + c] == rows:
            return True
        rest -= out[node + at.TOTALS + c]
    return rest == rows


@compiled
def gather(t: Any, w: Any, index: Any, start: int, end: int, gathered: Any) -> None:
    """Targets and weights of the rows index[start:end], one after the other, to gathered[1] and gathered[2]."""
    _, tx, wx = gathered
    here = index[start:end]
    for i in range(len(here)):
        tx[i] = t[here[i]]
        wx[i] = w[here[i]]


@compiled
def look(
    X: Any,
    by_row: int,
    by_feature: int,
    index: Any,
    start: int,
    end: int,
    secret: Any,
    key: Any,
    depth: int,
    p: Any,
    categorical: Any,
    b: Any,
    gathered: Any,
    out: Any,
    o: int,
) -> Any:
    """Write the features that a node looks at over its rows index[start:end] to out[o:]: number, then each; the end.

    In the order of their hashes, up to the EXAMINED-th one that varies. Targets and weights are gathered already.
    """
    x, tx, wx = gathered
    order, here = b[7], index[start:end]
    size = len(here)
    most, wanted = p[at.CANDIDATES] + 1, p[at.EXAMINED]
    if depth < p[at.RANDOM_DEPTH]:
        most, wanted = 2, 1
    features = p[at.FEATURES]
    order_key = derived(secret, key, ORDER, 0)
    for g in range(features):
        order[g] = (U64(half_siphash(order_key, U32(g), 1, 3)) << U64(32)) | U64(g)
    counter, vary = o, 0
    out[counter] = 0
    o += 1
    for _ in range(features):
        least = order[0]
        for g in range(1, features):
            least = min(least, order[g])
        f = np.int64(least & U64(0xFFFFFFFF))
        order[f] = U64(0xFFFFFFFFFFFFFFFF)
        column = X[f * by_feature :]
        for i in range(size):
            x[i] = column[here[i] * by_row]
        first = o
        o += examined(f, categorical[f], x, tx, wx, size, derived(secret, key, VALUES, f), most, p, b, out, o)
        out[counter] += 1
        vary += out[first + 1] > 1
        if vary == wanted:
            break
    return o
