"""How a cost grows with the rows: a power law through a few small runs, and what it foretells of a large one.

    t(n) = t(m) (n / m)^a,   a the slope of log t against log n by least squares over the last three, m the largest

held to [0, 3]: no method here gets cheaper with more rows, and none is worse than cubic in them. The law is measured,
never taken from a list of methods; a method that runs to a tolerance, or whose step depends on k alone, shows that in
its slope. Stated accuracy: within a factor of `FACTOR` where no more than `REACH` times the largest run is foretold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

STEEPEST = 3.0
FACTOR, REACH = 3.0, 30.0
NOUGHT = 1e-9
LAST = 3  # runs that the slope is read off


@dataclass(frozen=True)
class Law:
    """A power law anchored at its largest run: `cost` at `rows`, and its slope."""

    rows: int
    cost: float
    slope: float

    @classmethod
    def through(cls, rows: Sequence[int], costs: Sequence[float]) -> Law:
        """The law through the last of runs of rising size; a single one is taken to grow as the rows do."""
        if max(costs) <= NOUGHT:
            return cls(rows[-1], costs[-1], 0.0)
        if len(rows) < 2:
            return cls(rows[-1], costs[-1], 1.0)
        last = slice(-LAST, None)  # the first ones pay for what does not grow
        x, y = np.log(np.asarray(rows[last], dtype=np.float64)), np.log(np.maximum(costs[last], NOUGHT))
        x = x - x.mean()
        slope = float((x * y).sum() / (x * x).sum())
        return cls(rows[-1], costs[-1], min(max(slope, 0.0), STEEPEST))

    def at(self, rows: int) -> float:
        """The cost foretold for so many rows."""
        return self.cost * math.pow(rows / self.rows, self.slope)

    def is_far(self, rows: int) -> bool:
        """Whether that is further from the largest run than the stated accuracy holds."""
        return rows > REACH * self.rows

    def words(self, rows: int) -> str:
        """How it is known: the largest run, the slope, and whether it is far from there."""
        far = "; a far extrapolation" if self.is_far(rows) else ""
        return f"small runs up to {self.rows:,} rows, n^{self.slope:.1f}{far}"
