"""Public randomness as a function of (seed, purpose, key): never of a position, never of call order.

Every random choice of training is drawn here, so that what remains after a deletion makes the same choices as if the
deleted rows had never been there. The function is SipHash-2-4 (Aumasson & Bernstein 2012), a real pseudo-random
function, vectorised over 64-bit keys, under a 128-bit key BLAKE2b(seed, purpose). A row's key is a BLAKE2b digest of
its id as text, so 7 and "7" name the same row and import order does not matter.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint64]
Purpose = tuple[str | int, ...]

_PERSON = b"expunge-keyed"


def key_of(name: str | int) -> int:
    """The 64-bit key of an id or subject."""
    return int.from_bytes(hashlib.blake2b(str(name).encode(), digest_size=8, person=b"expunge-row").digest(), "little")


def keys_of(names: Iterable[str | int]) -> Keys:
    """The 64-bit keys of ids or subjects, shape (n,)."""
    person, blake = b"expunge-row", hashlib.blake2b
    digests = b"".join(blake(str(name).encode(), digest_size=8, person=person).digest() for name in names)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def bits(seed: int, purpose: Purpose, keys: Keys, counter: int = 0) -> Keys:
    """64 pseudo-random bits for each key, shape (n,)."""
    return _siphash(*key_pair(seed, purpose), np.asarray(keys), counter)


def key_pair(seed: int, purpose: Purpose) -> tuple[int, int]:
    """The 128-bit key of a purpose as two halves, for a compiled loop that hashes itself."""
    key = hashlib.blake2b(_encode((seed, *purpose)), digest_size=16, person=_PERSON).digest()
    return int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")


def uniforms(seed: int, purpose: Purpose, keys: Keys, counter: int = 0) -> NDArray[np.float64]:
    """Uniforms in the open interval (0, 1), 52 bits each, shape (n,)."""
    # 52 bits, not 53: adding one half to a 53-bit integer would round, and the largest would become 1.
    return ((bits(seed, purpose, keys, counter) >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52


def normals(seed: int, purpose: Purpose, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Standard normals of `shape`, a function of (seed, purpose) and the position inside the array (for weights)."""
    from scipy.special import ndtri  # slow to import

    where = np.arange(math.prod(shape), dtype=np.uint64)
    return np.asarray(ndtri(uniforms(seed, purpose, where)), dtype=np.float64).reshape(shape)


def integers(seed: int, purpose: Purpose, keys: Keys, below: int) -> NDArray[np.int64]:
    """Integers in [0, below), shape (n,), 1 <= below <= 2^32; each probability is off by less than 2^-32."""
    if not 1 <= below <= 2**32:
        raise ValueError(f"Integers are drawn from [0, below) with below from 1 to 2^32, not {below}.")
    high = bits(seed, purpose, keys) >> np.uint64(32)
    return ((high * np.uint64(below)) >> np.uint64(32)).astype(np.int64)


def permutation(seed: int, purpose: Purpose, keys: Keys) -> NDArray[np.int64]:
    """Positions in the order of their priorities: removing a key never reorders the others. Ties go by key."""
    return np.lexsort((keys, bits(seed, purpose, keys)))


def k_smallest(seed: int, purpose: Purpose, keys: Keys, k: int) -> NDArray[np.int64]:
    """Positions of the `k` smallest priorities, in their order: a uniform sample without replacement."""
    return permutation(seed, purpose, keys)[:k]


def subseed(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed for something that takes a seed of its own (a shard, a reference, a library generator)."""
    digest = hashlib.blake2b(_encode((seed, *purpose)), digest_size=8, person=_PERSON).digest()
    return int.from_bytes(digest, "little") >> 1


def _encode(parts: tuple[str | int, ...]) -> bytes:
    """Length-prefixed, typed: ("a", 1) and ("a1",) never meet."""
    encoded = [(b"s" if isinstance(part, str) else b"i", str(part).encode()) for part in parts]
    return b"".join(tag + len(text).to_bytes(4, "little") + text for tag, text in encoded)


def _siphash(k0: int, k1: int, words: Keys, counter: int) -> Keys:
    """SipHash-2-4 of the 16-byte messages (word, counter), vectorised."""
    shape = words.shape
    v0 = np.full(shape, k0 ^ 0x736F6D6570736575, dtype=np.uint64)
    v1 = np.full(shape, k1 ^ 0x646F72616E646F6D, dtype=np.uint64)
    v2 = np.full(shape, k0 ^ 0x6C7967656E657261, dtype=np.uint64)
    v3 = np.full(shape, k1 ^ 0x7465646279746573, dtype=np.uint64)
    for message in (words.astype(np.uint64), np.full(shape, counter, dtype=np.uint64), np.uint64(16 << 56)):
        v3 = v3 ^ message
        v0, v1, v2, v3 = _rounds(2, v0, v1, v2, v3)
        v0 = v0 ^ message
    v0, v1, v2, v3 = _rounds(4, v0, v1, v2 ^ np.uint64(0xFF), v3)
    return v0 ^ v1 ^ v2 ^ v3


def _rounds(count: int, v0: Keys, v1: Keys, v2: Keys, v3: Keys) -> tuple[Keys, Keys, Keys, Keys]:
    for _ in range(count):
        v0 = v0 + v1
        v1 = _rotate(v1, 13) ^ v0
        v0 = _rotate(v0, 32)
        v2 = v2 + v3
        v3 = _rotate(v3, 16) ^ v2
        v0 = v0 + v3
        v3 = _rotate(v3, 21) ^ v0
        v2 = v2 + v1
        v1 = _rotate(v1, 17) ^ v2
        v2 = _rotate(v2, 32)
    return v0, v1, v2, v3


def _rotate(v: Keys, by: int) -> Keys:
    return (v << np.uint64(by)) | (v >> np.uint64(64 - by))
