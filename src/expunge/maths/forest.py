"""A forest that can lose and gain rows, as immutable chunks: its own copy of the rows, and trees cut into parts.

All words are laid out by `expunge.kernels.forest_layout`. The chunks are functions of the rows, their keys and the keys
of the trees alone, whatever the history; a change makes new tensors for the chunks it reaches and shares the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from expunge.kernels import forest_layout as at
from expunge.kernels.forest_build import grow_trees
from expunge.kernels.forest_store import joined_words
from expunge.kernels.forest_update import SAME, update_trees

BUCKETS = 1 << at.STORE_BITS
Words = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Forest:
    """The chunks: int32, or int64 in trees of a regression.

    Attributes:
        store: 128 buckets of rows (r, 5 + p) by the highest bits of their keys; None where there is none.
        crowns: the first levels of each tree. parts: of each tree the subtrees below, by path; None where there is none.
    """

    store: tuple[Tensor | None, ...]
    crowns: tuple[Tensor, ...]
    parts: tuple[tuple[Tensor | None, ...], ...]


@dataclass(frozen=True, eq=False)
class CodedRows:
    """Rows as codes (n, p) int32, integer targets (n,), integer weights (n,) and keys (n,) uint64."""

    codes: NDArray[np.int32]
    targets: NDArray[np.int64]
    weights: NDArray[np.int64]
    keys: NDArray[np.uint64]

    def take(self, where: Any) -> CodedRows:
        """The rows at `where`, in that order."""
        return CodedRows(self.codes[where], self.targets[where], self.weights[where], self.keys[where])


@dataclass(frozen=True, eq=False)
class Growing:
    """What makes the trees of a forest: settings (see forest_layout), which columns are categories, keys, threads."""

    settings: NDArray[np.int64]
    categorical: NDArray[np.uint8]
    roots: NDArray[np.uint64]
    secret: NDArray[np.uint64]
    threads: int = 1

    @property
    def like(self) -> Words:
        """An empty array of the words' type."""
        return np.empty(0, np.int32 if self.settings[at.CLASSES] else np.int64)


def grow(rows: CodedRows, growing: Growing) -> tuple[Forest, NDArray[np.int64]]:
    """The forest of these rows, and what the kernels counted."""
    rows = rows.take(np.argsort(rows.keys))
    dtype = growing.like.dtype
    codes = np.ascontiguousarray(rows.codes.T)
    targets, weights = rows.targets.astype(dtype), rows.weights.astype(dtype)

    def some(first: int, last: int) -> Any:
        return grow_trees(
            codes, targets, weights, rows.keys, growing.roots[first:last], growing.secret, growing.settings, growing.categorical
        )

    nothing = ((None,) * (1 << int(growing.settings[at.CUT])),) * len(growing.roots)
    crowns, parts, counters = _gathered(some, growing, nothing)
    empty: tuple[Tensor | None, ...] = (None,) * BUCKETS
    return Forest(_stored(empty, rows, rows.keys[:0]), crowns, parts), counters


def changed(
    forest: Forest, gone: NDArray[np.uint64], came: CodedRows, growing: Growing
) -> tuple[Forest, NDArray[np.int64]]:
    """The forest without the rows of these keys, or with the rows that came, and what the kernels counted.

    Args:
        gone: keys (d,), all of them in the store.
    """
    width = came.codes.shape[1]
    left = stored_rows(forest, gone, width)
    store = _stored(forest.store, came, gone)
    dtype = growing.like.dtype
    changes = (
        np.ascontiguousarray(np.concatenate([left.codes, came.codes]).T),
        np.concatenate([left.targets, came.targets]).astype(dtype),
        np.concatenate([-left.weights, came.weights]).astype(dtype),
        np.concatenate([left.keys, came.keys]),
    )
    buckets = (_addresses(store), width + at.CODES, np.empty(0, np.int32))
    crowns_at = _addresses(forest.crowns)
    parts_at = _addresses(part for tree in forest.parts for part in tree).reshape(len(forest.crowns), -1, 2)

    def some(first: int, last: int) -> Any:
        return update_trees(
            crowns_at[first:last],
            parts_at[first:last],
            buckets,
            changes,
            growing.roots[first:last],
            growing.secret,
            growing.settings,
            growing.categorical,
            growing.like,
        )

    crowns, parts, counters = _gathered(some, growing, forest.parts)
    return Forest(store, crowns, parts), counters


def missing_keys(forest: Forest, keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which of these keys (d,) no stored row has."""
    which = (keys >> np.uint64(64 - at.STORE_BITS)).astype(np.int64)
    absent = np.ones(len(keys), dtype=bool)
    for bucket in np.unique(which):
        held = forest.store[bucket]
        if held is not None:
            here = which == bucket
            absent[here] = ~np.isin(keys[here], joined_words(held.numpy()[:, :2]))
    return absent


def stored_rows(forest: Forest, keys: NDArray[np.uint64], features: int) -> CodedRows:
    """The stored rows with these keys (d,), in that order."""
    if not len(keys):
        return CodedRows(np.empty((0, features), np.int32), np.empty(0, np.int64), np.empty(0, np.int64), keys)
    which = (keys >> np.uint64(64 - at.STORE_BITS)).astype(np.int64)
    words = np.empty((len(keys), at.CODES + features), np.int32)
    for bucket in np.unique(which):
        held, here = forest.store[bucket], which == bucket
        assert held is not None
        words[here] = held.numpy()[np.searchsorted(joined_words(held.numpy()[:, :2]), keys[here])]
    targets = joined_words(words[:, at.TARGET_LOW : at.TARGET_HIGH + 1]).astype(np.int64)
    return CodedRows(words[:, at.CODES :], targets, words[:, at.WEIGHT].astype(np.int64), keys)


def _stored(store: tuple[Tensor | None, ...], came: CodedRows, gone: NDArray[np.uint64]) -> tuple[Tensor | None, ...]:
    """The buckets without the rows that left and with those that came."""
    words = np.empty((len(came.keys), at.CODES + came.codes.shape[1]), np.int32)
    words[:, :2] = came.keys.astype("<u8").view(np.int32).reshape(-1, 2)
    words[:, at.WEIGHT] = came.weights
    words[:, at.TARGET_LOW : at.CODES] = came.targets.astype("<i8").view(np.int32).reshape(-1, 2)
    words[:, at.CODES :] = came.codes
    new = list(store)
    to, out_of = (keys >> np.uint64(64 - at.STORE_BITS) for keys in (came.keys, gone))
    for bucket in np.unique(np.concatenate([to, out_of])).tolist():
        held = store[bucket]
        rows = words[:0] if held is None else held.numpy()
        if leaving := gone[out_of == bucket].tolist():
            rows = rows[~np.isin(joined_words(rows[:, :2]), leaving)]
        rows = np.concatenate([rows, words[to == bucket]])
        if len(words):
            rows = rows[np.argsort(joined_words(rows[:, :2]))]
        new[bucket] = torch.from_numpy(np.ascontiguousarray(rows)) if len(rows) else None
    return tuple(new)


def _gathered(
    some: Callable[[int, int], Any], growing: Growing, before: tuple[tuple[Tensor | None, ...], ...]
) -> tuple[tuple[Tensor, ...], tuple[tuple[Tensor | None, ...], ...], NDArray[np.int64]]:
    """What `some` trees give, of all trees, as tensors; parts that stay as they are are those of `before`."""
    trees = len(growing.roots)
    edges = np.linspace(0, trees, min(growing.threads, trees) + 1).astype(int).tolist()
    runs = list(zip(edges[:-1], edges[1:], strict=True))
    if len(runs) == 1:
        results = [some(0, trees)]
    else:
        with ThreadPoolExecutor(len(runs)) as pool:
            results = list(pool.map(lambda run: some(*run), runs))
    crowns: list[Tensor] = []
    parts: list[tuple[Tensor | None, ...]] = []
    counters = np.zeros(at.COUNTERS, np.int64)
    for crown, ends, words, lies, counted in results:
        counters += counted
        for tree, places in enumerate(lies):
            crowns.append(torch.from_numpy(crown[ends[tree] : ends[tree + 1]].copy()))
            new = list(before[len(parts)])
            for part in np.flatnonzero(places[:, 0] != SAME).tolist():
                first, last = places[part].tolist()
                new[part] = None if first < 0 else torch.from_numpy(words[first:last].copy())
            parts.append(tuple(new))
    return tuple(crowns), tuple(parts), counters


def _addresses(tensors: Iterable[Tensor | None]) -> NDArray[np.int64]:
    """(m, 2): where each tensor's words lie, and how many (of a bucket: rows)."""
    return np.array([(0, 0) if t is None else (t.data_ptr(), t.shape[0]) for t in tensors], np.int64).reshape(-1, 2)
