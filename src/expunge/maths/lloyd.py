"""Lloyd's steps with exact sums, corrected for small clusters and quantised [Ginart et al. 2019, algorithm 1].

Step t assigns each row to the nearest of the centroids c_(t-1) (the initial centres for t = 1), and from the size s and
the sum of each of the k clusters, n rows in all, makes

    c = sum / s                                           where s >= m,  m = gamma n / k
    c = (s (sum / s) + (m - s) c_(t-1)) / m               where s < m  (an empty cluster stays where it was)
    c_t = side (phase_t + round(c / side - phase_t))      the nearest point of a lattice with a random phase

Sums are exact, so that a row can be taken out of them, and the order of the rows has no say. All else is a fixed series
of roundings of (sizes, sums, c_(t-1)): equal ones give equal centroids, bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from expunge.maths.exact_sums import ExactSums, sums

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
FINEST = 2.0**51  # multiples beyond it: float64 is no finer than the lattice there, and a number stays as it is


@dataclass(frozen=True, eq=False)
class Partition:
    """The clusters of t steps by what they hold: `sizes` (t, k) int64 (weights, of weighted rows), `sums` (t, k, p)."""

    sizes: Tensor
    sums: ExactSums

    @classmethod
    def of(cls, x: Floats, weights: Floats, codes: Ints, count: int) -> Partition:
        """The rows x (n, p), of whole weights (n,), by their clusters (t, n) in [0, count)."""
        steps = len(codes)
        groups = (codes + count * np.arange(steps)[:, None]).ravel()
        sizes = np.bincount(groups, np.tile(weights, steps), steps * count).astype(np.int64)
        weighted = x if (weights == 1).all() else x * weights[:, None]
        found = sums(np.tile(weighted, (steps, 1)), groups, steps * count)
        digits = found.digits.reshape(len(found.digits), steps, count, x.shape[1])
        return cls(torch.from_numpy(sizes).reshape(steps, count), ExactSums(digits, found.place))

    @classmethod
    def joined(cls, parts: Sequence[Partition]) -> Partition:
        """The steps of all parts, one at least, after one another."""
        held = [part.sums for part in parts if len(part.sums.digits)] or [parts[0].sums]
        first, last = min(each.place for each in held), max(each.place + len(each.digits) for each in held)
        wide = [torch.zeros((last - first, *part.sums.shape), dtype=torch.int32) for part in parts]
        for part, digits in zip(parts, wide, strict=True):
            digits[part.sums.place - first :][: len(part.sums.digits)] = part.sums.digits
        return cls(torch.cat([part.sizes for part in parts]), ExactSums(torch.cat(wide, 1), first))

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, where: slice) -> Partition:
        return Partition(self.sizes[where], self.sums[where])

    def __add__(self, other: Partition) -> Partition:
        return Partition(self.sizes + other.sizes, self.sums + other.sums)

    def __sub__(self, other: Partition) -> Partition:
        return Partition(self.sizes - other.sizes, self.sums - other.sums)


def moved(x: Floats, weights: Floats, before: Partition, was: Ints, now: Ints) -> Partition:
    """A step's partition after rows went from clusters `was` (1, n) to `now`: only what moved is summed again."""
    moving, count = np.flatnonzero(was[0] != now[0]), before.sizes.shape[1]
    if not len(moving):
        return before
    if 2 * len(moving) > len(x):
        return Partition.of(x, weights, now, count)
    left, come = (Partition.of(x[moving], weights[moving], codes[:, moving], count) for codes in (was, now))
    return before - left + come


def balanced_means(partition: Partition, before: Floats, gamma: float) -> Floats:
    """The clusters' means (t, k, p); of those smaller than gamma n / k, drawn to where they were `before`."""
    sizes = partition.sizes.numpy()[:, :, None]
    means = partition.sums.over(np.maximum(sizes, 1))
    least = gamma * sizes.sum(1, keepdims=True) / max(sizes.shape[1], 1)
    share = np.divide(sizes, least, out=np.zeros(sizes.shape), where=least > 0)
    return np.where((sizes < least) | (sizes == 0), share * means + (1.0 - share) * before, means)


def quantised(centroids: Floats, side: float, phases: Floats) -> Floats:
    """The nearest points (t, k, p) of the lattices side (phase + Z^p), phases (t, p) in [0, 1)."""
    multiples = centroids / side
    fine = np.abs(multiples) >= FINEST
    shift = phases[:, None, :]
    return np.where(fine, centroids, side * (shift + np.round(np.where(fine, 0.0, multiples) - shift)))
