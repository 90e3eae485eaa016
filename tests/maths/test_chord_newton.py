from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from expunge.maths import woodbury
from expunge.maths.chord_newton import chord_newton
from expunge.maths.lbfgs import minimise, two_loop

Gradient = Callable[[Tensor], Tensor]


def softmax_regression(
    X: Tensor, y: Tensor, classes: int, l2: float
) -> tuple[Gradient, Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """Gradient, Hessian and value of a penalised softmax regression, written out; w is (p * classes,)."""
    n, p = X.shape
    hot = torch.nn.functional.one_hot(y, classes).double()

    def gradient(w: Tensor) -> Tensor:
        W = w.view(p, classes)
        return (X.T @ (torch.softmax(X @ W, 1) - hot) / n + l2 * W).flatten()

    def value(w: Tensor) -> Tensor:
        scores = X @ w.view(p, classes)
        return (torch.logsumexp(scores, 1) - (scores * hot).sum(1)).mean() + l2 / 2 * w.square().sum()

    def hessian(w: Tensor) -> Tensor:
        P = torch.softmax(X @ w.view(p, classes), 1)
        H = torch.empty(p, classes, p, classes, dtype=torch.float64)
        for a in range(classes):
            for b in range(classes):
                H[:, a, :, b] = (X * (P[:, a] * (float(a == b) - P[:, b]))[:, None]).T @ X / n
        return H.reshape(p * classes, p * classes) + l2 * torch.eye(p * classes, dtype=torch.float64)

    return gradient, hessian, value


def minimum(gradient: Gradient, hessian: Callable[[Tensor], Tensor], d: int) -> Tensor:
    w = torch.zeros(d, dtype=torch.float64)
    for _ in range(12):
        w = w - torch.linalg.solve(hessian(w), gradient(w))
    return w


def gaussian_problem() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    X = torch.randn(2000, 30, generator=generator, dtype=torch.float64)
    X = torch.cat([X, torch.ones(2000, 1, dtype=torch.float64)], 1)
    truth = torch.randn(31, generator=generator, dtype=torch.float64)
    return X, (torch.rand(2000, generator=generator, dtype=torch.float64) < torch.sigmoid(X @ truth)).long()


def digits_problem() -> tuple[Tensor, Tensor]:
    features, labels = load_digits(return_X_y=True)
    X = torch.from_numpy(features)
    X = X / X.norm(dim=1, keepdim=True)
    return torch.cat([X, torch.ones(len(X), 1, dtype=torch.float64)], 1), torch.from_numpy(labels % 2)


class Counted:
    def __init__(self, gradient: Gradient) -> None:
        self.gradient, self.points = gradient, []

    def __call__(self, w: Tensor) -> Tensor:
        self.points.append(w.clone())
        return self.gradient(w)


def displaced(problem: Callable[[], tuple[Tensor, Tensor]], l2: float, noise: float, seed: int):
    X, y = problem()
    gradient, hessian, _ = softmax_regression(X, y, 2, l2)
    best = minimum(gradient, hessian, 2 * X.shape[1])
    w = best + noise * torch.randn(len(best), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    factor = woodbury.cholesky(hessian(w))
    return gradient, (lambda g: woodbury.solve(factor, g)), w, best


def broyden_residual(gradient: Gradient, solve: Gradient, w: Tensor, steps: int) -> float:
    """Good Broyden in product form on the same fixed inverse: the alternative that was measured and not taken."""
    updates: list[tuple[Tensor, Tensor]] = []

    def inverse(v: Tensor) -> Tensor:
        v = solve(v)
        for column, s in updates:
            v = v + column * torch.dot(s, v)
        return v

    g = gradient(w)
    for _ in range(steps):
        s = -inverse(g)
        w, old = w + s, g
        g = gradient(w)
        By = inverse(g - old)
        updates.append(((s - By) / torch.dot(s, By), s))
    return float(g.norm())


@pytest.mark.parametrize(("problem", "l2", "gain"), [(gaussian_problem, 1e-3, 20.0), (digits_problem, 1e-3, 5.0)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_acceleration_gains_orders_over_the_plain_chord_at_no_further_gradient(problem, l2, gain, seed) -> None:
    gradient, solve, w, _ = displaced(problem, l2, 0.02, seed)
    plain, fast = (
        chord_newton(gradient, solve, w, tol=0.0, max_iterations=6, accelerate=accelerate)
        for accelerate in (False, True)
    )
    assert plain.gradients == fast.gradients == 6
    assert gain * fast.residual < plain.residual
    assert fast.residual < broyden_residual(gradient, solve, w, 5)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_five_gradients_reach_1e_8_from_noise_of_two_hundredths(seed) -> None:
    gradient, solve, w, best = displaced(digits_problem, 1e-3, 0.02, seed)
    counted = Counted(gradient)
    found = chord_newton(counted, solve, w, tol=1e-8, max_iterations=5)
    assert found.converged
    assert found.gradients == len(counted.points) <= 5
    assert found.residual == pytest.approx(float(gradient(found.x).norm()), rel=1e-12)
    assert float((found.x - best).norm()) <= found.residual / 1e-3
    assert 0 < found.contraction < 0.3


def test_ridge_takes_one_step() -> None:
    generator = torch.Generator().manual_seed(3)
    X = torch.randn(50, 6, generator=generator, dtype=torch.float64)
    y = torch.randn(50, generator=generator, dtype=torch.float64)
    H = X.T @ X / 50 + 0.1 * torch.eye(6, dtype=torch.float64)
    factor = woodbury.cholesky(H)
    found = chord_newton(
        lambda w: H @ w - X.T @ y / 50,
        lambda g: woodbury.solve(factor, g),
        torch.zeros(6, dtype=torch.float64),
        tol=1e-12,
        max_iterations=5,
    )
    assert (found.converged, found.iterations, found.gradients) == (True, 1, 2)
    assert torch.allclose(found.x, torch.linalg.solve(H, X.T @ y / 50), atol=1e-12)


def test_the_plain_chord_is_the_textbook_iteration() -> None:
    gradient, solve, w, _ = displaced(digits_problem, 1e-2, 0.02, 0)
    counted = Counted(gradient)
    chord_newton(counted, solve, w, tol=0.0, max_iterations=4, accelerate=False)
    expected = w
    for point in counted.points:
        assert torch.allclose(point, expected, atol=1e-14)
        expected = expected - solve(gradient(expected))


def test_contraction_is_the_worst_ratio_of_successive_residuals() -> None:
    found = chord_newton(
        lambda w: w, lambda g: 0.75 * g, torch.full((2,), 8.0), tol=1.0, max_iterations=9, accelerate=False
    )
    assert found.contraction == pytest.approx(0.25)
    assert (found.iterations, found.gradients) == (2, 3)
    assert found.residual == pytest.approx(8 * 2**0.5 / 16)


def test_a_start_within_tolerance_costs_one_gradient_and_moves_nothing() -> None:
    gradient, solve, _, best = displaced(digits_problem, 1e-2, 0.02, 0)
    found = chord_newton(gradient, solve, best, tol=1e-9, max_iterations=5)
    assert (found.converged, found.gradients, found.iterations, found.contraction) == (True, 1, 0, 0.0)
    assert torch.equal(found.x, best)


@pytest.mark.parametrize("allowed", [1, 2, 3])
def test_never_more_gradients_than_allowed(allowed) -> None:
    gradient, solve, w, _ = displaced(gaussian_problem, 1e-3, 0.1, 0)
    counted = Counted(gradient)
    found = chord_newton(counted, solve, w, tol=1e-14, max_iterations=allowed)
    assert len(counted.points) == found.gradients == allowed
    assert not found.converged


@pytest.mark.parametrize("accelerate", [True, False])
def test_the_end_is_never_worse_than_the_start_when_the_factor_is_useless(accelerate) -> None:
    """A factor 50 times too small makes every full step overshoot."""
    gradient, solve, w, _ = displaced(gaussian_problem, 1e-3, 0.1, 0)
    found = chord_newton(gradient, lambda g: 50 * solve(g), w, tol=1e-12, max_iterations=40, accelerate=accelerate)
    assert found.residual <= float(gradient(w).norm())
    assert found.residual == pytest.approx(float(gradient(found.x).norm()), rel=1e-12)
    assert found.gradients <= 40


def test_a_wrong_sign_ends_at_the_start_unconverged() -> None:
    gradient, solve, w, _ = displaced(digits_problem, 1e-2, 0.02, 0)
    found = chord_newton(gradient, lambda g: -solve(g), w, tol=1e-12, max_iterations=100)
    assert not found.converged
    assert torch.equal(found.x, w)
    assert found.gradients < 10


def test_gradients_of_nan_are_reported_not_followed() -> None:
    found = chord_newton(lambda w: w * torch.nan, lambda g: g, torch.ones(3), tol=1e-6, max_iterations=50)
    assert not found.converged
    assert found.gradients < 10


def test_the_limit_of_arithmetic_stops_the_search() -> None:
    gradient, solve, w, _ = displaced(digits_problem, 1e-2, 0.02, 0)
    found = chord_newton(gradient, solve, w, tol=0.0, max_iterations=200)
    assert not found.converged
    assert found.residual < 1e-15
    assert found.gradients < 60


def test_chord_from_far_reaches_what_lbfgs_reaches() -> None:
    X, y = digits_problem()
    gradient, hessian, value = softmax_regression(X, y, 2, 1e-2)
    zero = torch.zeros(2 * X.shape[1], dtype=torch.float64)
    factor = woodbury.cholesky(hessian(zero))
    chord = chord_newton(gradient, lambda g: woodbury.solve(factor, g), zero, tol=1e-11, max_iterations=60)
    slow = minimise(lambda w: (value(w), gradient(w)), zero, tol=1e-11, max_iterations=1000)
    assert chord.converged
    assert slow.converged
    assert torch.allclose(chord.x, slow.x, atol=1e-8)


def test_two_loop_equals_dense_bfgs() -> None:
    generator = torch.Generator().manual_seed(4)
    A = torch.randn(7, 7, generator=generator, dtype=torch.float64)
    A = A @ A.T + torch.eye(7, dtype=torch.float64)
    base = torch.diag(torch.rand(7, generator=generator, dtype=torch.float64) + 0.5)
    steps = [torch.randn(7, generator=generator, dtype=torch.float64) for _ in range(4)]
    pairs = [(s, A @ s) for s in steps]
    B = base.clone()
    for s, y in pairs:
        rho = 1 / torch.dot(s, y)
        V = torch.eye(7, dtype=torch.float64) - rho * torch.outer(y, s)
        B = V.T @ B @ V + rho * torch.outer(s, s)
    v = torch.randn(7, generator=generator, dtype=torch.float64)
    assert torch.allclose(two_loop(pairs, v, lambda q: base @ q), B @ v, atol=1e-11)
