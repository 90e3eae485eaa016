"""A forest that can lose and gain rows, as immutable chunks: its own copy of the rows, and trees cut into parts.

All words are laid out by `expunge.kernels.forest_layout`. The chunks are functions of the rows, their keys and the keys
of the trees alone, whatever the history; a change makes new tensors for the chunks it reaches and shares the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from types import MappingProxyType
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from expunge.kernels import forest_layout as at
from expunge.kernels.forest_build import grow_trees
from expunge.kernels.forest_store import index_bucket
from expunge.kernels.forest_table import table_of
from expunge.kernels.forest_update import IN_PLACE, SAME, reached, update_trees

BUCKETS = 1 << at.STORE_BITS
SPARE = 256  # words by which a part may grow where it is written
Words = NDArray[Any]
_NOTHING = np.zeros(4, np.uint64)  # where a bucket without rows is said to lie


@dataclass(frozen=True, eq=False)
class Forest:
    """The chunks: int32, or int64 in trees of a regression.

    Attributes:
        store: 128 buckets of rows by the highest bits of their keys; None where there is none.
        crowns: the first levels of all trees, one after the other. ends: (trees + 1,) int64, where each begins.
        parts: of each tree the subtrees below, by path; None where there is none.
    """

    store: tuple[Tensor | None, ...]
    crowns: Tensor
    ends: Tensor
    parts: tuple[tuple[Tensor | None, ...], ...]


@dataclass(frozen=True, eq=False)
class Places:
    """Where the words of a forest lie, for the kernels: found once, and brought up to date by each change.

    Attributes:
        parts: (trees, parts, 2) addresses and words. buckets: (128, 2) addresses and rows. first: of `fetch`; its bits.
    """

    parts: NDArray[np.int64]
    buckets: NDArray[np.int64]
    first: NDArray[np.uint16]
    bits: int


_PLACES: WeakKeyDictionary[Forest, Places] = WeakKeyDictionary()  # asking 1,600 tensors takes a millisecond


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
            codes,
            targets,
            weights,
            rows.keys,
            growing.roots[first:last],
            growing.secret,
            growing.settings,
            growing.categorical,
        )

    nothing = ((None,) * (1 << int(growing.settings[at.CUT])),) * len(growing.roots)
    empty: tuple[Tensor | None, ...] = (None,) * BUCKETS
    store = _stored(empty, rows, rows.keys[:0], rows.codes.shape[1])
    before = np.zeros((len(growing.roots), len(nothing[0]), 2), np.int64)
    forest, _, counters = _gathered(some, growing, store, nothing, before)
    return forest, counters


def changed(
    forest: Forest, gone: NDArray[np.uint64], came: CodedRows, growing: Growing
) -> tuple[Forest, NDArray[np.int64]]:
    """The forest without the rows of these keys, or with the rows that came, and what the kernels counted.

    Args:
        gone: keys (d,), all of them in the store.
    """
    width = came.codes.shape[1]
    left = stored_rows(forest, gone, width)
    store = _stored(forest.store, came, gone, width)
    dtype = growing.like.dtype
    changes = (
        np.ascontiguousarray(np.concatenate([left.codes, came.codes]).T),
        np.concatenate([left.targets, came.targets]).astype(dtype),
        np.concatenate([-left.weights, came.weights]).astype(dtype),
        np.concatenate([left.keys, came.keys]),
    )
    before = _places(forest, width)
    places = _moved(before, forest.store, store, width)
    buckets = (places.buckets, _NOTHING[:0], places.first, places.bits, np.empty(0, np.int32))
    crowns, ends = forest.crowns.numpy(), forest.ends.numpy()
    parts_at = before.parts
    rooms_at, rooms = _rooms(crowns, ends, parts_at, changes[0], growing)

    def some(first: int, last: int) -> Any:
        return update_trees(
            crowns,
            ends[first : last + 1],
            parts_at[first:last],
            rooms_at[first:last],
            buckets,
            changes,
            growing.roots[first:last],
            growing.secret,
            growing.settings,
            growing.categorical,
            growing.like,
        )

    new, parts_at, counters = _gathered(some, growing, store, forest.parts, parts_at, rooms_at, rooms)
    _PLACES[new] = replace(places, parts=parts_at)
    return new, counters


def missing_keys(forest: Forest, keys: NDArray[np.uint64], features: int) -> NDArray[np.bool_]:
    """Which of these keys (d,) no stored row has."""
    absent = np.ones(len(keys), dtype=bool)
    for bucket, here in _by_bucket(keys):
        held = forest.store[bucket]
        if held is not None:
            absent[here] = ~_among(keys[here], _opened(held, features)[0])
    return absent


def stored_rows(forest: Forest, keys: NDArray[np.uint64], features: int) -> CodedRows:
    """The stored rows with these keys (d,), in that order."""
    found = no_rows(len(keys), features)
    found.keys[:] = keys
    for bucket, here in _by_bucket(keys):
        held = forest.store[bucket]
        assert held is not None
        known, targets, weights, codes = _opened(held, features)
        where = np.searchsorted(known, keys[here])
        found.codes[here], found.targets[here], found.weights[here] = codes[where], targets[where], weights[where]
    return found


def nodes(forest: Forest, growing: Growing) -> tuple[NDArray[np.int64], Words, NDArray[np.int64]]:
    """All nodes in preorder: feature (-1: leaf), value, right child, depth (m, 4); rows and totals; trees' starts."""
    words = (
        forest.crowns.numpy(),
        forest.ends.numpy(),
        _places(forest, len(growing.categorical)).parts,
        growing.settings,
    )
    starts = np.zeros(len(forest.ends), np.int64)
    width = 1 + int(growing.settings[at.NODE_TOTALS])
    dtype = growing.like.dtype
    size = table_of(*words, np.empty((0, 4), np.int64), np.empty((0, width), dtype), starts)
    table, totals = np.empty((size, 4), np.int64), np.empty((size, width), dtype)
    table_of(*words, table, totals, starts)
    return table, totals, starts


def named(counters: NDArray[np.int64]) -> dict[str, float]:
    """What the kernels counted, by name."""
    names = (
        "nodes_visited",
        "features_refreshed",
        "rows_refreshed",
        "splits_changed",
        "rows_rebuilt",
        "nodes_rebuilt",
        "nodes_collapsed",
    )
    return dict(zip(names, counters.tolist(), strict=True))


def _among(keys: NDArray[np.uint64], known: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which of the keys are among the `known`, which are sorted."""
    where = np.searchsorted(known, keys)
    return np.asarray((where < len(known)) & (known[np.minimum(where, len(known) - 1)] == keys))


def _by_bucket(keys: NDArray[np.uint64]) -> list[tuple[int, NDArray[np.int64]]]:
    """Each bucket that a key belongs to, with the positions of its keys."""
    if len(keys) == 1:
        return [(int(keys[0] >> np.uint64(64 - at.STORE_BITS)), np.zeros(1, np.int64))]
    which = (keys >> np.uint64(64 - at.STORE_BITS)).astype(np.int64)
    return [(bucket, np.flatnonzero(which == bucket)) for bucket in np.unique(which).tolist()]


def no_rows(size: int, features: int) -> CodedRows:
    """Rows whose values are not set."""
    return CodedRows(
        np.empty((size, features), np.int32),
        np.empty(size, np.int64),
        np.empty(size, np.int64),
        np.empty(size, np.uint64),
    )


def _opened(bucket: Tensor, features: int) -> tuple[Words, Words, Words, Words]:
    """Keys, targets, weights and codes of a bucket."""
    words = bucket.numpy()
    rows = len(words) // (at.BESIDE_CODES + features)
    table = words[2 * rows :].reshape(-1, rows)
    targets = np.ascontiguousarray(table[features : features + 2].T).view(np.int64)[:, 0]
    return words[: 2 * rows].view(np.uint64), targets, table[features + 2], table[:features].T


def _stored(
    store: tuple[Tensor | None, ...], came: CodedRows, gone: NDArray[np.uint64], features: int
) -> tuple[Tensor | None, ...]:
    """The buckets without the rows that left and with those that came."""
    new, leaving = list(store), np.sort(gone)
    for bucket, here in _by_bucket(np.concatenate([came.keys, gone])):
        added = here[here < len(came.keys)]
        held = store[bucket]
        new_rows: tuple[Words, ...] = (came.keys, came.targets, came.weights, came.codes)
        before = tuple(part[:0] for part in new_rows) if held is None else _opened(held, features)
        stay = ~_among(before[0], leaving) if len(leaving) else np.ones(len(before[0]), bool)
        keys, targets, weights, codes = (
            np.concatenate([old[stay], fresh[added]]) for old, fresh in zip(before, new_rows, strict=True)
        )
        order = np.argsort(keys)
        beside = targets[order].view(np.int32).reshape(-1, 2), weights[order].astype(np.int32)[:, None]
        table = np.concatenate([codes[order], *beside], axis=1)
        words = np.concatenate([keys[order].view(np.int32), table.T.reshape(-1)])
        new[bucket] = torch.from_numpy(words) if len(words) else None
    return tuple(new)


def _gathered(
    some: Callable[[int, int], Any],
    growing: Growing,
    store: tuple[Tensor | None, ...],
    before: tuple[tuple[Tensor | None, ...], ...],
    parts_at: NDArray[np.int64],
    rooms_at: NDArray[np.int64] | None = None,
    rooms: Mapping[tuple[int, int], Tensor] = MappingProxyType({}),
) -> tuple[Forest, NDArray[np.int64], NDArray[np.int64]]:
    """The forest of what `some` trees give, of all trees; where its parts lie; counters.

    Parts that stay as they are are those of `before`, at `parts_at`; others may stand in the `rooms` made for them.
    """
    trees = len(growing.roots)
    edges: list[int] = np.linspace(0, trees, min(growing.threads, trees) + 1).astype(int).tolist()
    runs = list(pairwise(edges))
    if len(runs) == 1:
        results = [some(0, trees)]
    else:
        with ThreadPoolExecutor(len(runs)) as pool:
            results = list(pool.map(lambda run: some(*run), runs))
    ends: list[NDArray[np.int64]] = [np.zeros(1, np.int64)]
    parts, parts_at = list(before), parts_at.copy()
    for (start, _), (_, crown_ends, words, lies, _) in zip(runs, results, strict=True):
        ends.append(crown_ends[1:] + ends[-1][-1])
        tree_of, part_of = np.nonzero(lies[:, :, 0] != SAME)
        places = lies[tree_of, part_of]
        tree_of += start
        where = parts_at[tree_of, part_of] if rooms_at is None else rooms_at[tree_of, part_of]
        where[:, 1] = places[:, 1]
        for i, (tree, part, (first, end)) in enumerate(
            zip(tree_of.tolist(), part_of.tolist(), places.tolist(), strict=True)
        ):
            made: Tensor | None
            if first == IN_PLACE:
                made = rooms[tree, part].resize_(end)
            else:
                made = torch.from_numpy(words[first:end].copy()) if first >= 0 else None
                where[i] = _addresses([made])
            of_tree = parts[tree]
            parts[tree] = (*of_tree[:part], made, *of_tree[part + 1 :])
        parts_at[tree_of, part_of] = where
    crowns = results[0][0] if len(results) == 1 else np.concatenate([result[0] for result in results])
    forest = Forest(store, torch.from_numpy(crowns), torch.from_numpy(np.concatenate(ends)), tuple(parts))
    return forest, parts_at, np.sum([result[4] for result in results], axis=0)


def _rooms(
    crowns: Words, ends: Words, parts_at: NDArray[np.int64], codes: NDArray[np.int32], growing: Growing
) -> tuple[NDArray[np.int64], dict[tuple[int, int], Tensor]]:
    """Memory for the parts that the changed rows reach, so that kernels write them once: where it lies, and by part."""
    rooms_at = np.zeros_like(parts_at)
    if growing.settings[at.DRY]:
        return rooms_at, {}
    marks = np.zeros(parts_at.shape[:2], np.uint8)
    reached(crowns, ends, codes, growing.settings, growing.categorical, marks)
    tree_of, part_of = np.nonzero(marks)
    dtype = torch.int32 if growing.settings[at.CLASSES] else torch.int64
    sizes = parts_at[tree_of, part_of, 1]
    wanted = sizes + (sizes >> 6) + SPARE
    made = [torch.empty(size, dtype=dtype) for size in wanted.tolist()]
    rooms_at[tree_of, part_of, 0] = [tensor.data_ptr() for tensor in made]
    rooms_at[tree_of, part_of, 1] = wanted
    return rooms_at, dict(zip(zip(tree_of.tolist(), part_of.tolist(), strict=True), made, strict=True))


def _places(forest: Forest, features: int) -> Places:
    """Where the forest's words lie."""
    if forest not in _PLACES:
        parts = _addresses(part for tree in forest.parts for part in tree).reshape(len(forest.parts), -1, 2)
        buckets = _addresses(forest.store, features)
        rows = int(buckets[:, 1].sum())
        bits = min(max((4 * rows - 1).bit_length(), at.STORE_BITS), 20)
        indexed = rows <= at.INDEXED and buckets[:, 1].max() < 2**16
        places = Places(parts, buckets, np.zeros((1 << bits) if indexed else 0, np.uint16), bits)
        for which in range(BUCKETS if indexed else 0):
            _index(places, forest.store[which], which)
        _PLACES[forest] = places
    return _PLACES[forest]


def _moved(
    places: Places, before: tuple[Tensor | None, ...], store: tuple[Tensor | None, ...], features: int
) -> Places:
    """The places after some buckets of the store were replaced."""
    new = replace(places, buckets=places.buckets.copy(), first=places.first.copy())
    for which, (old, bucket) in enumerate(zip(before, store, strict=True)):
        if old is not bucket:
            new.buckets[which] = _addresses([bucket], features)[0]
            if len(new.first):
                _index(new, bucket, which)
    return new


def _index(places: Places, bucket: Tensor | None, which: int) -> None:
    rows = int(places.buckets[which, 1])
    keys = _NOTHING[:0] if bucket is None else bucket.numpy()[: 2 * rows].view(np.uint64)
    index_bucket(keys, which, places.first, places.bits)


def _addresses(tensors: Iterable[Tensor | None], features: int = 1 - at.BESIDE_CODES) -> NDArray[np.int64]:
    """(m, 2): where each tensor's words lie and how many; of a bucket of rows of `features`, how many rows."""
    nothing = (_NOTHING.ctypes.data, 0)
    places = [nothing if tensor is None else (tensor.data_ptr(), tensor.numel()) for tensor in tensors]
    found = np.array(places, np.int64).reshape(-1, 2)
    found[:, 1] //= at.BESIDE_CODES + features
    return found
