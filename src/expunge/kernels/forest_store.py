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
def found(keys: Any, key: Any) -> Any:
    """Where a key stands in a bucket's sorted keys, -1 where it does not. Keys are uniform: interpolation."""
    if len(keys) == 0:
        return -1
    share = (key << U64(at.STORE_BITS)) >> U64(32)
    i = np.int64((share * U64(len(keys))) >> U64(32))
    while i + 1 < len(keys) and keys[i] < key:
        i += 1
    while i > 0 and keys[i] > key:
        i -= 1
    return i if keys[i] == key else -1


@compiled
def fetch(keys: Any, store: Any, first: int, last: int, X: Any, t: Any, w: Any, kept: Any) -> Any:
    """Copy columns first to last-1 of the rows with these keys, by row; those not in the store are left out.

    Args:
        store: (128, 2) addresses and rows of the buckets, columns, and empty arrays of int32 and of uint64.
        X, t, w, kept: where codes, targets, weights and keys go.

    Returns:
        How many rows there are.
    """
    buckets, columns, words, numbers = store
    width, count = last - first, 0
    for key in keys:
        which = np.int64(key >> U64(64 - at.STORE_BITS))
        start, rows = buckets[which, 0], buckets[which, 1]
        i = found(words_at(start, rows, numbers), key)
        if i < 0:
            continue
        codes = words_at(start + 4 * (5 * rows + i * columns + first), width, words)
        for f in range(width):
            X[count * width + f] = codes[f]
        t[count] = np.int64(words_at(start + 8 * (rows + i), 1, numbers)[0])
        w[count] = words_at(start + 4 * (4 * rows + i), 1, words)[0]
        kept[count] = key
        count += 1
    return count
