"""LiSSA: an inverse Hessian times a vector from products with sampled Hessians (Agarwal, Bullins & Hazan 2017).

x_0 = b, x_{k+1} = b + (I - H_k / scale) x_k with a freshly sampled H_k each step; the answer is x_depth / scale,
averaged over runs. The mean converges when 0 < eig(E H) < 2 scale, but the variance of a run only when the spectral
radius of E[(I - H/scale) (x) (I - H/scale)] is below 1 (`mean_square_radius`). 0 <= H <= scale I for every sampled H,
damping included, suffices; a scale above the mean Hessian's largest eigenvalue does not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from expunge.errors import InputError, NotConverged

POWER_STEPS = 1000


@dataclass(frozen=True, eq=False)
class LissaSolution:
    """What LiSSA ended with.

    Attributes:
        x: (d,). converged: whether the residual was computed (a full product was given) and is within tol.
        iterations: runs times depth. residual: ||A x - b||, NaN where no full product was given.
        spread: norm of the standard error of x over the runs (NaN for one run). It does not see the depth's bias.
        expansions: how many sampled I - H/scale lengthened their vector: above 0, the sufficient condition fails.
    """

    x: Tensor
    converged: bool
    iterations: int
    residual: float
    spread: float
    expansions: int


def lissa(
    sample_hvp: Callable[[Tensor, int, int], Tensor],
    b: Tensor,
    *,
    scale: float,
    depth: int,
    runs: int,
    matvec: Callable[[Tensor], Tensor] | None = None,
    tol: float = 0.0,
) -> LissaSolution:
    """Estimate A^-1 b, where A is the mean of the sampled Hessians.

    Args:
        sample_hvp: (v, run, step) -> H v with the Hessian (damping included) of the batch of that run and step.
        b: (d,). scale: at least the largest curvature of any batch. depth, runs: steps a run, runs averaged.
        matvec: v -> A v over all rows; without it nothing can be verified and `converged` is False.

    Raises:
        InputError: scale, depth or runs is not positive.
        NotConverged: a run diverges. While every I - H/scale is a contraction, ||x_k|| <= (k + 1) ||b||; a longer x_k
            proves that some is not, and by more than chance forgives.
    """
    if not (scale > 0 and depth >= 1 and runs >= 1):
        raise InputError(f"scale {scale}, depth {depth} and runs {runs} are given; all three must be positive.")
    size = float(torch.linalg.vector_norm(b))
    ends, expansions = [], 0
    for run in range(runs):
        x = b
        for step in range(depth):
            kept = x - sample_hvp(x, run, step) / scale
            before, after = float(torch.linalg.vector_norm(x)), float(torch.linalg.vector_norm(kept))
            expansions += after > before * (1 + 1e-9)
            x = b + kept
            length = float(torch.linalg.vector_norm(x))
            if not length <= (step + 2) * size * (1 + 1e-9):
                seen = (1 + after / before) * scale if math.isfinite(after) and before > 0 else math.inf
                raise NotConverged(
                    f"LiSSA diverges: run {run} reached length {length:.3g} at step {step}, where contractions stay "
                    f"within {(step + 2) * size:.3g}. The scale {scale:.3g} is too small for the curvature of a batch "
                    f"(here at least {seen:.3g}): raise it, enlarge the batches, or use conjugate gradient."
                )
        ends.append(x / scale)
    answers = torch.stack(ends)
    x = answers.mean(0)
    spread = float(torch.linalg.vector_norm(answers.std(0))) / math.sqrt(runs) if runs > 1 else math.nan
    residual = math.nan if matvec is None else float(torch.linalg.vector_norm(matvec(x) - b))
    return LissaSolution(x, residual <= tol, runs * depth, residual, spread, expansions)


def mean_square_radius(hessians: Tensor, scale: float) -> float:
    """Spectral radius of the mean of (I - H/scale) (x) (I - H/scale) over hessians (k, d, d), equally likely.

    LiSSA converges in mean square exactly where this is below 1. The map M -> mean of (I - H/scale) M (I - H/scale)
    keeps positive semi-definite matrices, so power iteration from the identity finds its radius without a d^2 x d^2
    matrix.
    """
    shrink = torch.eye(hessians.shape[-1], dtype=hessians.dtype, device=hessians.device) - hessians / scale
    M = torch.eye(hessians.shape[-1], dtype=hessians.dtype, device=hessians.device)
    radius = 0.0
    for _ in range(POWER_STEPS):
        image = (shrink @ M @ shrink).mean(0)
        found = float(torch.linalg.matrix_norm(image) / torch.linalg.matrix_norm(M))
        if found == 0 or abs(found - radius) <= 1e-12 * found:
            return found
        radius, M = found, image / torch.linalg.matrix_norm(image)
    return radius
