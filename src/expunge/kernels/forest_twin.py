"""The plain twin of the compiled learning: one node after the other with numpy, to the same words. See forest_layout.

It sorts, counts with masks and recurses; it shares no loop with the kernels. Tests hold it against them bit for bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from expunge.kernels import forest_layout as at
from expunge.kernels.forest_node import ORDER, SIDE, VALUES

Words = list[int]
_MASK = 2**64 - 1


@dataclass
class Twin:
    """A tree under construction: crown and parts by path, as lists of words.

    Args:
        codes (n, p), targets, weights, keys (n,): sorted by key. settings, categorical, secret: as kernels take them.
    """

    codes: NDArray[np.int32]
    targets: NDArray[np.int64]
    weights: NDArray[np.int64]
    keys: NDArray[np.uint64]
    settings: NDArray[np.int64]
    categorical: NDArray[np.uint8]
    secret: NDArray[np.uint64]
    crown: Words = field(default_factory=list)
    parts: dict[int, Words] = field(default_factory=dict)

    def grow(self, root: int) -> Twin:
        """Learn the tree of this key."""
        self._node(np.arange(len(self.keys)), 0, root, 0)
        return self

    def _node(self, rows: NDArray[np.int64], depth: int, key: int, path: int) -> None:
        p = self.settings
        above = depth < p[at.CUT]
        out = self.crown if above else self.parts.setdefault(path, [])
        totals = self._totals(rows)
        weight = int(self.weights[rows].sum())
        features: list[Words] = []
        split = None
        if not self._stops(rows, weight, depth):
            features = self._features(rows, key, depth)
            split = self._best(features, totals, weight)
        header = [0, weight, len(rows), -1, 0, 0, *totals]
        start = len(out)
        if split is None:
            keys = np.sort(self.keys[rows]).astype("<u8").view(np.int32).tolist()
            out += [len(header) + len(keys), *header[1:], *keys]
            return
        kept = [] if len(rows) < at.SMALL else features
        body = [len(kept), *(word for feature in kept for word in feature)]
        feature, value = split
        out += [len(header) + len(body), weight, len(rows), feature, value, 0, *totals, *body]
        x = self.codes[rows, feature]
        left = x == value if self.categorical[feature] else x <= value
        for side, inside in enumerate((left, ~left)):
            if side and depth + 1 != p[at.CUT]:
                out[start + at.RIGHT] = len(out) - start
            below = 2 * path + side if above else path
            self._node(rows[inside], depth + 1, self._hash(key, SIDE, side), below)

    def _totals(self, rows: NDArray[np.int64]) -> Words:
        t, w = self.targets[rows], self.weights[rows]
        if self.settings[at.CLASSES]:
            return [int(w[t == c].sum()) for c in range(1, int(self.settings[at.CLASSES]))]
        hashes = sum(int(weight) * _mixed(int(target)) for target, weight in zip(t, w, strict=True)) & _MASK
        return [int((t * w).sum()), hashes - 2**64 if hashes >= 2**63 else hashes]

    def _stops(self, rows: NDArray[np.int64], weight: int, depth: int) -> bool:
        p = self.settings
        few = weight < p[at.MIN_SPLIT] or weight < 2 * p[at.MIN_LEAF]
        return bool(depth >= p[at.MAX_DEPTH] or few or len(np.unique(self.targets[rows])) == 1)

    def _features(self, rows: NDArray[np.int64], key: int, depth: int) -> list[Words]:
        p = self.settings
        most, wanted = int(p[at.CANDIDATES]) + 1, int(p[at.EXAMINED])
        if depth < p[at.RANDOM_DEPTH]:
            most, wanted = 2, 1
        order_key = self._hash(key, ORDER, 0)
        order = sorted(range(int(p[at.FEATURES])), key=lambda f: (half_siphash(order_key, f), f))
        found: list[Words] = []
        for f in order:
            found.append(self._feature(rows, f, self._hash(key, VALUES, f), most))
            wanted -= found[-1][1] > 1
            if not wanted:
                break
        return found

    def _feature(self, rows: NDArray[np.int64], f: int, key: int, most: int) -> Words:
        x, t, w = self.codes[rows, f], self.targets[rows], self.weights[rows]
        ranked = sorted(np.unique(x).tolist(), key=lambda v: (half_siphash(key, v & 0xFFFFFFFF), v))[:most]
        values = sorted(ranked)
        extra = values.index(ranked[-1]) if len(ranked) == most else -1
        sides = [x == v if self.categorical[f] else x <= v for v in values]
        words = [*values, *(int(w[x == v].sum()) for v in values), *(int(w[side].sum()) for side in sides)]
        if not self.settings[at.CLASSES]:
            words += [int((w * t)[side].sum()) for side in sides]
        for c in range(1, int(self.settings[at.CLASSES])):
            words += [int(w[side & (t == c)].sum()) for side in sides]
        return [f, len(values), extra, *words]

    def _best(self, features: list[Words], totals: Words, weight: int) -> tuple[int, int] | None:
        best: tuple[float, int, int] | None = None
        for f, count, extra, *words in features:
            lefts = words[2 * count : 3 * count]
            if not self.categorical[f] and lefts[-1] == weight:
                extra = -1
            for i, inside in enumerate(lefts):
                if count < 2 or i == extra or min(inside, weight - inside) < max(int(self.settings[at.MIN_LEAF]), 1):
                    continue
                channels = words[3 * count + i :: count]
                candidate = (-self._score(channels, totals, inside, weight), f, words[i])
                best = candidate if best is None else min(best, candidate)
        return None if best is None else best[1:]

    def _score(self, channels: Words, totals: Words, inside: int, weight: int) -> float:
        if not self.settings[at.CLASSES]:
            s, rest = float(channels[0]), float(totals[0] - channels[0])
            return s * s / float(inside) + rest * rest / float(weight - inside)
        left = [*map(float, channels), float(inside - sum(channels))]
        right = [total - c for total, c in zip([*map(float, totals), float(weight - sum(totals))], left, strict=True)]
        if not self.settings[at.ENTROPY]:
            return _in_order(c * c for c in left) / float(inside) + _in_order(c * c for c in right) / float(
                weight - inside
            )
        lefts = _in_order(_xlogx(c) for c in left) - _xlogx(float(inside))
        return lefts + (_in_order(_xlogx(c) for c in right) - _xlogx(float(weight - inside)))

    def _hash(self, key: int, purpose: int, which: int) -> int:
        return siphash(int(self.secret[0]), int(self.secret[1]), key, purpose << 32 | which)


def siphash(k0: int, k1: int, word: int, counter: int) -> int:
    """SipHash-2-4 with Python's integers."""
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]
    for message in (word, counter, 16 << 56):
        v[3] ^= message
        v = _round(_round(v, 64, (13, 16, 21, 17)), 64, (13, 16, 21, 17))
        v[0] ^= message
    v[2] ^= 0xFF
    for _ in range(4):
        v = _round(v, 64, (13, 16, 21, 17))
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def half_siphash(key: int, word: int, compressions: int = 1, finals: int = 3) -> int:
    """HalfSipHash of one 32-bit word with Python's integers."""
    k0, k1 = key & 0xFFFFFFFF, key >> 32
    v = [k0, k1, k0 ^ 0x6C796765, k1 ^ 0x74656462]
    for message in (word, 4 << 24):
        v[3] ^= message
        for _ in range(compressions):
            v = _round(v, 32, (5, 8, 7, 13))
        v[0] ^= message
    v[2] ^= 0xFF
    for _ in range(finals):
        v = _round(v, 32, (5, 8, 7, 13))
    return v[1] ^ v[3]


def _round(v: list[int], bits: int, by: tuple[int, int, int, int]) -> list[int]:
    mask = (1 << bits) - 1

    def rotated(x: int, count: int) -> int:
        return ((x << count) | (x >> (bits - count))) & mask

    a, b, c, d = v
    a = (a + b) & mask
    b, a = rotated(b, by[0]) ^ a, rotated(a, bits // 2)
    c = (c + d) & mask
    d = rotated(d, by[1]) ^ c
    a = (a + d) & mask
    d = rotated(d, by[2]) ^ a
    c = (c + b) & mask
    return [a, rotated(b, by[3]) ^ c, rotated(c, bits // 2), d]


def _mixed(target: int) -> int:
    """Splitmix64."""
    z = (target + 0x9E3779B97F4A7C15) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def _xlogx(n: float) -> float:
    return n * math.log(n) if n > 0 else 0.0


def _in_order(values: Any) -> float:
    """A sum from left to right; Python's own compensates."""
    total = 0.0
    for value in values:
        total += value
    return total
