"""Rounds of Newton steps in blocks: the first is a single step, random ones arrive at the minimiser, others may not."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from expunge.certificate import Certified
from expunge.errors import MustRetrain
from expunge.learners.convex import Convex
from expunge.methods.l_foci import LFoci, LFociRecord
from expunge.objective import LinearObjective
from expunge.objective.block_rounds import Rounds, walk, walked
from expunge.objective.minimise import minimise
from expunge.objective.perturbation import Perturbation
from expunge.objective.selection import Selection
from expunge.objective.slice_block import BlockSolver
from expunge.rows import Rows
from expunge.testing import noise_key

CLASSES, L2 = 3, 0.05
GONE = [0, 1, 2]


@pytest.fixture(scope="module")
def rows() -> Rows:
    generator = np.random.default_rng(0)
    y = np.arange(60) % CLASSES
    return Rows.of(generator.normal(size=(60, 4)) + 2 * np.eye(CLASSES, 4)[y], y, classes=CLASSES)


@pytest.fixture(scope="module")
def objective() -> LinearObjective:
    return LinearObjective("cross_entropy", L2, 4, CLASSES)


@pytest.fixture(scope="module")
def points(rows: Rows, objective: LinearObjective) -> tuple[Tensor, Tensor]:
    """The minimisers on all rows and on those that stay."""
    w = minimise(objective, rows, objective.start(0), tol=1e-12, dense=True).x
    return w, minimise(objective, rows.without(GONE), w, tol=1e-12, dense=True).x


def rounds(selector: str, count: int = 1, **options: int) -> Rounds:
    return Rounds(Selection(selector, count=count), Perturbation(100), BlockSolver(damping=0.0), **options)


def ends(rows: Rows, objective: LinearObjective, w: Tensor, how: Rounds, seed: int = 0) -> list[Tensor]:
    left = rows.without(GONE)
    return [end.w for end in walk(objective, w, left, rows.only(GONE), left, how, seed)]


def test_the_first_round_is_a_single_one_and_later_ones_follow_what_is_left(
    rows: Rows, objective: LinearObjective, points: tuple[Tensor, Tensor]
) -> None:
    w = points[0]
    once = ends(rows, objective, w, rounds("random"))
    thrice = ends(rows, objective, w, rounds("random", rounds=3))
    assert len(once) == 1
    assert torch.equal(once[0], thrice[0])
    left = rows.without(GONE)
    for before, after in itertools.pairwise(thrice):
        moved = (after != before).nonzero()[:, 0]
        H, g = objective.hessian(before, left), objective.gradient(before, left)
        assert len(moved) == 5
        torch.testing.assert_close((after - before)[moved], -torch.linalg.solve(H[moved][:, moved], g[moved]))


def test_random_blocks_arrive_at_the_minimiser_no_slower_than_the_bound(
    rows: Rows, objective: LinearObjective, points: tuple[Tensor, Tensor]
) -> None:
    w, target = points
    H = objective.hessian(target, rows.without(GONE))
    slices = torch.arange(len(w)).view(CLASSES, -1)
    mean = torch.zeros_like(H)
    for P in slices:
        mean[P[:, None], P] += torch.linalg.inv(H[P][:, P]) / CLASSES
    L = torch.linalg.cholesky(H)
    mu = float(torch.linalg.eigvalsh(L.T @ mean @ L)[0])
    squared = []
    for seed in range(5):
        v = [w, *ends(rows, objective, w, rounds("random", rounds=120), seed)]
        squared.append([float((at - target) @ H @ (at - target)) for at in v])
        assert float((v[-1] - target).norm()) < 1e-3 * float((w - target).norm())
    average = np.mean(squared, axis=0)
    assert 0 < mu < 1
    for r in (5, 15, 30):
        assert average[r] < 1.5 * (1 - mu) ** r * average[0]


def test_the_largest_gradient_arrives_sooner_than_chance(
    rows: Rows, objective: LinearObjective, points: tuple[Tensor, Tensor]
) -> None:
    w, target = points
    far = [
        float(
            np.median(
                [
                    float((ends(rows, objective, w, rounds(how, rounds=8), seed)[-1] - target).norm())
                    for seed in range(3)
                ]
            )
        )
        for how in ("gradient_norm", "random")
    ]
    assert far[0] < far[1]


def test_every_slice_that_was_in_a_block_is_counted(
    rows: Rows, objective: LinearObjective, points: tuple[Tensor, Tensor]
) -> None:
    left = rows.without(GONE)
    end = walked(objective, points[0], left, rows.only(GONE), left, rounds("random", rounds=20), 0)
    assert end is not None
    assert end.chosen == {0, 1, 2}
    assert end.touched.all()
    assert end.products == 20 * 5


def test_rounds_of_a_linear_model_are_certified_where_one_is_refused(rows: Rows) -> None:
    learner = Convex(l2=L2, tol=1e-10)

    def method(number: int) -> LFoci:
        return LFoci(
            learner, Selection("random", count=1), Perturbation(100), gradient="full", rounds=number, noise_std=0.3,
            epsilon=1.0,
        )  # fmt: skip

    record: LFociRecord = method(1).learn(rows, seed=0, noise=noise_key(1, 1))
    left, gone = rows.without(GONE), rows.only(GONE)
    with pytest.raises(MustRetrain):
        method(1).forget(record, left, gone, noise=noise_key(2, 2))
    step = method(200).forget(record, left, gone, noise=noise_key(2, 2))
    assert isinstance(step.certificate, Certified)
    assert step.stats["slices"] == CLASSES
    assert step.stats["weights"] == 15
