"""Newton shift from its derivation: the scalar case of the paper with its errata, matrices, and the method in numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from expunge.learners.convex import Convex
from expunge.methods.newton_shift import NewtonShift
from expunge.rows import Rows
from expunge.testing import noise_key

Vector = NDArray[np.float64]
L2 = 1e-2


def test_equation_3_the_completed_square_and_its_constant() -> None:
    b, c, w_r, w_f, w = 2.0, 0.5, 1.0, 4.0, 3.3
    w_d = (b * w_r + c * w_f) / (b + c)
    both = b / 2 * (w - w_r) ** 2 + c / 2 * (w - w_f) ** 2
    constant = b * c * (w_r - w_f) ** 2 / (2 * (b + c))
    assert both == pytest.approx(5.4125)
    assert constant == pytest.approx(1.8)
    assert (b + c) / 2 * (w - w_d) ** 2 + constant == pytest.approx(both)
    expanded = ((b + c) * w**2 - 2 * w * (b * w_r + c * w_f) + b * w_r**2 + c * w_f**2) / 2
    printed = ((b + c) * w**2 - 2 * w * (b * w_r + c * w_f) - w_r**2 + w_f**2) / 2
    assert expanded == pytest.approx(both)
    assert printed == pytest.approx(7.9125)  # the line as printed is off by 2.5


def test_equations_5_7_and_9_the_shift_of_the_minimiser() -> None:
    b, c, w_r, w_f = 2.0, 0.5, 1.0, 4.0
    w_d = (b * w_r + c * w_f) / (b + c)
    assert w_d - c / b * (w_f - w_d) == pytest.approx(w_r)
    assert w_d - c / b * w_f * (w_f - w_d) == pytest.approx(-0.8)  # as printed
    for w in (-1.0, w_d, 3.3):
        gradient = b * (w - w_r)
        assert (b + c) * (w - w_d) - c * (w - w_f) == pytest.approx(gradient)
        assert b * (w - w_d) + c * (w_f - w_d) == pytest.approx(gradient)  # -c w_D in line 3, not -c w_f
        assert w - gradient / b == pytest.approx(w_r)  # equation 10, at any w


def test_the_matrix_step_is_exact_for_a_quadratic_at_any_start() -> None:
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(60, 5)), generator.normal(size=60)
    gone = [str(i) for i in range(9)]
    rows = Rows.of(x, y[:, None], classes=0)
    method = NewtonShift(Convex(loss="squared", l2=L2), tradeoff=1e-24, error_std=1e-18)
    ones = np.c_[x, np.ones(60)][9:]
    clean = np.linalg.solve(ones.T @ ones / 51 + L2 * np.eye(6), ones.T @ y[9:] / 51)
    for start in (np.zeros(6), generator.normal(size=6)):
        weights = {"weight": torch.from_numpy(start[None, :5]), "bias": torch.from_numpy(start[5:])}
        record = method.adopt(weights, rows, seed=0, noise=noise_key(1))
        step = method.forget(record, rows.without(gone), rows.only(gone), noise=noise_key(2, 2))
        after = method.learner.flat(step.record.training).numpy()
        assert np.abs(after - clean).max() < 1e-14


def logistic(x: Vector, y: NDArray[np.int64], w: Vector) -> tuple[Vector, Vector]:
    """Gradient and Hessian of the mean logistic loss + l2/2 ||w||^2, written out."""
    ones = np.c_[x, np.ones(len(x))]
    p = 1 / (1 + np.exp(-ones @ w))
    H = (ones * (p * (1 - p))[:, None]).T @ ones / len(x) + L2 * np.eye(len(w))
    return ones.T @ (p - y) / len(x) + L2 * w, H


@pytest.mark.parametrize(("error", "exponent"), [("isotropic", -0.25), ("curvature", -0.5), ("gradient", -0.75)])
def test_a_forget_is_the_formula_with_the_noise_of_its_key(error: str, exponent: float) -> None:
    generator = np.random.default_rng(1)
    x = generator.normal(size=(80, 3))
    y = (x[:, 0] + generator.normal(size=80) > 0).astype(np.int64)
    rows, gone = Rows.of(x, y, classes=2), ["0", "1", "2", "3"]
    tradeoff, error_std, second = 0.2, 3e-3, noise_key(2, 2)
    method = NewtonShift(Convex(loss="logistic", l2=L2), tradeoff, error_std, error, damping=0.05)
    record = method.learn(rows, seed=0, noise=noise_key(1))
    step = method.forget(record, rows.without(gone), rows.only(gone), noise=second)

    start = method.learner.flat(record.training).numpy()
    gradient, H = logistic(x[4:], y[4:], start)
    B = H + 0.05 * np.eye(4)
    centre = start - np.linalg.solve(B, gradient)
    values, vectors = np.linalg.eigh(B)
    xi = second.normals("release", (4,))
    sample = (tradeoff * error_std**2) ** 0.25 * vectors @ (values**exponent * (vectors.T @ xi))
    assert np.allclose(method.learner.flat(step.record.training).numpy(), centre + sample, atol=1e-6)

    left, _ = logistic(x[4:], y[4:], centre)
    whole = math.sqrt(tradeoff) * error_std * (vectors * values ** (2 * exponent)) @ vectors.T
    distance = np.linalg.solve(B, left)
    assert step.stats["divergence_nats"] == pytest.approx(distance @ np.linalg.solve(whole, distance) / 2, rel=1e-6)
    p = {"isotropic": 0, "curvature": 1, "gradient": 2}[error]
    Sigma_h = error_std**2 * np.linalg.matrix_power(np.linalg.inv(B), p)
    assert step.stats["expected_nats"] == pytest.approx(np.trace(np.linalg.solve(whole, Sigma_h)) / 2, rel=1e-9)


def test_duplicated_rows_move_no_centre_and_scaled_columns_move_scores_not() -> None:
    generator = np.random.default_rng(3)
    x, y = generator.normal(size=(50, 3)), np.arange(50) % 2
    gone = ["0", "1"]

    def centre(x: Vector, y: NDArray[np.int64], ids: list[str], out: list[str]) -> Vector:
        rows = Rows.of(x, y, ids=ids, classes=2)
        method = NewtonShift(Convex(loss="logistic", l2=L2), tradeoff=1e-24, error_std=1e-18)
        record = method.learn(rows, seed=0, noise=noise_key(1))
        step = method.forget(record, rows.without(out), rows.only(out), noise=noise_key(2, 2))
        return np.asarray(method.learner.flat(step.record.training))

    once = centre(x, y, [str(i) for i in range(50)], gone)
    names = [f"{i}{c}" for c in "ab" for i in range(50)]
    twice = centre(np.r_[x, x], np.r_[y, y], names, [f"{i}{c}" for i in (0, 1) for c in "ab"])
    assert np.allclose(once, twice, atol=1e-7)
