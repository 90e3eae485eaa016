"""One support vector machine between two sides: learned, and with rows taken out or put in.

A machine is kept as its support: the keys and weights of the distinct rows with a weight, and b. Rows that are equal,
side included, count as one, known by the smallest of their keys. Where the sets are beyond doubt (`margin_solution`),
every road ends at the same bits, and rows leave on a path; where they are not, a machine is learned again from nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from expunge.maths.decremental_path import follow
from expunge.maths.kernel_function import KernelFunction
from expunge.maths.margin_dual import Dual, Floats, Places
from expunge.maths.margin_solution import Solution, learned, repaired, sets_of, warm

Keys = NDArray[np.uint64]
Cost = Mapping[str, int]


@dataclass(frozen=True, eq=False)
class Machine:
    """`keys` (k,) uint64 and `alpha` (k,) of the support; `inside`: how many weights lie between their bounds.

    `clear`: whether the sets are beyond doubt.
    """

    keys: Tensor
    alpha: Tensor
    b: float
    inside: int
    clear: bool


@dataclass(frozen=True)
class Sides:
    """Rows of two sides in the order of their keys: `keys` (n,), `x` (n, p), `side` (n,) of +1.0 and -1.0."""

    keys: Keys
    x: Tensor
    side: Floats

    def __len__(self) -> int:
        return len(self.keys)

    def select(self, where: NDArray[np.bool_]) -> Sides:
        """The rows where the mask is true."""
        return Sides(self.keys[where], self.x[torch.from_numpy(where)], self.side[where])


@dataclass(frozen=True)
class Training:
    """What does not depend on the rows: `cost` C, the kernel, and the tolerance descent reaches at worst."""

    cost: float
    kernel: KernelFunction
    tol: float

    def learn(self, rows: Sides) -> tuple[Machine, Cost]:
        """The machine of these rows.

        Raises:
            NotConverged: descent did not reach `tol`.
        """
        if len(np.unique(rows.side)) < 2:  # one side: its answer always, by the least b that keeps the margin
            b = float(rows.side[0]) if len(rows) else 0.0
            return Machine(_tensor(rows.keys[:0]), torch.zeros(0, dtype=torch.float64), b, 0, True), {}
        first, _, counts = distinct(rows)
        found = learned(self._dual(rows, first, counts), self.tol)
        return _machine(found, rows.keys[first]), {"learned": 1, "steps": found.steps}

    def forget(self, machine: Machine, rows: Sides, leaves: NDArray[np.bool_]) -> tuple[Machine, Cost]:
        """The machine of the rows that do not leave, equal to that of `learn` bit for bit.

        Args:
            machine: of all `rows`. leaves: mask (n,).

        Raises:
            NotConverged: descent did not reach `tol`.
        """
        after = rows.select(~leaves)
        if not machine.clear or len(np.unique(after.side)) < 2:
            return self.learn(after)
        first, group, counts = distinct(rows)
        dual, alpha = self._dual(rows, first, counts), _weights(machine, rows, group)
        bound = np.flatnonzero(alpha == dual.upper)
        margin = np.flatnonzero((alpha > 0) & (alpha < dual.upper))
        stays, _, left = distinct(after)
        keep = group[np.searchsorted(rows.keys, after.keys[stays])]  # the old places of the distinct rows that stay
        upper = np.zeros(len(dual))
        upper[keep] = left * self.cost
        path = follow(dual, alpha, machine.b, margin, bound, upper)
        part = dual.restricted(keep, upper[keep])
        place = _inverse(keep, len(dual))
        if path is not None:
            found = repaired(part, np.sort(place[path.margin]), np.sort(place[path.bound]), self.tol)
            if found is not None:
                return _machine(found, after.keys[stays]), {"on_path": 1, "events": path.events}
        found = warm(part, self.tol, balanced(np.minimum(alpha, upper)[keep], part.y))
        if found is not None:
            return _machine(found, after.keys[stays]), {"warm": 1, "steps": found.steps}
        return self.learn(after)

    def extend(self, machine: Machine, rows: Sides, added: NDArray[np.bool_]) -> tuple[Machine, Cost]:
        """The machine of all `rows`, equal to that of `learn` bit for bit, from one of those that are not `added`.

        Raises:
            NotConverged: descent did not reach `tol`.
        """
        if not machine.clear or len(np.unique(rows.side[~added])) < 2:
            return self.learn(rows)
        first, group, counts = distinct(rows)
        dual, alpha = self._dual(rows, first, counts), _weights(machine, rows, group)
        found = repaired(dual, *sets_of(dual, alpha), self.tol) or warm(dual, self.tol, alpha)
        if found is None:
            return self.learn(rows)
        return _machine(found, rows.keys[first]), {"warm": 1, "steps": found.steps}

    def untouched(self, machine: Machine, support: Sides, gone: Sides) -> bool:
        """Whether a clear machine stays as it is when the rows `gone` leave: none of them equals one of its support."""
        if not (machine.clear and machine.inside):
            return False
        both = np.concatenate([_bytes(support), _bytes(gone)])
        return not np.isin(both[len(support) :], both[: len(support)]).any()

    def _dual(self, rows: Sides, first: Places, counts: Places) -> Dual:
        x = rows.x[torch.from_numpy(first)].contiguous().clone()
        return Dual(x, rows.side[first], counts.astype(np.float64) * self.cost, self.kernel, self.cost)


def distinct(rows: Sides) -> tuple[Places, Places, Places]:
    """Where distinct rows stand first (m,), which of them each row is (n,), and how many rows each is (m,).

    In the order of the first places.
    """
    _, first, group, counts = np.unique(_bytes(rows), return_index=True, return_inverse=True, return_counts=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return first[order], rank[group], counts[order]


def balanced(alpha: Floats, y: Floats) -> Floats:
    """The weights with those of the heavier side lowered, last rows first, until y'a = 0."""
    alpha, excess = alpha.copy(), float((y * alpha).sum())
    heavy = np.flatnonzero(y * np.sign(excess) > 0)
    weights = alpha[heavy]
    kept = np.minimum(np.cumsum(weights), weights.sum() - abs(excess))
    alpha[heavy] = np.diff(kept, prepend=0.0).clip(0.0, weights)
    return alpha


def _machine(found: Solution, keys: Keys) -> Machine:
    support = np.flatnonzero(found.alpha)
    alpha = torch.from_numpy(found.alpha[support].copy())
    return Machine(_tensor(keys[support]), alpha, found.b + 0.0, len(found.margin), found.clear)


def _weights(machine: Machine, rows: Sides, group: Places) -> Floats:
    """The machine's weights at the places of the distinct `rows`."""
    alpha = np.zeros(int(group.max()) + 1)
    alpha[group[np.searchsorted(rows.keys, machine.keys.numpy())]] = machine.alpha.numpy()
    return alpha


def _inverse(places: Places, size: int) -> Places:
    inverse = np.full(size, -1, dtype=np.int64)
    inverse[places] = np.arange(len(places))
    return inverse


def _bytes(rows: Sides) -> NDArray[np.void]:
    """Each row and its side as one value that can be compared."""
    joined = np.ascontiguousarray(np.column_stack([rows.x.numpy(), rows.side]))
    return joined.view(np.dtype((np.void, joined.shape[1] * 8))).ravel()


def _tensor(keys: Keys) -> Tensor:
    return torch.from_numpy(np.array(keys, dtype=np.uint64))
