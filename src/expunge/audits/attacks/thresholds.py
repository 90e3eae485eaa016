"""Membership decided by a threshold: chosen on one half of the rows, reported on the other (Song & Mittal 2021).

A threshold chosen on the rows it is judged on is always right a little too often. Here the rows of each side are dealt
into halves by their keys; the threshold of greatest balanced accuracy on one half judges the other, and the other way
round, so that every row is judged once by a threshold it had no part in.

With classes, each has a threshold of its own (the paper's class-dependent thresholds), chosen among its rows; a class
with fewer than `FEW` rows on a side takes the one of all rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from expunge import keyed
from expunge.audits.attacks import roc
from expunge.audits.metrics import Floats, Integers
from expunge.errors import InputError

FEW = 5

Halves = NDArray[np.bool_]


@dataclass(frozen=True)
class Decided:
    """What thresholds decided about rows they were not chosen on.

    Attributes:
        accuracy: balanced, the mean of `found` and 1 - `accused`; 0.5 is a coin.
        found: share of members called members, with its exact 95 % interval. accused: the same of the others.
        chosen_on_itself: the balanced accuracy had each threshold judged the rows it was chosen on: too good.
        thresholds: of each half, for all rows together.
    """

    accuracy: float
    found: float
    found_interval: tuple[float, float]
    accused: float
    accused_interval: tuple[float, float]
    chosen_on_itself: float
    thresholds: tuple[float, float]


def best_threshold(members: Floats, others: Floats) -> float:
    """The threshold of greatest balanced accuracy, "member" being said of scores of at least it; the highest of ties.

    Raises:
        InputError: a side has no row.
    """
    if not len(members) or not len(others):
        raise InputError(f"{len(members)} members and {len(others)} others: a threshold needs at least one of each.")
    points = roc.curve(members, others)
    return float(points.threshold[np.argmax(points.tpr - points.fpr)])


def held_out(
    members: Floats,
    others: Floats,
    *,
    keys: tuple[keyed.Keys, keyed.Keys],
    classes: tuple[Integers, Integers] | None = None,
    seed: int = 0,
) -> Decided:
    """Decide about every row by a threshold chosen on other rows.

    Args:
        members, others: scores (m,) and (n,), higher for a member. keys: of the rows, `Rows.keys` of both sides.
        classes: codes (m,) and (n,), for a threshold a class; None for one threshold. seed: of the halves.

    Raises:
        InputError: a half of a side is empty.
    """
    halves = [keyed.bits(seed, ("thresholds",), side) & np.uint64(1) == 0 for side in keys]
    if not all(half.any() and (~half).any() for half in halves):
        raise InputError(f"{len(members)} members and {len(others)} others are too few to be halved by their keys.")
    said = [np.zeros(len(side), dtype=bool) for side in (members, others)]
    itself, cut = [], []
    for own in (True, False):  # chosen on the half where this is so, judged on the other
        fitted = [side[half == own] for side, half in zip((members, others), halves, strict=True)]
        of_all = best_threshold(fitted[0], fitted[1])
        cut.append(of_all)
        itself.append((np.mean(fitted[0] >= of_all) + 1 - np.mean(fitted[1] >= of_all)) / 2)
        for place, side in enumerate((members, others)):
            judged = halves[place] != own
            limits = np.full(len(side), of_all)
            if classes is not None:
                limits = _by_class((members, others), halves, own, classes, of_all, classes[place])
            said[place][judged] = side[judged] >= limits[judged]
    found, accused = (int(part.sum()) for part in said)
    m, n = len(members), len(others)
    return Decided(
        accuracy=(found / m + 1 - accused / n) / 2,
        found=found / m,
        found_interval=roc.share_interval(found, m),
        accused=accused / n,
        accused_interval=roc.share_interval(accused, n),
        chosen_on_itself=float(np.mean(itself)),
        thresholds=(cut[0], cut[1]),
    )


def _by_class(
    sides: tuple[Floats, Floats],
    halves: list[Halves],
    own: bool,
    classes: tuple[Integers, Integers],
    of_all: float,
    wanted: Integers,
) -> Floats:
    """The threshold of each wanted row's class."""
    limits = np.full(len(wanted), of_all)
    for code in np.unique(wanted):
        fitted = [side[(half == own) & (y == code)] for side, half, y in zip(sides, halves, classes, strict=True)]
        if min(map(len, fitted)) >= FEW:
            limits[wanted == code] = best_threshold(fitted[0], fitted[1])
    return limits
