"""The forest's own copy of the rows: buckets by the highest bits of the key, sorted by key. See forest_layout."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from expunge.kernels import forest_layout as at
from expunge.kernels.compiled import OPTIONS, words_at

U64, U32 = np.uint64, np.uint32


@njit(**OPTIONS)
def joined(low: Any, high: Any) -> Any:
    """The 64-bit number whose halves are two 32-bit words."""
    return U64(U32(low)) | (U64(U32(high)) << U64(32))


@njit(**OPTIONS)
def found(bucket: Any, width: int, size: int, key: Any) -> int:
    """The first word of a row in its bucket of `size` rows, -1 where it is not there. Keys are uniform: interpolation."""
    if size == 0:
        return -1
    share = (key << U64(at.STORE_BITS)) >> U64(32)
    i = np.int64((share * U64(size)) >> U64(32))
    here = joined(bucket[i * width], bucket[i * width + 1])
    while here < key and i + 1 < size:
        i += 1
        here = joined(bucket[i * width], bucket[i * width + 1])
    while here > key and i > 0:
        i -= 1
        here = joined(bucket[i * width], bucket[i * width + 1])
    return i * width if here == key else -1


@njit(**OPTIONS)
def fetch(keys: Any, store: Any, X: Any, t: Any, w: Any, kept: Any) -> int:
    """Copy the rows with these keys out of the store, by row; those that are not there are left out; how many are.

    Args:
        store: (128, 2) addresses and rows of the buckets, the words of a row, and an array of their type.
        X, t, w, kept: where codes, targets, weights and keys go.
    """
    buckets, width, like = store
    codes, count = width - at.CODES, 0
    for key in keys:
        which = np.int64(key >> U64(64 - at.STORE_BITS))
        size = buckets[which, 1]
        bucket = words_at(buckets[which, 0], size * width, like)
        o = found(bucket, width, size, key)
        if o < 0:
            continue
        for f in range(codes):
            X[count * codes + f] = bucket[o + at.CODES + f]
        t[count] = np.int64(joined(bucket[o + at.TARGET_LOW], bucket[o + at.TARGET_HIGH]))
        w[count] = bucket[o + at.WEIGHT]
        kept[count] = key
        count += 1
    return count


def joined_words(pairs: Any) -> Any:
    """The 64-bit numbers (n,) uint64 whose halves are the words (n, 2) int32."""
    return np.ascontiguousarray(pairs).view("<u8").reshape(-1).astype(np.uint64, copy=False)
