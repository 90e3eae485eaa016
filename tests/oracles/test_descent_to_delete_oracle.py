"""The bounds of descent-to-delete, derived a second time: plain numpy, minimisers by scipy, and the ball felt."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize
from scipy.stats import norm

from expunge.certificate import Certified
from expunge.methods.descent_to_delete import DescentToDelete
from expunge.objective import LinearObjective
from expunge.objective.projected_descent import ball, descend
from expunge.rows import Rows
from expunge.testing import noise_key

Vector = NDArray[np.float64]


def problem(n: int = 120, p: int = 4, seed: int = 2) -> tuple[Vector, Vector]:
    """Rows of norm 1 and one outlier class; y is 0 or 1."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(n, p))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    y = (x[:, 0] > 0).astype(float)
    y[:3] = 1 - y[:3]
    return x, y


def on_ball(x: Vector, y: Vector, l2: float, radius: float) -> Vector:
    """Logistic loss with a penalised intercept over ||w|| <= radius, by scipy's SLSQP."""
    X = np.c_[x, np.ones(len(x))]

    def value(w: Vector) -> float:
        return float(np.mean(np.logaddexp(0, X @ w) - y * (X @ w)) + l2 / 2 * w @ w)

    def slope(w: Vector) -> Vector:
        return np.asarray(X.T @ (1 / (1 + np.exp(-X @ w)) - y) / len(X) + l2 * w)

    inside: Any = {"type": "ineq", "fun": lambda w: radius**2 - w @ w, "jac": lambda w: -2 * w}
    solved = minimize(value, np.zeros(X.shape[1]), jac=slope, method="SLSQP", constraints=[inside],
                      options={"ftol": 1e-15, "maxiter": 500})  # fmt: skip
    return np.asarray(solved.x)


def oracle_mu(epsilon: float, delta: float) -> float:
    """The root of the Gaussian curve."""

    def excess(mu: float) -> float:
        return norm.cdf(mu / 2 - epsilon / mu) - math.exp(epsilon) * norm.cdf(-mu / 2 - epsilon / mu) - delta

    return float(brentq(excess, 1e-4, 10.0, xtol=1e-14))


@pytest.mark.parametrize("radius", [0.6, 20.0])
def test_a_row_moves_the_minimiser_no_further_than_the_tight_bound(radius: float) -> None:
    x, y = problem()
    l2, n = 0.05, len(x)
    whole = on_ball(x, y, l2, radius)
    root2 = math.sqrt(2)  # ||(x, 1)||
    ratios = []
    for k in (1, 2, 3, 10):
        left = on_ball(x[k:], y[k:], l2, radius)
        proved = k * (root2 + l2 * np.linalg.norm(left)) / (l2 * n)
        assert np.linalg.norm(whole - left) <= proved
        assert l2 * np.linalg.norm(left) <= root2
        ratios.append(np.linalg.norm(whole - left) / proved)
    assert max(ratios) > (0.01 if radius < 1 else 0.15)  # it is no idle bound


def test_the_tight_bound_is_met_where_a_row_pulls_alone() -> None:
    """Huber-like extreme: n - 1 rows of x = 0 and one at the slope L; v' = 0, so v = -L / (l2 n) to first order."""
    n, l2 = 50, 10.0
    x, y = np.zeros((n, 1)), np.full(n, 0.5)
    x[0], y[0] = 1.0, 1.0

    def minimiser(rows: slice) -> float:
        def slope(w: float) -> float:
            return float(np.mean(x[rows, 0] * (1 / (1 + np.exp(-x[rows, 0] * w)) - y[rows])) + l2 * w)

        return float(brentq(slope, -5, 5, xtol=1e-15))

    assert minimiser(slice(1, None)) == pytest.approx(0.0, abs=1e-12)
    assert minimiser(slice(0, None)) == pytest.approx(0.5 / (l2 * n), rel=1e-2)  # the slope there is 1/2


@pytest.mark.parametrize("radius", [0.6, 20.0])
def test_each_step_contracts_by_gamma_and_the_induction_dominates(radius: float) -> None:
    x, y = problem()
    l2, iterations, n = 0.05, 4, len(x)
    within = ball(LinearObjective("logistic", l2, 4, 1), radius=radius, row_norm=1.0, target_norm=None)
    beta = 0.25 * 2 + l2
    gamma = (beta - l2) / (beta + l2)
    assert within.smoothness == pytest.approx(beta)
    assert 1 - within.step_size * l2 == pytest.approx(gamma)
    assert within.reach == pytest.approx(min(radius, math.sqrt(2) / l2, math.sqrt(2 * math.log(2) / l2)))
    w = torch.from_numpy(on_ball(x, y, l2, radius))
    bound = 0.0
    for i in range(1, 20):
        rows = Rows.of(x[i:], y[i:].astype(int), classes=2)
        before = float(torch.linalg.vector_norm(w - torch.from_numpy(on_ball(x[i:], y[i:], l2, radius))))
        w = descend(within, rows, w, within.step_size, iterations)
        after = float(torch.linalg.vector_norm(w - torch.from_numpy(on_ball(x[i:], y[i:], l2, radius))))
        bound = gamma**iterations * (bound + (math.sqrt(2) + l2 * radius) / (l2 * (n - i + 1)))
        assert after <= gamma**iterations * before + 1e-7
        assert after <= bound
    assert bound <= gamma**iterations / (1 - gamma**iterations) * 4 * (math.sqrt(2) + l2 * radius) / (l2 * n)


@pytest.mark.parametrize("variant", ["perfect", "secret"])
def test_the_number_of_steps_is_the_fewest_that_the_derivation_allows(variant: str) -> None:
    x, y = problem()
    rows = Rows.of(x, y.astype(int), classes=2)
    l2, noise, n = 0.05, 0.1, len(x)
    method = DescentToDelete(
        loss="logistic", l2=l2, noise_std=noise, variant=variant, calibration="tight", row_norm=1.0, radius=6.0
    )
    record = method.learn(rows, seed=0, noise=noise_key(1))
    step = method.forget(record, rows.without([0]), rows.only([0]), noise=noise_key(2, 5))
    half = [noise * oracle_mu(1.0, 1e-5) * math.sqrt(6) / (math.pi * t) / 2 for t in (1, 5)]
    reach = min(6.0, math.sqrt(2) / l2, math.sqrt(2 * math.log(2) / l2))
    moved = (math.sqrt(2) + l2 * reach) / (l2 * n)
    start = half[0] + moved
    if variant == "perfect":
        start = min(6.0, float(torch.linalg.vector_norm(record.weights))) + reach
    gamma = 0.5 / (0.5 + 2 * l2)
    assert step.stats["start"] == pytest.approx(start, rel=1e-3)
    assert step.stats["passes"] == pytest.approx(math.log(start / half[1]) / -math.log(gamma), abs=1.01)
    assert isinstance(step.certificate, Certified)
    centre = method.centre(method.release(step.record), noise_key(2, 5)).numpy()
    assert np.linalg.norm(centre - on_ball(x[1:], y[1:], l2, 6.0)) <= half[1]


def test_doing_nothing_fails_where_forgetting_does_not() -> None:
    """Positive control: the check above can fail."""
    x, y = problem()
    rows = Rows.of(x, y.astype(int), classes=2)
    method = DescentToDelete(loss="logistic", l2=0.05, noise_std=0.1, row_norm=1.0)
    record = method.learn(rows, seed=0, noise=noise_key(1))
    centre = method.centre(method.release(record), noise_key(1)).numpy()
    half = 0.1 * oracle_mu(1.0, 1e-5) * math.sqrt(6) / (math.pi * 2) / 2
    assert np.linalg.norm(centre - on_ball(x[20:], y[20:], 0.05, 10.0)) > half


def test_scaling_laws() -> None:
    """Rows twice as long: 4 times the loss's smoothness; twice as many rows: half the move."""
    x, y = problem()
    once, twice = (Rows.of(np.r_[(x,) * k], np.r_[(y,) * k].astype(int), classes=2) for k in ((1), (2)))
    assert torch.allclose(DescentToDelete(loss="logistic").minimiser(once),
                          DescentToDelete(loss="logistic").minimiser(twice), atol=1e-9)  # fmt: skip
    objective = LinearObjective("logistic", 0.1, 4, 1)
    one = ball(objective, radius=3.0, row_norm=math.sqrt(3), target_norm=None)
    two = ball(objective, radius=3.0, row_norm=math.sqrt(15), target_norm=None)
    assert (two.smoothness - 0.1) / (one.smoothness - 0.1) == pytest.approx(4)
    assert two.lipschitz / one.lipschitz == pytest.approx(2)
    starts = []
    for rows in (once, twice):
        method = DescentToDelete(loss="logistic", l2=0.05, noise_std=1e-3, variant="secret", calibration="tight")
        record = method.learn(rows, seed=0, noise=noise_key(1))
        step = method.forget(record, rows.without([0]), rows.only([0]), noise=noise_key(2, 2))
        starts.append(step.stats["start"] - 1e-3 * oracle_mu(1.0, 1e-5) * math.sqrt(6) / math.pi / 2)
    assert starts[0] / starts[1] == pytest.approx(2, rel=1e-3)


def test_a_late_release_meets_the_floor_that_the_plain_formula_forgets() -> None:
    """At 500 steps gamma^T alone says 1e-17; float64 does not come nearer than its own rounding."""
    x, y = problem()
    rows = Rows.of(x, y.astype(int), classes=2)
    within = ball(LinearObjective("logistic", 0.05, 4, 1), radius=20.0, row_norm=1.0, target_norm=None)
    formula = within.rate(within.step_size) ** 500 * within.reach
    a = descend(within, rows, torch.zeros(5, dtype=torch.float64), within.step_size, 500)
    b = descend(within, rows, torch.full((5,), 0.7, dtype=torch.float64), within.step_size, 500)
    assert formula < 1e-30
    assert within.floor(rows, within.step_size) > float(torch.dist(a, b)) >= 0
    assert float(torch.linalg.vector_norm(within.objective.gradient(a, rows))) / 0.05 > formula
