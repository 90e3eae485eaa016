"""The path along which support vectors leave, all at once (Cauwenberghs & Poggio 2001, Karasuyama & Takeuchi 2009).

The weights a_M of the rows that leave go to their targets on a straight line, and those of the margin S follow so that
every other row keeps its condition:

    [db; da_S] = -R [y_M'da_M; Q_SM da_M],    dg_i = Q_iS da_S + Q_iM da_M + y_i db,    R = [[0, y_S'], [y_S, Q_SS]]^-1

up to the first event: a weight of S reaches 0 or its bound, and its row leaves S; or g of a row outside reaches 0, and
it joins S. R shrinks or grows by rank one, and is computed anew every `REFRESH` events.

Differs from the papers in: several rows leave on one path (Karasuyama & Takeuchi's direction for removal alone); a row
that stands several times may lose some of its copies, whose target is the bound of the rest; where S is empty or a
row that joins is no new direction, the path gives up, and says so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from expunge.maths.margin_dual import Dual, Floats, Places

REFRESH = 100
SINGULAR = 1e-10  # share of K(x, x) that a row must add to join S


@dataclass(frozen=True, eq=False)
class Path:
    """Where a path ended: S and E, ascending, among the rows that stay, and how many events it met."""

    margin: Places
    bound: Places
    events: int


class Margin:
    """S in the order of joining, with its kernel columns and R; row and column 0 of R belong to b."""

    def __init__(self, dual: Dual, members: Places) -> None:
        self.dual, self.members = dual, members.tolist()
        self.columns: Floats = np.empty((max(64, 2 * len(members)), len(dual)))
        self.columns[: len(members)] = dual.columns(members)
        self.inverse: NDArray[np.float64] = np.empty((0, 0))
        self.refresh()

    def refresh(self) -> None:
        """Compute R from its definition.

        Raises:
            numpy.linalg.LinAlgError: S does not determine its weights.
        """
        y = self.dual.y[self.members]
        bordered = np.zeros((len(y) + 1, len(y) + 1))
        bordered[0, 1:], bordered[1:, 0] = y, y
        bordered[1:, 1:] = np.outer(y, y) * self.columns[: len(y), self.members]
        self.inverse = np.asarray(np.linalg.inv(bordered), dtype=np.float64)

    def grow(self, row: int) -> bool:
        """Let a row join; False where it is no new direction."""
        dual, size = self.dual, len(self.members)
        column = dual.columns(np.array([row]))[0]
        border = np.concatenate([[dual.y[row]], dual.y[row] * dual.y[self.members] * column[self.members]])
        beta = -self.inverse @ border
        gain = column[row] + border @ beta
        if not gain > SINGULAR * max(column[row], 1e-300):
            return False
        grown = np.zeros((size + 2, size + 2))
        grown[:-1, :-1] = self.inverse
        step = np.append(beta, 1.0)
        self.inverse = grown + np.outer(step, step) / gain
        if size == len(self.columns):
            self.columns = np.concatenate([self.columns, np.empty_like(self.columns)])
        self.columns[size] = column
        self.members.append(row)
        return True

    def shrink(self, place: int) -> None:
        """Let the member at `place` leave; the last one takes its column's place."""
        p = place + 1
        self.inverse = self.inverse - np.outer(self.inverse[:, p], self.inverse[p]) / self.inverse[p, p]
        last, keep = len(self.members) - 1, np.arange(len(self.members) + 1)
        keep[p] = last + 1
        self.inverse = self.inverse[np.ix_(keep[:-1], keep[:-1])]
        self.columns[place] = self.columns[last]
        self.members[place] = self.members[last]
        self.members.pop()


def follow(dual: Dual, alpha: Floats, b: float, margin: Places, bound: Places, upper: Floats) -> Path | None:
    """Follow the path from a solution of `dual` to bounds `upper` (m,), where 0 means that the row leaves.

    None where S ran empty or singular, or the events do not end.

    Args:
        alpha, b, margin, bound: the solution. upper: at most the bounds of `dual`.
    """
    moving = np.flatnonzero(alpha > upper)
    stays = upper > 0
    stays[moving] = False
    alpha = alpha.copy()
    at_bound = np.zeros(len(dual), dtype=bool)
    at_bound[bound] = True
    outside = stays.copy()
    outside[margin] = False
    members = margin[~np.isin(margin, moving)]
    if not len(members):
        return None
    try:
        inner = Margin(dual, members)
        y, g = dual.y, dual.gradient(alpha) + dual.y * b
        left, pull = 1.0, np.zeros(len(dual))
        pull[moving] = y[moving] * (upper[moving] - alpha[moving])
        pulled = dual.combined(pull)
        for events in range(20 + 10 * len(dual)):
            s = np.array(inner.members)
            direction = -inner.inverse @ np.concatenate([[pull.sum()], y[s] * pulled[s]])
            db, da = direction[0], direction[1:]
            dg = y * (inner.columns[: len(s)].T @ (y[s] * da) + pulled + db)
            step, place, row = _first_event(alpha[s], upper[s], da, g, dg, outside, at_bound)
            length = min(step, left)
            alpha[s] += length * da
            g += length * dg
            left -= length
            if left <= 0:
                ends = np.zeros(len(dual), dtype=bool)
                ends[moving] = upper[moving] > 0
                return Path(np.sort(s), np.flatnonzero((outside & at_bound) | ends), events)
            if place >= 0:
                leaver = int(s[place])
                at_bound[leaver] = da[place] > 0
                alpha[leaver] = upper[leaver] if da[place] > 0 else 0.0
                g[leaver], outside[leaver] = 0.0, True
                inner.shrink(place)
                if not inner.members:
                    return None
            else:
                g[row], outside[row] = 0.0, False
                if not inner.grow(row):
                    return None
            if (events + 1) % REFRESH == 0:
                inner.refresh()
    except np.linalg.LinAlgError:
        return None
    return None


def _first_event(
    weights: Floats,
    upper: Floats,
    da: Floats,
    g: Floats,
    dg: Floats,
    outside: NDArray[np.bool_],
    at_bound: NDArray[np.bool_],
) -> tuple[float, int, int]:
    """How far to the first event, and whose: a place in S (or -1), or a row outside (or -1)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        to_edge = np.where(da > 0, (upper - weights) / da, np.where(da < 0, -weights / da, np.inf))
        to_zero = np.where(outside & np.where(at_bound, dg > 0, dg < 0), -g / dg, np.inf)
    place, row = int(to_edge.argmin()), int(to_zero.argmin())
    edge, zero = max(float(to_edge[place]), 0.0), max(float(to_zero[row]), 0.0)
    return (edge, place, -1) if edge <= zero else (zero, -1, row)
