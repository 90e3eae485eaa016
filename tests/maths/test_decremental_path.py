"""The path: a worked example by hand, R as an inverse at every event, and its end against an optimum solved anew."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from expunge.maths import decremental_path
from expunge.maths.decremental_path import Margin, follow
from expunge.maths.kernel_function import KernelFunction
from expunge.maths.margin_dual import Dual
from expunge.maths.margin_solution import learned

LINEAR = KernelFunction("linear", 1.0, 0.0, 1)
RBF = KernelFunction("rbf", 0.4, 0.0, 1)


def cloud(n: int, seed: int = 0, cost: float = 1.0, kernel: KernelFunction = RBF) -> Dual:
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(n, 3))
    y = np.where(x[:, 0] + 0.6 * generator.normal(size=n) > 0, 1.0, -1.0)
    return Dual(torch.tensor(x), y, np.full(n, cost), kernel)


def test_worked_example_in_one_dimension() -> None:
    # x = -1 and 1 hold the margin with weights 1/2 (w = 1, b = 0). Let x = 1 leave: with weight (1 - t)/2 the other
    # has the same, w = 1 - t and b = -t, and g at x = 2 is 1 - 3t. At t = 1/3 that row joins the margin, w = 2/3 and
    # b = -1/3 stay, and at the end both weights are 2/9.
    x = torch.tensor([[-3.0], [-1.0], [1.0], [2.0]], dtype=torch.float64)
    dual = Dual(x, np.array([-1.0, -1.0, 1.0, 1.0]), np.full(4, 10.0), LINEAR)
    before = learned(dual, 1e-10)
    assert before.margin.tolist() == [1, 2]
    assert np.allclose(before.alpha, [0, 0.5, 0.5, 0])
    path = follow(dual, before.alpha, before.b, before.margin, before.bound, np.array([10.0, 10.0, 0.0, 10.0]))
    assert path is not None
    assert (path.margin.tolist(), path.bound.tolist(), path.events) == ([1, 3], [], 1)
    keep = np.array([0, 1, 3])
    after = learned(Dual(x[keep], dual.y[keep], dual.upper[keep], LINEAR), 1e-10)
    assert np.allclose(after.alpha, [0, 2 / 9, 2 / 9])
    assert np.isclose(after.b, -1 / 3)


def off(margin: Margin) -> float:
    """How far R is from the inverse, as a share of its largest entry."""
    dual, s = margin.dual, margin.members
    y, kernel = dual.y[s], dual.kernel.matrix(dual.x[s], dual.x[s]).numpy()
    inverse = np.linalg.inv(np.block([[np.zeros((1, 1)), y[None]], [y[:, None], np.outer(y, y) * kernel]]))
    return float(np.abs(margin.inverse - inverse).max() / np.abs(inverse).max())


def test_r_is_the_inverse_after_growing_and_shrinking() -> None:
    margin = Margin(cloud(120), np.array([3, 5, 8, 20]))
    for row in range(30, 110):  # more than there is room for at first
        margin.grow(row)
    assert off(margin) < 1e-7
    for place in (0, 5, len(margin.members) - 3, 7):
        gone = margin.members[place]
        margin.shrink(place)
        assert gone not in margin.members
        assert off(margin) < 1e-7
        weights = np.arange(len(margin.members), dtype=float)
        assert np.allclose(margin.spread(weights), weights @ margin.dual.columns(np.array(margin.members)))


def test_a_row_that_is_no_new_direction_is_refused() -> None:
    dual = cloud(40, kernel=LINEAR)
    margin = Margin(dual, np.array([0, 1, 2, 3]))  # three columns and b: four rows determine everything
    with pytest.raises(np.linalg.LinAlgError, match="no new direction"):
        margin.grow(4)
    with pytest.raises(np.linalg.LinAlgError):
        Margin(
            Dual(torch.ones((3, 1), dtype=torch.float64), np.array([1.0, 1.0, 1.0]), np.ones(3), LINEAR), np.arange(3)
        )


@pytest.mark.parametrize(
    "kernel", [LINEAR, RBF, KernelFunction("polynomial", 0.3, 1.0, 2)], ids=["linear", "rbf", "poly"]
)
@pytest.mark.parametrize("count", [1, 7, 25])
def test_a_path_ends_at_the_sets_of_the_optimum(kernel: KernelFunction, count: int, monkeypatch: Any) -> None:
    monkeypatch.setattr(decremental_path, "REFRESH", 6)  # so that it happens
    for seed in range(4):
        dual = cloud(70, seed, 0.7, kernel)
        before = learned(dual, 1e-10)
        support = np.union1d(before.margin, before.bound)
        gone = np.random.default_rng(seed).choice(support, min(count, len(support) - 12), replace=False)
        upper = dual.upper.copy()
        upper[gone] = 0.0
        path = follow(dual, before.alpha, before.b, before.margin, before.bound, upper)
        assert path is not None
        keep = np.flatnonzero(upper)
        after = learned(Dual(dual.x[keep], dual.y[keep], dual.upper[keep], kernel), 1e-10)
        assert path.margin.tolist() == keep[after.margin].tolist()
        assert path.bound.tolist() == keep[after.bound].tolist()


def test_a_copy_of_a_row_leaves_with_its_share_of_the_bound() -> None:
    dual = cloud(40, 2)
    dual.upper[:] = 2.0
    before = learned(dual, 1e-10)
    upper = dual.upper.copy()
    upper[before.bound[:3]] = 1.0
    path = follow(dual, before.alpha, before.b, before.margin, before.bound, upper)
    assert path is not None
    after = learned(Dual(dual.x, dual.y, upper, RBF), 1e-10)
    assert (path.margin.tolist(), path.bound.tolist()) == (after.margin.tolist(), after.bound.tolist())


def test_where_the_whole_margin_leaves_b_moves_until_a_row_joins() -> None:
    for kernel, cost, seed in ((LINEAR, 0.1, 0), (RBF, 0.5, 1), (RBF, 0.5, 2)):
        dual = cloud(40, seed, cost, kernel)
        before = learned(dual, 1e-10)
        assert len(before.margin)
        upper = dual.upper.copy()
        upper[before.margin] = 0.0
        path = follow(dual, before.alpha, before.b, before.margin, before.bound, upper)
        assert path is not None
        keep = np.flatnonzero(upper)
        after = learned(Dual(dual.x[keep], dual.y[keep], dual.upper[keep], kernel), 1e-10)
        assert path.margin.tolist() == keep[after.margin].tolist()
        assert path.bound.tolist() == keep[after.bound].tolist()


def test_where_no_row_can_take_up_what_is_let_go_the_path_gives_up() -> None:
    dual = cloud(20)
    before = learned(dual, 1e-10)
    path = follow(dual, before.alpha, before.b, before.margin, before.bound, np.where(dual.y > 0, dual.upper, 0.0))
    assert path is None
