"""Small random problems for forests, and what a record's words say, read without the kernels."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from expunge.kernels import forest_layout as at
from expunge.learners.coded_columns import categorical
from expunge.methods.dare_forest import DareForest, DareRecord
from expunge.noise import NoiseKey
from expunge.rows import Rows

NOISE = NoiseKey(bytes(32), 1)
WORDS = np.array(["", "a", "b", "c", "long word"], dtype=np.dtypes.StringDType())


def problem(seed: int, n: int | None = None) -> tuple[DareForest, Rows]:
    """A method and rows: unique, few-valued, constant and missing numbers, text, duplicates, weights, any target."""
    g = np.random.default_rng(seed)
    n = n or int(g.integers(3, 90))
    makers: list[Any] = [
        lambda: g.normal(size=n),
        lambda: g.integers(0, 2, n),
        lambda: g.integers(0, 6, n).astype(float),
        lambda: np.ones(n),
        lambda: np.round(g.normal(size=n), 1),
        lambda: WORDS[g.integers(0, len(WORDS), n)],
        lambda: g.normal(size=(n, 2)),
    ]
    columns = {f"c{i}": makers[g.integers(len(makers))]() for i in range(g.integers(1, 5))}
    for column in columns.values():
        if column.dtype.kind == "f" and g.random() < 0.3:
            column[g.random(n) < 0.2] = np.nan
        if g.random() < 0.3:
            column[: n // 2] = column[0]
    weight = "w" if g.random() < 0.3 else ""
    if weight:
        columns["w"] = g.integers(1, 4, n)
    classes = int(g.choice([0, 2, 3]))
    y = g.integers(0, classes, n) if classes else g.integers(-4, 4, n) * 0.75
    method = DareForest(
        trees=2,
        max_depth=int(g.choice([1, 3, 6])),
        candidates=int(g.choice([1, 2, 5, 25])),
        max_features=int(g.integers(0, 4)),
        random_depth=int(g.integers(0, 3)),
        min_split=int(g.choice([2, 2, 5])),
        min_leaf=int(g.choice([1, 1, 3])),
        criterion=str(g.choice(["gini", "entropy"])),  # type: ignore[arg-type]
        weight_column=weight,
        cut=int(g.integers(0, 4)),
    )
    return method, Rows.of(columns, y, ids=[f"r{i}" for i in g.permutation(n)], classes=classes)


def learned(method: DareForest, rows: Rows, seed: int = 5) -> DareRecord:
    return method.learn(rows, seed=seed, noise=NOISE)


def forgotten(method: DareForest, record: DareRecord, rows: Rows, ids: Any) -> DareRecord:
    return method.forget(record, rows.without(ids), rows.only(ids), noise=NOISE).record


@dataclass
class Node:
    """A node as its words say: split, counts, features (feature, values, extra, equal, left, channels), keys."""

    depth: int
    weight: int
    members: int
    feature: int
    value: int
    totals: list[int]
    features: list[tuple[int, list[int], int, list[int], list[int], list[list[int]]]]
    keys: list[int]
    children: list[Node]

    def all_keys(self) -> list[int]:
        """The keys of all rows below."""
        return self.keys + [key for child in self.children for key in child.all_keys()]

    def all_nodes(self) -> list[Node]:
        """This node and all below."""
        return [self, *(node for child in self.children for node in child.all_nodes())]


def trees_of(method: DareForest, record: DareRecord) -> list[Node]:
    """Every tree of a record, read word by word."""
    forest, trees = record.forest, []
    ends = forest.ends.tolist()
    for tree, (first, last) in enumerate(pairwise(ends)):
        crown = forest.crowns[first:last].tolist()
        parts = [None if part is None else part.tolist() for part in forest.parts[tree]]
        trees.append(_read(method, record.classes, crown if method.cut else parts[0], 0, 0, 0, parts))
    return trees


def _read(method: DareForest, classes: int, words: Any, o: int, depth: int, path: int, parts: Any) -> Node:
    totals, channels = (classes - 1, classes - 1) if classes else (2, 1)
    size, weight, members, feature, value, right = words[o : o + at.TOTALS]
    node = Node(depth, weight, members, feature, value, words[o + at.TOTALS : o + at.TOTALS + totals], [], [], [])
    q = o + at.TOTALS + totals
    if feature < 0:
        halves = words[q : o + size]
        node.keys = [(low % 2**32) | (high % 2**32) << 32 for low, high in zip(halves[::2], halves[1::2], strict=True)]
        return node
    seen, q = words[q], q + 1
    for _ in range(seen):
        f, count, extra = words[q : q + at.COUNTED]
        rows = [words[q + at.COUNTED + i * count : q + at.COUNTED + (i + 1) * count] for i in range(3 + channels)]
        node.features.append((f, rows[0], extra, rows[1], rows[2], rows[3:]))
        q += at.COUNTED + (3 + channels) * count
    assert q == o + size
    for side, start in enumerate((o + size, o + right)):
        below = 2 * path + side if depth < method.cut else path
        if depth + 1 == method.cut:
            node.children.append(_read(method, classes, parts[below], 0, depth + 1, below, parts))
        else:
            node.children.append(_read(method, classes, words, start, depth + 1, below, parts))
    return node


def is_category(record: DareRecord, feature: int) -> bool:
    return bool(categorical(record.columns)[feature])
