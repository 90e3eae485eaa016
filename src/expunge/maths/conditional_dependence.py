r"""CODEC, the coefficient of conditional dependence (Azadkia & Chatterjee 2021), and L-CODEC (Mehta et al. 2022).

    T(Y, Z | X) = ∫ E Var(P(Y >= t | Z, X) | X) dμ(t)  /  ∫ E Var(1{Y >= t} | X) dμ(t),     μ the law of Y

lies between 0 (Y independent of Z given X) and 1 (Y a function of Z given X). The estimate needs ranks of Y and nearest
neighbours in X and (X, Z) only (`neighbour_sums`); it is unchanged by any increasing map of Y, and *not* by the scale
of a column of X or Z. Conditional and unconditional obey T(Y, Z | X) = (T(Y, XZ) - T(Y, X)) / (1 - T(Y, X)) exactly.

What to do where several rows are equally near, as on discrete data they are:

    average   the mean over all of them: no chance, invariant to the order of the rows to the last bit, fast
    random    one of them at random, as published; takes time n^2
    noise     L-CODEC: columns of X and Z plus N(0, σ²), each with a draw of its own

Differs from the papers and their code in:
1. The paper of L-CODEC gives σ as the inverse of the largest distance, which has the wrong unit (values on a grid of
   0.001 would get noise 111), and as smaller than any distance. Here σ = `noise_scale` times the smallest gap of the
   column, so that no two values change places.
2. The target gets no noise unless asked for: with it a Y of k equally likely values reaches 1 - 1/k at most, where the
   paper says that the measure is not changed in expectation. Ranks of equal values are equal.
3. No row is its own neighbour, and a degenerate case is NaN with its reason, not some number.
4. `n_neighbors` averages over several neighbours, which has more power against weak dependence.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from expunge.errors import InputError
from expunge.kernels.rank_minima import Sum, minima_of_drawn, minima_of_several
from expunge.maths.neighbour_sums import Ranks, columns_of, numbers, ranks_of, standardised, sum_over

Floats = NDArray[np.float64]

TIES = ("average", "random", "noise")
NOISE_SCALE = 0.05


@dataclass(frozen=True)
class CodecResult:
    """`statistic`: T, NaN where it is not defined; `degenerate`: why it is not, or ""."""

    statistic: float
    degenerate: str = ""


@dataclass(frozen=True)
class Neighbours:
    """How a nearest row is chosen: `ties` and `several` (M); `seed` for what is drawn."""

    ties: str = "average"
    several: int = 1
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.ties not in TIES:
            raise InputError(f"There is no rule {self.ties!r} for ties; choose one of {', '.join(TIES)}.")
        if (self.ties == "average") != (self.seed is None):
            raise InputError(
                f"ties={self.ties!r} and seed={self.seed}: random and noise need a seed, average draws none."
            )
        if self.several > 1 and self.ties == "random":
            raise InputError("Several neighbours are averaged over equally near ones: give ties='average' or 'noise'.")

    def sum(self, columns: Floats, ranks: Ranks) -> Sum:
        """Q over columns (d, n).

        Raises:
            InputError: there are fewer other rows than neighbours.
        """
        n = len(ranks.up)
        if not 1 <= self.several < n:
            raise InputError(f"n_neighbors={self.several} of {n} rows: give 1 to {n - 1}.")
        if self.ties == "random":
            return minima_of_drawn(columns, ranks.up, self._generator("neighbours").random(n))
        if self.several > 1:
            return minima_of_several(columns, ranks.up, self.several)
        return sum_over(columns, ranks.up)

    def noised(self, columns: Floats, scale: float, part: str) -> Floats:
        """Columns (d, n), with noise where `ties` says so: for each `scale` times its smallest gap, times a normal."""
        if self.ties != "noise":
            return columns
        return columns + smallest_gaps(columns)[:, None] * scale * self._generator(part).normal(size=columns.shape)

    def _generator(self, part: str) -> np.random.Generator:
        return np.random.default_rng([*part.encode(), self.seed or 0])


def codec(
    y: ArrayLike,
    z: ArrayLike,
    x: ArrayLike | None = None,
    *,
    standardise: str = "no",
    ties: str = "average",
    n_neighbors: int = 1,
    noise_scale: float = NOISE_SCALE,
    noise_target: bool = False,
    seed: int | None = None,
) -> CodecResult:
    """The dependence T of y on z, given x if there is one.

    Args:
        y: target (n,), any numbers; only their order counts. z: (n,) or (n, q). x: (n,) or (n, p), or None.
        standardise: columns of x and z: "sd", "range" or "no".
        ties: "average", "random" or "noise"; see the module. n_neighbors: M.
        noise_scale: of ties="noise", in smallest gaps of a column; at most 0.05, lest values change places.
        noise_target: noise on y too, as the paper has it; it biases T downwards wherever y has ties.
        seed: a public one, for "random" and "noise".

    Raises:
        InputError: a number that is not finite, a shape that does not fit, fewer than 3 rows, or no such option.
    """
    how = Neighbours(ties, n_neighbors, seed)
    check_noise(noise_scale)
    if noise_target:
        if ties != "noise":
            raise InputError("noise_target is a part of ties='noise'; the other rules draw no noise.")
        y = how.noised(numbers("y", y)[None], noise_scale, "y")[0]
    ranks = ranks_of(y)
    n = len(ranks.up)
    if not ranks.spread:
        return CodecResult(np.nan, "y is constant")
    columns = columns_of(n, z=z) if x is None else columns_of(n, x=x, z=z)
    columns = how.noised(standardised(columns, standardise), noise_scale, "columns")
    both = how.sum(columns, ranks)
    if x is None:
        return CodecResult(ranks.coefficient(both))
    statistic = ranks.conditional(both, how.sum(columns[: columns_of(n, x=x).shape[0]], ranks))
    return CodecResult(statistic, "x determines y" if np.isnan(statistic) else "")


def smallest_gaps(columns: Floats) -> Floats:
    """The smallest positive difference between two values of each column (d, n): (d,), 0 where it is constant."""
    gaps = np.diff(np.sort(columns, axis=1), axis=1)
    smallest: Floats = np.where(gaps > 0, gaps, np.inf).min(axis=1)
    return np.where(np.isfinite(smallest), smallest, 0.0)


def check_noise(scale: float) -> None:
    """Raises InputError unless the noise is small enough for no two values to change places."""
    if not 0 < scale <= NOISE_SCALE:
        raise InputError(f"noise_scale={scale}; give a positive number of at most {NOISE_SCALE} smallest gaps.")
