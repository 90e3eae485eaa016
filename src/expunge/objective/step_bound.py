"""How far a damped Newton step inside a ball may land from retraining, measured where it can be, asserted where not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from math import inf, nan

import torch
from torch import Tensor

from expunge.errors import Refused
from expunge.maths.constrained_newton import into_ball, lipschitz_at_least, step_distance
from expunge.maths.lanczos import lanczos
from expunge.objective.newton_step import NewtonStep
from expunge.objective.objective import Objective
from expunge.rows import Rows

SHARES = (0.1, 1.0)  # of the radius: how far from the weights the points lie that may refute a Lipschitz constant


@dataclass(frozen=True)
class StepBound:
    """A bound on the distance to retraining, and what doing nothing is bounded by (the ball's diameter).

    Attributes:
        distance: of the step. doing_nothing: of the weights it started from. smallest: what the least eigenvalue is at
            least (nan where no constant was asserted, and nothing was computed). lipschitz: the sampled lower bound.
    """

    distance: float
    doing_nothing: float
    smallest: float
    lipschitz: float

    @property
    def vacuous(self) -> bool:
        """Whether doing nothing is bounded by no more."""
        return not self.distance < self.doing_nothing

    def too_large(self, distance: float, noise_std: float) -> str:
        """Why it supports no certificate where the noise covers `distance` and a side has half; "" where it does."""
        said = f"The bound is {self.distance:.3g} and doing nothing is bounded by {self.doing_nothing:.3g}: vacuous"
        if self.vacuous:
            return f"{said} (no constant was asserted)." if math.isnan(self.smallest) else f"{said}."
        if self.distance <= distance / 2:
            return ""
        return f"{said} at noise_std={noise_std:.3g}, where it takes {noise_std * 2 * self.distance / distance:.3g}."

    @property
    def figures(self) -> dict[str, float]:
        """For the operator."""
        return {
            "bound": self.distance,
            "doing_nothing_bound": self.doing_nothing,
            "least_eigenvalue": self.smallest,
            "lipschitz_at_least": self.lipschitz,
        }


def step_bound(
    objective: Objective,
    w: Tensor,
    centre: Tensor,
    rows: Rows,
    step: NewtonStep,
    *,
    norm_bound: float,
    damping: float,
    hessian_lipschitz: float,
    gradient_bound: float,
    start: Tensor,
    lanczos_steps: int,
) -> StepBound:
    """The bound of `maths.constrained_newton` at w; infinite, and free of cost, where no constant was asserted.

    Args:
        w, centre: before and after the step, (d,). start: (d,) normals, drawn without looking at the rows.
        hessian_lipschitz, gradient_bound: M and G.

    Raises:
        Refused: two points of the ball show that M is larger than asserted.
    """
    nothing = 2 * norm_bound
    if max(norm_bound, hessian_lipschitz, gradient_bound) == inf:
        return StepBound(inf, nothing, nan, nan)
    away = start * (norm_bound / torch.linalg.vector_norm(start))
    others = [centre, *(into_ball(w + share * away, norm_bound) for share in SHARES)]
    lipschitz = lipschitz_at_least(lambda at: objective.hvp(at, rows), w, others, start)
    if lipschitz > hessian_lipschitz:
        raise Refused(
            f"hessian_lipschitz={hessian_lipschitz:.3g} was asserted, and two points of the ball show that it is at "
            f"least {lipschitz:.3g}: no certificate can rest on it. Assert a larger one, or none."
        )
    smallest = lanczos(objective.hvp(w, rows), start, steps=lanczos_steps).least
    distance = step_distance(norm_bound, hessian_lipschitz, damping, smallest, gradient_bound, step.residual)
    return StepBound(distance, nothing, smallest, lipschitz)
