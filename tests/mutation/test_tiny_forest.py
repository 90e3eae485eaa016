"""Tests of the forest so small that the kernels can run as plain Python: they catch the planted bugs of forest.py."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from expunge.kernels import forest_layout as at
from expunge.kernels.forest_twin import Twin
from expunge.learners.coded_forest import coded_rows
from expunge.methods.dare_forest import DareForest, DareRecord
from expunge.noise import NoiseKey
from expunge.record import digest
from expunge.rows import Rows

NOISE = NoiseKey(bytes(32), 1)


def rows_of(n: int = 44, seed: int = 0) -> Rows:
    g = np.random.default_rng(seed)
    x = np.column_stack([g.normal(size=n), g.integers(0, 4, n)])
    return Rows.of(x, ((x[:, 0] > 0) ^ (g.random(n) < 0.2)).astype(int), classes=2)


def learned(method: DareForest, rows: Rows) -> DareRecord:
    return method.learn(rows, seed=5, noise=NOISE)


def check_forgets(method: DareForest, rows: Rows, batches: list[list[int]]) -> None:
    record = learned(method, rows)
    for ids in batches:
        record = method.forget(record, rows.without(ids), rows.only(ids), noise=NOISE).record
        rows = rows.without(ids)
        assert digest(record) == digest(learned(method, rows))


def test_forgetting_equals_learning_without() -> None:
    method = DareForest(trees=2, max_depth=3, candidates=3, max_features=2, cut=1)
    check_forgets(method, rows_of(), [[i] for i in range(12)] + [[20, 21, 22]])
    method = DareForest(trees=2, max_depth=1, candidates=6, max_features=2, cut=0)
    check_forgets(method, rows_of(), [list(range(14))])  # several candidates of one feature vanish at once
    x = np.arange(30.0)[:, None]  # every deletion beside the split renames it
    check_forgets(DareForest(trees=1, max_depth=2, candidates=40, cut=0), Rows.of(x, x[:, 0] >= 12), [[11], [12], [10]])


def test_sizes_of_nodes_hold_after_forgetting() -> None:
    x = np.arange(26.0)[:, None]
    rows = Rows.of(x, (np.arange(26) // 5) % 2)
    check_forgets(DareForest(trees=2, max_depth=3, min_split=26, cut=0), rows, [[3]])
    check_forgets(DareForest(trees=2, max_depth=2, min_leaf=5, cut=0), rows, [[i] for i in range(8)])


def test_a_column_that_becomes_constant_is_replaced() -> None:
    x = np.column_stack([np.zeros((30, 3)), np.arange(30.0) % 7])
    x[0, :3] = 1.0
    check_forgets(DareForest(trees=4, max_depth=1, max_features=1, cut=0), Rows.of(x, np.arange(30) % 2), [[0]])


def test_ties_go_to_the_lower_feature() -> None:
    x = np.repeat(np.arange(30.0)[:, None], 4, 1)
    record = learned(DareForest(trees=6, max_depth=1, candidates=40, max_features=4, cut=1), Rows.of(x, x[:, 0] > 9))
    chosen = [record.forest.crowns[int(end) + at.FEATURE].item() for end in record.forest.ends[:-1]]
    assert chosen == [0] * 6


def twin_of(method: DareForest, record: DareRecord, rows: Rows) -> list[Any]:
    given = coded_rows(rows, record.columns, "", method.resolution)
    given = given.take(np.argsort(given.keys))
    growing = method._trees_of(record).growing()
    data = (
        given.codes,
        given.targets,
        given.weights,
        given.keys,
        growing.settings,
        growing.categorical,
        growing.secret,
    )
    return [Twin(*data).grow(int(root)).crown for root in growing.roots]


def test_the_words_are_those_of_the_twin() -> None:
    method, rows = DareForest(trees=2, max_depth=2, candidates=2, max_features=2, cut=4), rows_of()
    record = learned(method, rows)
    ends = record.forest.ends.tolist()
    crowns = [record.forest.crowns[a:b].tolist() for a, b in pairwise(ends)]
    assert crowns == twin_of(method, record, rows)


def test_new_rows_equal_learning_all_together() -> None:
    method, rows = DareForest(trees=2, max_depth=2, candidates=3, max_features=2, cut=1), rows_of(40)
    record, known = learned(method, rows.only(list(range(30)))), rows.only(list(range(30)))
    for i in range(30, 40):
        record = method.extend(record, known, rows.only([i]), noise=NOISE).record
        known = known.and_rows(rows.only([i]))
        assert digest(record) == digest(learned(method, known))
