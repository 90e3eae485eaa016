"""The dual of a support vector machine with two sides, and its solution to a tolerance by working sets.

    minimise 1/2 a'Qa - 1'a    over    0 <= a <= u, y'a = 0,        Q_ij = y_i y_j K(x_i, x_j)

Rows are distinct: m rows that are equal, target included, are one row with the bound u = m C. So duplicates, whose
shares of a common weight would be arbitrary, do no harm. Kernel columns are computed when asked for, and kept with the
problem, which nobody stores.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from expunge.kernels.minimal_optimisation import minimise_in_pairs
from expunge.maths.kernel_function import KernelFunction, squares

Floats = NDArray[np.float64]
Places = NDArray[np.int64]
WORKING_SET = 512
NEAR = 1 / 8  # share of all weights by which others may differ for a gradient to be corrected: a bound counts on it
BLOCK = 256  # columns computed at once where none is kept
STEPS = 50  # of two variables, per variable of a working set, at most
ROUNDS = 3000  # of working sets at most


class Dual:
    """One problem.

    Args:
        x: (m, p) distinct rows. y: (m,) +1.0 or -1.0. upper: u (m,), positive.
        cost: C, which no bound is below; the least bound where it is not given.
    """

    def __init__(self, x: Tensor, y: Floats, upper: Floats, kernel: KernelFunction, cost: float | None = None) -> None:
        self.cost = float(upper.min()) if cost is None else cost
        self.x, self.y, self.upper, self.kernel = x, y, upper, kernel
        self.norms = squares(x)
        self._place = np.full(len(y), -1, dtype=np.int64)
        self._store = torch.empty((0, len(y)), dtype=torch.float64)
        self._held = 0
        self._reference: tuple[Floats, Floats] | None = None

    def __len__(self) -> int:
        return len(self.y)

    def block(self, rows: Tensor, columns: Tensor | None = None) -> Tensor:
        """K between the rows at these places and those at `columns` (all where not given), computed anew."""
        x, norms = (self.x, self.norms) if columns is None else (self.x[columns], self.norms[columns])
        return self.kernel.matrix(self.x[rows], x, (self.norms[rows], norms))

    def restricted(self, keep: Places, upper: Floats) -> Dual:
        """The problem of the rows `keep` alone, in that order, under their bounds; columns computed so far go along.

        Such columns differ in last bits from those of a problem made of these rows: good for roads to a clear solution,
        which does not depend on its road, and for nothing else.
        """
        part = Dual(self.x[torch.from_numpy(keep)], self.y[keep], upper, self.kernel, self.cost)
        held = np.flatnonzero(self._place[keep] >= 0)
        part._store = self._store[torch.from_numpy(self._place[keep[held]])][:, torch.from_numpy(keep)]
        part._place[held], part._held = np.arange(len(held)), len(held)
        if self._reference is not None:
            alpha = self._reference[0].copy()
            alpha[np.setdiff1d(np.arange(len(self)), keep)] = 0.0
            near = np.abs(alpha - self._reference[0]).sum() <= NEAR * alpha.sum()
            part._reference = (alpha[keep], self.gradient(alpha)[keep]) if near else None
        return part

    def keep(self, where: Places) -> None:
        """Compute the columns of these rows, so that `combined` need not; a linear kernel needs none."""
        if self.kernel.kind != "linear":
            self._compute(where)

    def columns(self, where: Places) -> Floats:
        """K(x_i, x) for i in `where`, (len(where), m)."""
        self._compute(where)
        return np.asarray(self._store.numpy()[self._place[where]])

    def combined(self, weights: Floats) -> Floats:
        """sum_j K(x_i, x_j) weights_j, (m,), from the columns where the weight is not 0; none is kept for it."""
        where = np.flatnonzero(weights)
        if self.kernel.kind == "linear":  # through the columns of x, which are few
            rows = torch.from_numpy(where)
            return np.array((self.x @ (torch.from_numpy(weights)[rows] @ self.x[rows])).numpy())
        kept = where[self._place[where] >= 0]
        placed = torch.zeros(self._held, dtype=torch.float64)
        placed[torch.from_numpy(self._place[kept])] = torch.from_numpy(weights[kept])
        total = self._store[: self._held].T @ placed
        others = where[self._place[where] < 0]
        for start in range(0, len(others), BLOCK):
            part = torch.from_numpy(others[start : start + BLOCK])
            total += torch.from_numpy(weights)[part] @ self.block(part)
        return np.array(total.numpy())

    def gradient(self, alpha: Floats) -> Floats:
        """Q a - 1, (m,): computed once from all weights, and afterwards from what differs, where that is little."""
        if self._reference is not None:
            before, known = self._reference
            changed = alpha - before
            if np.abs(changed).sum() <= NEAR * alpha.sum():
                return known + self.y * self.combined(self.y * changed)
        gradient = self.y * self.combined(self.y * alpha) - 1.0
        self._reference = alpha.copy(), gradient
        return gradient

    def violation(self, alpha: Floats, gradient: Floats) -> float:
        """How far the largest F that may go up exceeds the smallest that may go down; -inf where none may."""
        up, down = self.may_move(alpha)
        score = -self.y * gradient
        return float(score[up].max(initial=-np.inf) - score[down].min(initial=np.inf))

    def may_move(self, alpha: Floats) -> tuple[Any, Any]:
        """Where y a may go up, and where down, (m,) each."""
        up = np.where(self.y > 0, alpha < self.upper, alpha > 0)
        down = np.where(self.y > 0, alpha > 0, alpha < self.upper)
        return up, down

    def _compute(self, where: Places) -> None:
        new = np.unique(where[self._place[where] < 0])
        if not len(new):
            return
        if self._held + len(new) > len(self._store):
            rows = min(len(self.y), max(2 * len(self._store), self._held + len(new), 64))
            grown = torch.empty((rows, len(self.y)), dtype=torch.float64)
            grown[: self._held] = self._store[: self._held]
            self._store = grown
        after = self._held + len(new)
        self._store[self._held : after] = self.block(torch.from_numpy(new))
        self._place[new] = np.arange(self._held, after)
        self._held = after


def descend(dual: Dual, start: Floats, tol: float) -> tuple[Floats, int, bool]:
    """A point whose violation is at most `tol`, from a feasible `start`; the steps taken, and whether it got there.

    Working sets of the worst violators and of those worked on before, each solved by minimal optimisation.
    """
    alpha, steps = start.copy(), 0
    gradient, fresh = dual.gradient(alpha), True
    before = np.empty(0, dtype=np.int64)
    for _ in range(ROUNDS):
        violation = dual.violation(alpha, gradient)
        if violation <= tol:
            if fresh:
                return alpha, steps, True
            gradient, fresh = dual.gradient(alpha), True  # sums of many steps drift
            continue
        working = _working_set(dual, alpha, gradient, before)
        kernel = np.ascontiguousarray(dual.columns(working)[:, working])
        part, slope = alpha[working].copy(), gradient[working].copy()
        inner = tol / 2 if len(working) == len(dual) else max(tol / 2, violation / 10)
        taken = minimise_in_pairs(
            kernel, dual.y[working], dual.upper[working], part, slope, inner, STEPS * len(working) + 1000
        )
        if not taken:
            return alpha, steps, False
        moved = np.zeros(len(dual))
        moved[working] = dual.y[working] * (part - alpha[working])
        alpha[working] = part
        gradient = gradient + dual.y * dual.combined(moved)
        fresh, steps, before = False, steps + taken, working
    return alpha, steps, False


def _working_set(dual: Dual, alpha: Floats, gradient: Floats, before: Places) -> Places:
    if len(dual) <= 2 * WORKING_SET:
        return np.arange(len(dual))
    up, down = dual.may_move(alpha)
    score = -dual.y * gradient
    quarter = WORKING_SET // 4
    highest = np.flatnonzero(up)[np.argsort(-score[up], kind="stable")[:quarter]]
    lowest = np.flatnonzero(down)[np.argsort(score[down], kind="stable")[:quarter]]
    free = before[(alpha[before] > 0) & (alpha[before] < dual.upper[before])]
    rest = np.concatenate([free, np.setdiff1d(before, free)])
    chosen = np.unique(np.concatenate([highest, lowest]))
    more = rest[~np.isin(rest, chosen)][: WORKING_SET - len(chosen)]
    return np.sort(np.concatenate([chosen, more]))
