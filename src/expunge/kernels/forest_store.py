"""The forest's own copy of the rows: buckets by the highest bits of the key, sorted by key. See forest_layout."""

from __future__ import annotations

from typing import Any

import numpy as np

from expunge.kernels import forest_layout as at
from expunge.kernels.compiled import compiled, words_at

U64, U32 = np.uint64, np.uint32


@compiled
def joined(low: Any, high: Any) -> Any:
    """The 64-bit number whose halves are two 32-bit words."""
    return U64(U32(low)) | (U64(U32(high)) << U64(32))


@compiled
def index_bucket(keys: Any, which: int, first: Any, bits: int) -> None:
    """Set where the first key from each value of the highest `bits` on stands in one bucket of sorted keys."""
    each = 1 << (bits - at.STORE_BITS)
    slot = which * each
    for i in range(len(keys)):
        upto = np.int64(keys[i] >> U64(64 - bits))
        while slot <= upto:
            first[slot] = i
            slot += 1
    for rest in range(slot, (which + 1) * each):
        first[rest] = len(keys)


@compiled
def located(keys: Any, store: Any, places: Any, kept: Any, count: int) -> Any:
    """Find the rows with these keys: places[0, count:] where they lie, [1] bytes from column to column; kept[count:].

    Those that are not in the store are left out.

    Args:
        store: (128, 2) addresses and rows of the buckets, an empty array of uint64, and `index_bucket` of all of them
            (or none) with its bits.

    Returns:
        How many rows are in `places` then.
    """
    buckets, numbers, first, bits = store
    for k in range(len(keys)):
        key = keys[k]
        which = np.int64(key >> U64(64 - at.STORE_BITS))
        address, rows = buckets[which, 0], buckets[which, 1]
        known = words_at(address, rows + 1, numbers)  # the one after the last is read without a branch, not used
        if len(first):
            i = np.int64(first[np.int64(key >> U64(64 - bits))])
            i += known[i] < key
        else:  # keys are uniform: interpolation
            i = np.int64((((key << U64(at.STORE_BITS)) >> U64(32)) * U64(rows)) >> U64(32))
            while i > 0 and known[i - 1] >= key:
                i -= 1
        while i < rows and known[i] < key:
            i += 1
        if i >= rows or known[i] != key:
            continue
        places[0, count], places[1, count] = address + 4 * (2 * rows + i), 4 * rows
        kept[count] = key
        count += 1
    return count


@compiled
def read_column(places: Any, size: int, column: int, words: Any, x: Any) -> None:
    """One column of the located rows, to x. words: an empty array of int32."""
    for i in range(size):
        x[i] = words_at(places[0, i] + column * places[1, i], 1, words)[0]


@compiled
def read_targets(places: Any, size: int, p: Any, words: Any, t: Any, w: Any) -> None:
    """Targets and weights of the located rows."""
    columns = p[at.FEATURES]
    for i in range(size):
        start, step = places[0, i] + columns * places[1, i], places[1, i]
        low = words_at(start, 1, words)[0]
        t[i] = low if p[at.CLASSES] else np.int64(joined(low, words_at(start + step, 1, words)[0]))
        w[i] = words_at(start + 2 * step, 1, words)[0]
