from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from expunge.maths.lbfgs import minimise


def quadratic(A: Tensor, b: Tensor):
    return lambda w: (torch.dot(w, A @ w) / 2 - torch.dot(b, w), A @ w - b)


def logistic(n: int = 400, p: int = 12, l2: float = 1e-2, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    X = torch.randn(n, p, generator=generator, dtype=torch.float64)
    y = (torch.rand(n, generator=generator, dtype=torch.float64) < 0.4).double()

    def value_and_gradient(w: Tensor) -> tuple[Tensor, Tensor]:
        scores = X @ w
        value = (torch.nn.functional.softplus(scores) - y * scores).mean() + l2 / 2 * torch.dot(w, w)
        return value, X.T @ (torch.sigmoid(scores) - y) / n + l2 * w

    return value_and_gradient


@pytest.mark.parametrize("tol", [1e-6, 1e-10, 1e-13])
def test_logistic_regression_reaches_the_tolerance(tol) -> None:
    function = logistic()
    found = minimise(function, torch.zeros(12, dtype=torch.float64), tol=tol, max_iterations=300)
    assert found.converged
    assert found.residual <= tol
    assert found.residual == pytest.approx(float(function(found.x)[1].norm()), rel=1e-9)


def test_it_finds_what_scipy_finds() -> None:
    function = logistic(seed=5)

    def for_scipy(w):
        value, gradient = function(torch.from_numpy(w))
        return float(value), gradient.numpy()

    theirs = scipy.optimize.minimize(for_scipy, np.zeros(12), jac=True, method="BFGS", options={"gtol": 1e-8})
    ours = minimise(function, torch.zeros(12, dtype=torch.float64), tol=1e-11, max_iterations=300)
    assert np.allclose(ours.x.numpy(), theirs.x, atol=1e-6)


@given(st.integers(1, 15), st.floats(0, 3), st.integers(0, 1000))
def test_quadratics_of_any_shape_are_solved(d, decades, seed) -> None:
    generator = torch.Generator().manual_seed(seed)
    q, _ = torch.linalg.qr(torch.randn(d, d, generator=generator, dtype=torch.float64))
    A = (q * torch.logspace(0, decades, d, dtype=torch.float64)) @ q.T
    b = torch.randn(d, generator=generator, dtype=torch.float64)
    found = minimise(quadratic(A, b), torch.zeros(d, dtype=torch.float64), tol=1e-9, max_iterations=500)
    assert found.converged
    assert torch.allclose(found.x, torch.linalg.solve(A, b), atol=1e-7)


def test_a_large_constant_in_the_value_does_not_stop_it_early() -> None:
    """With 1e6 added, a fall of the value below 1e-10 is invisible; the gradient still leads to 1e-11."""
    function = logistic()
    found = minimise(
        lambda w: (function(w)[0] + 1e6, function(w)[1]),
        torch.zeros(12, dtype=torch.float64),
        tol=1e-11,
        max_iterations=300,
    )
    assert found.converged


def test_rosenbrock_is_solved_although_it_is_not_convex() -> None:
    def rosenbrock(w: Tensor) -> tuple[Tensor, Tensor]:
        a, b = w[0], w[1]
        gradient = torch.stack([-2 * (1 - a) - 400 * a * (b - a * a), 200 * (b - a * a)])
        return (1 - a) ** 2 + 100 * (b - a * a) ** 2, gradient

    found = minimise(rosenbrock, torch.tensor([-1.2, 1.0], dtype=torch.float64), tol=1e-10, max_iterations=200)
    assert found.converged
    assert torch.allclose(found.x, torch.ones(2, dtype=torch.float64), atol=1e-9)


def test_huber_has_kinks_in_its_curvature_and_is_solved() -> None:
    generator = torch.Generator().manual_seed(2)
    X = torch.randn(200, 5, generator=generator, dtype=torch.float64)
    y = X @ torch.arange(5.0, dtype=torch.float64) + 10 * torch.randn(200, generator=generator, dtype=torch.float64)

    def huber(w: Tensor) -> tuple[Tensor, Tensor]:
        r = X @ w - y
        value = torch.where(r.abs() <= 1, r * r / 2, r.abs() - 0.5).mean() + 0.005 * torch.dot(w, w)
        return value, X.T @ r.clamp(-1, 1) / 200 + 0.01 * w

    assert minimise(huber, torch.zeros(5, dtype=torch.float64), tol=1e-12, max_iterations=400).converged


def test_an_unreachable_tolerance_is_admitted_and_costs_little() -> None:
    found = minimise(logistic(), torch.zeros(12, dtype=torch.float64), tol=0.0, max_iterations=10_000)
    assert not found.converged
    assert found.residual < 1e-14
    assert found.evaluations < 3000


def test_max_iterations_is_kept_and_admitted() -> None:
    found = minimise(logistic(), torch.zeros(12, dtype=torch.float64), tol=1e-12, max_iterations=3)
    assert (found.converged, found.iterations) == (False, 3)


def test_a_function_without_a_minimum_or_of_nan_is_not_called_converged() -> None:
    down = minimise(lambda w: (w.sum(), torch.ones_like(w)), torch.zeros(2), tol=1e-6, max_iterations=20)
    broken = minimise(lambda w: (w.sum() * torch.nan, w * torch.nan), torch.ones(2), tol=1e-6, max_iterations=20)
    assert not down.converged
    assert not broken.converged


def test_it_is_deterministic_and_changes_nothing_it_was_given() -> None:
    start = torch.full((12,), 0.3, dtype=torch.float64)
    first, second = (minimise(logistic(), start, tol=1e-12, max_iterations=300) for _ in range(2))
    assert torch.equal(first.x, second.x)
    assert first.evaluations == second.evaluations
    assert torch.equal(start, torch.full((12,), 0.3, dtype=torch.float64))


def test_memory_saves_iterations() -> None:
    A = torch.diag(torch.logspace(0, 3, 60, dtype=torch.float64))
    start, b = torch.zeros(60, dtype=torch.float64), torch.ones(60, dtype=torch.float64)
    short, long = (minimise(quadratic(A, b), start, tol=1e-8, max_iterations=5000, memory=m) for m in (1, 20))
    assert long.converged
    assert long.iterations < short.iterations
