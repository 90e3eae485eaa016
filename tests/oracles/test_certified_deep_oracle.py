"""The bound of a damped Newton step in a ball, written a second time in plain numpy and held against every point of it.

A logistic model with one output: its Hessian's Lipschitz constant is known, sup |sigma''| times the mean cubed norm of
(x, 1), so the bound can be checked with true constants, at references that are anywhere in the ball.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import norm

from expunge.certificate import Certified
from expunge.learners.sgd import Sgd
from expunge.methods.certified_deep import CertifiedDeep
from expunge.models import Linear
from expunge.rows import Rows
from expunge.testing import noise_key

Vector = NDArray[np.float64]
N, P, L2, C = 80, 3, 6.0, 0.15
GENERATOR = np.random.default_rng(2)
X = GENERATOR.normal(size=(N, P))
Y = (X[:, 0] + 0.5 * GENERATOR.normal(size=N) > 0).astype(np.int64)
GONE = [2, 5, 11, 30]


def parts(w: Vector, keep: NDArray[np.int64], l2: float = L2) -> tuple[Vector, Vector]:
    """Gradient and Hessian of the mean logistic loss + l2/2 ||w||^2, the intercept last and penalised."""
    ones, y = np.c_[X, np.ones(N)][keep], Y[keep]
    p = 1 / (1 + np.exp(-ones @ w))
    gradient = ones.T @ (p - y) / len(keep) + l2 * w
    return gradient, (ones * (p * (1 - p))[:, None]).T @ ones / len(keep) + l2 * np.eye(P + 1)


def true_lipschitz(keep: NDArray[np.int64]) -> float:
    """sup |s''| = 1 / (6 sqrt 3) of the sigmoid, times the mean cubed norm."""
    return float((np.linalg.norm(np.c_[X, np.ones(N)][keep], axis=1) ** 3).mean() / (6 * math.sqrt(3)))


KEEP = np.setdiff1d(np.arange(N), GONE)


def method(**settings: object) -> CertifiedDeep:
    learner = Sgd(
        Linear(), "logistic", epochs=60, batch_size=2 * N, learning_rate=0.1, momentum=0.0, l2=L2, norm_bound=C,
        precision="float64",
    )  # fmt: skip
    constants = {"hessian_lipschitz": true_lipschitz(KEEP) * 1.001, "gradient_bound": 1e-4}
    return CertifiedDeep(learner, **({"damping": 0.2, "noise_std": 3.0, "tol": 1e-8} | constants | settings))  # type: ignore[arg-type]


def in_ball(count: int) -> Vector:
    directions = GENERATOR.normal(size=(count, P + 1))
    radii = C * GENERATOR.uniform(size=(count, 1)) ** 0.3
    return directions / np.linalg.norm(directions, axis=1, keepdims=True) * radii


@pytest.mark.parametrize("damping", [0.0, 0.2, 3.0])
@pytest.mark.parametrize("l2", [0.05, 1.0, 6.0])
def test_no_start_and_no_reference_in_the_ball_exceed_the_bound(damping: float, l2: float) -> None:
    """The inequality itself, with G measured at each reference; here it is the re-derivation that is tested."""
    M = true_lipschitz(KEEP)
    for start, reference in zip(in_ball(200), in_ball(200), strict=True):
        gradient, H = parts(start, KEEP, l2)
        landed = start - np.linalg.solve(H + damping * np.eye(P + 1), gradient)
        G = np.linalg.norm(parts(reference, KEEP, l2)[0])
        least = np.linalg.eigvalsh(H)[0]
        assert np.linalg.norm(landed - reference) <= (2 * C * (M * C + damping) + G) / (damping + least)


def test_without_the_gradient_of_the_reference_the_published_bound_is_false() -> None:
    """Where the ball is small the retrained weights lie on its border, and there the gradient is not zero."""
    l2, M = 0.05, true_lipschitz(KEEP)
    w = np.zeros(P + 1)
    for _ in range(4000):
        w = w - 0.5 * parts(w, KEEP, l2)[0]
        w = w * min(1.0, C / np.linalg.norm(w))
    assert np.linalg.norm(w) == pytest.approx(C)
    gradient, H = parts(w, KEEP, l2)
    landed = w - np.linalg.solve(H, gradient)
    least = np.linalg.eigvalsh(H)[0]
    published = 2 * C * M * C / least
    assert np.linalg.norm(landed - w) > published
    assert np.linalg.norm(landed - w) <= published + np.linalg.norm(gradient) / least


def test_the_bound_of_the_method_is_that_of_the_formula() -> None:
    rows, deep = Rows.of(X, Y), method()
    record = deep.learn(rows, seed=1, noise=noise_key(1))
    step = deep.forget(record, rows.without(GONE), rows.only(GONE), noise=noise_key(2, 2))
    w = deep.learner.flat(record.training).numpy()
    w = w * min(1.0, C / np.linalg.norm(w))
    least = np.linalg.eigvalsh(parts(w, KEEP)[1])[0]
    M, G = deep.hessian_lipschitz, deep.gradient_bound
    expected = (2 * C * (M * C + 0.2) + G + step.stats["residual"]) / (0.2 + least)
    assert step.stats["bound"] == pytest.approx(expected, rel=1e-5)
    assert step.stats["bound"] >= expected * (1 - 1e-9)
    assert step.stats["least_eigenvalue"] <= least
    assert step.stats["lipschitz_at_least"] <= true_lipschitz(KEEP)
    assert step.stats["gradient"] == pytest.approx(float(np.linalg.norm(parts(w, KEEP)[0])))


def test_the_certified_distance_covers_both_sides() -> None:
    """mu from a root of the Gaussian curve; the bound must fit into half of noise mu sqrt(6) / (pi t)."""
    rows, deep = Rows.of(X, Y), method(damping=0.0)
    record = deep.learn(rows, seed=1, noise=noise_key(1))
    step = deep.forget(record, rows.without(GONE), rows.only(GONE), noise=noise_key(2, 2))
    promise = step.certificate
    assert isinstance(promise, Certified)

    def excess(mu: float) -> float:
        return float(norm.cdf(mu / 2 - 1 / mu) - math.e * norm.cdf(-mu / 2 - 1 / mu)) - 1e-5

    whole = 3.0 * brentq(excess, 1e-3, 5.0) * math.sqrt(6) / (2 * math.pi)
    assert promise.distance == pytest.approx(whole, rel=1e-2)
    assert 2 * step.stats["bound"] <= promise.distance <= whole


def test_scaling_laws() -> None:
    """Every row twice changes no step; k times the loss, l2 and damping, none either."""
    once, twice = Rows.of(X, Y), Rows.of(np.r_[X, X], np.r_[Y, Y])
    again = [*GONE, *(N + i for i in GONE)]
    deep = method(noise_std=1e-9, hessian_lipschitz=math.inf)
    after = []
    for rows, gone in ((once, GONE), (twice, again)):
        record = deep.learn(rows, seed=1, noise=noise_key(1))
        step = deep.forget(record, rows.without(gone), rows.only(gone), noise=noise_key(2, 2))
        after.append(deep.learner.flat(step.record.training).numpy())
    assert np.abs(after[0] - after[1]).max() < 1e-6
    w, k = in_ball(1)[0], 7.0
    gradient, H = parts(w, KEEP)
    steps = [np.linalg.solve(scale * H + scale * 0.2 * np.eye(P + 1), scale * gradient) for scale in (1.0, k)]
    assert np.allclose(*steps)
