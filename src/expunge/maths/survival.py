"""How much of the change that a training took on survives what it has still to learn.

Two trainings part at block 0; e_n is the difference of their weights after n blocks, and both end with block N. To add
e_n to the end of the old one is nearer to the end of the new one than the old end itself,

    |e_n - e_N| < |e_N|    if and only if    s(n, N) > 1/2,    s(m, n) = <e_m, e_n> / |e_m|^2,

the survival of e_m until block n: both sides say |e_n|^2 < 2 <e_n, e_N>. After n blocks only the s(m, n) with m < n are
known. Two laws are fitted to them together,

    s(m, n) = (m / n)^c exp(-k (n - m)),    c, k >= 0:

an old change lives longer than a young one, in proportion to its age (networks do so), and a penalty on the weights
takes the same share of it in every block. c and k are the non-negative least squares of the logarithms, for m from n/5
to n - 1; the first blocks hold what a change of batches did there and then. That is a model, not a bound.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from torch import Tensor

LEAST = 1e-3  # a survival has a logarithm: it is taken to be at least this


def survival(earlier: Tensor, later: Tensor) -> float:
    """s: how much of the change `earlier` (d,) is left in `later` (d,); 0 where there was none."""
    square = float(earlier @ earlier)
    return float(earlier @ later) / square if square else 0.0


def survival_to(end: int, known: Sequence[float]) -> float:
    """The estimate of s(n, N), at most 1; nan where n < 2, as there is no past to judge from.

    Args:
        end: N. known: s(1, n), .., s(n, n).
    """
    from scipy.optimize import nnls  # slow to import

    n = len(known)
    if n < 2:
        return math.nan
    m = np.arange(math.ceil(n / 5), n)
    left = np.log(np.maximum(known[m[0] - 1 : n - 1], LEAST))
    (c, k), _ = nnls(np.stack([np.log(m / n), m - n], axis=1), left)
    return float((n / end) ** c * math.exp(-k * (end - n)))
