from __future__ import annotations

import pytest
import torch
from torch import Tensor

from expunge.errors import NotConverged
from expunge.maths.conjugate_gradient import CHECK_EVERY, conjugate_gradient


class Products:
    """A matrix that counts how often it was multiplied, and can err."""

    def __init__(self, matrix: Tensor, error: float = 0.0) -> None:
        self.matrix, self.error, self.count = matrix, error, 0
        self.generator = torch.Generator().manual_seed(7)

    def __call__(self, v: Tensor) -> Tensor:
        self.count += 1
        noise = torch.randn(len(v), generator=self.generator, dtype=v.dtype)
        return self.matrix @ v + self.error * noise


def spd(eigenvalues: Tensor, seed: int = 0) -> Tensor:
    d = len(eigenvalues)
    q, _ = torch.linalg.qr(torch.randn(d, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)))
    return (q * eigenvalues) @ q.T


def vector(d: int, seed: int = 1) -> Tensor:
    return torch.randn(d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_conjugate_gradient_equals_a_direct_solve() -> None:
    A, b = spd(torch.logspace(0, 2, 40, dtype=torch.float64)), vector(40)
    found = conjugate_gradient(lambda v: A @ v, b, tol=1e-10, max_iterations=200)
    assert found.converged
    assert found.residual == pytest.approx(float((A @ found.x - b).norm()), abs=1e-13)
    assert torch.allclose(found.x, torch.linalg.solve(A, b), atol=1e-10)


def test_three_distinct_eigenvalues_take_three_iterations() -> None:
    A = spd(torch.tensor([1.0] * 10 + [5.0] * 10 + [40.0] * 10, dtype=torch.float64))
    products = Products(A)
    found = conjugate_gradient(products, vector(30), tol=1e-9, max_iterations=30)
    assert (found.converged, found.iterations) == (True, 3)
    assert found.evaluations == products.count == 4  # three steps, and one look at the true residual


def test_a_start_at_the_solution_takes_no_step() -> None:
    A, b = spd(torch.linspace(1, 9, 12, dtype=torch.float64)), vector(12)
    found = conjugate_gradient(lambda v: A @ v, b, tol=1e-10, max_iterations=9, start=torch.linalg.solve(A, b))
    assert (found.converged, found.iterations, found.evaluations) == (True, 0, 1)


def test_zero_right_hand_side_is_solved_by_zero_without_a_product() -> None:
    products = Products(torch.eye(3, dtype=torch.float64))
    found = conjugate_gradient(products, torch.zeros(3, dtype=torch.float64), tol=0.0, max_iterations=5)
    assert found.converged
    assert products.count == 0
    assert torch.equal(found.x, torch.zeros(3, dtype=torch.float64))


def test_the_inverse_as_preconditioner_takes_one_iteration() -> None:
    A, b = spd(torch.logspace(-3, 3, 30, dtype=torch.float64)), vector(30)
    inverse = torch.linalg.inv(A)
    found = conjugate_gradient(lambda v: A @ v, b, tol=1e-8, max_iterations=5, preconditioner=lambda r: inverse @ r)
    assert (found.converged, found.iterations) == (True, 1)


def test_jacobi_preconditioner_saves_iterations_on_a_badly_scaled_matrix() -> None:
    scales = torch.logspace(0, 3, 50, dtype=torch.float64)
    A = spd(torch.linspace(1, 3, 50, dtype=torch.float64)) * scales[:, None] * scales[None, :]
    plain = conjugate_gradient(lambda v: A @ v, vector(50), tol=1e-8, max_iterations=5000)
    jacobi = conjugate_gradient(
        lambda v: A @ v, vector(50), tol=1e-8, max_iterations=5000, preconditioner=lambda r: r / A.diagonal()
    )
    assert jacobi.converged
    assert 3 * jacobi.iterations < plain.iterations


def test_too_few_iterations_say_so_with_the_true_residual() -> None:
    A, b = spd(torch.logspace(0, 4, 60, dtype=torch.float64)), vector(60)
    found = conjugate_gradient(lambda v: A @ v, b, tol=1e-10, max_iterations=7)
    assert not found.converged
    assert found.iterations == 7
    assert found.residual == pytest.approx(float((A @ found.x - b).norm()), rel=1e-12)


def test_negative_curvature_is_named_with_its_remedy() -> None:
    A = torch.diag(torch.tensor([1.0, 2.0, -0.5], dtype=torch.float64))
    with pytest.raises(NotConverged, match=r"curvature -.*the matrix is not positive definite.*damping"):
        conjugate_gradient(lambda v: A @ v, torch.ones(3, dtype=torch.float64), tol=1e-9, max_iterations=9)


def test_an_indefinite_preconditioner_is_named() -> None:
    b = torch.ones(3, dtype=torch.float64)
    with pytest.raises(NotConverged, match="the preconditioner is not positive definite"):
        conjugate_gradient(lambda v: 2 * v, b, tol=1e-9, max_iterations=9, preconditioner=lambda r: -r)


def test_a_product_of_nan_stops_at_once() -> None:
    with pytest.raises(NotConverged, match="not finite"):
        conjugate_gradient(lambda v: v * torch.nan, torch.ones(3), tol=1e-9, max_iterations=10_000)


def test_convergence_is_never_claimed_on_the_recurrence_alone() -> None:
    """Products that err by 1e-6 let the recurrence fall to any tolerance; the true residual cannot."""
    A, b = spd(torch.logspace(0, 3, 60, dtype=torch.float64)), vector(60)
    products = Products(A, error=1e-6)
    found = conjugate_gradient(products, b, tol=1e-9, max_iterations=3000)
    assert not found.converged
    assert found.residual > 1e-9
    assert float((A @ found.x - b).norm()) < 1e-2
    assert found.evaluations == products.count < 3000  # it stops where starting again no longer helps


def test_the_true_residual_is_computed_every_fifty_iterations() -> None:
    A = spd(torch.logspace(0, 5, 300, dtype=torch.float64))
    found = conjugate_gradient(lambda v: A @ v, vector(300), tol=0.0, max_iterations=3 * CHECK_EVERY)
    assert found.evaluations == 3 * CHECK_EVERY + 3


def test_the_start_is_not_changed() -> None:
    start, b = torch.ones(4, dtype=torch.float64), vector(4)
    copies = start.clone(), b.clone()
    conjugate_gradient(lambda v: 3 * v, b, tol=1e-12, max_iterations=5, start=start)
    assert torch.equal(start, copies[0])
    assert torch.equal(b, copies[1])
