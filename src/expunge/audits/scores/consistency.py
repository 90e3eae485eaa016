"""Consistency: how near the model is to one retrained without the rows, in its weights, its answers, its probabilities.

Mercuri et al. 2022, section 2: Consistency_theta, Consistency_y, Consistency_KL. A figure alone says nothing: for one
deletion nearly all predictions agree whatever was done. So each is set beside the same figure of doing nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from torch import Tensor

from expunge.maths.performance import LOG_FLOOR, Floats


def weight_distance(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> float | None:
    """Consistency_theta: ||theta^U - theta^*||_2 over the floating-point tensors of two releases.

    None where the names or shapes differ (a release that holds rows, say): then weights are not comparable.
    """
    left, right = ({name: t for name, t in side.items() if t.is_floating_point()} for side in (first, second))
    if not left or {n: t.shape for n, t in left.items()} != {n: t.shape for n, t in right.items()}:
        return None
    squares = [float((left[name].double() - right[name].double()).square().sum()) for name in sorted(left)]
    return math.sqrt(math.fsum(squares))


def share_of_nothing(own: float, nothing: float) -> float | None:
    """||theta^U - theta^*|| / ||theta_D - theta^*||: 0 is retraining, 1 is doing nothing; None if they are the same."""
    return own / nothing if nothing > 0 else None


def equal_predictions(first: Floats, second: Floats) -> float:
    """Consistency_y: share of rows on which two classifiers say the same; on forgotten rows also "completeness".

    Args:
        first, second: scores (n, classes). Completeness: Cao & Yang 2015, section 3.3.
    """
    return float(np.mean(first.argmax(axis=1) == second.argmax(axis=1)))


def kl(log_p: Floats, log_q: Floats) -> float:
    """Consistency_KL: E_x KL(p(x) || q(x)) in nats, both floored at 1e-12; p unlearned, q retrained."""
    floored_p, floored_q = np.maximum(log_p, LOG_FLOOR), np.maximum(log_q, LOG_FLOOR)
    return float(np.mean(np.sum(np.exp(log_p) * (floored_p - floored_q), axis=1)))
