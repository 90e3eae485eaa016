"""A feature of a node after some of its kept values lost their last row: others follow them. See forest_layout."""

from __future__ import annotations

from typing import Any

import numpy as np

from expunge.kernels import forest_layout as at
from expunge.kernels.compiled import compiled
from expunge.kernels.forest_node import FLIP, count_value
from expunge.kernels.siphash import priorities

U64, U32 = np.uint64, np.uint32
NOTHING = U64(0xFFFFFFFFFFFFFFFF)


@compiled
def next_rank(x: Any, drawn: Any, size: int, last: Any) -> Any:
    """The smallest rank above `last` among the values x[:size] of priorities `drawn`; NOTHING where there is none."""
    least = NOTHING
    for i in range(size):
        new = (U64(drawn[i]) << U64(32)) | U64(U32(U32(x[i]) ^ FLIP))
        least = min(least, new if new > last else NOTHING)
    return least


@compiled
def refilled(  # noqa: C901
    categorical: int,
    x: Any,
    t: Any,
    w: Any,
    size: int,
    key: Any,
    most: int,
    last: Any,
    p: Any,
    b: Any,
    out: Any,
    o: int,
) -> Any:
    """Take the values without rows out of the feature at out[o:]; as many follow, of the next ranks; its words.

    All other counts stand there already. Only the values that follow are counted over the rows.

    Args:
        x, t, w, size: the rows, none where all values of the node were kept, and none can follow. last: the rank of the
            last of the kept values.
    """
    drawn, _, values, _, _, raw, counts, _, _, _ = b
    count, channels = np.int64(out[o + 1]), p[at.CHANNELS]
    first = o + at.COUNTED
    for i in range(count):
        values[i] = out[first + i]
        for row in range(2 + channels):
            counts[row, i] = out[first + (1 + row) * count + i]
    kept, added = 0, 0
    for i in range(count):
        kept += counts[0, i] != 0
    if size > 0:
        priorities(x, size, key, drawn)
        while kept + added < most:
            last = next_rank(x, drawn, size, last)
            if last == NOTHING:
                break
            new = np.int32(U32(U32(last & U64(0xFFFFFFFF)) ^ FLIP))
            place = added
            while place > 0 and raw[place - 1] > new:
                raw[place] = raw[place - 1]
                place -= 1
            raw[place] = new
            added += 1
    total = kept + added
    out[o + 1], out[o + 2] = total, -1
    i, j = 0, 0
    for place in range(total):
        while i < count and counts[0, i] == 0:
            i += 1
        if j < added and (i == count or raw[j] < values[i]):
            out[first + place] = raw[j]
            count_value(x, t, w, size, raw[j], categorical, p[at.CLASSES], out, first + place, total)
            if total == most and U64(U32(U32(raw[j]) ^ FLIP)) == last & U64(0xFFFFFFFF):
                out[o + 2] = place
            j += 1
        else:
            out[first + place] = values[i]
            for row in range(2 + channels):
                out[first + (1 + row) * total + place] = counts[row, i]
            i += 1
    return at.COUNTED + (3 + channels) * total
