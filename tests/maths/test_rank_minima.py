"""The compiled searches against their numpy twins, bit for bit, and against each other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expunge.kernels import kd_tree, rank_minima
from expunge.kernels.rank_minima import minima_in_numpy, minima_of_drawn, minima_of_several
from expunge.maths import neighbour_sums


def table(seed: int, n: int, d: int, kind: str) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    columns = generator.normal(size=(d, n))
    if kind != "continuous":
        discrete = np.ones(d, dtype=bool) if kind == "discrete" else np.arange(d) % 2 == 0
        columns[discrete] = generator.integers(0, 3, (int(discrete.sum()), n))
    return columns, neighbour_sums.ranks_of(generator.integers(0, n, n)).up


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**6), st.integers(3, 60), st.integers(1, 4), st.sampled_from(["continuous", "discrete", "mixed"])
)
def test_every_search_equals_the_twin_bit_for_bit(seed: int, n: int, d: int, kind: str) -> None:
    columns, ranks = table(seed, n, d, kind)
    expected = minima_in_numpy(columns, ranks)
    assert neighbour_sums.sum_over(columns, ranks) == expected
    assert minima_of_several(columns, ranks, 1) == expected
    orders = neighbour_sums.orders_of(columns, ranks)
    for few in (0, 1, 3, 100):
        if d > 1:
            inside = neighbour_sums.given(columns[:-1], few=few)
            assert neighbour_sums.sums_with(inside, columns, orders, np.array([d - 1]), ranks) == [expected]
    for several in (2, n - 1):
        assert minima_of_several(columns, ranks, several) == minima_in_numpy(columns, ranks, several)


@pytest.mark.parametrize("kind", ["continuous", "discrete", "mixed"])
@pytest.mark.parametrize("inside", [0, 1, 2])
def test_many_candidates_and_threads_give_what_each_gives_alone(kind: str, inside: int) -> None:
    columns, ranks = table(0, 300, 100, kind)
    orders = neighbour_sums.orders_of(columns, ranks)
    where = neighbour_sums.given(columns[:inside]) if inside else None
    which = np.arange(inside, 100)
    together = neighbour_sums.sums_with(where, columns, orders, which, ranks)
    assert neighbour_sums.sums_with(where, columns, orders, which, ranks, threads=3) == together
    for j in (inside, 57, 99):
        assert together[j - inside] == minima_in_numpy(columns[[*range(inside), j]], ranks)


@pytest.mark.parametrize("ties", [False, True])
def test_a_scan_along_a_line_is_the_search_in_a_tree(monkeypatch: pytest.MonkeyPatch, *, ties: bool) -> None:
    columns, ranks = table(4, 200, 6, "continuous")
    if ties:
        columns[:, 1::9] = columns[:, ::9][:, : len(columns[0, 1::9])]
        columns[2:] = np.round(columns[2:])
    orders, where, which = neighbour_sums.orders_of(columns, ranks), neighbour_sums.given(columns[:1]), np.arange(1, 6)
    assert where.near is None
    in_tree = neighbour_sums.sums_with(where, columns, orders, which, ranks)
    monkeypatch.setattr(rank_minima, "LONG", 0)
    assert neighbour_sums.sums_with(where, columns, orders, which, ranks) == in_tree
    assert in_tree == [minima_in_numpy(columns[[0, j]], ranks) for j in which]


def test_points_given_twice_among_many_distinct_ones_are_neighbours_at_distance_zero() -> None:
    columns, ranks = table(1, 100, 3, "continuous")
    columns[:, 1] = columns[:, 0]
    columns[:2, 5] = columns[:2, 4]
    orders = neighbour_sums.orders_of(columns, ranks)
    for inside in (1, 2):
        where = neighbour_sums.given(columns[:inside])
        assert where.near is None
        found = neighbour_sums.sums_with(where, columns, orders, np.array([2]), ranks)
        assert found == [minima_in_numpy(columns[[*range(inside), 2]], ranks)]


@pytest.mark.parametrize("kind", ["continuous", "discrete"])
def test_the_tree_finds_the_nearest_few_to_the_last_bit(kind: str) -> None:
    columns, _ = table(2, 200, 3, kind)
    points = columns.T if kind == "continuous" else np.unique(columns.T, axis=0)
    tree = kd_tree.tree_of(points)
    assert sorted(tree.order) == list(range(len(points)))
    who, far = kd_tree.nearest_few(tree, 9)
    assert np.array_equal(far, kd_tree.nearest_few_in_numpy(tree, 9))
    squares = kd_tree.squares_in_numpy(tree.points)
    assert np.array_equal(np.take_along_axis(squares, who, 1), far)
    assert (who != np.arange(len(points))[:, None]).all()
    assert all(len(set(row)) == 9 for row in who.tolist())


def test_a_drawn_neighbour_is_one_of_the_nearest_and_every_one_is_drawn() -> None:
    columns, ranks = np.array([[0.0, 1.0, 1.0, -1.0]]), np.array([4, 1, 2, 3])
    sums = {minima_of_drawn(columns, ranks, np.array([draw, 0, 0, 0]))[0] for draw in (0.0, 0.4, 0.99)}
    assert sums == {1 + 1 + 1 + 3, 2 + 1 + 1 + 3, 3 + 1 + 1 + 3}


def test_equally_near_points_beyond_the_list_count() -> None:
    around = np.array([[0, 1, -1, 0, 0], [0, 0, 0, 1, -1], [0, 1, 1, 1, 1]], dtype=float)
    columns, ranks = np.tile(around, 2), np.arange(1, 11)
    columns[:2, 5:] += 9
    orders = neighbour_sums.orders_of(columns, ranks)
    points = kd_tree.tree_of(columns[:2].T)
    for few in (1, 2, 3):
        near = kd_tree.nearest_few(points, few)
        where = rank_minima.Given(points, np.argsort(points.order), np.arange(11), near)
        found = rank_minima.minima_of_candidates(where, columns, orders, np.array([2]), ranks)
        assert tuple(found[0].tolist()) == minima_in_numpy(columns, ranks)
