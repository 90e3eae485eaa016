r"""Conditional mutual information from nearest neighbours, and a test of independence by local permutations.

    I(X; Y | Z) ~ psi(k) + mean_i [ psi(n_z + 1) - psi(n_xz + 1) - psi(n_yz + 1) ]        (Frenzel & Pompe 2007)

eps_i is the distance of row i to its k-th nearest other row in (x, y, z), in the largest of all coordinates, and n_s
the number of other rows nearer than that in the columns s; without z, n_z = n - 1. The test (Runge 2018) compares with
the same after x was permuted among rows near in z: a row takes the x of one of its nearest, each used once where
that is possible. These are the tests that the paper's table 1 puts beside its coefficient; brute force, time n^2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.special import digamma

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Tested:
    """`information`: the estimate in nats. `p`: the share of permutations that reach it; at least `stopped` of them."""

    information: float
    p: float
    permutations: int


def information(x: Floats, y: Floats, z: Floats | None = None, *, k: int = 5) -> float:
    """The estimate for columns (n, d) each."""
    return _Given(y, z, len(x)).estimate(_columns(x), k)


def permutation_test(
    x: Floats,
    y: Floats,
    z: Floats | None,
    *,
    seed: int,
    k: int = 5,
    permutations: int = 100,
    alpha: float = 0.05,
) -> Tested:
    """The test. It stops as soon as more permutations reach the estimate than `alpha` of all of them allows."""
    given, columns = _Given(y, z, len(x)), _columns(x)
    value, reached, generator = given.estimate(columns, k), 0, np.random.default_rng(seed)
    near = None if z is None else given.nearest(k)
    allowed = alpha * (permutations + 1) - 1
    for done in range(1, permutations + 1):
        if near is None:
            order = generator.permutation(len(x))
        else:
            order = _permuted(near, generator.permutation(len(x)), generator.permuted(near, axis=1))
        reached += given.estimate(np.ascontiguousarray(columns[:, order]), k) >= value
        if reached > allowed:
            return Tested(value, (reached + 1) / (done + 1), done)
    return Tested(value, (reached + 1) / (permutations + 1), permutations)


class _Given:
    """Distances between rows in z and in (y, z), which no permutation of x changes."""

    def __init__(self, y: Floats, z: Floats | None, n: int) -> None:
        self.n = n
        self.far_z = np.zeros((n, n), dtype=np.float32)
        if z is not None:
            _widened(self.far_z, _columns(z))
        self.far_yz = self.far_z.copy()
        _widened(self.far_yz, _columns(y))

    def estimate(self, x: Any, k: int) -> float:
        counts = np.empty((3, self.n), dtype=np.int64)
        _counted(self.far_z, self.far_yz, x, k, counts)
        n_z, n_xz, n_yz = digamma(counts + 1)
        return float(digamma(k) + (n_z - n_xz - n_yz).mean())

    def nearest(self, k: int) -> NDArray[np.int64]:
        """The k rows nearest in z to each, itself among them."""
        return np.argpartition(self.far_z, k, axis=1)[:, :k]


def _columns(x: Floats) -> NDArray[np.float32]:
    """Columns (d, n), each of standard deviation 1, in the order of memory."""
    table = x[:, None] if x.ndim == 1 else x
    return np.ascontiguousarray(((table - table.mean(0)) / table.std(0)).T, dtype=np.float32)


@njit(cache=True, fastmath=True)
def _widened(far: Any, columns: Any) -> None:
    """`far` (n, n) with more coordinates: the larger of what it is and each distance."""
    n = far.shape[0]
    for i in range(n):
        for c in range(columns.shape[0]):
            at = columns[c, i]
            for j in range(n):
                far[i, j] = max(far[i, j], abs(columns[c, j] - at))


@njit(cache=True, fastmath=True)
def _counted(far_z: Any, far_yz: Any, x: Any, k: int, counts: Any) -> None:
    n = far_z.shape[0]
    row, best = np.empty(n, dtype=np.float32), np.empty(k, dtype=np.float32)
    for i in range(n):
        row[:] = 0
        for c in range(x.shape[0]):
            at = x[c, i]
            for j in range(n):
                row[j] = max(row[j], abs(x[c, j] - at))
        row[i] = np.float32(1e30)
        best[:] = np.float32(1e30)
        last = best[k - 1]
        for j in range(n):
            far = max(row[j], far_yz[i, j])
            if far < last:
                place = k - 1
                while place > 0 and best[place - 1] > far:
                    best[place] = best[place - 1]
                    place -= 1
                best[place] = far
                last = best[k - 1]
        n_z = n_xz = n_yz = 0
        for j in range(n):
            n_z += far_z[i, j] < last
            n_yz += far_yz[i, j] < last
            n_xz += max(row[j], far_z[i, j]) < last
        counts[0, i], counts[1, i], counts[2, i] = n_z - 1, n_xz, n_yz - 1  # without the row itself


@njit(cache=True)
def _permuted(near: Any, order: Any, shuffled: Any) -> Any:
    """For each row one of its nearest, none twice where that is possible."""
    n = near.shape[0]
    used, chosen = np.zeros(n, dtype=np.bool_), np.empty(n, dtype=np.int64)
    for i in order:
        chosen[i] = shuffled[i, 0]
        for candidate in shuffled[i]:
            if not used[candidate]:
                chosen[i] = candidate
                break
        used[chosen[i]] = True
    return chosen
