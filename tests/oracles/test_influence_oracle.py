"""The influence step in plain numpy, in the convention of summed losses, and held against the method's means."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from expunge.learners.convex import Convex
from expunge.methods.influence import Influence
from expunge.rows import Rows
from expunge.testing import noise_key

Vector = NDArray[np.float64]
N, P, L2 = 120, 3, 0.05


def problem() -> tuple[Vector, NDArray[np.int64]]:
    generator = np.random.default_rng(6)
    x = generator.normal(size=(N, P))
    return x, (x[:, 0] + generator.normal(size=N) > 0).astype(np.int64)


def summed_hessian(ones: Vector, w: Vector, weight: float) -> Vector:
    p = 1 / (1 + np.exp(-ones @ w))
    return np.asarray((ones * (p * (1 - p))[:, None]).T @ ones + weight * np.eye(P + 1))


def summed_gradient(ones: Vector, y: NDArray[np.int64], w: Vector, weight: float) -> Vector:
    return np.asarray(ones.T @ (1 / (1 + np.exp(-ones @ w)) - y) + weight * w)


def sequential(w: Vector, batches: list[list[int]], *, full: bool) -> Vector:
    """Algorithm 6 for the sum L(w; D) = sum of losses + |D| l2/2 ||w||^2, under which its sign and factor are right."""
    x, y = problem()
    ones, left = np.c_[x, np.ones(N)], np.ones(N, dtype=bool)
    for batch in batches:
        left[batch] = False
        hessian = summed_hessian(ones[left], w, L2 * left.sum())
        if full:
            w = w - np.linalg.solve(hessian, summed_gradient(ones[left], y[left], w, L2 * left.sum()))
        else:
            w = w + np.linalg.solve(hessian, summed_gradient(ones[batch], y[batch], w, L2 * len(batch)))
    return w


@pytest.mark.parametrize("gradient", ["removed", "full"])
@pytest.mark.parametrize("size", [None, 4])
def test_means_with_their_factor_are_the_algorithm_for_sums(gradient: str, size: int | None) -> None:
    x, y = problem()
    rows = Rows.of(x, y, classes=2)
    gone = list(range(10))
    method = Influence(Convex(loss="logistic", l2=L2), batch_size=size, gradient=gradient, keep_hessian=size is None)
    start = {"weight": torch.tensor([[0.3, -0.2, 0.1]]), "bias": torch.tensor([0.2])}  # no minimiser: a formula holds
    record = method.adopt(start, rows, seed=0, noise=noise_key(1))
    step = method.forget(record, rows.without(gone), rows.only(gone), noise=noise_key(2, 2))
    by_key = np.argsort(rows.only(gone).keys).tolist()
    batches = [by_key[i : i + (size or 10)] for i in range(0, 10, size or 10)]
    w = method.learner.flat(record.training).numpy()
    expected = sequential(w, batches, full=gradient == "full")
    assert np.abs(method.learner.flat(step.record.training).numpy() - expected).max() < 1e-12


def test_twice_the_rows_all_duplicated_changes_no_step() -> None:
    x, y = problem()
    method, moved = Influence(Convex(loss="logistic", l2=L2, tol=1e-11)), []
    for copies in (1, 2):
        rows = Rows.of(np.tile(x, (copies, 1)), np.tile(y, copies), classes=2)
        gone = [i + c * N for c in range(copies) for i in range(7)]
        record = method.learn(rows, seed=0, noise=noise_key(1))
        moved.append(method.forget(record, rows.without(gone), rows.only(gone), noise=noise_key(2, 2)).stats["moved"])
    assert moved[0] == pytest.approx(moved[1], rel=1e-8)


def test_what_one_step_leaves_falls_as_the_square_of_what_doing_nothing_leaves() -> None:
    x, y = problem()
    rows, method = Rows.of(x, y, classes=2), Influence(Convex(loss="logistic", l2=L2, tol=1e-12))
    record = method.learn(rows, seed=0, noise=noise_key(1))
    ratios = []
    for m in (1, 4, 16):
        gone = list(range(m))
        clean = method.learn(rows.without(gone), seed=0, noise=noise_key(1))
        step = method.forget(record, rows.without(gone), rows.only(gone), noise=noise_key(2, 2))
        flat = [method.learner.flat(r.training) for r in (record, step.record, clean)]
        ratios.append(float((flat[1] - flat[2]).norm() / (flat[0] - flat[2]).norm() ** 2))
    assert max(ratios) < 1.0
