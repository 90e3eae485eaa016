"""A Cholesky factor of a symmetric matrix that may be indefinite, with a multiple of the identity added where it is.

Nocedal & Wright (2006), algorithm 3.3: the shift begins small and doubles until the matrix is positive definite.
"""

from __future__ import annotations

import torch
from torch import Tensor

from expunge.errors import NotConverged

FIRST = 1e-3  # of the mean size of the diagonal
DOUBLINGS = 60


def shifted_cholesky(matrix: Tensor) -> tuple[Tensor, float]:
    """The lower factor of `matrix + shift I`, and the shift, 0 where none is needed.

    Raises:
        NotConverged: the matrix is not finite.
    """
    shift, identity = 0.0, torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
    for _ in range(DOUBLINGS):
        factor, failed = torch.linalg.cholesky_ex(matrix + shift * identity)
        if not int(failed) and bool(torch.isfinite(factor).all()):
            return factor, shift
        shift = 2 * shift or FIRST * float(matrix.diagonal().abs().mean())
    raise NotConverged("No multiple of the identity makes the matrix positive definite: it holds NaN or infinity.")
