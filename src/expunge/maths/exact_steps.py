"""Which steps of a trajectory are recomputed exactly: all at first, then one a period, which may follow a target error.

At an exact step the approximation costs no gradient more, so its error e is measured there: the distance between the
predicted and the true mean gradient. The difference of the two trajectories and its error obey one linear recursion,
driven by the forcing f (what the changed rows do to the gradient at equal weights) and by e: so e/f estimates the
error of the weights as a share of the do-nothing gap. Between exact steps the error grows from nothing to e, hence the
half. Everything is a function of the numbers given, so forgetting stays deterministic.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

LONGEST = 200  # steps from one exact one to the next
FADING = 0.5  # of what was measured before, at each exact step


@dataclass(frozen=True)
class ExactSteps:
    """The schedule, and what was measured on the way.

    Attributes:
        burn_in: j_0, the first steps, all exact. period: T_0, now. target: of the error's share, or None: T_0 stays.
        due: the next exact step after the burn-in. last: the last exact step, -1 before the first.
        error, force: sums of e and of f that fade. erred, forced: sums over the steps so far of both.
    """

    burn_in: int
    period: int
    target: float | None = None
    due: int = 0
    last: int = -1
    error: float = 0.0
    force: float = 0.0
    erred: float = 0.0
    forced: float = 0.0

    def is_due(self, step: int) -> bool:
        """Whether `step` must be exact."""
        return step < self.burn_in or step >= max(self.due, self.burn_in)

    def after(self, step: int, error: float | None, force: float) -> ExactSteps:
        """After an exact step; `error` of its prediction, or None where there was none to make."""
        told = replace(self, last=step, forced=self.forced + force * (step - self.last))
        if error is not None:
            told = replace(
                told,
                error=FADING * self.error + error,
                force=FADING * self.force + force,
                erred=self.erred + error * (step - self.last - 1) / 2,
            )
        if step < self.burn_in or not self.is_due(step):  # a step forced by a refusal does not shift the others
            return told
        period = told.next_period()
        return replace(told, period=period, due=step + period)

    def next_period(self) -> int:
        """Halved where the error is above the target, one longer where it is below half of it."""
        if self.target is None or self.force <= 0:
            return self.period
        share = self.error / self.force / 2
        if share > self.target:
            return max(1, self.period // 2)
        return min(LONGEST, self.period + 1) if share < self.target / 2 else self.period

    @property
    def estimated_share(self) -> float:
        """The estimated error, as a share of the do-nothing gap; nan before anything was measured."""
        return self.erred / self.forced if self.forced > 0 else math.nan
