r"""How far a number that a function gives depends on each feature of one row, by the rank coefficient.

    T(f(x + noise xi), xi_g)          xi normal, one draw for each group g of features, all groups at once
    T(f(x or baseline), kept_g)       where a baseline is given: each group is replaced by it, or not, at even odds

T is Chatterjee's coefficient (`codec`): 0 where f does not depend on the group around x, 1 where it depends on nothing
else. It needs no gradient, is unchanged by any increasing map of f (a probability and its logarithm say the same), and
sees what a gradient does not, as in x^2 at 0. It does not tell the sign. Mehta et al. (2022), remark 2.

All groups share one unit of dependence, so each of p equal ones gets about 1/p, and what is below `threshold` is not
told from chance: for pixels, group neighbours and average over shifted grids rather than raise `times`.

Differs from the paper in: ties are averaged and nothing else is noised; the replacement by a baseline is not theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from expunge.errors import InputError
from expunge.maths.feature_ordering import threshold
from expunge.maths.neighbour_sums import columns_of, numbers, orders_of, ranks_of, sums_with

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class SensitivityResult:
    """What was measured.

    Attributes:
        coefficients: T, one for each group; all 0 where the function is constant around the row.
        threshold: what the largest of them exceeds with probability about 0.05 where the function depends on none.
    """

    coefficients: Floats
    threshold: float


def feature_sensitivity(
    function: Callable[[Any], ArrayLike],
    x: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    baseline: ArrayLike | None = None,
    noise_scale: float = 0.1,
    times: int = 1000,
    batch: int = 256,
    seed: int = 0,
) -> SensitivityResult:
    """Measure the sensitivity of a function to the features of one row.

    Args:
        function: from rows (m, *shape) to numbers (m,): a loss, a logit, a distance.
        x: the row, of any shape, numbers.
        groups: numbers 0, 1, ... in the shape of x: which features change together; None for each by itself.
        baseline: in the shape of x, what replaces a group; None for normal noise.
        noise_scale: the standard deviation of the noise, in the unit of the features. times: m.
        batch: rows at a time. seed: of the draws; a public one.

    Raises:
        InputError: x, the baseline or what the function gives is not finite numbers of the right shape, or groups are
            not numbered from 0 on without a gap.
    """
    row, fallback = numbers("x", x), None if baseline is None else numbers("baseline", baseline)
    labels = _labels(row, groups)
    if fallback is not None and fallback.shape != row.shape:
        raise InputError(f"baseline has the shape {fallback.shape}; that of x, {row.shape}, is expected.")
    if times < 3 or batch < 1 or not 0 < noise_scale < np.inf:
        raise InputError(
            f"times={times}, batch={batch}, noise_scale={noise_scale}: give at least 3, at least 1, a positive number."
        )
    count, generator = int(labels.max()) + 1, np.random.default_rng(seed)
    if fallback is None:
        draws = generator.standard_normal((times, count))
    else:
        draws = generator.integers(0, 2, (times, count)).astype(np.float64)
    values = []
    for some in np.split(draws, range(batch, times, batch)):
        drawn = some[:, labels]
        rows = row + noise_scale * drawn if fallback is None else np.where(drawn > 0, row, fallback)
        values.append(_evaluated(function, rows))
    ranks, needed = ranks_of(np.concatenate(values)), threshold(times, count, 1, given=False)
    if not ranks.spread:
        return SensitivityResult(np.zeros(count), needed)
    columns = columns_of(times, draws=draws)
    sums = sums_with(None, columns, orders_of(columns, ranks.up), np.arange(count), ranks.up)
    return SensitivityResult(np.array([ranks.coefficient(each) for each in sums]), needed)


def _labels(row: Floats, groups: ArrayLike | None) -> Ints:
    labels = np.arange(row.size).reshape(row.shape) if groups is None else np.asarray(groups)
    if not row.size or labels.shape != row.shape or labels.dtype.kind not in "iu":
        raise InputError(f"groups has the shape {labels.shape}; whole numbers in that of x, {row.shape}, are expected.")
    found = np.unique(labels)
    if found[0] != 0 or found[-1] != len(found) - 1:
        raise InputError(f"groups are numbered {found[0]} to {found[-1]}, {len(found)} of them: count from 0, no gap.")
    return labels.astype(np.int64)


def _evaluated(function: Callable[[Any], ArrayLike], rows: Floats) -> Floats:
    values = numbers("what the function gives", function(rows))
    if values.shape != (len(rows),):
        raise InputError(f"The function gives the shape {values.shape} for {len(rows)} rows: give a number for each.")
    return values
