"""How near to retraining it brings a model to take on the change of its first blocks, and none of the later ones.

Two trainings part at block 0; e_n is the difference of their weights after n blocks, and both end with block N. To add
e_n to the end of the old one leaves the distance |e_n - e_N| to the end of the new one; doing nothing leaves |e_N|:

    |e_n - e_N|^2 / |e_N|^2 = 1 - (2 s(n, N) - 1) |e_n|^2 / |e_N|^2,    s(m, n) = <e_m, e_n> / |e_m|^2,

with s the survival of e_m until block n. It is nearer if and only if more than half of e_n survives, and much nearer
only if e_N is not many times as long. After n blocks, s(m, n) and |e_m| are known for m <= n, and are forecast by

    s(m, n) = (m / n)^c exp(-k (n - m)),    |e_m| / |e_n| = (m / n)^g,    c, k, g >= 0:

an old change lives longer and grows less than a young one, in proportion to its age, and a penalty on the weights takes
the same share of it in every block. The exponents are the least squares of the logarithms for m from n/5 to n - 1; the
first blocks hold what a change of batches did there and then. That is a model, not a bound.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

LEAST = 1e-3  # a survival has a logarithm: it is taken to be at least this


def survival(earlier: Tensor, later: Tensor) -> float:
    """s: how much of the change `earlier` (d,) is left in `later` (d,); 0 where there was none."""
    square = float(earlier @ earlier)
    return float(earlier @ later) / square if square else 0.0


def survival_to(end: int, known: Sequence[float]) -> float:
    """The forecast of s(n, N), at most 1.

    Args:
        end: N. known: s(1, n), .., s(n, n); n >= 2.
    """
    from scipy.optimize import nnls  # slow to import

    m, n = _past(known), len(known)
    left = np.log(np.maximum(known[m[0] - 1 : n - 1], LEAST))
    (c, k), _ = nnls(np.stack([np.log(m / n), m - n], axis=1), left)
    return float((n / end) ** c * math.exp(-k * (end - n)))


def growth_to(end: int, lengths: Sequence[float]) -> float:
    """The forecast of |e_N| / |e_n|, at least 1: that a change will shrink by itself is not taken for granted.

    Args:
        end: N. lengths: |e_1|, .., |e_n|; n >= 2.
    """
    m, n = _past(lengths), len(lengths)
    logs = np.log(np.maximum(lengths, np.finfo(np.float64).tiny))
    x, y = np.log(m / n), logs[m - 1] - logs[-1]
    return float((end / n) ** max(x @ y / (x @ x), 0.0))


def distance_ratio(survives: float, growth: float) -> float:
    """|e_n - e_N| / |e_N| of s(n, N) and |e_N| / |e_n|."""
    return math.sqrt(max(1 - (2 * survives - 1) / growth**2, 0.0))


def _past(known: Sequence[float]) -> NDArray[np.int64]:
    """M from n/5 to n - 1."""
    return np.arange(math.ceil(len(known) / 5), len(known))
