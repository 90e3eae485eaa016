"""Closed forms of linear models against brute-force autograd over the same sum of losses."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from expunge.maths import linear_models
from expunge.maths.losses import CrossEntropy, Custom, Huber, Logistic, Loss, MultilabelLogistic, Squared


def cubed(scores: Tensor, y: Tensor) -> Tensor:
    return (scores.sum(1) - y).abs() ** 3 + scores.prod(1)


LOSSES: dict[str, tuple[Loss, int]] = {
    "cross_entropy": (CrossEntropy(), 3),
    "logistic": (Logistic(), 1),
    "multilabel_logistic": (MultilabelLogistic(), 2),
    "squared": (Squared(), 2),
    "huber": (Huber(), 1),
    "custom": (Custom(cubed), 2),
}
CONVEX = [name for name in LOSSES if name != "custom"]


def given(name: str, n: int = 11, p: int = 4, *, intercept: bool = True) -> tuple[Tensor, Tensor, Tensor, Loss]:
    loss, k = LOSSES[name]
    g = torch.Generator().manual_seed(5)
    X = torch.randn((n, p), generator=g, dtype=torch.float64)
    W = torch.randn((k, p + intercept), generator=g, dtype=torch.float64) / p**0.5
    shape = (n,) if name in {"cross_entropy", "custom"} else (n, k)
    y = torch.randint(0, LOSSES[name][1] if name == "cross_entropy" else 2, shape, generator=g)
    return X, loss.targets(y, k, torch.float64), W, loss


def brute(X: Tensor, y: Tensor, loss: Loss, shape: torch.Size) -> object:
    ones = torch.ones((len(X), shape[1] - X.shape[1]), dtype=torch.float64)
    extended = torch.cat([X.double(), ones], dim=1)
    return lambda w: loss.values(extended @ w.reshape(shape).T, y).sum()


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("name", LOSSES)
def test_closed_forms_equal_autograd(name: str, intercept: bool) -> None:
    X, y, W, loss = given(name, intercept=intercept)
    f, w = brute(X, y, loss, W.shape), W.reshape(-1)
    gradient, H = torch.func.grad(f)(w), torch.func.jacrev(torch.func.grad(f))(w)
    V = torch.randn(W.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    torch.testing.assert_close(linear_models.value(X, y, W, loss), f(w))
    torch.testing.assert_close(linear_models.gradient(X, y, W, loss).reshape(-1), gradient)
    value, first = linear_models.value_and_gradient(X, y, W, loss)
    torch.testing.assert_close((value, first.reshape(-1)), (f(w), gradient))
    dense = torch.zeros_like(H)
    again = linear_models.add_hessian(dense, X, y, W, loss)
    torch.testing.assert_close(again.reshape(-1), gradient)
    torch.testing.assert_close(linear_models.completed(dense, W, loss), H)
    at = linear_models.scores(X, W)
    torch.testing.assert_close(linear_models.hessian_product(X, y, at, V, loss).reshape(-1), H @ V.reshape(-1))
    rows = linear_models.row_gradients(X, y, W, loss)
    singly = torch.stack([torch.func.grad(brute(X[i : i + 1], y[i : i + 1], loss, W.shape))(w) for i in range(len(X))])
    torch.testing.assert_close(rows, singly)
    torch.testing.assert_close(linear_models.row_products(X, y, W, V, loss), rows @ V.reshape(-1))


@pytest.mark.parametrize("name", CONVEX)
def test_the_root_of_the_hessian_squares_to_it(name: str) -> None:
    X, y, W, loss = given(name)
    U = linear_models.hessian_root(X, y, W, loss)
    assert U.shape == (W.numel(), len(X) * len(W))
    torch.testing.assert_close(U @ U.T, torch.func.jacrev(torch.func.grad(brute(X, y, loss, W.shape)))(W.reshape(-1)))


def test_chunks_and_panels_do_not_show() -> None:
    n, p = 2 * linear_models.CHUNK_ROWS + 7, 2 * linear_models.PANEL + 3
    X, y, W, loss = given("logistic", n, p)
    extended = torch.cat([X, torch.ones((n, 1), dtype=torch.float64)], dim=1)
    s = extended @ W.T
    c = s.sigmoid() * (1 - s.sigmoid())
    H = torch.zeros((p + 1, p + 1), dtype=torch.float64)
    gradient = linear_models.add_hessian(H, X, y, W, loss)
    H = linear_models.completed(H, W, loss)
    torch.testing.assert_close(H, extended.T @ (extended * c))
    assert torch.equal(H, H.T)
    torch.testing.assert_close(gradient, (s.sigmoid() - y).T @ extended)


def test_adding_twice_is_the_hessian_of_both() -> None:
    X, y, W, loss = given("cross_entropy")
    apart, together = (W.new_zeros((W.numel(), W.numel())) for _ in range(2))
    for rows in (slice(0, 4), slice(4, None)):
        linear_models.add_hessian(apart, X[rows], y[rows], W, loss)
    linear_models.add_hessian(together, X, y, W, loss)
    completed = [linear_models.completed(H, W, loss) for H in (apart, together)]
    torch.testing.assert_close(*completed)


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8, torch.int64, torch.bool])
def test_rows_of_another_type_are_converted_not_scaled(dtype: torch.dtype) -> None:
    _, _, W, loss = given("logistic")
    n = linear_models.CHUNK_ROWS + 5
    X = torch.randint(0, 2 if dtype is torch.bool else 256, (n, 4), generator=torch.Generator().manual_seed(2))
    y = loss.targets(X[:, 0] % 2, 1, torch.float64)
    expected = linear_models.gradient(X.double(), y, W, loss)
    assert torch.equal(linear_models.gradient(X.to(dtype), y, W, loss), expected)
    torch.testing.assert_close(linear_models.scores(X.to(dtype), W), linear_models.scores(X.double(), W))


def test_no_rows_give_zeros() -> None:
    X, y, W, loss = given("cross_entropy", n=0)
    assert torch.equal(linear_models.gradient(X, y, W, loss), torch.zeros_like(W))
    assert linear_models.row_gradients(X, y, W, loss).shape == (0, W.numel())
    assert linear_models.hessian_root(X, y, W, loss).shape == (W.numel(), 0)


def test_additions_count_a_chunk_and_one_for_each_chunk_and_block() -> None:
    assert linear_models.additions([5]) == 1024 + 1 + 1
    assert linear_models.additions([1024, 1025, 3000]) == 1024 + (1 + 1) + (1 + 2) + (1 + 3)


def test_a_chunk_is_summed_apart_from_what_was_summed_before() -> None:
    """Small terms of a later chunk do not vanish one by one beside a huge one before."""
    small, rows = 2.0**-53, 2 * linear_models.CHUNK_ROWS
    x = torch.full((rows, 1), small, dtype=torch.float64)
    x[: linear_models.CHUNK_ROWS] = 0.0
    x[0] = 1.0
    targets = torch.full(
        (rows, 1), -1.0, dtype=torch.float64
    )  # squared loss at zero weights: the gradient is the sum of x
    total = linear_models.gradient(x, targets, torch.zeros((1, 1), dtype=torch.float64), Squared())
    assert float(total) == 1.0 + linear_models.CHUNK_ROWS * small
