"""Derivatives through any scores against dense brute force."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from expunge.maths import derivatives
from expunge.maths.losses import CrossEntropy, Huber, Loss, Squared

D, M, K = 12, 6, 3


def scores(w: Tensor, X: Tensor) -> Tensor:
    """A small network: 4 -> tanh units, weights shared in odd ways so that nothing is structurally zero."""
    A, B = w[:8].reshape(2, 4), w[6:12].reshape(3, 2)
    return torch.tanh(X @ A.T) @ B.T


def given(loss: Loss) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    X, w, v = (torch.randn(shape, generator=g, dtype=torch.float64) for shape in ((M, 4), (D,), (D,)))
    raw = torch.randint(0, K, (M,), generator=g)
    y = raw if isinstance(loss, CrossEntropy) else torch.nn.functional.one_hot(raw, K).double()
    return X, w, v, y


@pytest.mark.parametrize("loss", [CrossEntropy(), Squared(), Huber(0.5)], ids=lambda loss: type(loss).__name__)
def test_every_derivative_equals_brute_force(loss: Loss) -> None:
    X, w, v, y = given(loss)

    def total(at: Tensor) -> Tensor:
        return loss.values(scores(at, X), y).sum()

    def forward(at: Tensor) -> Tensor:
        return scores(at, X)

    def slopes(s: Tensor) -> Tensor:
        return loss.slopes(s, y)

    torch.testing.assert_close(derivatives.gradient(forward, slopes, w), torch.func.grad(total)(w))
    H = torch.func.jacrev(torch.func.grad(total))(w)
    product = derivatives.hessian_product(forward, slopes, w)
    torch.testing.assert_close(product(v), H @ v)
    torch.testing.assert_close(product(w), H @ w)
    torch.testing.assert_close(derivatives.dense(product, w), H)

    J = torch.func.jacrev(forward)(w)
    curvature = loss.curvature(forward(w), y)
    C = torch.diag_embed(curvature) if loss.separable else curvature
    G = torch.einsum("mad,mab,mbe->de", J, C, J)
    gauss_newton = derivatives.gauss_newton_product(forward, lambda s, u: loss.curve(s, y, u), w)
    torch.testing.assert_close(gauss_newton(v), G @ v)
    torch.testing.assert_close(gauss_newton(w), G @ w)
    assert not torch.allclose(G, H, rtol=1e-2)

    at, along = derivatives.tangent(forward, w, v)
    torch.testing.assert_close(at, forward(w))
    torch.testing.assert_close(along, torch.einsum("mkd,d->mk", J, v))
    rows = torch.einsum("mk,mkd->md", slopes(at), J)
    torch.testing.assert_close(derivatives.row_gradients(scores, slopes(at), w, (X,)), rows)
    torch.testing.assert_close(derivatives.row_products(forward, slopes, w, v), rows @ v)


def test_linear_scores_with_a_constant_slope_have_a_zero_hessian() -> None:
    X, w, v, _ = given(Squared())
    product = derivatives.hessian_product(lambda at: (X @ at[:4])[:, None], torch.ones_like, w)
    assert torch.equal(product(v), torch.zeros(D, dtype=torch.float64))


def test_rows_go_one_by_one_where_vmap_cannot() -> None:
    X, w, _, y = given(CrossEntropy())

    def stubborn(at: Tensor, rows: Tensor) -> Tensor:
        if rows.sum().item() > 1e9:  # .item() has no batching rule
            raise AssertionError
        return scores(at, rows)

    r = CrossEntropy().slopes(scores(w, X), y)
    expected = derivatives.row_gradients(scores, r, w, (X,))
    torch.testing.assert_close(derivatives.row_gradients(stubborn, r, w, (X,)), expected)


def test_no_rows_have_no_gradients() -> None:
    _, w, _, _ = given(Squared())
    empty = torch.zeros((0, 4), dtype=torch.float64)
    assert derivatives.row_gradients(scores, torch.zeros((0, K), dtype=torch.float64), w, (empty,)).shape == (0, D)


def test_weights_are_left_alone() -> None:
    X, w, v, y = given(CrossEntropy())
    before = w.clone()
    derivatives.hessian_product(lambda at: scores(at, X), lambda s: CrossEntropy().slopes(s, y), w)(v)
    assert torch.equal(w, before)
    assert not w.requires_grad
    assert w.grad is None


def test_derivatives_work_where_gradients_are_switched_off() -> None:
    X, w, v, y = given(CrossEntropy())
    make = [lambda at: scores(at, X), lambda s: CrossEntropy().slopes(s, y), w]
    expected = derivatives.hessian_product(*make)(v)
    with torch.no_grad():
        torch.testing.assert_close(derivatives.hessian_product(*make)(v), expected)


def test_the_size_of_a_graph_grows_with_its_rows() -> None:
    X, w, _, _ = given(Squared())
    wide = X.repeat(100, 1)
    small, large = (derivatives.graph_bytes(lambda at, rows=rows: scores(at, rows), w) for rows in (X, wide))
    assert small > 0
    activations = 600 * 2 * 8
    assert large > small + derivatives.GRAPH_COPIES * activations * 0.9
