"""Distances of two classifiers' probabilities on the same rows: activation distance and Jensen-Shannon divergence.

Activation distance: mean L2 of softmax outputs (Golatkar et al. 2021, section 5). Jensen-Shannon: natural logarithm, so
at most ln 2 (Chundawat et al. 2023a). Zero means equal answers on these rows and says nothing of any others.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import xlogy

from expunge.audits.metrics import Floats


def activation_distance(log_p: Floats, log_q: Floats) -> float:
    """E_x ||p(x) - q(x)||_2, in [0, sqrt 2], of log-probabilities (n, classes)."""
    return float(np.mean(np.linalg.norm(np.exp(log_p) - np.exp(log_q), axis=1)))


def jensen_shannon(log_p: Floats, log_q: Floats) -> float:
    """E_x JS(p(x), q(x)) = E_x [KL(p || m) + KL(q || m)] / 2 with m = (p + q) / 2, in nats, at most ln 2."""
    p, q = np.exp(log_p), np.exp(log_q)
    middle = (p + q) / 2
    both = _entropy(middle) - (_entropy(p) + _entropy(q)) / 2
    return min(max(float(np.mean(both)), 0.0), math.log(2))


def _entropy(p: Floats) -> Floats:
    return np.asarray(-xlogy(p, p).sum(axis=1), dtype=np.float64)
