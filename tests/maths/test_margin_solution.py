"""The dual's solution: brute force, conditions, polished bits that do not know their road, and when there is doubt."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from expunge.errors import NotConverged
from expunge.maths import margin_dual
from expunge.maths.kernel_function import KernelFunction
from expunge.maths.margin_dual import Dual, descend
from expunge.maths.margin_machine import balanced
from expunge.maths.margin_solution import learned, polished, repaired, sets_of, warm

LINEAR = KernelFunction("linear", 1.0, 0.0, 1)
RBF = KernelFunction("rbf", 0.4, 0.0, 1)
POLYNOMIAL = KernelFunction("polynomial", 0.3, 1.0, 2)


def cloud(n: int, seed: int = 0, kernel: KernelFunction = RBF, p: int = 3) -> Dual:
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(n, p))
    y = np.where(x[:, 0] + 0.6 * generator.normal(size=n) > 0, 1.0, -1.0)
    y[:2] = 1.0, -1.0
    return Dual(torch.tensor(x), y, generator.integers(1, 3, n).astype(float), kernel)


def brute_force(dual: Dual) -> Any:
    """The minimiser over every division into S, E and O whose system has a feasible solution."""
    q = np.outer(dual.y, dual.y) * dual.kernel.matrix(dual.x, dual.x).numpy()
    best, least = None, np.inf
    for division in itertools.product("SEO", repeat=len(dual)):
        s, e = np.flatnonzero(np.array(division) == "S"), np.flatnonzero(np.array(division) == "E")
        alpha = np.where(np.array(division) == "E", dual.upper, 0.0)
        if len(s):
            bordered = np.block([[np.zeros((1, 1)), dual.y[s][None]], [dual.y[s][:, None], q[np.ix_(s, s)]]])
            right = np.concatenate([[-dual.y[e] @ dual.upper[e]], 1 - q[np.ix_(s, e)] @ dual.upper[e]])
            alpha[s] = np.linalg.lstsq(bordered, right, rcond=None)[0][1:]
        if abs(dual.y @ alpha) < 1e-9 and (alpha > -1e-9).all() and (alpha < dual.upper + 1e-9).all():
            value = alpha @ q @ alpha / 2 - alpha.sum()
            if value < least - 1e-12:
                best, least = alpha, value
    return best


@pytest.mark.parametrize("kernel", [LINEAR, RBF, POLYNOMIAL], ids=["linear", "rbf", "polynomial"])
def test_the_solution_is_that_of_brute_force(kernel: KernelFunction) -> None:
    for seed in range(5):
        dual = cloud(6, seed, kernel)
        assert np.allclose(learned(dual, 1e-10).alpha, brute_force(dual), atol=1e-7)


@pytest.mark.parametrize("kernel", [LINEAR, RBF, POLYNOMIAL], ids=["linear", "rbf", "polynomial"])
def test_the_conditions_hold_to_1e_8(kernel: KernelFunction) -> None:
    for seed in range(4):
        dual = cloud(80, seed, kernel)
        found = learned(dual, 1e-10)
        g = dual.y * (dual.kernel.matrix(dual.x, dual.x).numpy() @ (dual.y * found.alpha) + found.b) - 1
        assert found.clear
        assert abs(dual.y @ found.alpha) < 1e-10
        assert np.abs(g[found.margin]).max() <= 1e-8
        assert (g[found.bound] < 0).all()
        assert (g[found.alpha == 0] > 0).all()


def test_every_road_ends_at_the_same_bits() -> None:
    for seed in range(6):
        dual = cloud(60, seed)
        found = learned(dual, 1e-10)
        generator = np.random.default_rng(seed)
        start = balanced(generator.uniform(0, 1, 60) * dual.upper, dual.y)
        assert abs(dual.y @ start) < 1e-12
        other = warm(Dual(dual.x, dual.y, dual.upper, RBF), 1e-10, start)
        nudged = repaired(dual, found.margin[1:], np.union1d(found.bound, found.margin[:1]), 1e-10)
        for road in (other, nudged):
            assert road is not None
            assert road.alpha.tobytes() == found.alpha.tobytes()
            assert road.b == found.b


def test_weights_do_not_depend_on_rows_outside_the_sets() -> None:
    dual = cloud(90, 1)
    found = learned(dual, 1e-10)
    keep = np.flatnonzero(found.alpha)
    alone = Dual(dual.x[keep].clone(), dual.y[keep], dual.upper[keep], RBF)
    again = polished(alone, np.searchsorted(keep, found.margin), np.searchsorted(keep, found.bound))
    assert again is not None
    assert again.alpha.tobytes() == found.alpha[keep].tobytes()
    assert again.b == found.b
    assert again.off < 1e-12


def test_clear_sets_are_read_off_every_point_of_the_tolerance() -> None:
    tol, clear = 1e-5, 0
    for seed in range(20):
        dual = cloud(40, seed)
        found = repaired(dual, *sets_of(dual, descend(dual, np.zeros(40), 1e-12)[0]), tol)
        if found is None:
            continue
        clear += 1
        generator = np.random.default_rng(seed)
        for _ in range(5):
            point = descend(dual, balanced(generator.uniform(0, 1, 40) * dual.upper, dual.y), tol)[0]
            margin, bound = sets_of(dual, point)
            assert (margin.tolist(), bound.tolist()) == (found.margin.tolist(), found.bound.tolist())
    assert 5 <= clear < 20  # where it is not clear at this tolerance, a smaller one shows it
    assert all(learned(cloud(40, seed), 1e-10).clear for seed in range(20))


def rhombus(idle: bool) -> Dual:
    """The margin leans on (1, 1) and (1, -1) alike; a row at (1, 0) lies on it too and could carry any share."""
    x, y = [[-1.0, 0.0], [1.0, 1.0], [1.0, -1.0], [3.0, 0.0]], [-1.0, 1.0, 1.0, 1.0]
    if idle:
        x, y = [*x, [1.0, 0.0]], [*y, 1.0]
    return Dual(torch.tensor(x, dtype=torch.float64), np.array(y), np.full(len(y), 9.0), LINEAR)


def test_a_row_on_the_margin_whose_share_is_arbitrary_is_doubtful() -> None:
    assert learned(rhombus(False), 1e-10).clear
    found = learned(rhombus(True), 1e-10)
    assert not found.clear
    assert np.allclose((rhombus(True).y * found.alpha) @ rhombus(True).x.numpy(), [1.0, 0.0])


def test_where_every_weight_is_at_its_bound_b_is_the_middle() -> None:
    x = torch.tensor([[-1.0], [-0.5], [0.5], [1.0]], dtype=torch.float64)
    dual = Dual(x, np.array([-1.0, -1.0, 1.0, 1.0]), np.full(4, 0.1), LINEAR)
    found = learned(dual, 1e-10)
    assert found.clear
    assert not len(found.margin)
    assert found.bound.tolist() == [0, 1, 2, 3]
    assert abs(found.b) < 1e-15  # w = 0.3: b may lie between -0.7 and 0.7


def test_rows_beyond_one_working_set_are_solved_too(monkeypatch: pytest.MonkeyPatch) -> None:
    dual = cloud(200, 3)
    whole = learned(dual, 1e-10)
    monkeypatch.setattr(margin_dual, "WORKING_SET", 16)
    monkeypatch.setattr(margin_dual, "BLOCK", 7)
    parts = learned(Dual(dual.x, dual.y, dual.upper, RBF), 1e-10)
    assert parts.alpha.tobytes() == whole.alpha.tobytes()


def test_a_tolerance_that_is_not_reached_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(margin_dual, "ROUNDS", 0)
    with pytest.raises(NotConverged, match="scale the columns"):
        learned(rhombus(True), 1e-10)


def test_a_restricted_problem_is_that_of_its_rows() -> None:
    dual = cloud(50, 4)
    found = learned(dual, 1e-10)
    keep = np.random.default_rng(0).permutation(50)[:45]
    part = dual.restricted(keep, dual.upper[keep])
    alone = Dual(dual.x[keep].clone(), dual.y[keep], dual.upper[keep], RBF)
    assert np.allclose(part.gradient(found.alpha[keep]), alone.gradient(found.alpha[keep]), atol=1e-12)
    assert np.allclose(part.columns(np.arange(45)), alone.columns(np.arange(45)), atol=1e-12)
