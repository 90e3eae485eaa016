"""What two error rates of an attack say about (epsilon, delta) and mu, and how sure a counted rate is.

An attack names an event S. FPR = Q(S) and FNR = 1 - P(S), P and Q the two laws compared. Functions take floats or
arrays and broadcast.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import betaincinv, ndtri

from expunge.audits.metrics import Floats

Rate = float | Floats


def epsilon_of_rates(fpr: Rate, fnr: Rate, delta: float) -> Floats:
    """The smallest epsilon >= 0 that both rates allow.

    max(ln((1 - delta - FPR) / FNR), ln((1 - delta - FNR) / FPR), 0): both directions of P(S) <= e^epsilon Q(S) + delta,
    for S and for its complement (Kairouz, Oh & Viswanath 2015, theorem 2.1). No errors at all give infinity.
    """
    first, second = np.asarray(fpr, dtype=np.float64), np.asarray(fnr, dtype=np.float64)
    return np.maximum(np.maximum(_log_ratio(first, second, delta), _log_ratio(second, first, delta)), 0.0)


def mu_of_rates(fpr: Rate, fnr: Rate) -> Floats:
    """The smallest mu >= 0 that both rates allow: Phi^-1(1 - FPR) - Phi^-1(FNR) (Dong, Roth & Su 2022, equation 6)."""
    return np.asarray(np.maximum(ndtri(1.0 - np.asarray(fpr)) - ndtri(np.asarray(fnr)), 0.0), dtype=np.float64)


def upper_rate(errors: Any, trials: Any, level: float) -> Floats:
    """The largest error rate that `errors` of `trials` leave possible, at one-sided confidence `level`.

    The quantile of Beta(errors + 1, trials - errors); 1 where every trial failed (Clopper & Pearson 1934).
    """
    k, n = np.asarray(errors, dtype=np.float64), np.asarray(trials, dtype=np.float64)
    return np.where(k >= n, 1.0, betaincinv(k + 1, np.maximum(n - k, 1e-300), level))


def cut_points(first: Floats, second: Floats) -> Floats:
    """Ends of every event that tells the values apart: -inf, the values, inf; (c,) in order."""
    return np.concatenate([[-np.inf], np.unique(np.concatenate([first, second])), [np.inf]])


def counts_inside(values: Floats, cuts: Floats) -> Floats:
    """How many values lie in (cuts[i], cuts[j]], shape (c, c); 0 where j <= i."""
    below = np.searchsorted(np.sort(values), cuts, side="right").astype(np.float64)
    return np.maximum(below[None, :] - below[:, None], 0.0)


def _log_ratio(used: Floats, other: Floats, delta: float) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        top = np.maximum(1.0 - delta - used, 0.0)
        return np.where(top > 0, np.log(top) - np.log(other), -np.inf)
