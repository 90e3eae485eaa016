"""Newton to a tolerance, in rounds: a chord iteration under one Hessian, then a new Hessian, until it is met.

Near the minimiser one round under a nearby Hessian suffices and costs a few gradients; a round that stalls takes the
Hessian anew where it stands. Where there is no Hessian to start with, or Newton does not settle at all (a kink of the
Huber loss), L-BFGS does the work. Every pass over the rows is counted, whatever it was for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from expunge.maths import lbfgs, woodbury
from expunge.maths.chord_newton import chord_newton

ROUNDS = 6
GRADIENTS = 6  # a round may take; beyond that a new Hessian is cheaper
NEAR = 1e-2  # of the gradient at zero: where L-BFGS hands a start from far away over to Newton
LONGEST = 20_000  # iterations of L-BFGS

Value = Callable[[Tensor], tuple[Tensor, Tensor]]
Derivative = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class NewtonSolution:
    """`x` (d,), its gradient's norm `residual`, whether that is within the tolerance, and the passes it all cost."""

    x: Tensor
    residual: float
    converged: bool
    passes: int


def minimise(
    value_and_gradient: Value,
    gradient: Derivative,
    hessian: Derivative | None,
    start: Tensor,
    solve: Derivative | None,
    *,
    tol: float,
) -> NewtonSolution:
    """Minimise a strongly convex function until `||gradient(x)|| <= tol`.

    Args:
        value_and_gradient, gradient, hessian: at a point (d,); each call is one pass. Without a hessian, L-BFGS alone.
        start: (d,). solve: the inverse of a Hessian near `start`, as a product, if there is one.
        tol: absolute.
    """
    passes = 0
    if hessian is None or solve is None:
        near = tol
        if hessian is not None:  # measured from zero, so that a start that is near already needs no L-BFGS
            near = max(tol, NEAR * float(torch.linalg.vector_norm(gradient(torch.zeros_like(start)))))
            passes += 1
        far = lbfgs.minimise(value_and_gradient, start, tol=near, max_iterations=LONGEST)
        start, passes = far.x, passes + far.evaluations
        if hessian is None or far.residual <= tol:
            return NewtonSolution(far.x, far.residual, far.converged, passes)
    by_newton = _rounds(gradient, hessian, start, solve, tol)
    passes += by_newton.passes
    if by_newton.converged:
        return NewtonSolution(by_newton.x, by_newton.residual, True, passes)
    last = lbfgs.minimise(value_and_gradient, by_newton.x, tol=tol, max_iterations=LONGEST)
    return NewtonSolution(last.x, last.residual, last.converged, passes + last.evaluations)


def _rounds(
    gradient: Derivative, hessian: Derivative, start: Tensor, solve: Derivative | None, tol: float
) -> NewtonSolution:
    x, residual, passes = start, float("inf"), 0
    for _ in range(ROUNDS):
        if solve is None:
            solve, passes = partial(woodbury.solve, woodbury.cholesky(hessian(x))), passes + 1
        chord = chord_newton(gradient, solve, x, tol=tol, max_iterations=GRADIENTS)
        passes += chord.gradients
        stalled = chord.residual > residual / 2
        x, residual, solve = chord.x, chord.residual, None
        if chord.converged or stalled:
            break
    return NewtonSolution(x, residual, residual <= tol, passes)
