"""Sequential minimal optimisation: two variables at a time, the pair chosen by second-order gain (Fan et al. 2005).

    minimise 1/2 a'Qa - 1'a    over    0 <= a <= u, y'a = 0,        Q_ij = y_i y_j K_ij

With F = -y (Qa - 1), a is optimal to `tol` when the largest F that may go up exceeds the smallest that may go down by
at most `tol`.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
FLAT = 1e-12  # the least curvature of a pair


@numba.njit(nogil=True, cache=True)
def _pair(kernel: Any, y: Any, upper: Any, alpha: Any, gradient: Any) -> tuple[int, int, float]:
    """The pair to move, the first upwards along y, and how far they violate the conditions; -1 where there is none."""
    i, most = -1, -np.inf
    for k in range(len(y)):
        score = -y[k] * gradient[k]
        if ((y[k] > 0 and alpha[k] < upper[k]) or (y[k] < 0 and alpha[k] > 0)) and score > most:
            i, most = k, score
    j, least, best = -1, np.inf, 0.0
    for k in range(len(y)):
        if i >= 0 and ((y[k] > 0 and alpha[k] > 0) or (y[k] < 0 and alpha[k] < upper[k])):
            score = -y[k] * gradient[k]
            least = min(least, score)
            apart = max(most - score, 0.0)
            gain = apart * apart / max(kernel[i, i] + kernel[k, k] - 2 * kernel[i, k], FLAT)
            if gain > best:
                j, best = k, gain
    return i, j, most - least


@numba.njit(nogil=True, cache=True)
def minimise_in_pairs(
    kernel: Floats, y: Floats, upper: Floats, alpha: Floats, gradient: Floats, tol: float, limit: int
) -> int:
    """Steps taken; `alpha` (q,) and `gradient` (q,) of the objective are changed in place.

    Args:
        kernel: K (q, q). y: +1.0 or -1.0. upper: u. limit: the most steps.
    """
    for step in range(limit):
        i, j, violation = _pair(kernel, y, upper, alpha, gradient)
        if j < 0 or violation <= tol:
            return step
        room_i = upper[i] - alpha[i] if y[i] > 0 else alpha[i]
        room_j = alpha[j] if y[j] > 0 else upper[j] - alpha[j]
        apart = y[j] * gradient[j] - y[i] * gradient[i]
        move = min(apart / max(kernel[i, i] + kernel[j, j] - 2 * kernel[i, j], FLAT), room_i, room_j)
        alpha[i] = (upper[i] if y[i] > 0 else 0.0) if move == room_i else alpha[i] + y[i] * move
        alpha[j] = (0.0 if y[j] > 0 else upper[j]) if move == room_j else alpha[j] - y[j] * move
        for k in range(len(y)):
            gradient[k] += y[k] * (move * (kernel[i, k] - kernel[j, k]))
    return limit


def plain_minimise_in_pairs(
    kernel: Floats, y: Floats, upper: Floats, alpha: Floats, gradient: Floats, tol: float, limit: int
) -> int:
    """The twin of `minimise_in_pairs` in numpy: the same pairs, the same arithmetic."""
    for step in range(limit):
        score = -y * gradient
        up: Any = np.where(y > 0, alpha < upper, alpha > 0)
        down: Any = np.where(y > 0, alpha > 0, alpha < upper)
        if not up.any() or not down.any():
            return step
        i = int(np.where(up, score, -np.inf).argmax())
        apart = score[i] - score
        curvature = np.maximum(kernel[i, i] + np.diag(kernel) - 2 * kernel[i], FLAT)
        gain = np.where(down & (apart > 0), apart * apart / curvature, 0.0)
        j = int(gain.argmax())
        if gain[j] <= 0 or score[i] - score[down].min() <= tol:
            return step
        room_i = upper[i] - alpha[i] if y[i] > 0 else alpha[i]
        room_j = alpha[j] if y[j] > 0 else upper[j] - alpha[j]
        move = min((y[j] * gradient[j] - y[i] * gradient[i]) / curvature[j], room_i, room_j)
        alpha[i] = (upper[i] if y[i] > 0 else 0.0) if move == room_i else alpha[i] + y[i] * move
        alpha[j] = (0.0 if y[j] > 0 else upper[j]) if move == room_j else alpha[j] - y[j] * move
        gradient += y * (move * (kernel[i] - kernel[j]))
    return limit
