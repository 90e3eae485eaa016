r"""The solution of a support vector machine as a function of its sets: what makes bits comparable.

At the optimum the rows are divided into S (0 < a < u, g = 0), E (a = u, g < 0) and O (a = 0, g > 0), with
g_i = y_i f(x_i) - 1. Given the sets, a_S and b solve

    [0    y_S' ] [b  ]   [-y_E'u_E       ]
    [y_S  Q_SS ] [a_S] = [1_S - Q_SE u_E ]

`polished` solves this system from the rows of S and E alone, in the order of their keys. So two roads that end at the
same sets end at the same bits, whatever happened on the way: an optimisation from zero, a path, a warm start.

Two roads end at the same sets where the optimum leaves no doubt. Let e be half the tolerance that learning can always
reach plus what rounding can hide, gamma the least |g| outside S, delta the least distance of a_S from 0 and u, rho
the spectral norm of the lower right block of the inverse of the matrix above (Q_SS is at least 1/rho on y_S's
complement), kappa^2 the largest K(x, x), c = sqrt(|S| rho). For *every* point a of violation at most 2e, with
d = a - a*, convexity gives

    gamma |d_N|_1 + |d|_Q^2 <= e |d|_1        (N: E and O)
    |d_S|_2 <= sqrt(rho) (|d|_Q + 2 kappa |d_N|_1) + |d_N|_1 / sqrt|S|

(the first from the conditions of a and of a*; the second splits d_S along y_S and across), hence |d_S|_1 <= c |d|_Q +
(2 kappa c + 1) |d_N|_1. If e (2 + 2 kappa c) <= gamma/2, then |d|_Q <= e c, |d_N|_1 <= (e c)^2 /
(2 gamma), and no weight of S is further off than sqrt(rho) (e c + 2 kappa |d_N|_1) + |d_N|_1. `_clear` asks that these
stay well below delta and below the threshold by which sets are read off a point. Then (1) the sets are those of the
unique optimum; (2) whoever learns reads the same sets off the point where descent stops, whichever that is. Every
number in it grows safer when a row outside S and E leaves, so such a row leaves without any computation.

What rounding can hide of g, a sum corrected at most twice by an eighth of it, is bounded as 8 u (sqrt(p) s + sqrt(|S| +
|E|) kappa^2) sum a, s being how an entry of K magnifies the error of its products (Higham & Mary 2019, theorem 3.1:
missed with a probability below 1e-13 where rounding errors are independent).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from expunge.errors import NotConverged
from expunge.maths.margin_dual import NEAR, Dual, Floats, Places, descend

EDGE = 1e-6  # share of a bound within which a weight is read as being there
TOLERANCES = (1e-3, 1e-5, 1e-7)
REPAIRS = 12  # rounds of the active-set iteration
ROUNDING = 2.0**-53


@dataclass(frozen=True, eq=False)
class Solution:
    """A solution: `alpha` (m,), `b`, places of S and E, and whether the sets are beyond doubt (`clear`).

    `steps` of two variables and `repairs` of sets say what it cost.
    """

    alpha: Floats
    b: float
    margin: Places
    bound: Places
    clear: bool
    steps: int = 0
    repairs: int = 0


def learned(dual: Dual, tol: float) -> Solution:
    """The clear solution, by descent from zero and set iteration; where there is none, the point where descent stops.

    The latter is a function of the rows too, but no other road leads there.

    Raises:
        NotConverged: descent did not reach `tol`.
    """
    clear, alpha, steps, reached = _descended(
        dual, (*(t for t in TOLERANCES if t > tol), tol), np.zeros(len(dual)), tol
    )
    if clear is not None:
        return clear
    if not reached:
        raise NotConverged(
            f"{steps} steps of two variables did not bring a support vector machine to tol={tol}: scale the columns, "
            "or lower cost, or raise tol."
        )
    score = -dual.y * dual.gradient(alpha)
    up, down = dual.may_move(alpha)
    b = (score[up].max() + score[down].min()) / 2
    return Solution(alpha, float(b), *sets_of(dual, alpha), False, steps)


def warm(dual: Dual, tol: float, start: Floats) -> Solution | None:
    """The clear solution, by descent from a feasible `start`; None where the first tolerances did not show it."""
    return _descended(dual, TOLERANCES, start, tol)[0]


def _descended(
    dual: Dual, stops: tuple[float, ...], alpha: Floats, tol: float
) -> tuple[Solution | None, Floats, int, bool]:
    steps, reached = 0, False
    for stop in stops:
        alpha, taken, reached = descend(dual, alpha, stop)
        steps += taken
        found = repaired(dual, *sets_of(dual, alpha), tol)
        if found is not None:
            return replace(found, steps=steps), alpha, steps, reached
    return None, alpha, steps, reached


def sets_of(dual: Dual, alpha: Floats) -> tuple[Places, Places]:
    """S and E as read off a point."""
    bound = alpha >= (1 - EDGE) * dual.upper
    return np.flatnonzero((alpha > EDGE * dual.upper) & ~bound), np.flatnonzero(bound)


def repaired(dual: Dual, margin: Places, bound: Places, tol: float) -> Solution | None:
    """The clear solution at these sets, or at those that they lead to; None where there is none.

    Rows of the wrong sign change sides until none does (a primal-dual active set iteration).
    """
    for repairs in range(REPAIRS):
        found = polished(dual, margin, bound)
        if found is None:
            return None
        alpha, b, _, _ = found
        g = dual.gradient(alpha) + dual.y * b
        inside, at_bound = np.zeros(len(dual), dtype=bool), np.zeros(len(dual), dtype=bool)
        inside[margin], at_bound[bound] = True, True
        low, high = inside & (alpha <= 0), inside & (alpha >= dual.upper)
        enters = ~inside & np.where(at_bound, g > 0, g < 0)
        if not (low.any() or high.any() or enters.any()):
            clear = _clear(dual, found, margin, bound, g, tol)
            return Solution(alpha, b, margin, bound, True, repairs=repairs) if clear else None
        margin = np.flatnonzero((inside & ~low & ~high) | enters)
        bound = np.flatnonzero((at_bound & ~enters) | high)
    return None


class Polished(NamedTuple):
    """`alpha` and `b` at given sets, `rho` (at most), and `off`: by how much their equations are missed."""

    alpha: Floats
    b: float
    rho: float
    off: float


def polished(dual: Dual, margin: Places, bound: Places) -> Polished | None:
    """The weights at these sets, from their rows alone; None where they do not determine them."""
    y, upper = torch.from_numpy(dual.y), torch.from_numpy(dual.upper)
    s, e = torch.from_numpy(margin), torch.from_numpy(bound)
    alpha = np.zeros(len(dual))
    alpha[bound] = dual.upper[bound]
    excess = -float((y[e] * upper[e]).sum())
    if not len(s):
        return Polished(alpha, _middle(dual, alpha, bound), 0.0, 0.0) if abs(excess) <= EDGE * dual.cost else None
    side, kernel = y[s], dual.block(s, s)
    kernel = (kernel + kernel.T) / 2
    right = 1.0 - side * (dual.block(s, e) @ (y[e] * upper[e]))
    shift = float(kernel.diagonal().mean()) or 1.0
    matrix = torch.outer(side, side) * (kernel + shift)  # Q_SS + shift y y': positive definite where a_S is determined
    factor, failed = torch.linalg.cholesky_ex(matrix)
    if int(failed):
        return None

    def solve(rhs: Tensor) -> Tensor:
        first = torch.cholesky_solve(rhs, factor)
        return first + torch.cholesky_solve(rhs - matrix @ first, factor)

    both = solve(torch.stack([right + shift * excess * side, side], 1))
    scale = float(side @ both[:, 1])
    if not scale > 0:
        return None
    b = (float(side @ both[:, 0]) - excess) / scale
    weights = both[:, 0] - b * both[:, 1]
    inverse = torch.cholesky_inverse(factor) - torch.outer(both[:, 1], both[:, 1]) / scale
    rho = min(float(torch.linalg.matrix_norm(inverse)), float(inverse.abs().sum(1).max()))
    if not (math.isfinite(rho) and bool(torch.isfinite(weights).all())):
        return None
    alpha[margin] = weights.numpy()
    gap = shift * (float(side @ weights) - excess)
    missed = matrix @ weights - (shift * excess + gap - b) * side - right
    return Polished(alpha, b, rho, max(float(missed.abs().max()), abs(gap)))


def _clear(dual: Dual, found: Polished, margin: Places, bound: Places, g: Floats, tol: float) -> bool:
    """Whether the sets are beyond doubt; see the module."""
    alpha, b, rho, off = found
    if not (len(margin) or len(bound)) or off > tol / 4:
        return False
    size, total = len(margin) + len(bound), float(alpha[np.union1d(margin, bound)].sum())
    columns = math.sqrt(dual.x.shape[1]) * dual.kernel.sensitivity(dual.norms)
    terms = (columns + math.sqrt(size) * dual.kernel.largest(dual.norms)) * total
    hidden = 8 * (1 + 2 * NEAR) * ROUNDING * (1.0 + terms)
    e = tol / 2 + hidden
    outside = np.ones(len(dual), dtype=bool)
    outside[margin] = False
    near = np.flatnonzero(outside & (np.abs(g) <= np.abs(g[outside]).min(initial=np.inf) + 2 * hidden))
    gamma = min((abs(_single(dual, int(i), alpha, margin, bound, b)) for i in near), default=math.inf)
    c, kappa = math.sqrt(len(margin) * rho), math.sqrt(dual.kernel.largest(dual.norms))
    if not e * (2 + 2 * kappa * c) <= gamma / 2:
        return False
    moved = (e * c) ** 2 / (2 * gamma) if math.isfinite(gamma) else 0.0
    shifted = math.sqrt(rho) * (e * c + 2 * kappa * moved) + moved
    room = np.minimum(alpha[margin], dual.upper[margin] - alpha[margin])
    least = float((room - 2 * EDGE * dual.upper[margin]).min(initial=math.inf))
    return moved <= EDGE / 2 * dual.cost and 2 * shifted <= least


def _single(dual: Dual, row: int, alpha: Floats, margin: Places, bound: Places, b: float) -> float:
    """The g of one row, from that row and those of S and E alone."""
    support = torch.from_numpy(np.union1d(margin, bound))
    kernel = dual.block(torch.tensor([row]), support)
    weights = torch.from_numpy(dual.y * alpha)[support]
    return float(dual.y[row] * (float((kernel @ weights)[0]) + b) - 1.0)


def _middle(dual: Dual, alpha: Floats, bound: Places) -> float:
    """The b where S is empty: the middle of what the rows outside allow, each row's share computed by itself."""
    none = np.empty(0, dtype=np.int64)
    score = -dual.y * dual.gradient(alpha)
    up, down = dual.may_move(alpha)
    if not (up.any() and down.any()):
        return 0.0
    slack = 1e-9 * (1.0 + float(np.abs(score).max()))
    lows = np.flatnonzero(up & (score >= score[up].max() - slack))
    highs = np.flatnonzero(down & (score <= score[down].min() + slack))
    low = max(float(-dual.y[i] * _single(dual, int(i), alpha, none, bound, 0.0)) for i in lows)
    high = min(float(-dual.y[i] * _single(dual, int(i), alpha, none, bound, 0.0)) for i in highs)
    return (low + high) / 2
