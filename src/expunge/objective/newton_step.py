"""The damped Newton step (H + damping I)^-1 grad F of any objective, from products with H only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from expunge import keyed
from expunge.errors import NotConverged
from expunge.keyed import Purpose
from expunge.maths.conjugate_gradient import conjugate_gradient
from expunge.maths.lanczos import lanczos
from expunge.maths.lissa import lissa
from expunge.objective.objective import Objective, Product
from expunge.rows import Rows


@dataclass(frozen=True, eq=False)
class NewtonStep:
    """An answer x of (H + damping I) x = gradient.

    Attributes:
        x: (d,). residual: ||(H + damping I) x - gradient||, computed at x. gradient: its norm. products: over all rows.
        expansions: of LiSSA: sampled steps that lengthened their vector, so that its condition fails; 0 for CG.
    """

    x: Tensor
    residual: float
    gradient: float
    products: int
    expansions: int = 0

    @property
    def figures(self) -> dict[str, float]:
        """For the operator."""
        return {
            "products": float(self.products),
            "residual": self.residual,
            "gradient": self.gradient,
            "expansions": float(self.expansions),
        }


def by_conjugate_gradient(
    objective: Objective, w: Tensor, rows: Rows, *, damping: float, tol: float, max_iterations: int, start: Tensor
) -> NewtonStep:
    """Solve until the residual is at most `tol` times the gradient's norm.

    Args:
        w: (d,). tol: relative. start: (d,), of the Lanczos that says how much damping a negative curvature needs.

    Raises:
        NotConverged: H + damping I is not positive definite, or the iterations were not enough.
    """
    gradient, H = objective.gradient(w, rows), objective.hvp(w, rows)
    length = float(torch.linalg.vector_norm(gradient))
    try:
        found = conjugate_gradient(damped(H, damping), gradient, tol=tol * length, max_iterations=max_iterations)
    except NotConverged as error:
        smallest = lanczos(H, start, steps=30).smallest
        raise NotConverged(
            f"The damping {damping:.3g} is too small: the Hessian at these weights has an eigenvalue of {smallest:.3g} "
            f"or less (Lanczos), so the Newton step is not defined. Give a damping well above {max(-smallest, 0):.3g}, "
            "train longer, or raise l2."
        ) from error
    if not found.converged:
        raise NotConverged(
            f"Conjugate gradient stopped at a residual of {found.residual:.3g} after {found.iterations} iterations; "
            f"{tol * length:.3g} was asked for. Raise the damping, max_iterations or tol."
        )
    return NewtonStep(found.x, found.residual, length, found.evaluations)


def by_gauss_newton(
    objective: Objective, w: Tensor, rows: Rows, b: Tensor, *, damping: float, tol: float, max_iterations: int
) -> NewtonStep:
    """(G + damping I)^-1 b for the Gauss-Newton matrix G, which is the Hessian where scores are linear.

    Args:
        w, b: (d,). tol: of the residual, relative to the norm of b.

    Raises:
        NotConverged: the iterations were not enough, or the loss is not convex in the scores.
    """
    length = float(torch.linalg.vector_norm(b))
    matvec = damped(objective.ggn(w, rows), damping)
    found = conjugate_gradient(matvec, b, tol=tol * length, max_iterations=max_iterations)
    if not found.converged:
        raise NotConverged(
            f"Conjugate gradient stopped at {found.residual:.2g}, and {tol * length:.2g} was asked for: raise damping, "
            "l2, cg_tol or cg_iterations."
        )
    return NewtonStep(found.x, found.residual, length, found.evaluations)


def by_lissa(
    objective: Objective,
    w: Tensor,
    rows: Rows,
    *,
    damping: float,
    scale: float,
    depth: int,
    runs: int,
    batch_size: int,
    seed: int,
    purpose: Purpose,
) -> NewtonStep:
    """Estimate the step from Hessians of keyed batches; the residual is then computed over all rows.

    Args:
        scale: at least the largest curvature of every batch, damping included. depth, runs: steps a run, and runs.
        seed, purpose: of the batches: rows that are not there leave no trace in the order of the others.

    Raises:
        NotConverged: a run diverges, or its answer is no better than no step at all.
    """
    gradient, keys = objective.gradient(w, rows), rows.keys

    def sampled(v: Tensor, run: int, step: int) -> Tensor:
        batch = np.zeros(len(keys), dtype=bool)
        batch[keyed.k_smallest(seed, (*purpose, "lissa", run, step), keys, batch_size)] = True
        return damped(objective.hvp(w, rows.select(batch)), damping)(v)

    whole = damped(objective.hvp(w, rows), damping)
    found = lissa(sampled, gradient, scale=scale, depth=depth, runs=runs, matvec=whole)
    length = float(torch.linalg.vector_norm(gradient))
    if not found.residual < length:
        raise NotConverged(
            f"LiSSA's answer leaves a residual of {found.residual:.3g}, and no step at all leaves {length:.3g}: raise "
            f"the scale ({scale:.3g}), the batches or the depth, or use conjugate gradient."
        )
    return NewtonStep(found.x, found.residual, length, 1, found.expansions)


def damped(H: Product, damping: float) -> Product:
    """The product v -> H v + damping v."""
    return lambda v: H(v) + damping * v
