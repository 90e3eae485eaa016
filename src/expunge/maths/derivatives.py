"""Derivatives of a loss through any differentiable scores: s(w) of shape (m, k) for w of shape (d,).

With r = slopes of the loss at the scores, C its curvature, and J the Jacobian of the scores:

    gradient        J^T r                          one backward pass
    Hessian         d(J^T r)/dw                    for each vector a backward pass through the kept gradient's graph
    Gauss-Newton    J^T C J                        semi-definite for convex losses; the Hessian for linear scores
    row products    <J_i^T r_i, v> = r_i (J v)_i   one forward-mode pass, no gradient of any row

A product is a function of v that keeps its graph: building it costs about two gradients and each call about one. All
are sums over rows; who calls divides by n and adds the penalty.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

Scores = Callable[[Tensor], Tensor]
Slopes = Callable[[Tensor], Tensor]
Product = Callable[[Tensor], Tensor]

GRAPH_COPIES = 4


def gradient(scores: Scores, slopes: Slopes, w: Tensor) -> Tensor:
    """Sum of the losses' gradients, (d,)."""
    return scores_and_gradient(scores, slopes, w)[1]


def scores_and_gradient(scores: Scores, slopes: Slopes, w: Tensor) -> tuple[Tensor, Tensor]:
    """The scores (m, k) and the sum of the losses' gradients (d,), in one forward and one backward pass."""
    with torch.enable_grad():
        leaf = w.detach().requires_grad_()
        s = scores(leaf)
        at = s.detach()
        return at, _back(s, leaf, slopes(at))


def hessian_product(scores: Scores, slopes: Slopes, w: Tensor) -> Product:
    """The product v (d,) -> sum of the losses' Hessians times v (d,), on a kept graph (Pearlmutter 1994)."""
    with torch.enable_grad():
        leaf = w.detach().requires_grad_()
        s = scores(leaf)
        g = _back(s, leaf, slopes(s), create=True)

    def product(v: Tensor) -> Tensor:
        return _back(g, leaf, v)

    return product


def hessian_rows(scores: Scores, slopes: Slopes, w: Tensor, positions: Tensor, many: int = 64) -> Tensor:
    """Rows `positions` (p,) of the sum of the losses' Hessians, (p, d), `many` at a time through one kept graph."""
    with torch.enable_grad():
        leaf = w.detach().requires_grad_()
        s = scores(leaf)
        g = _back(s, leaf, slopes(s), create=True)
    if not g.requires_grad:
        return w.new_zeros((len(positions), len(w)))
    rows = []
    for some in torch.split(positions, many):
        basis = w.new_zeros((len(some), len(w)))
        basis[torch.arange(len(some)), some] = 1.0
        (found,) = torch.autograd.grad(g, leaf, basis, retain_graph=True, is_grads_batched=True, materialize_grads=True)
        rows.append(found)
    return torch.cat(rows)


def gauss_newton_product(scores: Scores, curve: Callable[[Tensor, Tensor], Tensor], w: Tensor) -> Product:
    """The product v (d,) -> J^T C J v (d,), on a kept graph (Schraudolph 2002).

    Args:
        curve: (scores, direction) -> C direction, all (m, k).

    J v is a derivative by u of the kept J^T u, so no call evaluates the network again.
    """
    with torch.enable_grad():
        leaf = w.detach().requires_grad_()
        s = scores(leaf)
        u = torch.zeros_like(s).requires_grad_()
        transposed = _back(s, leaf, u, create=True)
    at = s.detach()

    def product(v: Tensor) -> Tensor:
        return _back(s, leaf, curve(at, _back(transposed, u, v)))

    return product


def tangent(scores: Scores, w: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """The scores at w and J v, both (m, k), in one forward-mode pass."""
    _forward_mode()
    both = torch.func.jvp(scores, (w.detach(),), (v,))
    return both[0], both[1]


def row_products(scores: Scores, slopes: Slopes, w: Tensor, v: Tensor) -> Tensor:
    """<gradient of loss i, v> for every row, (m,)."""
    s, along = tangent(scores, w, v)
    return (slopes(s) * along).sum(1)


def row_gradients(row_scores: Callable[..., Tensor], r: Tensor, w: Tensor, inputs: tuple[Tensor, ...]) -> Tensor:
    """The gradient of each row's loss, (m, d).

    Args:
        row_scores: (w, *inputs of any rows, each with its row axis) -> scores. r: slopes of all rows, (m, k).

    Rows are mapped by vmap; a network that cannot be mapped (a recurrent one) goes row by row.
    """

    def of_row(r_i: Tensor, *row: Tensor) -> Tensor:
        pull = torch.func.vjp(lambda at: row_scores(at, *(part[None] for part in row)), w.detach())[1]
        result: Tensor = pull(r_i[None])[0]
        return result

    if not len(r):
        return w.new_zeros((0, len(w)))
    try:
        mapped: Tensor = torch.func.vmap(of_row)(r, *inputs)
    except RuntimeError:
        return torch.stack([of_row(*(part[i] for part in (r, *inputs))) for i in range(len(r))])
    return mapped


def dense(product: Product, like: Tensor) -> Tensor:
    """The symmetric (d, d) matrix of a product, by d calls; `like` gives d, dtype and device."""
    matrix = torch.stack([product(e) for e in torch.eye(len(like), dtype=like.dtype, device=like.device)])
    return (matrix + matrix.T) / 2


def graph_bytes(scores: Scores, w: Tensor) -> int:
    """An estimate of what a kept second-order graph holds; costs one forward pass.

    It is `GRAPH_COPIES` times what that pass saves (activations, their gradients, products of the two) and two vectors
    like w. Perceptrons, convolutions and attention held .4 to .9 of it.
    """
    seen: dict[int, int] = {}

    def count(saved: Tensor) -> None:
        storage = saved.untyped_storage()
        seen[storage.data_ptr()] = storage.nbytes()

    def never(_: None) -> Tensor:
        raise AssertionError("The graph was built to be measured, not to be walked.")  # pragma: no cover

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(count, never):
        leaf = w.detach().clone().requires_grad_()
        kept = scores(leaf)
        seen.pop(leaf.untyped_storage().data_ptr(), None)
        total = sum(seen.values())
    del kept
    return GRAPH_COPIES * total + 2 * w.untyped_storage().nbytes()


@cache
def _forward_mode() -> None:
    """Load torch's forward-mode rules now: their import warns about torch.jit, which is not the user's business."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        importlib.import_module("torch._decomp.decompositions_for_jvp")


def _back(outputs: Tensor, inputs: Tensor, vector: Tensor, *, create: bool = False) -> Tensor:
    """The transposed Jacobian of `outputs` by `inputs` times `vector`; the graph stays."""
    if not outputs.requires_grad:  # constant: an affine model has no second derivative by its weights
        return torch.zeros_like(inputs)
    (result,) = torch.autograd.grad(
        outputs, inputs, vector, retain_graph=True, create_graph=create, materialize_grads=True
    )
    return result
