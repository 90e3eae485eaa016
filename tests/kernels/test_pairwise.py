"""Compiled loops equal their numpy twins bit for bit, and a pair's value depends on the pair alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from expunge.kernels import pairwise

TWINS = [
    (pairwise.squared_distances, pairwise.plain_squared_distances),
    (pairwise.absolute_distances, pairwise.plain_absolute_distances),
    (pairwise.products, pairwise.plain_products),
]


def block(m: int, n: int, p: int, seed: int = 0) -> tuple[Any, Any]:
    generator = np.random.default_rng(seed)
    return generator.normal(size=(m, p)), generator.normal(size=(n, p)) * 10.0 ** generator.integers(-8, 8, size=(n, p))


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 7, 5), (2, 600, 13)], ids=str)
@pytest.mark.parametrize(("compiled", "plain"), TWINS, ids=["squared", "absolute", "products"])
def test_a_loop_equals_its_twin_bit_for_bit(compiled: Any, plain: Any, shape: tuple[int, int, int]) -> None:
    a, b = block(*shape)
    one, other = np.full(shape[:2], np.nan), np.full(shape[:2], np.nan)
    compiled(a, np.ascontiguousarray(b.T), one)
    plain(a, np.ascontiguousarray(b.T), other)
    assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("compiled", [twin[0] for twin in TWINS], ids=["squared", "absolute", "products"])
def test_a_pair_does_not_depend_on_its_block(compiled: Any) -> None:
    a, b = block(5, 300, 17)
    whole = np.empty((5, 300))
    compiled(a, np.ascontiguousarray(b.T), whole)
    for rows in ([0], [299], [3, 255, 256, 257], list(range(1, 300, 7))):
        part = np.empty((2, len(rows)))
        compiled(a[3:5], np.ascontiguousarray(b[rows].T), part)
        assert part.tobytes() == whole[3:5][:, rows].tobytes()


def test_a_matrix_product_does_depend_on_its_block() -> None:
    a, b = block(64, 300, 170)
    whole = a @ b.T
    parts = [np.array([[a[i] @ b[r] for r in range(0, 300, 11)] for i in range(8)]), a[:3] @ b[:5].T]
    assert any(
        (part != whole[: part.shape[0], step]).any()
        for part, step in zip(parts, (slice(0, 300, 11), slice(5)), strict=True)
    )


def test_keeping_the_smallest_equals_its_twin_and_ties_go_to_the_earlier() -> None:
    generator = np.random.default_rng(1)
    both = [(np.full((6, 4), np.inf), np.full((6, 4), -1, dtype=np.int64)) for _ in range(2)]
    for first, count in ((0, 3), (3, 50), (53, 20)):
        values = generator.integers(0, 6, size=(6, count)).astype(float)
        pairwise.keep_smallest(values, first, *both[0])
        pairwise.plain_keep_smallest(values, first, *both[1])
    assert (both[0][0] == both[1][0]).all()
    assert (both[0][1] == both[1][1]).all()
    assert (np.diff(both[0][0], axis=1) >= 0).all()
