"""SipHash in compiled loops: keys of nodes, orders of features, priorities of candidate values.

`siphash` is SipHash-2-4 [Aumasson & Bernstein 2012] of the message (word, counter), equal to `expunge.keyed.bits` under
the same 128-bit key. `priorities` is HalfSipHash-1-3, the same authors' variant on 32-bit words, which the inner loop
over rows affords: 64-bit key, one word of message, 32 bits out. Both are pseudo-random functions of their key.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from expunge.kernels.compiled import compiled

U64 = np.uint64
U32 = np.uint32


@compiled
def _rotated(v: Any, by: Any) -> Any:
    return (v << U64(by)) | (v >> U64(64 - by))


@compiled
def _round(v0: Any, v1: Any, v2: Any, v3: Any) -> Any:
    v0 = v0 + v1
    v1 = _rotated(v1, 13) ^ v0
    v0 = _rotated(v0, 32)
    v2 = v2 + v3
    v3 = _rotated(v3, 16) ^ v2
    v0 = v0 + v3
    v3 = _rotated(v3, 21) ^ v0
    v2 = v2 + v1
    v1 = _rotated(v1, 17) ^ v2
    v2 = _rotated(v2, 32)
    return v0, v1, v2, v3


@compiled
def siphash(k0: Any, k1: Any, word: Any, counter: Any) -> Any:
    """64 bits of (word, counter) under the key (k0, k1); all are uint64."""
    v0 = k0 ^ U64(0x736F6D6570736575)
    v1 = k1 ^ U64(0x646F72616E646F6D)
    v2 = k0 ^ U64(0x6C7967656E657261)
    v3 = k1 ^ U64(0x7465646279746573)
    for message in (word, counter, U64(16 << 56)):
        v3 ^= message
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
        v0 ^= message
    v2 ^= U64(0xFF)
    for _ in range(4):
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    return v0 ^ v1 ^ v2 ^ v3


@compiled
def _half_rotated(v: Any, by: Any) -> Any:
    return U32(U32(v << U32(by)) | (v >> U32(32 - by)))


@compiled
def _half_round(v0: Any, v1: Any, v2: Any, v3: Any) -> Any:
    v0 = U32(v0 + v1)
    v1 = U32(_half_rotated(v1, 5) ^ v0)
    v0 = _half_rotated(v0, 16)
    v2 = U32(v2 + v3)
    v3 = U32(_half_rotated(v3, 8) ^ v2)
    v0 = U32(v0 + v3)
    v3 = U32(_half_rotated(v3, 7) ^ v0)
    v2 = U32(v2 + v1)
    v1 = U32(_half_rotated(v1, 13) ^ v2)
    v2 = _half_rotated(v2, 16)
    return v0, v1, v2, v3


@compiled
def half_siphash(key: Any, word: Any, compressions: Any, finals: Any) -> Any:
    """HalfSipHash of one 32-bit word under a 64-bit key: 32 bits."""
    k0, k1 = U32(key & U64(0xFFFFFFFF)), U32(key >> U64(32))
    v0, v1, v2, v3 = k0, k1, U32(k0 ^ U32(0x6C796765)), U32(k1 ^ U32(0x74656462))
    v3 = U32(v3 ^ word)
    for _ in range(compressions):
        v0, v1, v2, v3 = _half_round(v0, v1, v2, v3)
    v0 = U32(v0 ^ word)
    v3 = U32(v3 ^ U32(4 << 24))
    for _ in range(compressions):
        v0, v1, v2, v3 = _half_round(v0, v1, v2, v3)
    v0 = U32(v0 ^ U32(4 << 24))
    v2 = U32(v2 ^ U32(0xFF))
    for _ in range(finals):
        v0, v1, v2, v3 = _half_round(v0, v1, v2, v3)
    return U32(v1 ^ v3)


@compiled
def priorities(codes: NDArray[np.int32], size: int, key: Any, out: NDArray[np.uint32]) -> None:
    """out[i] = HalfSipHash-1-3(key; codes[i]) for i < size."""
    for i in range(size):
        out[i] = half_siphash(key, U32(codes[i]), 1, 3)
