"""Closed forms of a mean loss on linear scores: value, gradient, dense Hessian and products, in few passes over X.

X is (n, p). W is (k, p), or (k, p+1) with the intercepts as its last column: the constant 1 they multiply is never
written out. A row's scores are `W x` and its loss is any of `losses`. Everything is a *sum* over rows: who calls
divides by n and adds the penalty. The Hessian is (k q, k q) with q = W.shape[1], in the order of `W.reshape(-1)`:

    H[a, b] = sum_i C_i[a, b] x_i x_i^T,    C_i the curvature of loss i at its scores (diagonal for separable losses)

Rows go in chunks that fit a cache, so that one reading of X serves both of its uses; X of another dtype is converted
chunk by chunk, never as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from expunge.maths.losses import Loss

CHUNK_ROWS = 1024
PANEL = 256


def additions(blocks: Iterable[int]) -> int:
    """How many additions a row's term goes through at most, in a sum over blocks of so many rows each.

    First those of its chunk, then one for each chunk and block: about 1,024 + n/1,024, not n. It bounds rounding.
    """
    return CHUNK_ROWS + sum(1 - (-rows // CHUNK_ROWS) for rows in blocks)


def scores(X: Tensor, W: Tensor) -> Tensor:
    """Scores (n, k) of rows X under W."""
    if X.dtype != W.dtype and len(X) > CHUNK_ROWS:
        return torch.cat([scores(x, W) for x in torch.split(X, CHUNK_ROWS)])
    p = X.shape[1]
    products = X.to(W.dtype) @ W[:, :p].T
    return products if W.shape[1] == p else products + W[:, p]


def value(X: Tensor, y: Tensor, W: Tensor, loss: Loss) -> Tensor:
    """Sum of losses, a scalar."""
    total = W.new_zeros(())
    for x, t in _chunks(X, y):
        total += loss.values(scores(x, W), t).sum()
    return total


def value_and_gradient(X: Tensor, y: Tensor, W: Tensor, loss: Loss) -> tuple[Tensor, Tensor]:
    """Sum of losses and of their gradients, a scalar and (k, q)."""
    total, gradient = W.new_zeros(()), torch.zeros_like(W)
    for x, t in _chunks(X, y):
        x = x.to(W.dtype)
        s = scores(x, W)
        total += loss.values(s, t).sum()
        _add_outer(gradient, loss.slopes(s, t), x)
    return total, gradient


def gradient(X: Tensor, y: Tensor, W: Tensor, loss: Loss) -> Tensor:
    """Sum of the losses' gradients, (k, q): slopes^T X."""
    total = torch.zeros_like(W)
    for x, t in _chunks(X, y):
        x = x.to(W.dtype)
        _add_outer(total, loss.slopes(scores(x, W), t), x)
    return total


def add_hessian(H: Tensor, X: Tensor, y: Tensor, W: Tensor, loss: Loss, among: Sequence[int] | None = None) -> Tensor:
    """Add the sum of the losses' Hessians to `H` (k q, k q), and return that of their gradients (k, q): one pass.

    `among`: the k of W's outputs that `H` is of, ascending; None for all.

    Every block of the Hessian is symmetric, so only its upper panels are multiplied out (5/8 of the work at p = 784),
    and only those of blocks a <= b: `completed` fills in the rest. Memory beyond `H` is a few chunks of rows.
    """
    outputs, q = range(len(W)) if among is None else among, W.shape[1]
    k = len(outputs)
    blocks = H.view(k, q, k, q)
    gradient = torch.zeros_like(W)
    for x, t in _chunks(X, y):
        x = x.to(W.dtype)
        s = scores(x, W)
        _add_outer(gradient, loss.slopes(s, t), x)
        curvature = loss.curvature(s, t)
        for a, b in _upper(k, loss):
            i, j = outputs[a], outputs[b]
            _add_weighted_gram(blocks[a, :, b, :], x, curvature[:, i] if loss.separable else curvature[:, i, j])
    return gradient


def completed(H: Tensor, W: Tensor, loss: Loss) -> Tensor:
    """`H` (k q, k q) from `add_hessian`, mirrored in place into a symmetric matrix."""
    k, q = W.shape
    blocks = H.view(k, q, k, q)
    for a, b in _upper(k, loss):
        block = blocks[a, :, b, :]
        block.copy_(block.triu() + block.triu(1).T)
        if a != b:
            blocks[b, :, a, :] = block
    return H


def hessian_product(X: Tensor, y: Tensor, at: Tensor, V: Tensor, loss: Loss) -> Tensor:
    """Sum of the losses' Hessians times V (k, q), (k, q): (C (X V^T))^T X.

    Args:
        at: the scores (n, k) of X under the weights; they are the same for every V.
    """
    total = torch.zeros_like(V)
    for start in range(0, len(X), CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        x = X[rows].to(V.dtype)
        _add_outer(total, loss.curve(at[rows], y[rows], scores(x, V)), x)
    return total


def hessian_root(X: Tensor, y: Tensor, W: Tensor, loss: Loss) -> Tensor:
    """U (k q, n k) with U U^T the sum of the losses' Hessians: what a factor is up- or down-dated with.

    Convex losses only. A column is the root of one row's curvature times that row.
    """
    curvature = loss.curvature(scores(X, W), y)
    if loss.separable:
        root = torch.diag_embed(curvature.sqrt())
    else:
        eigenvalues, vectors = torch.linalg.eigh(curvature)
        root = vectors * eigenvalues.clamp(min=0).sqrt()[:, None, :]
    return torch.einsum("iab,ij->ajib", root, _with_constant(X, W)).reshape(W.numel(), len(X) * len(W))


def row_gradients(X: Tensor, y: Tensor, W: Tensor, loss: Loss) -> Tensor:
    """The gradient of each row's loss, (n, k q)."""
    r = loss.slopes(scores(X, W), y)
    return (r[:, :, None] * _with_constant(X, W)[:, None, :]).reshape(len(X), W.numel())


def row_products(X: Tensor, y: Tensor, W: Tensor, V: Tensor, loss: Loss) -> Tensor:
    """<gradient of loss i, V> for every row, (n,): slopes times (X V^T)."""
    return (loss.slopes(scores(X, W), y) * scores(X, V)).sum(1)


def _chunks(X: Tensor, y: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    for start in range(0, len(X), CHUNK_ROWS):
        yield X[start : start + CHUNK_ROWS], y[start : start + CHUNK_ROWS]


def _with_constant(X: Tensor, W: Tensor) -> Tensor:
    """The rows as W sees them, (n, q): only where the result is as large anyway."""
    rows = X.to(W.dtype)
    return rows if W.shape[1] == X.shape[1] else torch.cat([rows, rows.new_ones((len(rows), 1))], dim=1)


def _add_outer(total: Tensor, r: Tensor, x: Tensor) -> None:
    """Add a chunk's sum, made apart: `additions` counts on it."""
    p = x.shape[1]
    total[:, :p] += r.T @ x
    if total.shape[1] > p:
        total[:, p] += r.sum(0)


def _upper(k: int, loss: Loss) -> list[tuple[int, int]]:
    return [(a, b) for a in range(k) for b in range(a, a + 1 if loss.separable else k)]


def _add_weighted_gram(block: Tensor, x: Tensor, c: Tensor) -> None:
    """Add the upper panels of [x 1]^T diag(c) [x 1] to `block` (q, q)."""
    p = x.shape[1]
    weighted = x * c[:, None]
    for start in range(0, p, PANEL):
        end = min(start + PANEL, p)
        block[start:end, start:p] += x[:, start:end].T @ weighted[:, start:]
    if len(block) > p:
        block[:p, p] += weighted.sum(0)
        block[p, p] += c.sum()
