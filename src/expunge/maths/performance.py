"""How well a model predicts, as pure functions of its outputs: log-probabilities (n, classes), or values (n, k)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.integer[Any]]

LOG_FLOOR = math.log(1e-12)  # a probability of 0 (an outvoted class) counts as 1e-12 where a logarithm is averaged


def accuracy(log_p: Floats, y: Integers) -> float:
    """Share of rows whose most probable class is y."""
    return float(np.mean(log_p.argmax(axis=1) == y))


def mean_loss(log_p: Floats, y: Integers) -> float:
    """Mean cross-entropy -log p_y, with p floored at 1e-12."""
    return float(np.mean(losses(log_p, y)))


def losses(log_p: Floats, y: Integers) -> Floats:
    """Each row's cross-entropy -log p_y, (n,), with p floored at 1e-12."""
    return -np.maximum(log_p[np.arange(len(y)), y], LOG_FLOOR)


def rmse(values: Floats, y: Floats) -> float:
    """Root of the mean squared error."""
    return float(np.sqrt(np.mean((values - y) ** 2)))


def r2(values: Floats, y: Floats) -> float:
    """Coefficient of determination 1 - SS_residual / SS_total; 0 where y does not vary."""
    total = float(np.sum((y - y.mean(axis=0)) ** 2))
    return 1.0 - float(np.sum((values - y) ** 2)) / total if total > 0 else 0.0
