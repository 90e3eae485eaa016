"""f(A) v for a symmetric A that is known by its products: Lanczos, with full re-orthogonalisation.

After k products A V = V T + (rest), V (d, k) orthonormal with first column v/||v|| and T tridiagonal, and
f(A) v is near ||v|| V f(T) e_1 (Higham 2008, section 13.2): exact for polynomials of degree below k.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from expunge.errors import NotConverged

FIRST, GROWTH = 5, 1.2  # products before the first look at the result, and from one look to the next
BLOCK = 16  # vectors that are allocated, and made orthogonal to, at once
EXHAUSTED = 1e-13  # of the norm of T: the Krylov space is invariant, and the result exact


def matrix_function(
    product: Callable[[Tensor], Tensor],
    v: Tensor,
    function: Callable[[Tensor], Tensor],
    *,
    tol: float,
    max_iterations: int,
) -> Tensor:
    """f(A) v, until two results some products apart (5, and a fifth of all) differ by at most `tol` times their norm.

    Memory is one vector for each product, allocated 16 at a time.

    Args:
        product: v (d,) -> A v. function: f of positive eigenvalues (k,).

    Raises:
        NotConverged: A has an eigenvalue <= 0 that v sees, or `max_iterations` were not enough.
    """
    norm = torch.linalg.vector_norm(v)
    if not float(norm):
        return torch.zeros_like(v)
    blocks, last, alphas, betas = list[Tensor](), v / norm, list[Tensor](), list[Tensor]()
    before, check = None, FIRST
    for k in range(1, min(max_iterations, len(v)) + 1):
        if k % BLOCK == 1:
            blocks.append(v.new_zeros((BLOCK, len(v))))
        blocks[-1][(k - 1) % BLOCK] = last
        rest = product(last)
        alphas.append(last @ rest)
        for _ in range(2):  # once is not enough in floating point, twice is (Giraud et al. 2005)
            for block in blocks:  # rows not used yet are zero
                rest = rest - block.T @ (block @ rest)
        beta = torch.linalg.vector_norm(rest)
        exhausted = k == len(v) or float(beta) <= EXHAUSTED * float(torch.stack(alphas).abs().max())
        if exhausted or k >= check:
            weights = _first_column(alphas, betas, function)
            if exhausted or (before is not None and _change(weights, before) <= tol):
                return _combined(blocks, norm * weights)
            before, check = weights, max(k + FIRST, math.ceil(GROWTH * k))
        last = rest / beta
        betas.append(beta)
    raise NotConverged(f"Lanczos did not reach {tol:.2g} in {max_iterations} products: raise the damping.")


def _first_column(alphas: list[Tensor], betas: list[Tensor], function: Callable[[Tensor], Tensor]) -> Tensor:
    """f(T) e_1, (k,)."""
    T = torch.diag(torch.stack(alphas))
    if betas:
        side = torch.stack(betas)
        T = T + torch.diag(side, 1) + torch.diag(side, -1)
    values, vectors = torch.linalg.eigh(T)
    if not float(values.min()) > 0:
        raise NotConverged(
            f"Lanczos met the eigenvalue {float(values.min()):.3g}: the matrix is not positive definite. Raise the "
            "damping, or use a Gauss-Newton product."
        )
    column: Tensor = vectors @ (function(values) * vectors[0])
    return column


def _combined(blocks: list[Tensor], weights: Tensor) -> Tensor:
    """The vectors of the blocks, one for each weight, weighted and summed."""
    result = torch.zeros_like(blocks[0][0])
    for place, block in enumerate(blocks):
        part = weights[place * BLOCK : (place + 1) * BLOCK]
        result += block[: len(part)].T @ part
    return result


def _change(now: Tensor, before: Tensor) -> float:
    """The relative change of the result: its coordinates in an orthonormal basis, the earlier ones padded by zeros."""
    padded = torch.cat([before, before.new_zeros(len(now) - len(before))])
    return float(torch.linalg.vector_norm(now - padded) / torch.linalg.vector_norm(now))
