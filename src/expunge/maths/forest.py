"""A forest that can lose and gain rows, as immutable chunks: its own copy of the rows, and trees cut into parts.

All words are laid out by `expunge.kernels.forest_layout`. The chunks are functions of the rows, their keys and the keys
of the trees alone, whatever the history; a change makes new tensors for the chunks it reaches and shares the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from expunge.kernels import forest_layout as at
from expunge.kernels.forest_build import grow_trees
from expunge.kernels.forest_table import table_of
from expunge.kernels.forest_update import SAME, update_trees

BUCKETS = 1 << at.STORE_BITS
Words = NDArray[Any]
_PLACES: WeakKeyDictionary[Forest, NDArray[np.int64]] = WeakKeyDictionary()  # asking 1,600 tensors takes a millisecond


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
    parts_at = np.zeros((len(growing.roots), len(nothing[0]), 2), np.int64)
    return _gathered(some, growing, store, nothing, parts_at)


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
    buckets = (_addresses(store, width), width, np.empty(0, np.int32), np.empty(0, np.uint64))
    crowns, ends = forest.crowns.numpy(), forest.ends.numpy()
    parts_at = _places(forest)

    def some(first: int, last: int) -> Any:
        return update_trees(
            crowns,
            ends[first : last + 1],
            parts_at[first:last],
            buckets,
            changes,
            growing.roots[first:last],
            growing.secret,
            growing.settings,
            growing.categorical,
            growing.like,
        )

    return _gathered(some, growing, store, forest.parts, parts_at)


def missing_keys(forest: Forest, keys: NDArray[np.uint64], features: int) -> NDArray[np.bool_]:
    """Which of these keys (d,) no stored row has."""
    absent = np.ones(len(keys), dtype=bool)
    for bucket, here in _by_bucket(keys):
        held = forest.store[bucket]
        if held is not None:
            absent[here] = ~np.isin(keys[here], _opened(held, features)[0])
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
    words = (forest.crowns.numpy(), forest.ends.numpy(), _places(forest), growing.settings)
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


def _by_bucket(keys: NDArray[np.uint64]) -> list[tuple[int, NDArray[np.int64]]]:
    """Each bucket that a key belongs to, with the positions of its keys."""
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
    table = words[2 * rows :].reshape(rows, -1)
    targets = np.ascontiguousarray(table[:, features : features + 2]).view(np.int64)[:, 0]
    return words[: 2 * rows].view(np.uint64), targets, table[:, features + 2], table[:, :features]


def _stored(
    store: tuple[Tensor | None, ...], came: CodedRows, gone: NDArray[np.uint64], features: int
) -> tuple[Tensor | None, ...]:
    """The buckets without the rows that left and with those that came."""
    new = list(store)
    for bucket, here in _by_bucket(np.concatenate([came.keys, gone])):
        added = here[here < len(came.keys)]
        held = store[bucket]
        new_rows: tuple[Words, ...] = (came.keys, came.targets, came.weights, came.codes)
        before = tuple(part[:0] for part in new_rows) if held is None else _opened(held, features)
        stay = ~np.isin(before[0], gone)
        keys, targets, weights, codes = (
            np.concatenate([old[stay], fresh[added]]) for old, fresh in zip(before, new_rows, strict=True)
        )
        order = np.argsort(keys)
        beside = targets[order].view(np.int32).reshape(-1, 2), weights[order].astype(np.int32)[:, None]
        table = np.concatenate([codes[order], *beside], axis=1)
        words = np.concatenate([keys[order].view(np.int32), table.reshape(-1)])
        new[bucket] = torch.from_numpy(words) if len(words) else None
    return tuple(new)


def _gathered(
    some: Callable[[int, int], Any],
    growing: Growing,
    store: tuple[Tensor | None, ...],
    before: tuple[tuple[Tensor | None, ...], ...],
    parts_at: NDArray[np.int64],
) -> tuple[Forest, NDArray[np.int64]]:
    """The forest of what `some` trees give, of all trees; parts that stay as they are are those of `before`."""
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
        tree_of, part_of = (where.tolist() for where in np.nonzero(lies[:, :, 0] != SAME))
        places = lies[lies[:, :, 0] != SAME].tolist()
        new: dict[int, list[Tensor | None]] = {}
        for tree, part, (first, last) in zip(tree_of, part_of, places, strict=True):
            if tree not in new:
                new[tree] = list(parts[start + tree])
            made = None if first < 0 else torch.from_numpy(words[first:last].copy())
            new[tree][part] = made
            parts_at[start + tree, part] = (0, 0) if made is None else (made.data_ptr(), last - first)
        for tree, of_tree in new.items():
            parts[start + tree] = tuple(of_tree)
    crowns = np.concatenate([result[0] for result in results])
    forest = Forest(store, torch.from_numpy(crowns), torch.from_numpy(np.concatenate(ends)), tuple(parts))
    _PLACES[forest] = parts_at
    return forest, np.sum([result[4] for result in results], axis=0)


def _places(forest: Forest) -> NDArray[np.int64]:
    """(trees, parts, 2): where each part's words lie and how many there are."""
    if forest not in _PLACES:
        places = _addresses([part for tree in forest.parts for part in tree])
        _PLACES[forest] = places.reshape(len(forest.parts), -1, 2)
    return _PLACES[forest]


def _addresses(tensors: Sequence[Tensor | None], features: int = 1 - at.BESIDE_CODES) -> NDArray[np.int64]:
    """(m, 2): where each tensor's words lie and how many; of a bucket of rows of `features`, how many rows."""
    places = np.empty((len(tensors), 2), np.int64)
    places[:, 0] = [0 if tensor is None else tensor.data_ptr() for tensor in tensors]
    places[:, 1] = [0 if tensor is None else len(tensor) for tensor in tensors]
    places[:, 1] //= at.BESIDE_CODES + features
    return places
