"""The search: a pair's distance is its own, cosine's edges, blocks of any size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.spatial import KDTree

from expunge.maths import nearest as search
from expunge.maths.nearest import METRICS, nearest


@pytest.mark.parametrize("metric", METRICS)
def test_distances_do_not_depend_on_other_rows(metric: Any) -> None:
    generator = np.random.default_rng(0)
    x, queries = generator.normal(size=(90, 33)), generator.normal(size=(9, 33))
    whole, where = nearest(queries, [x], 90, metric)
    by_row = np.take_along_axis(whole, where.argsort(1), 1)
    for rows in ([3], [4, 5, 80], list(range(0, 90, 7))):
        part, places = nearest(queries[2:4], [x[rows]], len(rows), metric)
        again = np.take_along_axis(part, places.argsort(1), 1)
        assert again.tobytes() == by_row[2:4][:, rows].tobytes()


@pytest.mark.parametrize("metric", METRICS)
def test_blocks_and_tiles_change_nothing(metric: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(1).integers(0, 3, size=(50, 2)).astype(float)
    whole = nearest(x[:9], [x], 6, metric)
    monkeypatch.setattr(search, "QUERIES", 4)
    monkeypatch.setattr(search, "ROWS", 3)
    parts = nearest(x[:9], [x[:1], x[1:20], x[20:]], 6, metric)
    assert (parts[0].tobytes(), parts[1].tobytes()) == (whole[0].tobytes(), whole[1].tobytes())


def test_a_zero_row_is_at_cosine_distance_one_from_everything() -> None:
    distances, where = nearest(np.array([[0.0, 0.0], [2.0, 0.0]]), [np.array([[1.0, 0.0], [0.0, 0.0]])], 2, "cosine")
    assert distances.tolist() == [[1.0, 1.0], [0.0, 1.0]]
    assert where.tolist() == [[0, 1], [0, 1]]


@pytest.mark.parametrize("metric", ["euclidean", "manhattan"])
@pytest.mark.parametrize("ties", [False, True])
def test_a_tree_answers_as_a_pass_over_all_rows_does(metric: Any, ties: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(2)
    x, queries = generator.normal(size=(700, 3)), generator.normal(size=(60, 3))
    if ties:
        x, queries = np.round(x), np.round(queries)
    x[5:9] = queries[0]
    whole = nearest(queries, [x[:300], x[300:]], 9, metric)
    trees = []
    monkeypatch.setattr(search, "KDTree", lambda rows: trees.append(len(rows)) or KDTree(rows))
    monkeypatch.setattr(search, "TREE_ROWS", 500)
    monkeypatch.setattr(search, "TREE_QUERIES", 50)
    found = nearest(queries, [x[:300], x[300:]], 9, metric)
    assert trees == [700]
    assert (found[0].tobytes(), found[1].tobytes()) == (whole[0].tobytes(), whole[1].tobytes())
    assert (nearest(queries, [x], 9, "cosine")[1] >= 0).all()
    assert trees == [700]
