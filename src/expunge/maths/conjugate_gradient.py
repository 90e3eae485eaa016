"""Preconditioned conjugate gradient for symmetric positive definite systems that are known by their products."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from expunge.errors import NotConverged
from expunge.maths.solution import Solution

CHECK_EVERY = 50  # iterations between two computations of the true residual
DRIFT = 0.1  # of the true residual: the recurrence is that far off, so the directions are no longer conjugate


def conjugate_gradient(
    matvec: Callable[[Tensor], Tensor],
    b: Tensor,
    *,
    tol: float,
    max_iterations: int,
    preconditioner: Callable[[Tensor], Tensor] | None = None,
    start: Tensor | None = None,
) -> Solution:
    """Solve A x = b until ||A x - b|| <= tol (absolute), A symmetric positive definite.

    Differs from the textbook in: the residual carried by the recurrence drifts from the true one, so b - A x is
    computed afresh every 50 iterations and before convergence is claimed; where the two disagree the search starts
    again from the true one, and stops where starting again no longer helps (the limit of the arithmetic).

    Args:
        matvec: v -> A v. b: (d,). preconditioner: r -> approximately A^-1 r, symmetric positive definite.
        start: (d,); zero by default.

    Raises:
        NotConverged: A (or the preconditioner) has a direction of curvature <= 0, or a product is not finite.
    """
    apply = _identity if preconditioner is None else preconditioner
    x = torch.zeros_like(b) if start is None else start.clone()
    residual = b.clone() if start is None else b - matvec(x)
    best = Solution(x, False, 0, int(start is not None), float(torch.linalg.vector_norm(residual)))
    products, iteration = best.evaluations, 0
    direction, fall = torch.zeros_like(b), 1.0
    checked, restart = True, True  # the residual is the true one; the direction has no past
    while True:
        norm = float(torch.linalg.vector_norm(residual))
        if not checked and (iteration % CHECK_EVERY == 0 or norm <= tol or iteration >= max_iterations):
            true = b - matvec(x)
            products += 1
            drift, norm = (float(torch.linalg.vector_norm(v)) for v in (true - residual, true))
            residual, checked = true, True
            restart = drift > DRIFT * norm
            if restart and norm > best.residual / 2:
                return replace(best, iterations=iteration, evaluations=products)
            if norm < best.residual:
                best = Solution(x, False, iteration, products, norm)
        if norm <= tol or iteration >= max_iterations:
            return Solution(x, norm <= tol, iteration, products, norm)
        conditioned = apply(residual)
        rise = _positive(torch.dot(residual, conditioned), "the preconditioner", iteration)
        direction = conditioned if restart else conditioned + (rise / fall) * direction
        product = matvec(direction)
        products += 1
        step = rise / _positive(torch.dot(direction, product), "the matrix", iteration)
        x = x + step * direction
        residual = residual - step * product
        fall, checked, restart = rise, False, False
        iteration += 1


def _identity(vector: Tensor) -> Tensor:
    return vector


def _positive(curvature: Tensor, what: str, iteration: int) -> float:
    value = float(curvature)
    if not 0 < value < torch.inf:
        raise NotConverged(
            f"Conjugate gradient met curvature {value:.3g} at iteration {iteration}: {what} is not positive definite "
            "(or not finite). Add damping, raise l2, or use a Gauss-Newton product."
        )
    return value
