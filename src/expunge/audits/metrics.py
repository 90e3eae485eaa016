"""How good one model is, as pure functions of arrays, and what K retrained models gave: a `Band`.

Notation of Mercuri et al. 2022, section 2: theta^U unlearned, theta^* retrained on the retained rows with
the same procedure, M a measure of performance on test rows, M_u the same on the forgotten ones. Every function takes
float64 arrays; a classification's outputs are log-probabilities (n, classes).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from expunge.maths.performance import Floats, Integers, accuracy, mean_loss, r2, rmse

__all__ = ["Band", "Floats", "Integers", "accuracy", "adjusted_rand", "mean_loss", "r2", "rmse"]

LEVEL = 0.99  # of the interval in which one more retrained model would fall


@dataclass(frozen=True)
class Band:
    """What K retrained models gave: their `low`, `median`, `high`, `mean` and standard deviation `spread`."""

    low: float
    median: float
    high: float
    mean: float
    spread: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Band | None:
        """The band of at least two values; None for fewer."""
        if len(values) < 2:
            return None
        array = np.asarray(values, dtype=np.float64)
        median, mean, spread = (float(f) for f in (np.median(array), array.mean(), array.std(ddof=1)))
        return cls(float(array.min()), median, float(array.max()), mean, spread, len(array))

    @property
    def interval(self) -> tuple[float, float]:
        """Where one more retrained model falls with probability 99 %, were the statistic normal.

        mean -+ t_{K-1} spread sqrt(1 + 1/K), and never narrower than [low, high]: of K + 1 honest models one in K + 1
        is the highest, so "outside [low, high]" alone would accuse every sixth honest model at K = 5.
        """
        reach = float(stdtrit(self.count - 1, (1 + LEVEL) / 2)) * self.spread * math.sqrt(1 + 1 / self.count)
        return min(self.low, self.mean - reach), max(self.high, self.mean + reach)

    @property
    def share(self) -> tuple[float, float]:
        """`interval` of a statistic that lies in [0, 1], such as an area under a curve."""
        low, high = self.interval
        return max(0.0, low), min(1.0, high)


def adjusted_rand(first: Integers, second: Integers) -> float:
    """How far two clusterings of the same rows agree, whatever they call their clusters: 1 if wholly, 0 by chance.

    (B - E) / ((A_1 + A_2) / 2 - E) with E = A_1 A_2 / P: of all P pairs of rows, A_1 share a cluster in the first, A_2
    in the second, B in both (Hubert & Arabie 1985). 1 where both have one cluster only, or each row its own.
    """
    together = np.zeros((int(first.max()) + 1, int(second.max()) + 1))
    np.add.at(together, (first, second), 1.0)
    both, one, other = (float(np.sum(n * (n - 1) / 2)) for n in (together, together.sum(axis=1), together.sum(axis=0)))
    pairs = len(first) * (len(first) - 1) / 2
    expected = one * other / pairs if pairs else 0.0
    most = (one + other) / 2
    return (both - expected) / (most - expected) if most > expected else 1.0
