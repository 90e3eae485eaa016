r"""FOCI: features chosen one after the other by conditional dependence (Azadkia & Chatterjee 2021), and L-FOCI.

    j_1 = argmax T(y, x_j),     j_{k+1} = argmax T(y, x_j | x_1 ... x_k),     until the best is not positive.

Only the nearest neighbour in (x_1 ... x_k, x_j) depends on j, so a candidate costs one search, which goes outwards from
the neighbours by the features that are in already (`kernels.rank_minima`). L-FOCI (Mehta et al. 2022) is the same on
L-CODEC: `ties="noise"`.

Where nothing depends on y the best of p coefficients is still positive half of the time or more: on 1,000 rows of pure
noise up to seven features are chosen. `stop="calibrated"` asks for more than the largest of p normals would be:

    T > z_{1 - alpha/p} c / sqrt(n),     c the standard deviation times sqrt(n), measured (below); p candidates left.

With M neighbours c falls nearly as 1 / sqrt(M): the same stop then lets weaker features in.

Differs from the paper and its code in:
1. No feature at all is chosen where the first coefficient is not positive; columns are standardised, as R does.
2. What is reported is both the coefficient of each step and the dependence on all that was chosen.
3. Equally near rows are averaged, so nothing is drawn; equally good features go by their number.
4. Where the chosen features determine y, it stops and says so. Constant columns are never chosen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from expunge.errors import InputError
from expunge.kernels.rank_minima import SHARES, Given, Sum
from expunge.maths.conditional_dependence import NOISE_SCALE, Neighbours, check_noise
from expunge.maths.neighbour_sums import Ranks, columns_of, given, orders_of, ranks_of, standardised, sums_with

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

STOPS = ("positive", "calibrated", "never")
DIMENSIONS, DEVIATIONS = (1.0, 2.0, 3.0, 5.0, 10.0), (0.995, 1.074, 1.108, 1.135, 1.195)  # measured where y is noise
CONDITIONAL = 1.6  # the same given other columns, at most 1.62 in 1 to 9 of them: two searches differ, not one
FALL, CONDITIONAL_FALL = 0.4, 0.5  # c falls at least as M to the minus this, measured for M up to SEVERAL
SEVERAL = 10


@dataclass(frozen=True)
class FociResult:
    """What was chosen.

    Attributes:
        selected: features (groups, where those were given) in the order they were chosen.
        steps: T(y, x_j | those before) of each. cumulative: T(y, all up to and with it).
        stopped: why no other was chosen.
    """

    selected: tuple[int, ...]
    steps: tuple[float, ...]
    cumulative: tuple[float, ...]
    stopped: str


def foci(
    y: ArrayLike,
    x: ArrayLike,
    *,
    groups: Sequence[Sequence[int]] | None = None,
    standardise: str = "sd",
    stop: str = "positive",
    alpha: float = 0.05,
    max_features: int | None = None,
    ties: str = "average",
    n_neighbors: int = 1,
    noise_scale: float = NOISE_SCALE,
    seed: int | None = None,
    threads: int = 1,
) -> FociResult:
    """Choose features of x by their conditional dependence with y.

    Args:
        y: target (n,). x: features (n, p).
        groups: columns of x that are chosen together (a vector, say); None for each column by itself.
        standardise: "sd", "range" or "no".
        stop: "positive" (as published), "calibrated" (fewer features where there are many) or "never".
        alpha: of the calibrated stop, for each step. max_features: at most so many.
        ties, n_neighbors, noise_scale, seed: as for `codec`; groups, random ties and several neighbours are slower.
        threads: over candidates; the result is the same for any number.

    Raises:
        InputError: as for `codec`, or there is no such stop or group.
    """
    how = Neighbours(ties, n_neighbors, seed)
    check_noise(noise_scale)
    if stop not in STOPS or not 0 < alpha < 1:
        raise InputError(f"stop={stop!r}, alpha={alpha}; one of {', '.join(STOPS)} and a number between 0 and 1.")
    if (max_features is not None and max_features < 1) or threads < 1:
        raise InputError(f"max_features={max_features} and threads={threads} were given; give at least 1 for each.")
    ranks = ranks_of(y)
    if not ranks.spread:
        return FociResult((), (), (), "y is constant")
    columns = how.noised(standardised(columns_of(len(ranks.up), x=x), standardise), noise_scale, "columns")
    plain = ties != "random" and n_neighbors == 1
    search: _OneByOne | _Anew
    if groups is None and plain:
        search = _OneByOne(columns, ranks, threads)
    else:
        search = _Anew(columns, ranks, how, _checked(groups, len(columns)))
    return _chosen(ranks, search, stop, partial(threshold, alpha=alpha, several=n_neighbors), max_features)


def _chosen(
    ranks: Ranks, search: _OneByOne | _Anew, stop: str, calibrated: Callable[..., float], most: int | None
) -> FociResult:
    selected: list[int] = []
    steps: list[float] = []
    cumulative: list[float] = []
    base: Sum | None = None
    left = list(range(search.candidates))
    while True:
        if not left:
            reason = "every feature was chosen"
        elif base is not None and ranks.total == base[0] + base[1] / SHARES:
            reason = "what was chosen determines y"
        elif most is not None and len(selected) >= most:
            reason = "max_features"
        else:
            sums = search.sums(left)
            best = max(range(len(left)), key=sums.__getitem__)  # of equally good ones the first
            step = ranks.coefficient(sums[best]) if base is None else ranks.conditional(sums[best], base)
            needed = {"never": -math.inf, "positive": 0.0}.get(stop)
            if needed is None:
                dimension = search.dimension(left[best])
                needed = calibrated(len(ranks.up), len(left), dimension, given=base is not None)
            if step > needed:
                base = sums[best]
                steps.append(step)
                cumulative.append(ranks.coefficient(base))
                selected.append(left.pop(best))
                search.choose(selected[-1])
                continue
            reason = f"the best coefficient left, {step:.4g}, is not above {needed:.4g}"
        return FociResult(tuple(selected), tuple(steps), tuple(cumulative), reason)


def threshold(n: int, candidates: int, dimension: int, *, given: bool, alpha: float = 0.05, several: int = 1) -> float:
    """What the largest of so many coefficients exceeds with probability about alpha where none depends on y.

    Args:
        n: rows. candidates: p. dimension: columns a neighbour is searched in. given: whether other columns are in.
        several: neighbours averaged over.
    """
    from scipy.special import ndtri  # slow to import

    deviation = CONDITIONAL if given else float(np.interp(dimension, DIMENSIONS, DEVIATIONS))
    deviation *= math.pow(min(several, SEVERAL), -(CONDITIONAL_FALL if given else FALL))
    return float(-ndtri(alpha / candidates)) * deviation / math.sqrt(n)


class _OneByOne:
    """Candidates are single columns: each step goes on from the neighbours by what is in already."""

    def __init__(self, columns: Floats, ranks: Ranks, threads: int) -> None:
        self.columns, self.ranks, self.threads = columns, ranks.up, threads
        self.orders = orders_of(columns, ranks.up)
        self.inside: list[int] = []
        self.given: Given | None = None
        self.candidates = len(columns)

    def sums(self, left: Sequence[int]) -> list[Sum]:
        which = np.asarray(left, dtype=np.int64)
        return sums_with(self.given, self.columns, self.orders, which, self.ranks, threads=self.threads)

    def choose(self, column: int) -> None:
        self.inside.append(column)
        self.given = given(self.columns[self.inside])

    def dimension(self, column: int) -> int:
        del column
        return len(self.inside) + 1


class _Anew:
    """Any candidates: each search begins anew."""

    def __init__(self, columns: Floats, ranks: Ranks, how: Neighbours, groups: Sequence[Sequence[int]]) -> None:
        self.columns, self.ranks, self.how, self.groups = columns, ranks, how, groups
        self.inside: list[int] = []
        self.candidates = len(groups)

    def sums(self, left: Sequence[int]) -> list[Sum]:
        return [self.how.sum(self.columns[[*self.inside, *self.groups[group]]], self.ranks) for group in left]

    def choose(self, group: int) -> None:
        self.inside.extend(self.groups[group])

    def dimension(self, group: int) -> int:
        return len(self.inside) + len(self.groups[group])


def _checked(groups: Sequence[Sequence[int]] | None, columns: int) -> list[list[int]]:
    if groups is None:
        return [[column] for column in range(columns)]
    listed = [list(group) for group in groups]
    every = [column for group in listed for column in group]
    if not all(listed) or len(set(every)) < len(every) or not all(0 <= column < columns for column in every):
        raise InputError(
            f"Groups name columns 0 to {columns - 1}, at least one each, and none twice; given: {listed[:5]}."
        )
    return listed
