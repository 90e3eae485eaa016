"""Positive definite curvatures B whose powers can be applied to a vector: dense, diagonal, factored, or by products.

A `Spectral` one is known as B = Q diag(values) Q^T, with Q orthogonal and perhaps structured (`maths.kronecker`), so
that adding damping to B is adding it to `values`, and every power, determinant and trace is exact. A `Factored` one has
a Cholesky factor; a `MatrixFree` one is known by its products, and B^-1 v comes from conjugate gradient. Other powers
of these two come from Lanczos.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from typing_extensions import override

from expunge.errors import InputError, NotConverged
from expunge.maths import woodbury
from expunge.maths.conjugate_gradient import conjugate_gradient
from expunge.maths.matrix_function import matrix_function

KRYLOV_BYTES = 2**30  # of the vectors that Lanczos keeps


class Curvature(ABC):
    """A symmetric positive definite (d, d) matrix B."""

    @abstractmethod
    def power(self, exponent: float, v: Tensor) -> Tensor:
        """B^exponent v, (d,)."""


class Spectral(Curvature):
    """B = Q diag(values) Q^T.

    Attributes:
        values: (d,), all positive.
    """

    values: Tensor

    @abstractmethod
    def into(self, v: Tensor) -> Tensor:
        """Q^T v."""

    @abstractmethod
    def out(self, coordinates: Tensor) -> Tensor:
        """Q coordinates."""

    @abstractmethod
    def spread(self, other: Spectral, variances: Tensor) -> Tensor:
        """The diagonal of Q^T C Q, (d,), for the covariance C = P diag(variances) P^T in the basis P of `other`.

        Raises:
            InputError: the other is of another kind or shape.
        """

    @override
    def power(self, exponent: float, v: Tensor) -> Tensor:
        return self.out(self.values**exponent * self.into(v))


@final
@dataclass(frozen=True, eq=False)
class Dense(Spectral):
    """`values` (d,) and `vectors` (d, d), a column each, as `torch.linalg.eigh` gives them."""

    values: Tensor
    vectors: Tensor

    @override
    def into(self, v: Tensor) -> Tensor:
        return self.vectors.T @ v

    @override
    def out(self, coordinates: Tensor) -> Tensor:
        return self.vectors @ coordinates

    @override
    def spread(self, other: Spectral, variances: Tensor) -> Tensor:
        if not isinstance(other, Dense) or other.vectors.shape != self.vectors.shape:
            raise InputError("Two covariances are compared in one kind of basis; this one is dense, the other is not.")
        return (self.vectors.T @ other.vectors).square() @ variances


@final
@dataclass(frozen=True, eq=False)
class Diagonal(Spectral):
    """A diagonal matrix: `values` (d,)."""

    values: Tensor

    @override
    def into(self, v: Tensor) -> Tensor:
        return v

    @override
    def out(self, coordinates: Tensor) -> Tensor:
        return coordinates

    @override
    def spread(self, other: Spectral, variances: Tensor) -> Tensor:
        if not isinstance(other, Diagonal) or other.values.shape != self.values.shape:
            raise InputError("Two covariances are compared in one kind of basis; this one is diagonal, the other not.")
        return variances


@final
@dataclass(frozen=True, eq=False)
class MatrixFree(Curvature):
    """A matrix known by its products.

    Attributes:
        product: v (d,) -> B v. tolerance: of a result, relative to its norm (of the residual, for B^-1).
        max_iterations: products for one power.
    """

    product: Callable[[Tensor], Tensor]
    tolerance: float = 1e-4
    max_iterations: int = 500

    @override
    def power(self, exponent: float, v: Tensor) -> Tensor:
        """B^exponent v.

        Raises:
            NotConverged: B is not positive definite, or `max_iterations` were not enough.
        """
        if exponent != -1:
            most = min(self.max_iterations, max(1, KRYLOV_BYTES // (v.element_size() * len(v))))
            return matrix_function(
                self.product, v, lambda values: values**exponent, tol=self.tolerance, max_iterations=most
            )
        tol = self.tolerance * float(torch.linalg.vector_norm(v))
        solved = conjugate_gradient(self.product, v, tol=tol, max_iterations=self.max_iterations)
        if not solved.converged:
            raise NotConverged(
                f"Conjugate gradient stopped at a residual of {solved.residual:.2g} after {solved.iterations} products "
                f"and {tol:.2g} was asked for: raise the damping."
            )
        return solved.x


@final
@dataclass(frozen=True, eq=False)
class Factored(Curvature):
    """A dense `matrix` and its lower Cholesky `factor`: far cheaper than eigenvectors where few powers are taken.

    B^-1 v is a solve; another power is Lanczos on products with the matrix, to `tolerance`.
    """

    matrix: Tensor
    factor: Tensor
    tolerance: float = 1e-8

    @override
    def power(self, exponent: float, v: Tensor) -> Tensor:
        if exponent == -1:
            return woodbury.solve(self.factor, v)
        return matrix_function(
            lambda u: self.matrix @ u, v, lambda values: values**exponent, tol=self.tolerance, max_iterations=len(v)
        )


def factored(matrix: Tensor, damping: float = 0.0) -> Factored:
    """`matrix` (d, d), symmetric, and `damping` times the identity, by a Cholesky factor.

    Raises:
        InputError: the matrix is not square or not finite. NotConverged: it is not positive definite.
    """
    damped = matrix + damping * torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
    return Factored(damped, woodbury.cholesky(damped))


def dense(matrix: Tensor, damping: float = 0.0) -> Dense:
    """`matrix` (d, d), symmetric, and `damping` times the identity, by its eigenvectors.

    Raises:
        InputError: the matrix is not square or not finite. NotConverged: it is not positive definite.
    """
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not bool(torch.isfinite(matrix).all()):
        raise InputError(f"A curvature is a finite square matrix; one of shape {tuple(matrix.shape)} was given.")
    values, vectors = torch.linalg.eigh(matrix)
    return Dense(positive(values + damping), vectors)


def positive(values: Tensor) -> Tensor:
    """The eigenvalues themselves.

    Raises:
        NotConverged: one is not positive: no root of the inverse exists.
    """
    least = float(values.min())
    if not least > 0:
        raise NotConverged(
            f"The smallest eigenvalue of the curvature is {least:.3g}, and a positive one is needed: raise the damping "
            "or l2."
        )
    return values
