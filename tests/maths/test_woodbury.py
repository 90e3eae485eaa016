from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from expunge.errors import InputError, NotConverged
from expunge.maths import woodbury


def rows(n: int, d: int, seed: int) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(st.integers(1, 12), st.integers(1, 8), st.floats(0.5, 3), st.integers(0, 10_000))
def test_down_date_and_up_date_equal_the_dense_inverse(d, m, scale, seed) -> None:
    U = rows(d, m, seed)
    A = U @ U.T / scale + rows(d, d + 2, seed + 1) @ rows(d, d + 2, seed + 1).T + torch.eye(d, dtype=torch.float64)
    factor, b = woodbury.cholesky(A), rows(d, 1, seed + 2)[:, 0]
    for change, sign in ((woodbury.down_date, -1), (woodbury.up_date, 1)):
        dense = scale * A + sign * U @ U.T
        assert torch.allclose(change(factor, U, scale=scale)(b), torch.linalg.solve(dense, b), rtol=1e-7, atol=1e-8)


def test_solve_takes_one_vector_or_several() -> None:
    A = torch.tensor([[4.0, 1.0], [1.0, 3.0]], dtype=torch.float64)
    factor, B = woodbury.cholesky(A), rows(2, 5, 0)
    assert torch.allclose(A @ woodbury.solve(factor, B), B)
    assert torch.allclose(woodbury.solve(factor, B[:, 0]), woodbury.solve(factor, B)[:, 0])


def test_forgetting_rows_of_a_ridge_leaves_the_retained_hessian_but_for_the_stated_shift() -> None:
    n, m, l2 = 40, 5, 0.1
    X = rows(n, 6, 3)
    eye = torch.eye(6, dtype=torch.float64)
    H, H_r = X.T @ X / n + l2 * eye, X[m:].T @ X[m:] / (n - m) + l2 * eye
    solve = woodbury.down_date(woodbury.cholesky(H), X[:m].T / (n - m) ** 0.5, scale=n / (n - m))
    v = rows(6, 1, 4)[:, 0]
    assert torch.allclose(solve(v), torch.linalg.solve(H_r + m / (n - m) * l2 * eye, v), atol=1e-10)


def test_sherman_morrison_is_the_rank_one_case() -> None:
    A, u = torch.diag(torch.tensor([2.0, 5.0, 9.0], dtype=torch.float64)), torch.ones(3, 1, dtype=torch.float64)
    b = torch.tensor([1.0, 0.0, -1.0], dtype=torch.float64)
    inverse = torch.linalg.inv(A)
    by_hand = inverse @ b + inverse @ u[:, 0] * (u[:, 0] @ inverse @ b) / (1 - u[:, 0] @ inverse @ u[:, 0])
    assert torch.allclose(woodbury.down_date(woodbury.cholesky(A), u)(b), by_hand)


@pytest.mark.parametrize("size", [1.0, 1.0 - 1e-12, 1.5])
def test_a_down_date_that_is_not_positive_definite_is_refused(size) -> None:
    eye = torch.eye(3, dtype=torch.float64)
    with pytest.raises(NotConverged, match=r"no positive definite matrix.*afresh"):
        woodbury.down_date(woodbury.cholesky(eye), size**0.5 * eye[:, :1])


def test_a_down_date_just_inside_is_done() -> None:
    eye = torch.eye(3, dtype=torch.float64)
    solve = woodbury.down_date(woodbury.cholesky(eye), 0.999**0.5 * eye[:, :1])
    assert float(solve(eye[0])[0]) == pytest.approx(1000, rel=1e-9)


def test_an_indefinite_matrix_is_named_with_its_remedy() -> None:
    with pytest.raises(NotConverged, match=r"leading minor 2 of 2.*l2"):
        woodbury.cholesky(torch.tensor([[1.0, 2.0], [2.0, 1.0]], dtype=torch.float64))


@pytest.mark.parametrize("matrix", [torch.ones(2, 3), torch.ones(4), torch.full((2, 2), torch.nan)])
def test_a_matrix_that_cannot_be_factored_is_bad_input(matrix) -> None:
    with pytest.raises(InputError):
        woodbury.cholesky(matrix)


def test_shapes_and_scale_are_checked() -> None:
    factor = woodbury.cholesky(torch.eye(3, dtype=torch.float64))
    with pytest.raises(InputError, match=r"\(3, m\)"):
        woodbury.down_date(factor, torch.ones(2, 1, dtype=torch.float64))
    with pytest.raises(InputError, match="scale"):
        woodbury.up_date(factor, torch.ones(3, 1, dtype=torch.float64), scale=0.0)
