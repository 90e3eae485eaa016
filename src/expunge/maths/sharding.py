"""What sharded and sliced training costs when rows leave, how evenly hashing deals, and how many shards to take.

n rows are dealt into S shards and each shard into R slices by independent uniform hashes of their owners. Step r of a
shard trains for e_r epochs on slices 1..r, hence on the share r/R of the shard. K owners of one row each leave at once.
Step r of a shard is trained again iff one of them lay in its slices 1..r, so the expected visits of the n-K rows left
are, for places independent of who leaves,

    (n - K) sum_r e_r (r/R) (1 - (1 - r/(SR))^K),

exactly: whether a row that stays is visited depends on its own place and on those K. At K = 1, with e_r constant, this
is the share (2/3 + 1/(3R)) / S of learning. Shards touched: S (1 - (1 - 1/S)^K) [Bourtoule et al. 2021, section V].
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from expunge.errors import InputError


@dataclass(frozen=True)
class Cost:
    """What is expected of a number of deletions; all but `checkpoints` are expectations.

    Attributes:
        shards: shards trained again, summed over the batches. rows: rows that training reads again, each counted once a
            batch. visits: of rows, once an epoch. share: visits over those of learning again once a batch.
        checkpoints: kept at any time, S R.
    """

    shards: float
    rows: float
    visits: float
    share: float
    checkpoints: int


@dataclass(frozen=True)
class Plan:
    """Shards and slices chosen by `plan`, and what they are expected to cost."""

    shards: int
    slices: int
    cost: Cost


def slice_epochs(epochs: int, slices: int) -> tuple[int, ...]:
    """e_1..e_R: how many epochs step r trains on slices 1..r, at least one; `epochs` full epochs of visits in all."""
    shares = [2 * epochs * r // (slices + 1) for r in range(slices + 1)]
    return tuple(max(1, after - before) for before, after in pairwise(shares))


def shards_touched(shards: int, deletions: int) -> float:
    """S (1 - (1 - 1/S)^K): how many shards hold one of K owners, in expectation."""
    return shards * _touched(1 / shards, deletions)


def expected_cost(rows: int, deletions: int, shards: int, slices: int, epochs: int, batch: int | None = None) -> Cost:
    """What it costs to forget `deletions` owners of one row each, chosen without a look at their places.

    Args:
        rows: n, before they leave. shards, slices: S, R. epochs: of one full training.
        batch: how many leave at once; default: all. The last batch may be smaller.

    Raises:
        InputError: a number is below 1, or no row would be left.
    """
    for name, value in (("rows", rows), ("shards", shards), ("slices", slices), ("epochs", epochs)):
        _check(name, value, 1)
    _check("deletions", deletions, 0)
    _check("batch", 1 if batch is None else batch, 1)
    if deletions >= rows:
        raise InputError(f"{deletions} deletions of {rows} rows leave none to learn from: give fewer.")
    steps = [e * r / slices for r, e in enumerate(slice_epochs(epochs, slices), start=1)]
    touched = read = visits = again = 0.0
    left = rows
    for leaving in _batches(deletions, batch or max(deletions, 1)):
        left -= leaving
        touched += shards_touched(shards, leaving)
        read += left * _touched(1 / shards, leaving)
        visits += left * sum(c * _touched(r / (shards * slices), leaving) for r, c in enumerate(steps, start=1))
        again += left * sum(steps)
    return Cost(touched, read, visits, visits / again if again else 0.0, shards * slices)


def plan(
    rows: int,
    deletions: int,
    *,
    epochs: int,
    share: float,
    least_rows: int,
    batch: int | None = None,
    most_checkpoints: int = 1000,
    most_slices: int = 20,
) -> Plan:
    """The fewest shards (and then slices) whose expected cost is at most `share` of learning again.

    Fewer shards are more accurate, since each learns from n/S rows: `least_rows` is how many a shard needs, read off a
    learning curve of one model.

    Args:
        rows, deletions, epochs, batch: see `expected_cost`.
        share: of the visits of learning again once a batch. least_rows: n/S at least.
        most_checkpoints: S R at most. most_slices: R at most.

    Raises:
        InputError: a number is out of its range, or no choice keeps all three bounds.
    """
    if not 0 < share <= 1:
        raise InputError(f"share={share} was given; a share of learning again, above 0 and up to 1, was expected.")
    _check("least_rows", least_rows, 1)
    best = 1.0
    for shards in range(1, rows // least_rows + 1):
        for slices in range(1, min(most_slices, most_checkpoints // shards) + 1):
            cost = expected_cost(rows, deletions, shards, slices, epochs, batch)
            if cost.share <= share:
                return Plan(shards, slices, cost)
            best = min(best, cost.share)
    raise InputError(
        f"No shards of at least {least_rows} rows with at most {most_checkpoints} checkpoints come down to the share "
        f"{share:g}; the least is {best:.3g}. Let fewer leave at once (batch), allow a larger share, or smaller shards."
    )


def expected_spread(squares: float, cells: int) -> float:
    """The standard deviation of one cell's number of rows, sqrt(sum_o m_o^2 (1/c) (1 - 1/c)).

    Args:
        squares: sum over owners of the square of their number of rows; the number of rows where each owns one.
        cells: c, how many there are.
    """
    return math.sqrt(squares / cells * (1 - 1 / cells))


def expected_empty(owners: int, cells: int) -> float:
    """How many of the cells get no owner, in expectation: c (1 - 1/c)^m."""
    return cells * (1 - _touched(1 / cells, owners))


def _touched(p: float, times: int) -> float:
    """1 - (1 - p)^times, also where p is tiny."""
    if p >= 1:
        return float(times > 0)
    return -math.expm1(times * math.log1p(-p))


def _batches(deletions: int, size: int) -> Iterator[int]:
    for start in range(0, deletions, size):
        yield min(size, deletions - start)


def _check(name: str, value: int, least: int) -> None:
    if value < least:
        raise InputError(f"{name}={value} was given, and at least {least} was expected.")
