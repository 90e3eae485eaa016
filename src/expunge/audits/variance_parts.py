"""Where the spread of a figure comes from: the training's seed, the unlearning's, the evaluation's.

    y_{tue} = m + A_t + B_{tu} + C_{tue},    variances s_A^2, s_B^2, s_C^2

for T trainings, U unlearnings of each, E evaluations of each (a nested random-effects model; Searle, Casella &
McCulloch 1992, section 3.6). A paper that repeats one of the three and calls the spread an error bar leaves out the
others: with one training, s_A is nowhere. The standard error of the mean is

    sqrt(s_A^2 / T + s_B^2 / (T U) + s_C^2 / (T U E)).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from expunge import keyed
from expunge.audits.metrics import Floats
from expunge.errors import InputError
from expunge.method import Method, Release
from expunge.noise import NoiseKey
from expunge.rows import Rows


@dataclass(frozen=True)
class VarianceParts:
    """Standard deviations of the three parts (None where a part was not repeated), the mean and its standard error."""

    training: float | None
    unlearning: float | None
    evaluation: float | None
    mean: float
    error: float | None


def variance_parts(values: Floats) -> VarianceParts:
    """The parts of values (T, U, E): unbiased estimates by mean squares, cut off at 0.

    The error needs at least two trainings: it is sqrt(s^2 / T) of the T means, which holds whatever the parts are.

    Raises:
        InputError: the array has another number of axes, or is empty.
    """
    if values.ndim != 3 or not values.size:
        raise InputError(f"Values have shape {values.shape}; (trainings, unlearnings, evaluations) is needed.")
    of_unlearning, of_training = values.mean(axis=2), values.mean(axis=(1, 2))
    trainings, unlearnings, evaluations = values.shape
    c = float(values.var(axis=2, ddof=1).mean()) if evaluations > 1 else None
    b_mean = float(of_unlearning.var(axis=1, ddof=1).mean()) if unlearnings > 1 else None
    a_mean = float(of_training.var(ddof=1)) if trainings > 1 else None
    b = None if b_mean is None else max(b_mean - (c or 0.0) / evaluations, 0.0)
    # What the means of trainings vary by from below: unlearnings of each, or, with one of each, their evaluations.
    below = b_mean if b_mean is not None else (c or 0.0) / evaluations
    a = None if a_mean is None else max(a_mean - below / unlearnings, 0.0)
    error = None if a_mean is None else math.sqrt(a_mean / trainings)
    roots = [None if part is None else math.sqrt(part) for part in (a, b, c)]
    return VarianceParts(roots[0], roots[1], roots[2], float(values.mean()), error)


def repeated(
    method: Method[Any],
    rows: Rows,
    forgotten: Rows,
    evaluate: Callable[[Release, int], float],
    *,
    trainings: int,
    unlearnings: int = 1,
    evaluations: int = 1,
    seed: int = 0,
) -> Floats:
    """Values (T, U, E): learn `rows` T times, forget `forgotten` from each U times, evaluate each E times.

    Args:
        evaluate: (release, seed) -> the figure; its seed draws the rows that it looks at, for instance.
        seed: of the trainings' and evaluations' seeds, all independent. An unlearning varies by its noise key alone: a
            method that draws nothing secret in `forget` gives U equal releases, and its part is 0.
    """
    retained = rows.without(forgotten.ids)
    values = np.empty((trainings, unlearnings, evaluations))
    for t in range(trainings):
        record = method.learn(rows, seed=keyed.subseed(seed, "audit training", t), noise=NoiseKey.fresh(1))
        for u in range(unlearnings):
            done = method.forget(record, retained, forgotten, noise=NoiseKey.fresh(2))
            release = method.release(done.record)
            for e in range(evaluations):
                values[t, u, e] = evaluate(release, keyed.subseed(seed, "audit evaluation", t, u, e))
    return values
