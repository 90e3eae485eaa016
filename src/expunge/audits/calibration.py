"""How far models lie from honest retraining, by comparison with K retrained models: p-value, interval, least effect.

The null hypothesis is that the audited models are retrained models: that the T audited and the K references come from
one law, independently. Then all T + K are *exchangeable*: any T of them could as well have been the audited ones, and
the share of such choices with a statistic at least as large as the observed one is a valid p-value whatever the law is
(Phipson & Smyth 2010; Hemerik & Goeman 2018, theorem 2). That is all it rests on, and what can break it is: a seed that
audited and reference models share, references that saw other rows, a statistic that treats the audited model otherwise
than a reference (compare each model with all others, never an audited one with K and a reference with K - 1),
hyperparameters chosen by looking at one side. With T = 1 no p-value is below 1 / (K + 1): K >= 19 reaches 0.05.

The interval and the least effect are of a t statistic: for them the law must be near normal.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import nctdtrinc, stdtrit

from expunge.audits.metrics import Floats

Alternative = Literal["two-sided", "greater", "less"]

ENUMERATED = 20_000  # arrangements; beyond, DRAWN of them are drawn
DRAWN = 9_999
LEVEL, POWER = 0.05, 0.8
TIE = 1e-9  # of the statistic's scale: nearer ones are equal up to rounding


@dataclass(frozen=True)
class Calibration:
    """One statistic of T audited models beside K references.

    Attributes:
        p_value: of "these are retrained models". least_p: the smallest that so many models can give.
        effect: mean of the audited minus mean of the references. interval: its 95 % confidence interval.
        smallest_effect: that a test at 5 % finds with probability 80 %, of either sign: smaller ones stay unseen.
    """

    p_value: float
    least_p: float
    effect: float
    interval: tuple[float, float]
    smallest_effect: float


def calibrate(
    audited: Sequence[float], references: Sequence[float], alternative: Alternative = "two-sided"
) -> Calibration | None:
    """Calibrate a statistic that each model has for itself; None where that says nothing.

    That is with fewer than two references, no audited model, or a value that is not finite.
    """
    values = np.asarray([*audited, *references], dtype=np.float64)
    if not len(audited) or len(references) < 2 or not np.isfinite(values).all():
        return None
    chosen = arrangements(len(audited), len(values))
    means = values[chosen].mean(axis=1)
    others = (values.sum() - means * len(audited)) / len(references)
    return _calibration(means - others, audited, references, alternative, values)


def calibrate_distances(distances: Floats, audited: int, alternative: Alternative = "greater") -> Calibration | None:
    """Calibrate a measure of two models, given for every pair (n, n) of the audited (first) and the references.

    The statistic is the mean over pairs of an audited model and a reference, minus the mean over pairs of references;
    both are found anew for every choice of which models are the audited ones.
    """
    count = len(distances)
    if audited < 1 or count - audited < 2 or not np.isfinite(distances).all():
        return None
    chosen = arrangements(audited, count)
    is_audited = np.zeros((len(chosen), count))
    np.put_along_axis(is_audited, chosen, 1.0, axis=1)
    off = np.where(np.eye(count, dtype=bool), 0.0, (distances + distances.T) / 2)
    to_audited, to_rest = is_audited @ off, (1 - is_audited) @ off
    rest = count - audited
    between = ((1 - is_audited) * to_audited).sum(axis=1) / (audited * rest)
    within = ((1 - is_audited) * to_rest).sum(axis=1) / (rest * (rest - 1))
    own = off[:audited, audited:].mean(axis=1)
    honest = off[audited:, audited:].sum(axis=1) / (rest - 1)
    return _calibration(between - within, own, honest, alternative, off)


def arrangements(audited: int, count: int) -> NDArray[np.int64]:
    """Choices (m, audited) of which of `count` models are the audited ones, the observed one (the first) first.

    All of them where they are few, else `DRAWN` random ones beside the observed, from a fixed seed.
    """
    if math.comb(count, audited) <= ENUMERATED:
        return np.asarray(list(itertools.combinations(range(count), audited)), dtype=np.int64)
    generator = np.random.default_rng(0)
    drawn = [generator.permutation(count)[:audited] for _ in range(DRAWN)]
    return np.asarray([np.arange(audited), *drawn], dtype=np.int64)


def smallest_effect(spread: float, audited: int, references: int) -> float:
    """The least true effect that a two-sided t test at 5 % finds with probability 80 %.

    nc s sqrt(1/T + 1/K), nc the non-centrality at which the t statistic with T + K - 2 degrees of freedom passes its
    97.5 % point with probability 0.8.
    """
    freedom = audited + references - 2
    point = float(stdtrit(freedom, 1 - LEVEL / 2))
    return float(nctdtrinc(freedom, 1 - POWER, point)) * spread * math.sqrt(1 / audited + 1 / references)


def _calibration(
    statistics: Floats, audited: Sequence[float] | Floats, references: Sequence[float] | Floats,
    alternative: Alternative, scale: Floats,
) -> Calibration:  # fmt: skip
    statistics = {"two-sided": np.abs(statistics), "greater": statistics, "less": -statistics}[alternative]
    slack = TIE * float(np.abs(scale).max(initial=0.0))
    p_value = float(np.mean(statistics >= statistics[0] - slack))
    own, honest = np.asarray(audited, dtype=np.float64), np.asarray(references, dtype=np.float64)
    effect = float(own.mean() - honest.mean())
    freedom = len(own) + len(honest) - 2
    squares = float(((own - own.mean()) ** 2).sum() + ((honest - honest.mean()) ** 2).sum())
    spread = math.sqrt(squares / freedom)
    reach = float(stdtrit(freedom, 1 - LEVEL / 2)) * spread * math.sqrt(1 / len(own) + 1 / len(honest))
    return Calibration(
        p_value,
        1 / len(statistics),
        effect,
        (effect - reach, effect + reach),
        smallest_effect(spread, len(own), len(honest)),
    )
