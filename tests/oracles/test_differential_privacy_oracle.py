"""The sensitivity of differential privacy, by brute force: minimisers from scipy with every row left out in turn.

Nothing here uses the package's solvers, losses, sensitivities or privacy functions.
"""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize
from scipy.stats import norm

from expunge.certificate import Certified
from expunge.methods.differential_privacy import DifferentialPrivacy
from expunge.noise import NoiseKey, add_noise
from expunge.rows import Rows
from expunge.testing import noise_key

Vector = NDArray[np.float64]
Codes = NDArray[np.int64]
NORM = 1.5


def oracle_mu(epsilon: float, delta: float) -> float:
    """mu with Phi(mu/2 - eps/mu) - e^eps Phi(-mu/2 - eps/mu) = delta."""

    def excess(mu: float) -> float:
        return norm.cdf(mu / 2 - epsilon / mu) - math.exp(epsilon) * norm.cdf(-mu / 2 - epsilon / mu) - delta

    return float(brentq(excess, 1e-3, 20.0, xtol=1e-14))


def logistic(x: Vector, y: Codes, l2: float) -> Vector:
    """The minimiser of mean log(1 + e^s) - y s plus l2/2 ||w||^2, intercept penalised."""
    ones = np.c_[x, np.ones(len(x))]

    def value(w: Vector) -> tuple[float, Vector]:
        s = ones @ w
        slope = 1 / (1 + np.exp(-s)) - y
        return float((np.logaddexp(0, s) - y * s).mean() + l2 / 2 * w @ w), ones.T @ slope / len(x) + l2 * w

    return np.asarray(minimize(value, np.zeros(ones.shape[1]), jac=True, method="BFGS", options={"gtol": 1e-11}).x)


def softmax(x: Vector, y: Codes, l2: float) -> Vector:
    ones, hot = np.c_[x, np.ones(len(x))], np.eye(3)[y]

    def value(flat: Vector) -> tuple[float, Vector]:
        W = flat.reshape(3, -1)
        s = ones @ W.T
        log_sum = np.logaddexp.reduce(s, axis=1)
        p = np.exp(s - log_sum[:, None])
        loss = (log_sum - (s * hot).sum(1)).mean() + l2 / 2 * flat @ flat
        return float(loss), ((p - hot).T @ ones / len(x) + l2 * W).ravel()

    size = 3 * ones.shape[1]
    return np.asarray(minimize(value, np.zeros(size), jac=True, method="BFGS", options={"gtol": 1e-11}).x)


def extreme(seed: int, n: int, classes: int) -> tuple[Vector, Codes]:
    """Rows all of the largest length, most alike and of one class, the last ones opposed to them."""
    generator = np.random.default_rng(seed)
    x = np.eye(1, 3) + 0.1 * seed * generator.normal(size=(n, 3))
    x[-2:] *= (-1) ** seed
    y = np.zeros(n, dtype=int)
    y[-2:] = classes - 1
    return NORM * x / np.linalg.norm(x, axis=1, keepdims=True), y


@pytest.mark.parametrize("l2", [1e-3, 1e-2, 1e-1, 1.0, 10.0])
@pytest.mark.parametrize("loss", ["logistic", "cross_entropy"])
def test_no_row_and_no_pair_moves_the_minimiser_further_than_the_sensitivity(loss: str, l2: float) -> None:
    classes, solve = (2, logistic) if loss == "logistic" else (3, softmax)
    method, n, furthest = DifferentialPrivacy(loss=loss, l2=l2, row_norm=NORM), 8, 0.0
    bound = method.sensitivity(n, 1 if loss == "logistic" else 3)
    for seed in range(4):
        x, y = extreme(seed, n, classes)
        whole = solve(x, y, l2)
        for gone in [(i,) for i in range(4, n)] + list(combinations(range(n - 3, n), 2)):
            left = np.delete(x, gone, 0), np.delete(y, gone)
            moved = float(np.linalg.norm(whole - solve(*left, l2))) / len(gone)
            assert moved <= bound * (1 + 1e-6)
            furthest = max(furthest, moved / bound)
    if l2 >= 1.0:  # where the penalty rules, slopes stay near those at zero, half their bound
        assert furthest > 0.3


def test_the_sensitivity_is_written_out() -> None:
    method = DifferentialPrivacy(loss="logistic", l2=1e-2, row_norm=NORM)
    gradient = math.sqrt(NORM**2 + 1)
    assert method.sensitivity(40, 1) == pytest.approx((gradient + math.sqrt(0.02 * math.log(2))) / (1e-2 * 40))
    softmaxed = DifferentialPrivacy(l2=1e-2, row_norm=NORM)
    steep = math.sqrt(2) * gradient
    assert softmaxed.sensitivity(40, 5) == pytest.approx((steep + math.sqrt(0.02 * math.log(5))) / (1e-2 * 40))
    huber = DifferentialPrivacy(loss="huber", l2=1e-2, row_norm=NORM)
    assert huber.sensitivity(40, 1) == pytest.approx(2 * gradient / (1e-2 * 40))


def test_scaling_laws() -> None:
    """Duplicating all rows moves no minimiser and halves the bound; a strong penalty divides it."""
    x, y = extreme(1, 8, 2)
    assert np.abs(logistic(x, y, 0.1) - logistic(np.r_[x, x], np.r_[y, y], 0.1)).max() < 1e-7
    method = DifferentialPrivacy(loss="logistic", l2=0.1, row_norm=NORM)
    assert method.sensitivity(16, 1) == pytest.approx(method.sensitivity(8, 1) / 2)
    strong, stronger = (DifferentialPrivacy(loss="huber", l2=l2) for l2 in (5.0, 15.0))
    assert stronger.sensitivity(8, 1) == pytest.approx(strong.sensitivity(8, 1) / 3)


def test_the_centre_is_the_minimiser_of_scaled_rows_and_a_row_substituted_moves_it_no_further() -> None:
    x, y = extreme(2, 40, 2)
    x[7] *= 1e6  # is scaled down to its direction
    method = DifferentialPrivacy(loss="logistic", l2=1e-2, noise_std=20.0, row_norm=NORM)

    def centre(rows: Rows, key: NoiseKey) -> Vector:
        weights = method.release(method.learn(rows, seed=0, noise=key)).tensors["weights"]
        return (weights - add_noise(0 * weights, method.noise_std, key)).numpy().ravel()

    short = x.copy()
    short[7] *= NORM / np.linalg.norm(x[7])
    found = centre(Rows.of(x, y, classes=2), noise_key(1))
    grid = 20.0 * 2.0**-20 * 4
    assert np.linalg.norm(found - logistic(short, y, 1e-2)) <= 1e-4 * 20 + grid
    other, labels = x.copy(), y.copy()
    other[0] *= -1e9
    labels[0] = 1 - y[0]
    moved = float(np.linalg.norm(centre(Rows.of(other, labels, classes=2), noise_key(1)) - found))
    assert 0.02 * method.sensitivity(40, 1) < moved <= 2 * method.sensitivity(40, 1)  # one row out, one in


@pytest.mark.parametrize(("count", "number"), [(1, 1), (3, 1), (2, 9)])
def test_the_epsilon_is_that_of_the_composed_gaussians(count: int, number: int) -> None:
    x, y = extreme(2, 60, 2)
    rows = Rows.of(x, y, classes=2)
    method = DifferentialPrivacy(loss="logistic", l2=0.1, noise_std=1.4, row_norm=NORM, max_epsilon=30.0)
    record = method.learn(rows, seed=0, noise=noise_key(1, number))
    gone = list(range(count))
    certificate = method.forget(record, rows.without(gone), rows.only(gone), noise=noise_key(2, number + 1)).certificate
    assert isinstance(certificate, Certified)
    sensitivity = (math.sqrt(NORM**2 + 1) + math.sqrt(0.2 * math.log(2))) / (0.1 * 60)
    mu = math.sqrt(number) * (count * sensitivity + 2e-4 * 1.4) / 1.4
    assert certificate.distance == pytest.approx(count * sensitivity + 2e-4 * 1.4)
    assert oracle_mu(certificate.epsilon, 1e-5) >= mu
    assert oracle_mu(certificate.epsilon, 1e-5) == pytest.approx(mu, rel=1e-3)
