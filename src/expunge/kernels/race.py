"""The first row to arrive in an exponential race: a draw in proportion to weights that a removed loser cannot change.

Row i arrives at E_i / w_i with E_i = -log u_i; the first is row i with probability w_i / sum w (the Gumbel-max trick in
another dress: log w_i - log E_i is the Gumbel score). Each arrival is a function of its own row, so taking out a row
that did not win leaves the winner as it was. Ties, and rows of weight 0 among themselves, go by E_i, then by key.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Keys = NDArray[np.uint64]


def first(uniforms: Floats, weights: Floats, keys: Keys) -> int:
    """The position of the first to arrive; -1 where no row takes part.

    Args:
        uniforms: (n,), in (0, 1). weights: (n,); a row of negative weight takes no part. keys: (n,), all different.
    """
    return int(_first(uniforms, weights, keys))


def first_in_python(uniforms: Floats, weights: Floats, keys: Keys) -> int:
    """`first`, in plain Python (numpy's logarithm may differ in its last bit from that of the mathematics library)."""
    exponentials = [-math.log(u) for u in uniforms.tolist()]
    weighted = zip(exponentials, weights.tolist(), strict=True)
    arrivals = [e / w if w > 0 else math.inf for e, w in weighted]
    runners = [i for i in range(len(keys)) if weights[i] >= 0]
    return min(runners, key=lambda i: (arrivals[i], exponentials[i], int(keys[i])), default=-1)


@njit(cache=True, nogil=True, error_model="numpy")
def _first(uniforms: Any, weights: Any, keys: Any) -> int:
    best, best_arrival, best_exponential = -1, np.inf, np.inf
    for i in range(len(keys)):
        weight = weights[i]
        if weight >= 0.0:
            exponential = -math.log(uniforms[i])
            arrival = exponential / weight if weight > 0.0 else np.inf
            if best >= 0:
                if arrival > best_arrival:
                    continue
                if arrival == best_arrival:
                    if exponential > best_exponential:
                        continue
                    if exponential == best_exponential and keys[i] > keys[best]:
                        continue
            best, best_arrival, best_exponential = i, arrival, exponential
    return best
