"""Cholesky factors, and solves with a factored matrix after a low-rank change (Woodbury).

For A' = scale A - U U^T, A'^-1 = (A^-1 + A^-1 U C^-1 U^T A^-1) / scale with the capacitance C = scale I - U^T A^-1 U of
the size of U's columns; A' is positive definite exactly where C is. An up-date, + U U^T, changes both signs.

A mean-loss Hessian over n rows that loses m becomes H_r = (n/n_r) H - U U^T - (m/n_r) l2 I, U U^T the lost rows'
curvature over n_r: down_date(factor of H, U, scale=n/n_r) leaves the last term out, so it solves with
H_r + (m/n_r) l2 I.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from expunge.errors import InputError, NotConverged

Solve = Callable[[Tensor], Tensor]
ALMOST_SINGULAR = 1e-10  # of the capacitance, relative to `scale`: beyond it the digits are gone


def cholesky(matrix: Tensor) -> Tensor:
    """The lower Cholesky factor of a symmetric positive definite matrix (d, d).

    Raises:
        InputError: the matrix is not square, or not finite.
        NotConverged: it is not positive definite.
    """
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise InputError(f"A Cholesky factor needs a square matrix; given the shape {tuple(matrix.shape)}.")
    if not bool(torch.isfinite(matrix).all()):
        raise InputError("The matrix to factor holds NaN or infinity; look at the rows and weights it came from.")
    factor: Tensor
    factor, failed = torch.linalg.cholesky_ex(matrix)
    if int(failed):
        raise NotConverged(
            f"The matrix is not positive definite (leading minor {int(failed)} of {len(matrix)}): raise l2, add "
            "damping, or use a Gauss-Newton matrix."
        )
    return factor


def solve(factor: Tensor, b: Tensor) -> Tensor:
    """A^-1 b for the matrix A = factor factor^T; b is (d,) or (d, k)."""
    if b.ndim == 1:
        return torch.cholesky_solve(b[:, None], factor)[:, 0]
    return torch.cholesky_solve(b, factor)


def down_date(factor: Tensor, U: Tensor, *, scale: float = 1.0) -> Solve:
    """A solve with scale A - U U^T, for A = factor factor^T and U (d, m); costs m solves now and one a call.

    Raises:
        InputError: U has not d rows, or scale is not positive.
        NotConverged: what is left is not positive definite, or so nearly singular that the result would be noise.
    """
    return _changed(factor, U, scale, sign=-1.0)


def up_date(factor: Tensor, U: Tensor, *, scale: float = 1.0) -> Solve:
    """A solve with scale A + U U^T; see `down_date`."""
    return _changed(factor, U, scale, sign=1.0)


def _changed(factor: Tensor, U: Tensor, scale: float, sign: float) -> Solve:
    if U.ndim != 2 or U.shape[0] != factor.shape[0]:
        raise InputError(f"U has the shape {tuple(U.shape)}; ({factor.shape[0]}, m) is needed beside this factor.")
    if not scale > 0:
        raise InputError(f"scale is {scale}; a positive number is needed.")
    half = torch.linalg.solve_triangular(factor, U, upper=False)
    capacitance = scale * torch.eye(U.shape[1], dtype=U.dtype, device=U.device) + sign * (half.T @ half)
    small, failed = torch.linalg.cholesky_ex(capacitance)
    if int(failed) or bool((small.diagonal().square() < ALMOST_SINGULAR * scale).any()):
        raise NotConverged(
            f"Taking {U.shape[1]} directions out leaves no positive definite matrix: compute the Hessian of the "
            "retained rows afresh, or raise l2."
        )
    wide = solve(factor, U)  # A^-1 U, (d, m)
    spread = torch.cholesky_solve(wide.T, small)  # C^-1 U^T A^-1, (m, d)

    def apply(b: Tensor) -> Tensor:
        return (solve(factor, b) - sign * (wide @ (spread @ b))) / scale

    return apply
