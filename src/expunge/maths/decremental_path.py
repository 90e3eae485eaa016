"""The path along which support vectors leave, all at once (Cauwenberghs & Poggio 2001, Karasuyama & Takeuchi 2009).

The weights a_M of the rows that leave go to their targets on a straight line, and those of the margin S follow so that
every other row keeps its condition:

    [db; da_S] = -R [y_M'da_M; Q_SM da_M],    dg_i = Q_iS da_S + Q_iM da_M + y_i db,    R = [[0, y_S'], [y_S, Q_SS]]^-1

up to the first event: a weight of S reaches 0 or its bound, and its row leaves S; or g of a row outside reaches 0, and
it joins S. R shrinks or grows by rank one, and is computed anew every `REFRESH` events.

Where S is empty, b moves to where the first row joins that can take up what the leaving weights let go.

Differs from the papers in: several rows leave on one path (Karasuyama & Takeuchi's direction for removal alone); a row
that stands several times may lose some of its copies, whose target is the bound of the rest; where a row that joins is
no new direction, the path gives up, and says so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from expunge.maths.margin_dual import Dual, Floats, Places

REFRESH = 100
SINGULAR = 1e-10  # share of K(x, x) that a row must add to join S
BALANCED = 1e-12  # share of the leaving weights by which the two sides may differ and count as balanced


@dataclass(frozen=True, eq=False)
class Path:
    """Where a path ended: S and E, ascending, among the rows that stay, and how many events it met."""

    margin: Places
    bound: Places
    events: int


class Margin:
    """S in the order of joining, and R; row and column 0 of R belong to b."""

    def __init__(self, dual: Dual, members: Places) -> None:
        self.dual, self.members = dual, members.tolist()
        self.inverse: NDArray[np.float64] = np.zeros((1, 1))
        dual.keep(members)
        if len(members):
            self.refresh()

    def refresh(self) -> None:
        """Compute R from its definition.

        Raises:
            numpy.linalg.LinAlgError: S does not determine its weights.
        """
        y, s = self.dual.y[self.members], torch.tensor(self.members)
        bordered = np.zeros((len(y) + 1, len(y) + 1))
        bordered[0, 1:], bordered[1:, 0] = y, y
        bordered[1:, 1:] = np.outer(y, y) * self.dual.block(s, s).numpy()
        self.inverse = np.asarray(np.linalg.inv(bordered), dtype=np.float64)

    def spread(self, weights: Floats) -> Floats:
        """What weights (|S|,) of the members add up to at every row: sum_s K(x_i, x_s) weights_s, (m,)."""
        placed = np.zeros(len(self.dual))
        placed[self.members] = weights
        return self.dual.combined(placed)

    def grow(self, row: int) -> None:
        """Let a row join.

        Raises:
            numpy.linalg.LinAlgError: it is no new direction.
        """
        dual, size = self.dual, len(self.members)
        dual.keep(np.array([row]))
        self.members.append(row)
        if not size:
            self.refresh()
            return
        kernel = dual.block(torch.tensor([row]), torch.tensor(self.members)).numpy()[0]
        y = dual.y[self.members]
        border = np.concatenate([y[-1:], y[-1] * y[:-1] * kernel[:-1]])
        beta = -self.inverse @ border
        gain = kernel[-1] + border @ beta
        if not gain > SINGULAR * max(kernel[-1], 1e-300):
            raise np.linalg.LinAlgError("the row that joins is no new direction")
        grown = np.zeros((size + 2, size + 2))
        grown[:-1, :-1] = self.inverse
        step = np.append(beta, 1.0)
        self.inverse = grown + np.outer(step, step) / gain

    def shrink(self, place: int) -> None:
        """Let the member at `place` leave; the last one takes its place."""
        p, last = place + 1, len(self.members) - 1
        if last:
            self.inverse = self.inverse - np.outer(self.inverse[:, p], self.inverse[p]) / self.inverse[p, p]
        keep = np.arange(last + 2)
        keep[p] = last + 1
        self.inverse = self.inverse[np.ix_(keep[:-1], keep[:-1])]
        self.members[place] = self.members[last]
        self.members.pop()


def follow(dual: Dual, alpha: Floats, b: float, margin: Places, bound: Places, upper: Floats) -> Path | None:
    """Follow the path from a solution of `dual` to bounds `upper` (m,), where 0 means that the row leaves.

    None where S became singular, no row could take up what is let go, or the events did not end.

    Args:
        alpha, b, margin, bound: the solution. upper: at most the bounds of `dual`.
    """
    try:
        walk = _Walk(dual, alpha, b, margin, bound, upper)
        for events in range(20 + 10 * len(dual)):
            if walk.to_next_event():
                return walk.end(events)
            if (events + 1) % REFRESH == 0 and walk.margin.members:
                walk.margin.refresh()
    except np.linalg.LinAlgError:
        pass
    return None


class _Walk:
    """Where a path has come: the margin, all weights and g, and the share of the line that is left."""

    def __init__(self, dual: Dual, alpha: Floats, b: float, margin: Places, bound: Places, upper: Floats) -> None:
        self.dual, self.upper, self.left = dual, upper, 1.0
        self.moving = np.flatnonzero(alpha > upper)
        self.alpha, self.g = alpha.copy(), dual.gradient(alpha) + dual.y * b
        self.at_bound, self.outside = np.zeros(len(dual), dtype=bool), upper > 0
        self.at_bound[bound] = True
        self.outside[margin], self.outside[self.moving] = False, False
        self.margin = Margin(dual, margin[~np.isin(margin, self.moving)])
        self.pull = np.zeros(len(dual))
        self.pull[self.moving] = dual.y[self.moving] * (upper[self.moving] - alpha[self.moving])
        self.pulled = dual.combined(self.pull)

    def to_next_event(self) -> bool:
        """Go to the next event and let it happen; True at the end of the line."""
        y, s = self.dual.y, np.array(self.margin.members, dtype=np.int64)
        if not len(s) and abs(self.pull.sum()) > BALANCED * np.abs(self.pull).sum():
            self._lift(np.sign(self.pull.sum()))
            return False
        direction = np.zeros(1)
        if len(s):
            direction = -self.margin.inverse @ np.concatenate([[self.pull.sum()], y[s] * self.pulled[s]])
        da = direction[1:]
        dg = y * (self.margin.spread(y[s] * da) + self.pulled + direction[0])
        edge, place = _edge(self.alpha[s], self.upper[s], da)
        zero, row = self._zero(dg)
        length = min(edge, zero, self.left)
        self.alpha[s] += length * da
        self.g += length * dg
        if length == self.left:
            return True
        self.left -= length
        if edge <= zero:
            self._leaves(place, up=bool(da[place] > 0))
        else:
            self._joins(row)
        return False

    def end(self, events: int) -> Path:
        """The sets at the end of the line."""
        ends = np.zeros(len(self.dual), dtype=bool)
        ends[self.moving] = self.upper[self.moving] > 0
        margin = np.sort(np.array(self.margin.members, dtype=np.int64))
        return Path(margin, np.flatnonzero((self.outside & self.at_bound) | ends), events)

    def _lift(self, sign: float) -> None:
        """Move b until a row joins whose weight can go against the pull."""
        able = self.outside & (np.where(self.at_bound, self.dual.y, -self.dual.y) == sign)
        if not able.any():
            raise np.linalg.LinAlgError("no row can take up what is let go")
        distance = np.where(able, np.abs(self.g), np.inf)
        row = int(distance.argmin())
        self.g += self.dual.y * sign * distance[row]
        self._joins(row)

    def _zero(self, dg: Floats) -> tuple[float, int]:
        """How far until a row outside joins, and which."""
        nearing = self.outside & np.where(self.at_bound, dg > 0, dg < 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            until = np.where(nearing, np.maximum(-self.g / dg, 0.0), np.inf)
        return float(until.min()), int(until.argmin())

    def _leaves(self, place: int, *, up: bool) -> None:
        row = self.margin.members[place]
        self.at_bound[row], self.alpha[row] = up, self.upper[row] if up else 0.0
        self.g[row], self.outside[row] = 0.0, True
        self.margin.shrink(place)

    def _joins(self, row: int) -> None:
        self.g[row], self.outside[row] = 0.0, False
        self.margin.grow(row)


def _edge(weights: Floats, upper: Floats, da: Floats) -> tuple[float, int]:
    """How far until a weight of S reaches 0 or its bound, and its place in S."""
    if not len(da):
        return np.inf, -1
    with np.errstate(divide="ignore", invalid="ignore"):
        until = np.where(da > 0, (upper - weights) / da, np.where(da < 0, -weights / da, np.inf))
    until = np.maximum(until, 0.0)
    return float(until.min()), int(until.argmin())
