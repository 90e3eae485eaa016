"""Nystrom approximation of a semi-definite matrix that is known by its products, and the preconditioner it makes.

For A (d, d) and an orthonormal sketch S (d, r), A ~ (A S) (S^T A S)^-1 (A S)^T = U diag(v) U^T, U (d, r) orthonormal:
the best that r products can tell of the largest eigenvalues. For A + l2 I the preconditioner is

    P^-1 = I + U diag((v_r + l2) / (v + l2) - 1) U^T,        v_r the smallest of v,

up to a factor, which conjugate gradient does not feel (Frangella, Tropp & Udell 2023, equation 1.3).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Product = Callable[[Tensor], Tensor]

SHIFT = 1e-12  # of ||A S||: keeps the small matrix positive definite where A has a lower rank than the sketch


def nystrom(S: Tensor, Y: Tensor) -> tuple[Tensor, Tensor]:
    """Orthonormal vectors U (d, r) and values v (r,), falling, of the approximation of A from Y = A S.

    Differs from Frangella, Tropp & Udell (2023), algorithm 2.1, in: the small matrix is factored by its eigenvalues, so
    that a rank below r, zero included, is no failure.

    Args:
        S: (d, r), orthonormal columns. Y: (d, r), A S for a symmetric semi-definite A.
    """
    shift = SHIFT * torch.linalg.matrix_norm(Y)
    shifted = Y + shift * S
    small = S.T @ shifted
    values, vectors = torch.linalg.eigh((small + small.T) / 2)
    least = max(float(shift), torch.finfo(Y.dtype).tiny)
    root = shifted @ (vectors / values.clamp(min=least).sqrt())
    U, spread, _ = torch.linalg.svd(root, full_matrices=False)
    return U, (spread.square() - shift).clamp(min=0.0)


def preconditioner(vectors: Tensor, values: Tensor, l2: float) -> Product:
    """The product r -> P^-1 r for A + l2 I, with A ~ vectors diag(values) vectors^T; positive definite for l2 > 0."""
    shrink = (values[-1] + l2) / (values + l2) - 1

    def apply(r: Tensor) -> Tensor:
        return r + vectors @ (shrink * (vectors.T @ r))

    return apply
