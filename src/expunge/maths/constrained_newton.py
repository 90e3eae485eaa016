r"""One damped Newton step inside a ball, without convexity: how far from the retrained weights it may land.

Let L be the objective on the retained rows (l2 included), w* any start and w' any reference, both in the ball of radius
C, H = Hessian of L at w*, H' its mean on the segment between them, and w~ = w* - (H + k I)^-1 grad L(w*). From
grad L(w*) = grad L(w') - H'(w' - w*),

    w~ - w' = (H + k I)^-1 [(H - H')(w* - w') + k (w* - w') - grad L(w')]

With an M-Lipschitz Hessian ||H - H'|| <= M d / 2, d = ||w* - w'|| <= 2 C; with ||grad L(w')|| <= G, and a linear system
solved up to a residual r,

    ||w~ - w'|| <= (2 C (M C + k) + G + r) / (k + lambda_min)                    [Zhang et al. 2024, with G and r]

G = 0 only where w' is a stationary point inside the ball. Doing nothing is bounded by d <= 2 C, so the bound says
something only where lambda_min > M C + (G + r) / (2 C).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from expunge.errors import InputError
from expunge.maths.lanczos import lanczos

Product = Callable[[Tensor], Tensor]


def step_distance(
    norm_bound: float,
    hessian_lipschitz: float,
    damping: float,
    smallest_eigenvalue: float,
    gradient: float,
    residual: float = 0.0,
) -> float:
    """The bound of the module; infinite where H + damping I may be singular or indefinite.

    Args:
        norm_bound: C. hessian_lipschitz: M, on the ball. smallest_eigenvalue: lambda_min of H, without damping.
        gradient: G, the norm of the reference's gradient. residual: of the linear system that was solved.

    Raises:
        InputError: a number is negative (but lambda_min), or none.
    """
    numbers = (norm_bound, hessian_lipschitz, damping, gradient, residual)
    if not all(number >= 0 for number in numbers) or math.isnan(smallest_eigenvalue):
        raise InputError(f"C, M, damping, G and the residual are {numbers}; numbers of at least 0 are needed.")
    curvature = damping + smallest_eigenvalue
    if curvature <= 0 or math.isinf(max(numbers)):
        return math.inf
    return (2 * norm_bound * (hessian_lipschitz * norm_bound + damping) + gradient + residual) / curvature


def into_ball(w: Tensor, norm_bound: float) -> Tensor:
    """The nearest point with ||w|| <= norm_bound: no nearer point of the ball moves away."""
    length = float(torch.linalg.vector_norm(w))
    return w if length <= norm_bound else w * (norm_bound / length)


def lipschitz_at_least(
    hessian: Callable[[Tensor], Product], w: Tensor, others: Sequence[Tensor], start: Tensor, *, steps: int = 8
) -> float:
    """A number that every Lipschitz constant M of the Hessian is at least: sampled, so it may refute M, never prove it.

    Args:
        hessian: w -> (v -> H(w) v). w: (d,). others: weights (d,) to compare with it. start: (d,), of Lanczos.
        steps: products a pair; Ritz values lie inside the spectrum, so fewer give a smaller number.
    """
    here, found = hessian(w), 0.0
    for other in others:
        gap = float(torch.linalg.vector_norm(other - w))
        if gap > 0:
            ends = lanczos(_difference(hessian(other), here), start, steps=steps)
            found = max(found, abs(ends.smallest) / gap, abs(ends.largest) / gap)
    return found


def _difference(one: Product, other: Product) -> Product:
    return lambda v: one(v) - other(v)
