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
def indexed(store: Any) -> Any:
    """The store with, for each value of a key's highest bits, where the bucket's first key from there on stands.

    Of more than INDEXED rows there is no index: making it would take longer than it saves.
    """
    buckets, columns, words, numbers = store
    bits = at.STORE_BITS
    if np.sum(buckets[:, 1]) > at.INDEXED:
        return buckets, columns, words, numbers, np.empty(0, np.int32), bits
    while (2 << bits) < np.sum(buckets[:, 1]) and bits < 20:
        bits += 1
    each = 1 << (bits - at.STORE_BITS)
    first = np.empty(len(buckets) * each, np.int32)
    for which in range(len(buckets)):
        keys = words_at(buckets[which, 0], buckets[which, 1], numbers)
        slot = which * each
        for i in range(len(keys)):
            upto = np.int64(keys[i] >> U64(64 - bits))
            while slot <= upto:
                first[slot] = i
                slot += 1
        first[slot : (which + 1) * each] = len(keys)
    return buckets, columns, words, numbers, first, bits


@compiled
def fetch(keys: Any, store: Any, start: int, end: int, X: Any, t: Any, w: Any, kept: Any) -> Any:
    """Copy columns start to end-1 of the rows with these keys, by row; those not in the store are left out.

    Args:
        store: (128, 2) addresses and rows of the buckets, columns, and empty arrays of int32 and of uint64; `indexed`.
        X, t, w, kept: where codes, targets, weights and keys go.

    Returns:
        How many rows there are.
    """
    buckets, columns, words, numbers, first, bits = store
    width, count = end - start, 0
    whole = columns + at.BESIDE_CODES - 2
    for key in keys:
        which = np.int64(key >> U64(64 - at.STORE_BITS))
        address, rows = buckets[which, 0], buckets[which, 1]
        known = words_at(address, rows, numbers)
        if len(first):
            i = np.int64(first[np.int64(key >> U64(64 - bits))])
        else:  # keys are uniform: interpolation
            i = np.int64((((key << U64(at.STORE_BITS)) >> U64(32)) * U64(rows)) >> U64(32))
            while i > 0 and known[i - 1] >= key:
                i -= 1
        while i < rows and known[i] < key:
            i += 1
        if i == rows or known[i] != key:
            continue
        row = words_at(address + 8 * rows + 4 * i * whole, whole, words)
        for f in range(width):
            X[count * width + f] = row[start + f]
        t[count] = np.int64(joined(row[columns], row[columns + 1]))
        w[count] = row[columns + 2]
        kept[count] = key
        count += 1
    return count
