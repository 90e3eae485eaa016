"""The Nystrom approximation: exact where the sketch is as large as the rank, and a preconditioner that shows it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from expunge.maths.conjugate_gradient import conjugate_gradient
from expunge.maths.nystrom import nystrom, preconditioner


def semi_definite(d: int, values: Tensor) -> tuple[Tensor, Tensor]:
    """A matrix with these eigenvalues and no other, and its eigenvectors."""
    Q = torch.linalg.qr(torch.randn(d, d, generator=torch.Generator().manual_seed(1), dtype=torch.float64))[0]
    vectors = Q[:, : len(values)]
    return vectors @ torch.diag(values) @ vectors.T, vectors


def orthonormal(d: int, rank: int) -> Tensor:
    drawn = torch.randn(d, rank, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return torch.linalg.qr(drawn)[0]


@pytest.mark.parametrize("rank", [5, 9, 30])
def test_it_is_exact_from_the_rank_of_the_matrix_on(rank: int) -> None:
    values = torch.tensor([100.0, 30.0, 10.0, 1.0, 0.1], dtype=torch.float64)
    A, _ = semi_definite(30, values)
    S = orthonormal(30, rank)
    U, found = nystrom(S, A @ S)
    torch.testing.assert_close(found[:5], values, rtol=1e-4, atol=1e-8)
    assert float(found[5:].abs().max()) < 1e-8 if rank > 5 else True
    torch.testing.assert_close(U @ torch.diag(found) @ U.T, A, rtol=0, atol=1e-4)
    torch.testing.assert_close(U.T @ U, torch.eye(rank, dtype=torch.float64))


def test_it_never_exceeds_the_matrix() -> None:
    A, _ = semi_definite(20, torch.logspace(2, -2, 20, dtype=torch.float64))
    S = orthonormal(20, 6)
    U, found = nystrom(S, A @ S)
    assert float(torch.linalg.eigvalsh(A - U @ torch.diag(found) @ U.T)[0]) > -1e-8


def test_a_matrix_of_zeros_is_no_failure() -> None:
    S = orthonormal(7, 3)
    U, found = nystrom(S, torch.zeros_like(S))
    assert not found.any()
    r = torch.arange(7.0, dtype=torch.float64)
    torch.testing.assert_close(preconditioner(U, found, 0.1)(r), r)


def test_the_preconditioner_is_the_inverse_up_to_a_factor_where_the_tail_is_flat() -> None:
    A, _ = semi_definite(12, torch.tensor([50.0, 20.0, 3.0], dtype=torch.float64))
    l2, S = 0.01, orthonormal(12, 4)
    apply = preconditioner(*nystrom(S, A @ S), l2)
    r = torch.randn(12, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    torch.testing.assert_close(
        apply(r), l2 * torch.linalg.solve(A + l2 * torch.eye(12, dtype=torch.float64), r), rtol=1e-5, atol=1e-7
    )


def test_it_saves_iterations() -> None:
    A, _ = semi_definite(200, torch.logspace(2, -6, 200, dtype=torch.float64))
    b, l2, S = torch.ones(200, dtype=torch.float64), 1e-3, orthonormal(200, 100)
    plain = conjugate_gradient(lambda v: A @ v + l2 * v, b, tol=1e-6, max_iterations=5000)
    inverse = preconditioner(*nystrom(S, A @ S), l2)
    quick = conjugate_gradient(lambda v: A @ v + l2 * v, b, tol=1e-6, max_iterations=5000, preconditioner=inverse)
    assert plain.converged
    assert quick.converged
    assert quick.iterations < plain.iterations / 4
