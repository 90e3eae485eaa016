"""Which rows stand together: buckets by the first bits of their keys, a function of the set of keys alone.

The keys form a binary tree by their bits, highest first. A node with more than `capacity` keys is divided by its next
bit; the others are the buckets, each named by its bits ("" where one bucket holds all). So the buckets do not depend on
the order in which rows came or went: one row leaving changes its own bucket, and joins it to its sibling where both fit
into one. Bits of a hash are as good as random: a bucket is half full to full.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint64]
BITS = 64


def bits(key: int) -> str:
    """The 64 bits of a key, highest first."""
    return format(key, "064b")


def buckets_of(keys: Keys, capacity: int, prefix: str = "") -> list[tuple[str, slice]]:
    """The buckets of sorted `keys` (n,), all of which begin with `prefix`: their names, and where their keys stand."""
    found: list[tuple[str, slice]] = []
    waiting = [(prefix, 0, len(keys))]
    while waiting:
        name, start, stop = waiting.pop()
        if stop - start <= capacity:
            if stop > start:
                found.append((name, slice(start, stop)))
            continue
        first_of_right = np.uint64(int((name + "1").ljust(BITS, "0"), 2))
        middle = start + int(np.searchsorted(keys[start:stop], first_of_right))
        waiting += [(name + "1", middle, stop), (name + "0", start, middle)]
    return found


def holder(names: Sequence[str], key: int) -> str | None:
    """The bucket among the sorted `names` whose bits `key` begins with; None where there is none."""
    place = bisect_right(names, bits(key)) - 1
    return names[place] if place >= 0 and bits(key).startswith(names[place]) else None


def home(names: Sequence[str], key: int) -> str:
    """Where a key that no bucket holds makes a bucket of its own: the shortest name that is no other's beginning."""
    text = bits(key)
    place = bisect_right(names, text)
    beside = names[max(0, place - 1) : place + 1]
    shared = [next((i for i, (a, b) in enumerate(zip(name, text, strict=False)) if a != b), BITS) for name in beside]
    return text[: max(shared) + 1] if shared else ""


def joined(sizes: Mapping[str, int], touched: str, capacity: int) -> str:
    """The node that is one bucket after `touched` lost rows: `touched`, or the highest above it with few enough."""
    names = sorted(sizes)
    node = touched
    while node:
        above = node[:-1]
        below = names[bisect_left(names, above) : bisect_left(names, above + "2")]
        if sum(sizes[name] for name in below) > capacity:
            break
        node = above
    return node
