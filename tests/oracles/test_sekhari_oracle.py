"""Sekhari's step and bound, written a second time in plain numpy and scipy, and held against the method."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize

from expunge.methods.sekhari import Sekhari
from expunge.rows import Rows
from expunge.testing import noise_key

Vector = NDArray[np.float64]
N, P, L2, NOISE = 300, 4, 0.3, 30.0


def problem(seed: int = 0, n: int = N) -> tuple[Vector, NDArray[np.int64]]:
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(n, P))
    y = (x @ generator.normal(size=P) + 0.3 + generator.normal(size=n) > 0).astype(np.int64)
    return x / np.linalg.norm(x, axis=1, keepdims=True), y


def sigmoid(z: Vector) -> Vector:
    return 1 / (1 + np.exp(-z))


def mean_gradient(w: Vector, x: Vector, y: Any) -> Vector:
    ones = np.c_[x, np.ones(len(x))]
    return np.asarray(ones.T @ (sigmoid(ones @ w) - y) / len(x) + L2 * w)


def minimiser(x: Vector, y: Any) -> Vector:
    ones = np.c_[x, np.ones(len(x))]

    def value(w: Vector) -> tuple[float, Vector]:
        z = ones @ w
        return float((np.logaddexp(0, z) - y * z).mean() + L2 / 2 * w @ w), mean_gradient(w, x, y)

    return np.asarray(minimize(value, np.zeros(P + 1), jac=True, method="BFGS", options={"gtol": 1e-11}).x)


def one_step(x: Vector, y: Any, m: int) -> Vector:
    """From the full fit, away from the first m rows; the Hessian over the rest is made anew, not down-dated."""
    w = minimiser(x, y)
    rest = np.c_[x[m:], np.ones(len(x) - m)]
    p = sigmoid(rest @ w)
    hessian = (rest * (p * (1 - p))[:, None]).T @ rest / len(rest) + L2 * np.eye(P + 1)
    gone = np.c_[x[:m], np.ones(m)]
    gradients = gone.T @ (sigmoid(gone @ w) - y[:m]) + m * L2 * w
    return np.asarray(w + np.linalg.solve(hessian, gradients) / (len(x) - m))


def learned(m: int, **settings: Any) -> tuple[Vector, dict[str, float]]:
    x, y = problem()
    rows = Rows.of(x, y, classes=2)
    method = Sekhari(
        **({"loss": "logistic", "l2": L2, "noise_std": NOISE, "bound": "published", "row_norm": 1.0} | settings)
    )
    record = method.learn(rows, seed=0, noise=noise_key(1))
    ids = [str(i) for i in range(m)]
    step = method.forget(record, rows.without(ids), rows.only(ids), noise=noise_key(2, 2))
    return method.centre(method.release(step.record), noise_key(2, 2)).numpy(), dict(step.stats)


@pytest.mark.parametrize("m", [1, 7, 20])
def test_the_centre_is_the_step_written_out(m: int) -> None:
    centre, _ = learned(m)
    x, y = problem()
    assert np.abs(centre - one_step(x, y, m)).max() < 1e-4  # the grid of the noise
    record_step = np.linalg.norm(one_step(x, y, m) - minimiser(x, y))
    assert learned(m)[1]["step"] == pytest.approx(record_step, rel=1e-6)


@pytest.mark.parametrize("m", [1, 7, 20])
def test_true_distance_measured_step_and_published_bound_are_in_this_order(m: int) -> None:
    x, y = problem()
    true = float(np.linalg.norm(one_step(x, y, m) - minimiser(x[m:], y[m:])))
    residual = float(np.linalg.norm(mean_gradient(one_step(x, y, m), x[m:], y[m:])))
    stats = learned(m, bound="measured")[1]
    third, row = 1 / (6 * math.sqrt(3)), math.sqrt(2)
    gradient_bound = 2 * 1.0 * row
    gamma = 2 * (third * row**3) * m**2 * gradient_bound**2 / (L2**3 * N**2)
    assert stats["measured_bound"] == pytest.approx(residual / L2, rel=1e-3, abs=1e-9)
    assert stats["published_bound"] == pytest.approx(gamma, rel=1e-6)
    assert stats["step_bound"] == pytest.approx(
        third * row**3 * np.linalg.norm(one_step(x, y, m) - minimiser(x, y)) ** 2 / (2 * L2), rel=1e-6
    )
    assert true <= stats["measured_bound"] <= stats["step_bound"] <= stats["published_bound"]


def test_no_gradient_of_a_row_exceeds_what_the_published_bound_takes_for_it() -> None:
    x, y = problem()
    w = minimiser(x, y)
    each = [np.linalg.norm(mean_gradient(w, x[i : i + 1], y[i : i + 1])) for i in range(N)]
    assert max(each) <= 2 * math.sqrt(2)


def test_the_wrong_sign_and_the_missing_share_are_far_off() -> None:
    """A positive control: what the step would be if l2's share were left out, or the sign turned."""
    x, y = problem()
    right, w, clean = one_step(x, y, 20), minimiser(x, y), minimiser(x[20:], y[20:])
    assert np.linalg.norm(2 * w - right - clean) > 100 * np.linalg.norm(right - clean)
    assert np.linalg.norm(w - clean) > 50 * np.linalg.norm(right - clean)


def test_twice_the_rows_all_duplicated_changes_no_step_and_no_bound() -> None:
    x, y = problem()
    method = Sekhari(loss="logistic", l2=L2, noise_std=NOISE, bound="published", row_norm=1.0)
    found = []
    for copies in (1, 2):
        rows = Rows.of(np.tile(x, (copies, 1)), np.tile(y, copies), classes=2)
        record = method.learn(rows, seed=0, noise=noise_key(1))
        ids = [str(i + c * N) for c in range(copies) for i in range(5)]
        step = method.forget(record, rows.without(ids), rows.only(ids), noise=noise_key(2, 2))
        found.append((step.stats["step"], step.stats["published_bound"]))
    assert found[0] == pytest.approx(found[1], rel=1e-6)


def test_the_published_bound_scales_as_it_says() -> None:
    base = learned(2)[1]["published_bound"]
    assert learned(4)[1]["published_bound"] == pytest.approx(4 * base, rel=1e-5)
    assert learned(2, l2=2 * L2)[1]["published_bound"] == pytest.approx(base / 8, rel=1e-5)
    rows = (1 + 2.0**2) / (1 + 1.0**2)  # R^2 of row_norm 2 over that of 1
    assert learned(2, row_norm=2.0)[1]["published_bound"] == pytest.approx(rows**2.5 * base, rel=1e-5)


def test_noise_is_there_in_every_release_and_has_the_promised_variance() -> None:
    x, y = problem()
    rows = Rows.of(x, y, classes=2)
    method = Sekhari(loss="logistic", l2=L2, noise_std=NOISE)
    record, remaining, draws = method.learn(rows, seed=0, noise=noise_key(1)), rows, []
    for release in range(2, 62):
        one = [str(release)]
        step = method.forget(record, remaining.without(one), remaining.only(one), noise=noise_key(release, release))
        record, remaining = step.record, remaining.without(one)
        draws.append(((record.weights.reshape(-1) - record.state.fit - record.state.step()) / NOISE).numpy())
    pooled = np.concatenate(draws)
    assert abs(np.mean(pooled**2) - 1) < 6 / math.sqrt(len(pooled) / 2)
    pairs = np.corrcoef(np.array(draws))[np.triu_indices(60, 1)]
    assert abs(pairs.mean()) < 0.05  # fresh noise: releases are not correlated
