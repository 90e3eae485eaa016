"""Certified removal written a second time in numpy: minimisers, steps, residuals and bounds from their formulas."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize

from expunge.methods.certified_removal import CertifiedRemoval, CertifiedRemovalRecord
from expunge.rows import Rows
from expunge.testing import noise_key

Vector = NDArray[Any]
N, P, L2 = 150, 4, 1e-2
GAMMA = max(p * (1 - p) * (1 - 2 * p) for p in np.linspace(0, 0.5, 100_001))


def problem(scale: float = 1.0, copies: int = 1) -> tuple[Vector, Vector]:
    generator = np.random.default_rng(5)
    x = generator.normal(size=(N, P)) * generator.uniform(0.3, 2.0, size=(N, 1))
    y = (x[:, 0] + generator.normal(size=N) > 0).astype(np.int64)
    return scale * np.tile(x, (copies, 1)), np.tile(y, copies)


def sigmoid(z: Vector) -> Vector:
    return np.asarray(1 / (1 + np.exp(-z)))


def sum_gradient(w: Vector, x: Vector, y: Vector, l2: float, b: Vector | float = 0.0) -> Vector:
    return np.asarray(x.T @ (sigmoid(x @ w) - y) + l2 * len(x) * w + b)


def oracle_fit(x: Vector, y: Vector, l2: float, b: Vector) -> Vector:
    def value(w: Vector) -> tuple[float, Vector]:
        z = x @ w
        return float(np.logaddexp(0, z).sum() - y @ z + l2 * len(x) / 2 * w @ w + b @ w), sum_gradient(w, x, y, l2, b)

    w = minimize(value, np.zeros(x.shape[1]), jac=True, method="BFGS", options={"gtol": 1e-8}).x
    for _ in range(3):  # polish
        w = w - np.linalg.solve(hessian(w, x, l2), sum_gradient(w, x, y, l2, b))
    return np.asarray(w)


def hessian(w: Vector, x: Vector, l2: float) -> Vector:
    s = sigmoid(x @ w)
    return np.asarray((x * (s * (1 - s))[:, None]).T @ x + l2 * len(x) * np.eye(x.shape[1]))


def oracle_bounds(x: Vector, delta: Vector, l2: float, before: int, row: float, b: Vector) -> dict[str, float]:
    a, m, n = x @ delta, before - len(x), len(x)
    corollary = np.linalg.norm(x, 2) * np.linalg.norm(x, axis=1).max() * np.linalg.norm(delta) * np.linalg.norm(a)
    gradient = m * (2 * row + np.linalg.norm(b) / before)
    return {
        "per_sample": GAMMA / 2 * float((np.linalg.norm(x, axis=1) * a**2).sum()),
        "data_dependent": GAMMA / 2 * corollary,
        "published": corollary / 4,
        "worst_case": GAMMA / 2 * n * row**3 * (gradient / (l2 * n)) ** 2,
    }


def removal(
    x: Vector, y: Vector, gone: list[int], l2: float = L2, row: float = 9.0, **settings: Any
) -> tuple[CertifiedRemovalRecord, CertifiedRemovalRecord, Mapping[str, float]]:
    given = {"noise_std": 1e4, "perturbation": "objective", "tol": 1e-12, "intercept": False} | settings
    method = CertifiedRemoval(l2=l2, row_norm=row, **given)  # type: ignore[arg-type]
    rows = Rows.of(x, y, classes=2)
    record = method.learn(rows, seed=0, noise=noise_key(1))
    step = method.forget(record, rows.without(gone), rows.only(gone), noise=noise_key(2, 2))
    return record, step.record, step.stats


@pytest.mark.parametrize("gone", [[3], [0, 7, 9, 40, 41]])
def test_one_step_and_all_its_bounds(gone: list[int]) -> None:
    x, y = problem()
    before, after, stats = removal(x, y, gone, noise_std=3.0)
    b = before.account.linear.numpy()
    assert np.linalg.norm(b) > 1  # it is there
    w = oracle_fit(x, y, L2, b)
    assert np.abs(before.account.centre.numpy() - w).max() < 1e-10
    kept = np.setdiff1d(np.arange(N), gone)
    xr, yr = x[kept], y[kept]
    lost = x[gone].T @ (sigmoid(x[gone] @ w) - y[gone]) + len(gone) * L2 * w
    delta = np.linalg.solve(hessian(w, xr, L2), lost)
    assert stats["resolved"] in (0.0, 1.0)
    bounds = oracle_bounds(xr, delta, L2, N, 9.0, b)
    spectral = np.linalg.norm(x, 2) / np.linalg.norm(xr, 2)  # the record's norm is that of all rows learned
    for name, looser in (("per_sample", 1.0), ("data_dependent", spectral), ("published", spectral)):
        assert stats[f"bound_{name}"] == pytest.approx(bounds[name] * looser, rel=1e-6)
    assert stats["bound_worst_case"] == pytest.approx(bounds["worst_case"], rel=1e-6)
    true = float(np.linalg.norm(sum_gradient(w + delta, xr, yr, L2, b)))
    assert stats["residual"] == pytest.approx(true, rel=1e-6)
    assert true <= bounds["per_sample"] <= bounds["data_dependent"] <= bounds["published"] <= bounds["worst_case"]
    if not stats["resolved"]:
        assert np.abs(after.account.centre.numpy() - (w + delta)).max() < 1e-10


def test_the_bound_over_lambda_n_contains_the_minimiser() -> None:
    x, y = problem()
    gone = list(range(12))
    _, after, stats = removal(x, y, gone, perturbation="output", noise_std=1e4)
    clean = oracle_fit(np.delete(x, gone, 0), np.delete(y, gone), L2, np.zeros(P))
    moved = float(np.linalg.norm(after.account.centre.numpy() - clean))
    assert not stats["resolved"]
    assert 1e-6 < moved <= stats["beta_per_sample"] / (L2 * (N - 12))
    assert stats["budget"] == pytest.approx(
        L2 * (N - 12) * 1e4 * (1 / 3.731) * math.sqrt(6) / (2 * math.pi) / 2, rel=2e-2
    )


def test_it_scales_with_the_rows() -> None:
    """x -> s x and lambda -> s^2 lambda turn w into w/s: scores stay, every gradient and bound grows by s."""
    s = 3.0
    once, thrice = (
        removal(*problem(scale), [3, 4], l2=L2 * scale**2, row=9.0 * scale, perturbation="output")[2]
        for scale in (1.0, s)
    )
    for name in ("residual", "bound_per_sample", "bound_data_dependent", "bound_published", "bound_worst_case"):
        assert thrice[name] == pytest.approx(s * once[name], rel=1e-5)


def test_duplicated_rows_double_the_sum_loss() -> None:
    once = removal(*problem(), [3, 4], perturbation="output")
    twice = removal(*problem(copies=2), [3, 4, N + 3, N + 4], perturbation="output")
    assert np.abs((once[1].account.centre - twice[1].account.centre).numpy()).max() < 1e-10
    for name in ("residual", "bound_per_sample", "bound_data_dependent", "bound_published", "bound_worst_case"):
        assert twice[2][name] == pytest.approx(2 * once[2][name], rel=1e-5)


def test_a_large_penalty_divides_the_bounds_by_its_square() -> None:
    once, twice = (removal(*problem(), [3], l2=l2, perturbation="output", noise_std=1e4)[2] for l2 in (1e3, 2e3))
    for name in ("per_sample", "data_dependent", "published", "worst_case"):
        assert once[f"bound_{name}"] / twice[f"bound_{name}"] == pytest.approx(4, rel=1e-2)


def test_least_squares_is_exact() -> None:
    x, _ = problem()
    target = x @ np.arange(1.0, P + 1) + np.sin(np.arange(N))
    rows, method = (
        Rows.of(x, target),
        CertifiedRemoval(loss="squared", l2=L2, noise_std=0.1, intercept=False, tol=1e-13),
    )
    record, remaining = method.learn(rows, seed=0, noise=noise_key(1)), rows
    for release in range(2, 22):
        one = [str(release)]
        step = method.forget(record, remaining.without(one), remaining.only(one), noise=noise_key(release, release))
        record, remaining = step.record, remaining.without(one)
        assert not step.stats["resolved"]
    xr, yr = np.delete(x, range(2, 22), 0), np.delete(target, range(2, 22))
    ridge = np.linalg.solve(xr.T @ xr + L2 * len(xr) * np.eye(P), xr.T @ yr)
    assert np.abs(record.account.centre.numpy() - ridge).max() < 1e-12
