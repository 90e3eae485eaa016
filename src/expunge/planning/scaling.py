"""How a cost grows with the rows: what a few small runs foretell of a large one.

Two laws go through the last three runs, m rows the largest and t(m) its cost,

    power:  t(n) = t(m) (n / m)^a,   a the slope of log t against log n, held to [0, 3]
    line:   t(n) = t(m) + b (n - m), b the slope of t against n, at least 0

A power law takes an overhead that does not grow for slow growth, and is too low; a line takes growth that slows down
for steady growth, and is too high. So the geometric mean of the two is foretold, and where a is 1 or more the power
law alone. The laws are measured, never taken from a list of methods: what a step really costs shows in its runs.
Stated accuracy: within a factor of `FACTOR` where no more than `REACH` times the largest run is foretold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from expunge.audits.metrics import Floats

STEEPEST = 3.0
FACTOR, REACH = 3.0, 30.0
NOUGHT = 1e-9
LAST = 3  # runs that the slope is read off


@dataclass(frozen=True)
class Law:
    """Both laws, anchored at the largest run: `cost` at `rows`, the slope of the power law, and that of the line."""

    rows: int
    cost: float
    slope: float
    per_row: float = 0.0

    @classmethod
    def through(cls, rows: Sequence[int], costs: Sequence[float]) -> Law:
        """The law through the last of runs of rising size; a single one is taken to grow as the rows do."""
        if max(costs) <= NOUGHT:
            return cls(rows[-1], costs[-1], 0.0)
        if len(rows) < 2:
            return cls(rows[-1], costs[-1], 1.0, costs[-1] / rows[-1])
        last = slice(-LAST, None)  # the first ones pay for what does not grow
        n, t = np.asarray(rows[last], dtype=np.float64), np.maximum(costs[last], NOUGHT)
        return cls(rows[-1], costs[-1], min(max(_slope(np.log(n), np.log(t)), 0.0), STEEPEST), max(_slope(n, t), 0.0))

    def at(self, rows: int) -> float:
        """The cost foretold for so many rows."""
        power = self.cost * math.pow(rows / self.rows, self.slope)
        line = self.cost + self.per_row * (rows - self.rows)
        return power if self.slope >= 1 or line <= 0 else math.sqrt(power * line)

    def is_far(self, rows: int) -> bool:
        """Whether that is further from the largest run than the stated accuracy holds."""
        return rows > REACH * self.rows

    def words(self, rows: int) -> str:
        """How it is known: the largest run, the slope, and whether it is far from there."""
        far = "; a far extrapolation" if self.is_far(rows) else ""
        return f"small runs up to {self.rows:,} rows, n^{self.slope:.1f}{far}"


def _slope(x: Floats, y: Floats) -> float:
    """Of y against x, by least squares."""
    x = x - x.mean()
    return float((x * y).sum() / (x * x).sum())
