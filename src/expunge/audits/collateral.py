r"""What forgetting did to others: retained rows that stand out more than before, groups that are served worse.

Exposure of a row is how far its margin lies above what K models retrained with it say (of a forgotten row: without it),

    e = (phi - mean) / (s sqrt(1 + 1/K)),     a t with K - 1 degrees of freedom for one more retrained model.

A retained row whose exposure is higher after forgetting than before, and significantly so, got less privacy out of
somebody else's deletion (Hayes et al. 2024 find that it happens; Carlini et al. 2022b call it the onion effect, which
exact retraining has too: here only what goes beyond retraining counts). Significance is by Benjamini & Hochberg's rule
at 5 % over all rows; rows of one model go together, so the share that each reference alone would be given, held against
the others, is the band beside it, and `flagged` means above that band.

Forgotten rows that lie significantly *below* models that never saw them are over-forgotten: as clear a mark as a trace.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from expunge.audits.attacks.roc import share_interval
from expunge.audits.metrics import Band, Floats, Integers
from expunge.errors import InputError

LEVEL = 0.05  # of false discoveries
FLOOR = 0.01  # in logits, or in whatever unit the margins have: the least standard deviation
SHARE_MARGIN = 0.005  # a smaller excess over the band is no failure
ACCURACY_MARGIN = 0.003

Direction = Literal["above", "below"]


@dataclass(frozen=True, eq=False)
class Departure:
    """Rows on which a model lies significantly above (or below) retrained ones.

    Attributes:
        exposure: e of each row, (n,). rows: positions of the significant ones, the furthest first.
        share: of rows that are significant. null: the same share of each reference against the others.
        flagged: whether the share lies above where one more reference would; None with fewer than three references.
    """

    exposure: Floats
    rows: Integers
    share: float
    null: Band | None
    flagged: bool | None


@dataclass(frozen=True, eq=False)
class Collateral:
    """What forgetting did to retained rows.

    Attributes:
        before, after: exposure of each row, (n,). rose: the rows that are more exposed than before, and significantly
            more than in retrained models; a share over all rows, with the band that retraining gives.
    """

    before: Floats
    after: Floats
    rose: Departure


@dataclass(frozen=True)
class Subgroup:
    """Accuracy on one group of rows, with the exact 95 % interval of `after`, and the band of the references.

    `worse`: below where one more retrained model would lie, all groups together at 1 %, by more than 0.3 points; None
    without a band.
    """

    name: str
    rows: int
    before: float
    after: float
    interval: tuple[float, float]
    null: Band | None
    worse: bool | None


def exposures(own: Floats, references: Floats, *, floor: float = FLOOR) -> Floats:
    """The exposure of each row, (n,).

    Args:
        own: margins (n,). references: margins (K, n) of retrained models, at least two.

    Raises:
        InputError: fewer than two references, or other rows.
    """
    if references.ndim != 2 or len(references) < 2 or references.shape[1:] != own.shape:
        raise InputError(
            f"Margins of shapes {own.shape} and {references.shape}: give (rows,) and (references, rows), at least two "
            "references."
        )
    spread = np.maximum(references.std(axis=0, ddof=1), floor)
    reach = spread * math.sqrt(1 + 1 / len(references))
    return np.asarray((own - references.mean(axis=0)) / reach, dtype=np.float64)


def departure(own: Floats, references: Floats, direction: Direction, *, floor: float = FLOOR) -> Departure:
    """The rows on which a model lies above (remembered, over-exposed) or below (over-forgotten) retrained ones."""
    exposure = exposures(own, references, floor=floor)
    rows = _significant(exposure, len(references), direction)
    null = Band.of(_shares(references, direction, floor, None))
    return Departure(exposure, rows, len(rows) / len(own), null, _flagged(len(rows) / len(own), null))


def collateral_exposure(before: Floats, after: Floats, references: Floats, *, floor: float = FLOOR) -> Collateral:
    """Which retained rows are more exposed after forgetting than before.

    Args:
        before, after: margins (n,) of the releases on retained rows. references: margins (K, n) of models retrained
            without the forgotten rows.
    """
    first, second = (exposures(own, references, floor=floor) for own in (before, after))
    rows = _significant(second, len(references), "above")
    rows = rows[second[rows] > first[rows]]
    null = Band.of(_shares(references, "above", floor, before))
    share = len(rows) / len(after)
    return Collateral(first, second, Departure(second, rows, share, null, _flagged(share, null)))


def over_forgotten(own: Floats, references: Floats, *, floor: float = FLOOR) -> Departure:
    """Forgotten rows that lie below models that never saw them; `flagged` is the flag."""
    return departure(own, references, "below", floor=floor)


def subgroup_accuracy(
    groups: NDArray[Any] | Sequence[Any],
    before: NDArray[np.bool_],
    after: NDArray[np.bool_],
    references: NDArray[np.bool_] | None = None,
) -> list[Subgroup]:
    """Accuracy group by group, in the order of their names.

    Args:
        groups: what each row's group is, (n,): a column's values, or classes. before, after: whether each release was
            right on the row, (n,). references: the same of retrained models, (K, n).

    Raises:
        InputError: lengths differ.
    """
    named = np.array([str(group) for group in groups])
    lengths = {len(named), len(before), len(after)} | (set() if references is None else {references.shape[1]})
    if len(lengths) > 1 or not len(named):
        raise InputError(f"Groups and answers are of {sorted(lengths)} rows: give one of each for every row.")
    names = np.unique(named)
    return [_subgroup(str(name), named == name, before, after, references, len(names)) for name in names]


def _subgroup(
    name: str,
    where: NDArray[np.bool_],
    before: NDArray[np.bool_],
    after: NDArray[np.bool_],
    references: NDArray[np.bool_] | None,
    groups: int,
) -> Subgroup:
    count, right = int(where.sum()), int(after[where].sum())
    shares = [] if references is None else references[:, where].mean(axis=1).tolist()
    null = Band.of(shares)
    worse = None if null is None else right / count < _lowest(null, groups) - ACCURACY_MARGIN
    return Subgroup(name, count, float(before[where].mean()), right / count, share_interval(right, count), null, worse)


def _lowest(null: Band, groups: int) -> float:
    """Below this one more reference falls with probability 0.5 % over all groups together."""
    reach = -float(stdtrit(null.count - 1, 0.005 / groups)) * null.spread * math.sqrt(1 + 1 / null.count)
    return min(null.low, null.mean - reach)


def _significant(exposure: Floats, references: int, direction: Direction) -> Integers:
    """Positions of the rows that Benjamini & Hochberg's rule keeps, the smallest p-value first."""
    p = stdtr(references - 1, -exposure if direction == "above" else exposure)
    order = np.argsort(p, kind="stable")
    passed = np.flatnonzero(p[order] <= LEVEL * np.arange(1, len(p) + 1) / len(p))
    return order[: passed[-1] + 1] if len(passed) else order[:0]


def _shares(references: Floats, direction: Direction, floor: float, before: Floats | None) -> list[float]:
    """What share of rows each reference alone would be given, held against the others; none with fewer than three."""
    if len(references) < 3:
        return []
    shares = []
    for place, own in enumerate(references):
        others = np.delete(references, place, axis=0)
        exposure = exposures(own, others, floor=floor)
        rows = _significant(exposure, len(others), direction)
        if before is not None:
            rows = rows[exposure[rows] > exposures(before, others, floor=floor)[rows]]
        shares.append(len(rows) / len(own))
    return shares


def _flagged(share: float, null: Band | None) -> bool | None:
    return None if null is None else share > null.interval[1] + SHARE_MARGIN
