"""Receiver operating characteristic: how well scores tell two sets of rows apart, members from others.

A higher score says "member". The area (AUC) is an average over all thresholds and hides the few rows an attacker is
sure of, so the share of members found at a false positive rate of 1 % or 0.1 % stands beside it (Carlini et al. 2022).
A rate below 1/n of n others cannot be measured: then only what lies above all of them counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv, ndtri

from expunge.audits.metrics import Floats

POWER, LEVEL = 0.8, 0.05  # of the smallest detectable effect


@dataclass(frozen=True)
class Separation:
    """How well an attack told `members` rows from `others`.

    Attributes:
        auc: area under the curve. interval: its 95 % interval (`auc_interval`).
        tpr_at_1_percent, tpr_at_0_1_percent: the share of members found at that share of others wrongly accused.
    """

    auc: float
    interval: tuple[float, float]
    tpr_at_1_percent: float
    tpr_at_0_1_percent: float
    members: int
    others: int

    @classmethod
    def of(cls, members: Floats, others: Floats) -> Separation:
        """Of scores (m,) and (n,), both at least 1."""
        at = [tpr_at(members, others, rate) for rate in (0.01, 0.001)]
        return cls(auc(members, others), auc_interval(members, others), at[0], at[1], len(members), len(others))


@dataclass(frozen=True, eq=False)
class Curve:
    """Points of a ROC curve from (0, 0) to (1, 1), each (k,): every row of score at least `threshold` is accused."""

    fpr: Floats
    tpr: Floats
    threshold: Floats


def curve(members: Floats, others: Floats) -> Curve:
    """The whole curve; equal scores are one step."""
    thresholds = np.unique(np.concatenate([members, others]))[::-1]
    shares = [(len(side) - np.searchsorted(np.sort(side), thresholds)) / len(side) for side in (others, members)]
    fpr, tpr = (np.concatenate([[0.0], share]) for share in shares)
    return Curve(fpr, tpr, np.concatenate([[np.inf], thresholds]))


def tpr_at(members: Floats, others: Floats, fpr: float) -> float:
    """The share of members above a threshold that at most `fpr` of the others pass; equal scores never help."""
    allowed = math.floor(fpr * len(others) + 1e-9)
    if allowed >= len(others):
        return 1.0
    threshold = np.sort(others)[len(others) - 1 - allowed]
    return float(np.mean(members > threshold))


def share_interval(hits: int, of: int, level: float = 0.95) -> tuple[float, float]:
    """Confidence interval of a share, exact (Clopper & Pearson 1934): it covers at least `level`, always."""
    tail = (1 - level) / 2
    low = float(betaincinv(hits, of - hits + 1, tail)) if hits else 0.0
    return low, float(betaincinv(hits + 1, of - hits, 1 - tail)) if hits < of else 1.0


def auc(members: Floats, others: Floats) -> float:
    """Area under the ROC curve: P(member's score > other's) + P(equal) / 2 (Mann & Whitney)."""
    ranks = _ranks(np.concatenate([members, others]))
    m, n = len(members), len(others)
    return float((ranks[:m].sum() - m * (m + 1) / 2) / (m * n))


def auc_interval(members: Floats, others: Floats, level: float = 0.95) -> tuple[float, float]:
    """Confidence interval of `auc` over the draw of both sets of rows, by DeLong's variance (1988, equation 3).

    With fewer than two rows on a side it is [0, 1]: nothing is known. A variance of 0 (complete separation) is replaced
    by that of one exchanged pair, so that few rows never give an interval of no width.
    """
    m, n = len(members), len(others)
    if min(m, n) < 2:
        return 0.0, 1.0
    joint = _ranks(np.concatenate([members, others]))
    above_others = (joint[:m] - _ranks(members)) / n
    above_members = 1.0 - (joint[m:] - _ranks(others)) / m
    variance = float(np.var(above_others, ddof=1) / m + np.var(above_members, ddof=1) / n)
    error = math.sqrt(max(variance, 1.0 / (m * n) ** 2))
    area, reach = auc(members, others), float(ndtri((1 + level) / 2)) * error
    return max(0.0, area - reach), min(1.0, area + reach)


def smallest_detectable(members: int, others: int) -> float:
    """The smallest |AUC - null| that a one-sided test at 5 % finds with power 80 %.

    (z_.95 + z_.80) sqrt((m + n + 1) / (12 m n)), the deviation of `auc` where both sets have one distribution. Above
    0.5 no area can be far enough from chance: the attack has no power at all.
    """
    deviation = math.sqrt((members + others + 1) / (12 * members * others))
    return float(ndtri(1 - LEVEL) + ndtri(POWER)) * deviation


def _ranks(values: Floats) -> Floats:
    """Ranks from 1, shape (n,); equal values share the mean of theirs."""
    ordered = np.sort(values)
    first, behind = (np.searchsorted(ordered, values, side=side) for side in ("left", "right"))
    return np.asarray((first + behind + 1) / 2, dtype=np.float64)
