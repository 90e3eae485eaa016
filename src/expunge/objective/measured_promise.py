"""A certificate from one measurement: the residual at weights, however found, held against a release's budget."""

from __future__ import annotations

from torch import Tensor

from expunge.budget import Budget
from expunge.certificate import Certified, View
from expunge.errors import MustRetrain
from expunge.objective.bounds import a_priori_distance, measured_distance
from expunge.objective.linear import LinearObjective
from expunge.rows import Rows


def measured_promise(
    objective: LinearObjective,
    budget: Budget,
    step: tuple[Tensor, Tensor],
    parts: tuple[Rows, Rows],
    release: int,
    assumptions: tuple[str, ...],
) -> tuple[Certified, dict[str, float]]:
    """The certificate of release number `release`, whose centre is the end of a step, and the figures behind it.

    Args:
        step: weights before and after, (d,) each. parts: the rows retained and forgotten.
        assumptions: beside what is measured here. The record is taken to keep the weights without noise.

    Raises:
        MustRetrain: the step may have ended further from the retained rows' minimiser than half of the distance.
    """
    (before, after), (retained, forgotten) = step, parts
    residual, bound = measured_distance(objective, after, retained)
    distance = budget.distance(release, len(after))
    if not bound <= distance / 2:
        raise MustRetrain(
            f"The step may have ended {bound:.3g} from the minimiser, and {distance / 2:.3g} is this release's: learn "
            "again, or take more slices, the full gradient, or more noise."
        )
    nothing = a_priori_distance(objective, before, len(retained), forgotten) <= distance
    promise = budget.certificate(release, len(after), assumptions, view=View.TRANSCRIPT, doing_nothing_meets_it=nothing)
    return promise, {"residual": residual, "bound": bound, "allowed": distance / 2}
