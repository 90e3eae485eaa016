"""Scikit-learn's handwritten digits as the benchmarks use them; it measures nothing itself."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

from expunge import Rows


def odd_or_even() -> tuple[Rows, Rows]:
    """Odd against even, every row of norm 1: 1,437 rows to learn and 360 to test."""
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    x, y = data.data[order] / 16.0 - 0.5, data.target[order] % 2
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return Rows.of(x[:1437], y[:1437], classes=2), Rows.of(x[1437:], y[1437:], classes=2)
