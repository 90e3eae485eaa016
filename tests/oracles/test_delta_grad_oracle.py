"""DeltaGrad derived again in plain numpy, with the paper's two caches and a dense BFGS matrix, and worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from expunge import keyed
from expunge.learners.descent import Descent
from expunge.methods.delta_grad import PURPOSE, DeltaGrad
from expunge.rows import Rows
from expunge.testing import noise_key

Vector = NDArray[np.float64]
RATE, L2, SEED = 0.4, 0.05, 5
NOISE = noise_key(1)


def some_rows(n: int = 60, p: int = 3) -> Rows:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(n, p))
    y = (x @ np.ones(p) + generator.normal(size=n) > 0).astype(int)
    return Rows.of(x, y, ids=[f"row-{i}" for i in range(n)])


def slopes(x: Vector, y: Vector, w: Vector) -> Vector:
    return np.asarray((1 / (1 + np.exp(-x @ w)) - y)[:, None] * x)


def batches_of(rows: Rows, epochs: int, count: int) -> list[NDArray[np.bool_]]:
    purpose = (*PURPOSE, "batch")
    dealt = [keyed.integers(SEED, (*purpose, epoch), rows.keys, count) for epoch in range(epochs)]
    return [(one == number if count > 1 else np.ones(len(rows), bool)) for one in dealt for number in range(count)]


def dense(pairs: list[tuple[Vector, Vector]]) -> Vector:
    s, y = pairs[-1]
    B = np.eye(len(s)) * (y @ s) / (s @ s)
    for s, y in pairs:
        B = B - np.outer(B @ s, B @ s) / (s @ B @ s) + np.outer(y, y) / (y @ s)
    return B


def trajectory(rows: Rows, epochs: int, count: int) -> tuple[list[Vector], list[Vector]]:
    """Weights and mean gradients of every step, the paper's caches."""
    x, y = np.c_[rows.columns["x"], np.ones(len(rows))], rows.y
    w, weights, gradients = np.zeros(x.shape[1]), [], []
    for batch in batches_of(rows, epochs, count):
        g = slopes(x, y, w)[batch].mean(0)
        weights.append(w)
        gradients.append(g)
        w = w - RATE * (g + L2 * w)
    return [*weights, w], gradients


def delta_grad(
    rows: Rows, changed: Rows, sign: int, epochs: int, count: int, *, period: int, burn_in: int, memory: int
) -> Vector:
    """The weights without `changed` (sign 1), or with them (-1); `rows` were learned."""
    weights, gradients = trajectory(rows, epochs, count)
    x, y = np.c_[rows.columns["x"], np.ones(len(rows))], rows.y
    cx, cy = np.c_[changed.columns["x"], np.ones(len(changed))], changed.y
    kept = ~np.isin(rows.keys, changed.keys)
    pairs: list[tuple[Vector, Vector]] = []
    u = weights[0]
    steps = zip(batches_of(rows, epochs, count), batches_of(changed, epochs, count), strict=True)
    for t, (batch, leaving) in enumerate(steps):
        b, r, v = int(batch.sum()), int(leaving.sum()), u - weights[t]
        of_changed = slopes(cx, cy, u)[leaving].sum(0)
        if not v.any() or (pairs and not (t < burn_in or (t - burn_in) % period == 0)):
            Hv = dense(pairs) @ v if v.any() else v
            total = b * (gradients[t] + Hv - L2 * v) - sign * of_changed
        else:
            whole = slopes(x, y, u)
            total = whole[batch & kept].sum(0) if sign > 0 else whole[batch].sum(0) + of_changed
            pairs = [*pairs, (v, whole[batch].mean(0) - gradients[t] + L2 * v)][-memory:]
        g = total / (b - sign * r)
        u = u - RATE * (g + L2 * u)
    return np.asarray(u)


def method(epochs: int, count: int, **settings: int) -> DeltaGrad:
    learner = Descent(
        loss="logistic", epochs=epochs, batches=count, learning_rate=RATE, l2=L2, precision="float64"
    )  # fmt: skip
    return DeltaGrad(learner, conjugate=False, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("memory", [1, 2])
def test_forgetting_is_the_algorithm_derived_again(count: int, memory: int) -> None:
    rows, gone = some_rows(), ["row-3", "row-11", "row-40"]
    settings = {"period": 4, "burn_in": 5, "memory": memory}
    subject = method(40 // count, count, **settings)
    record = subject.learn(rows, seed=SEED, noise=NOISE)
    step = subject.forget(record, rows.without(gone), rows.only(gone), noise=NOISE)
    expected = delta_grad(rows, rows.only(gone), 1, 40 // count, count, **settings)
    nothing, (again, _) = (
        trajectory(rows, 40 // count, count)[0][-1],
        trajectory(rows.without(gone), 40 // count, count),
    )
    np.testing.assert_allclose(record.weights, nothing, rtol=1e-10)
    np.testing.assert_allclose(step.record.weights, expected, rtol=1e-8)
    assert np.linalg.norm(expected - again[-1]) < 0.1 * np.linalg.norm(nothing - again[-1])


@pytest.mark.parametrize("count", [1, 3])
def test_learning_more_is_the_algorithm_with_the_other_sign(count: int) -> None:
    rows, new = some_rows(), ["row-3", "row-11", "row-40"]
    settings = {"period": 4, "burn_in": 5, "memory": 2}
    subject = method(40 // count, count, **settings)
    fewer, added = rows.without(new), rows.only(new)
    record = subject.learn(fewer, seed=SEED, noise=NOISE)
    step = subject.extend(record, fewer, added, noise=NOISE)
    expected = delta_grad(fewer, added, -1, 40 // count, count, **settings)
    np.testing.assert_allclose(step.record.weights, expected, rtol=1e-8)
    again, nothing = trajectory(rows, 40 // count, count)[0][-1], trajectory(fewer, 40 // count, count)[0][-1]
    assert np.linalg.norm(expected - again) < 0.1 * np.linalg.norm(nothing - again)


def test_worked_by_hand() -> None:
    """One bias b under (b - y)^2/2 on y = 0, 2, 4, rate 1/2, no l2 to speak of; y = 4 leaves.

    Learning: b = 0, 1, 3/2, 7/4 and g = b - 2. Without the row: 0, 1/2, 3/4, 7/8. The first step has v = 0: (3 (-2) -
    (-4)) / 2 = -1. The second is exact: v = -1/2, over *all three* rows y = -1/2, so the curvature is 1, as it is. The
    third is approximate: (3 (-1/2 + 1 (-3/4)) - (3/4 - 4)) / 2 = -1/4, the true gradient.
    """
    rows = Rows.of(np.zeros((3, 1)), np.array([0.0, 2.0, 4.0]))
    learner = Descent(loss="squared", epochs=3, learning_rate=0.5, l2=1e-300, precision="float64")
    subject = DeltaGrad(learner, period=3, burn_in=1, memory=1)
    record = subject.learn(rows, seed=SEED, noise=NOISE)
    step = subject.forget(record, rows.without([2]), rows.only([2]), noise=NOISE)
    gradients = [float(g[1]) for chunk in step.record.trajectory.gradients for g in chunk]
    assert float(record.weights[1]) == 7 / 4
    assert gradients == pytest.approx([-1.0, -1 / 2, -1 / 4], abs=1e-15)
    assert float(step.record.weights[1]) == pytest.approx(7 / 8, abs=1e-15)
    assert step.stats["exact_steps"] == 1
    assert step.stats["rows_visited"] == 2
