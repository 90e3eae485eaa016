"""Fisher forgetting written a second time in numpy: algorithm 5 line by line, its noise, and its divergence."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from expunge.learners.convex import Convex
from expunge.methods.fisher import Fisher
from expunge.rows import Rows
from expunge.testing import noise_key

Vector = NDArray[np.float64]
L2, NOISE, DAMPING = 1e-2, 1e-3, 0.02


def problem(n: int = 90, scale: float = 1.0) -> tuple[Vector, NDArray[np.int64], Rows]:
    generator = np.random.default_rng(1)
    x = generator.normal(size=(n, 3))
    y = np.argmax(x + generator.normal(size=(n, 3)), axis=1)
    return scale * x, y, Rows.of(scale * x, y, classes=3)


def derivatives(x: Vector, y: NDArray[np.int64], w: Vector, form: str) -> tuple[Vector, Vector]:
    """Gradient and F of the mean cross-entropy + l2/2 ||w||^2, row by row."""
    d, W = len(w), w.reshape(3, -1)
    gradient, F = L2 * w, (L2 + DAMPING) * np.eye(d)
    for row, label in zip(np.c_[x, np.ones(len(x))], y, strict=True):
        p = np.exp(W @ row - (W @ row).max())
        p /= p.sum()
        r = p - np.eye(3)[label]
        gradient = gradient + np.outer(r, row).ravel() / len(x)
        C = np.outer(r, r) if form == "empirical" else np.diag(p) - np.outer(p, p)
        F = F + np.kron(C, np.outer(row, row)) / len(x)
    return gradient, np.diag(np.diag(F)) if form == "diagonal" else F


def root(F: Vector, exponent: float) -> Vector:
    values, vectors = np.linalg.eigh(F)
    return np.asarray((vectors * values**exponent) @ vectors.T)


@pytest.mark.parametrize("form", ["exact", "empirical", "diagonal"])
@pytest.mark.parametrize("batch_size", [0, 4])
def test_algorithm_5(form: str, batch_size: int) -> None:
    x, y, rows = problem()
    gone = list(range(10))
    ids, second = [str(i) for i in gone], noise_key(2, 2)
    method = Fisher(Convex(l2=L2), NOISE, batch_size, form, DAMPING)
    record = method.learn(rows, seed=0, noise=noise_key(1))
    step = method.forget(record, rows.without(ids), rows.only(ids), noise=second)

    theta = method.learner.flat(record.training).numpy()
    order = [gone[i] for i in np.argsort(rows.only(ids).keys)]
    size = batch_size or len(gone)
    batches = [order[start : start + size] for start in range(0, len(gone), size)]
    left = list(range(90))
    for number, batch in enumerate(batches):
        left = [i for i in left if i not in batch]
        gradient, F = derivatives(x[left], y[left], theta, form)
        move = np.linalg.solve(F, gradient)
        if form == "diagonal":
            bent = derivatives(x[left], y[left], theta, "exact")[1]
            move = move * (gradient @ move) / (move @ bent @ move)
        centre = theta - move
        last = number == len(batches) - 1
        b = second.normals("release" if last else f"batch {number}", (12,))
        theta = centre + NOISE * root(F, -0.25) @ b
    assert step.stats["steps"] == len(batches) == (3 if batch_size else 1)
    assert np.allclose(method.learner.flat(step.record.training).numpy(), theta, atol=2e-6)

    remaining, _ = derivatives(x[left], y[left], centre, form)
    distance, Sigma = np.linalg.solve(F, remaining), NOISE**2 * root(F, -0.5)
    nats = distance @ np.linalg.solve(Sigma, distance) / 2
    assert step.stats["divergence_nats"] == pytest.approx(nats, rel=1e-2)


def test_the_original_model_carries_the_noise_too() -> None:
    x, y, rows = problem()
    tight, loud = (Fisher(Convex(l2=L2, tol=1e-10), s, damping=DAMPING) for s in (1e-12, 1e-2))
    first = noise_key(1)
    clean, noisy = (m.learner.flat(m.learn(rows, seed=0, noise=first).training).numpy() for m in (tight, loud))
    _, F = derivatives(x, y, clean, "exact")
    assert np.allclose(noisy - clean, 1e-2 * root(F, -0.25) @ first.normals("release", (12,)), atol=1e-6)


def test_columns_twice_as_large_and_a_quarter_of_the_penalty_give_half_the_weights() -> None:
    """For squared loss without intercept in play: w/2 solves the problem of 2x under 4 l2, step for step."""
    generator = np.random.default_rng(5)
    x = generator.normal(size=(40, 3))
    x -= x.mean(0)
    y = x @ np.ones((3, 1))
    y -= y.mean(0)
    made = []
    for scale in (1.0, 2.0):
        rows = Rows.of(scale * x, y, classes=0)
        method = Fisher(Convex(loss="squared", l2=L2 * scale**2), 1e-12)
        record = method.learn(rows, seed=0, noise=noise_key(1))
        step = method.forget(record, rows.without(["1"]), rows.only(["1"]), noise=noise_key(2, 2))
        made.append(method.learner.flat(step.record.training).numpy()[:3] * scale)
    assert np.allclose(made[0], made[1], rtol=5e-3)


def test_on_digits_the_empirical_information_errs_fifty_times_more() -> None:
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))[:1437]
    x = data.data[order] / 16.0 - 0.5
    rows = Rows.of(x / np.linalg.norm(x, axis=1, keepdims=True), data.target[order] % 2, classes=2)
    ids = [str(i) for i in range(100)]
    learner = Convex(loss="logistic", l2=1e-3)
    goal = learner.flat(learner.train(learner.start(rows.schema, 0, ()), rows.without(ids), seed=0, purpose=()))
    left = {}
    for form in ("exact", "empirical"):
        method = Fisher(learner, 1e-9, form=form)
        record = method.learn(rows, seed=0, noise=noise_key(1))
        left["nothing"] = float((learner.flat(record.training) - goal).norm())
        step = method.forget(record, rows.without(ids), rows.only(ids), noise=noise_key(2, 2))
        left[form] = float((learner.flat(step.record.training) - goal).norm())
    assert left == pytest.approx({"nothing": 0.5638, "exact": 0.0032, "empirical": 0.1625}, rel=0.02)
