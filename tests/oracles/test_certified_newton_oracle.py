"""The residual-certified bound, written a second time from its derivation, and held against the method.

Nothing here uses the package's solvers, losses or privacy functions: minimisers come from scipy on formulas written
out, budgets from a root of the Gaussian curve found by brentq.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize
from scipy.stats import norm

from expunge.methods.certified_newton import CertifiedNewton, CertifiedNewtonRecord
from expunge.rows import Rows
from expunge.testing import noise_key

Vector = NDArray[np.float64]
N, P, L2, NOISE = 300, 5, 1e-2, 0.02


def problem(seed: int = 0, n: int = N) -> tuple[Vector, NDArray[np.int64]]:
    """Three classes in five dimensions, far from the origin: an unpenalised intercept would differ."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(n, P)) + 2.0
    y = np.argmax(x @ generator.normal(size=(P, 3)) + generator.normal(size=(n, 3)), axis=1)
    return x, y


def oracle_mu(epsilon: float, delta: float) -> float:
    """mu with Phi(mu/2 - eps/mu) - e^eps Phi(-mu/2 - eps/mu) = delta."""

    def excess(mu: float) -> float:
        return norm.cdf(mu / 2 - epsilon / mu) - math.exp(epsilon) * norm.cdf(-mu / 2 - epsilon / mu) - delta

    return float(brentq(excess, 1e-4, 10.0, xtol=1e-14))


def softmax_objective(x: Vector, y: NDArray[np.int64]) -> Callable[[Vector], tuple[float, Vector]]:
    """Mean cross-entropy + l2/2 ||W||^2, every entry of W (3, P+1) penalised."""
    ones = np.c_[x, np.ones(len(x))]
    hot = np.eye(3)[y]

    def value(flat: Vector) -> tuple[float, Vector]:
        W = flat.reshape(3, -1)
        scores = ones @ W.T
        top = scores.max(1, keepdims=True)
        log_sum = top[:, 0] + np.log(np.exp(scores - top).sum(1))
        p = np.exp(scores - log_sum[:, None])
        loss = (log_sum - (scores * hot).sum(1)).mean() + L2 / 2 * flat @ flat
        return float(loss), ((p - hot).T @ ones / len(x) + L2 * W).ravel()

    return value


def oracle_minimiser(x: Vector, y: NDArray[np.int64]) -> Vector:
    solved = minimize(softmax_objective(x, y), np.zeros(3 * (P + 1)), jac=True, method="BFGS", options={"gtol": 1e-10})
    return np.asarray(solved.x)


def stepped(
    m: int = 7, release: int = 2
) -> tuple[CertifiedNewton, CertifiedNewtonRecord, CertifiedNewtonRecord, dict[str, float], Rows]:
    x, y = problem()
    rows = Rows.of(x, y, classes=3)
    method = CertifiedNewton(l2=L2, noise_std=NOISE)
    record = method.learn(rows, seed=0, noise=noise_key(1))
    gone = list(range(m))
    step = method.forget(record, rows.without(gone), rows.only(gone), noise=noise_key(2, release))
    return method, record, step.record, dict(step.stats), rows.without(gone)


def test_the_minimiser_penalises_every_parameter() -> None:
    x, y = problem()
    mine = CertifiedNewton(l2=L2, noise_std=NOISE).minimiser(Rows.of(x, y, classes=3))
    assert np.abs(mine.numpy() - oracle_minimiser(x, y)).max() < 1e-7


def test_squared_loss_is_ridge_in_closed_form() -> None:
    x, _ = problem()
    target = x @ np.arange(P) + 1.0
    method = CertifiedNewton(l2=L2, noise_std=NOISE, loss="squared")
    ones = np.c_[x, np.ones(N)]
    ridge = np.linalg.solve(ones.T @ ones / N + L2 * np.eye(P + 1), ones.T @ target / N)
    rows = Rows.of(x, target)
    assert np.abs(method.minimiser(rows).numpy() - ridge).max() < 1e-10
    record = method.learn(rows, seed=0, noise=noise_key(1))
    step = method.forget(record, rows.without([0]), rows.only([0]), noise=noise_key(2, 2))
    assert step.stats["passes"] == 2  # one Newton step is exact on a quadratic, and one gradient proves it


@pytest.mark.parametrize("release", [2, 3, 10, 200])
def test_the_tolerance_is_half_the_tightening_budget(release: int) -> None:
    method, _, _, stats, _ = stepped(release=release)
    mu_t = oracle_mu(method.epsilon, method.delta) * math.sqrt(6) / (math.pi * release)
    assert stats["tolerance"] == pytest.approx(L2 * NOISE * mu_t / 2, rel=1e-2)
    assert stats["tolerance"] <= L2 * NOISE * mu_t / 2


def test_the_centre_lies_within_half_the_distance_of_the_oracle() -> None:
    method, _, after, stats, retained = stepped()
    centre = method.centre(method.release(after), noise_key(2, 2)).numpy()
    clean = oracle_minimiser(retained.columns["x"], retained.y)
    distance = NOISE * oracle_mu(1.0, 1e-5) * math.sqrt(6) / (2 * math.pi)
    assert np.linalg.norm(centre - clean) <= distance / 2
    gradient = softmax_objective(retained.columns["x"], retained.y)(centre)[1]
    # the centre is recovered up to the grid (2^-20 of the noise), which the gradient feels
    assert np.linalg.norm(gradient) == pytest.approx(stats["residual"], rel=0.05, abs=NOISE * 2.0**-20 * 20)


def test_a_loose_residual_would_break_the_bound_and_doing_nothing_does() -> None:
    """Positive control: the untouched model is further from the oracle than the distance, so the check can fail."""
    method, before, _, _, retained = stepped(m=60)
    centre = method.centre(method.release(before), noise_key(1)).numpy()
    clean = oracle_minimiser(retained.columns["x"], retained.y)
    distance = NOISE * oracle_mu(1.0, 1e-5) * math.sqrt(6) / (2 * math.pi)
    assert np.linalg.norm(centre - clean) > distance


def test_noise_is_there_in_every_release_and_has_the_promised_variance() -> None:
    """No seed enters: a chi-square test of what is added to the centre over a sequence of releases."""
    x, y = problem()
    rows = Rows.of(x, y, classes=3)
    method = CertifiedNewton(l2=L2, noise_std=NOISE)
    record, remaining, draws = method.learn(rows, seed=0, noise=noise_key(1)), rows, []
    for release in range(2, 32):
        one = [str(release)]
        retained = remaining.without(one)
        step = method.forget(record, retained, remaining.only(one), noise=noise_key(release, release))
        record, remaining = method.settle(step.record, retained), retained
        clean = method.minimiser(remaining, tol=1e-10)
        draws.append((record.weights.reshape(-1) - clean).numpy() / NOISE)
    pooled = np.concatenate(draws)
    spread = 6 / math.sqrt(2 * len(pooled))
    assert abs(np.mean(pooled**2) - 1) < 2 * spread
    pairs = np.corrcoef(np.array(draws))[np.triu_indices(30, 1)]
    assert np.abs(pairs.mean()) < 6 / math.sqrt(len(pairs) * 18)  # fresh noise: releases are not correlated


def test_scaling_laws() -> None:
    """Twice the rows, all duplicated, changes no minimiser; the tolerance scales with l2 and with the noise."""
    x, y = problem()
    twice = Rows.of(np.r_[x, x], np.r_[y, y], classes=3)
    once = Rows.of(x, y, classes=3)
    method = CertifiedNewton(l2=L2, noise_std=NOISE)
    assert torch.linalg.vector_norm(method.minimiser(twice) - method.minimiser(once)) < 1e-9

    def tolerance(l2: float, noise: float) -> float:
        other = CertifiedNewton(l2=l2, noise_std=noise)
        record = other.learn(once, seed=0, noise=noise_key(1))
        return other.forget(record, once.without([1]), once.only([1]), noise=noise_key(2, 2)).stats["tolerance"]

    base = tolerance(L2, NOISE)
    assert tolerance(3 * L2, NOISE) == pytest.approx(3 * base)
    assert tolerance(L2, 5 * NOISE) == pytest.approx(5 * base)
