"""Membership inference in a comparison: every model's area beside those of models that never saw the rows.

A row's score is its margin less its mean margin among the references, which takes its difficulty away; a reference is
compared with all others but itself, an audited model with all but one, in turn. ROC curves are of the same scores.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from expunge.audits.attacks import membership, roc
from expunge.audits.calibration import Calibration, calibrate
from expunge.audits.metrics import LEVEL, Band, Floats
from expunge.comparisons.models import Seen

GRID = np.concatenate([[0.0], np.logspace(-4, 0, 81)])  # false positive rates at which curves are kept


@dataclass(frozen=True)
class Curve:
    """The share of forgotten rows found (`found`) at each false positive rate (`rates`), both from 0 to 1."""

    rates: tuple[float, ...]
    found: tuple[float, ...]


@dataclass(frozen=True)
class Attacked:
    """What the attack sees.

    Attributes:
        auc, before: areas after forgetting and of doing nothing, means over the seeds.
        null: where 99 % of models fall that never saw the rows. Where learning draws nothing all of them are one model,
            and it is where 99 % of areas fall by the chance of which rows were drawn (`by_chance`).
        calibration: the audited areas beside the references'; None where all references are one model.
        detectable: the least distance from chance that so many rows can show. found: at a false positive rate of 1 %.
        curve, curve_before, curve_again: of the first seed; the last is of a reference.
    """

    auc: float
    before: float
    null: tuple[float, float]
    by_chance: bool
    calibration: Calibration | None
    detectable: float
    found: float
    curve: Curve
    curve_before: Curve
    curve_again: Curve

    @property
    def has_power(self) -> bool:
        """Whether any area could lie far enough from chance to be told from it."""
        return self.detectable < 0.5


def attacked(before: Sequence[Seen], after: Sequence[Seen], references: Sequence[Seen], drawn: int) -> Attacked | None:
    """Attack every model; None without test rows or with fewer than two references."""
    if "test" not in after[0].on or len(references) < 2:
        return None
    members = np.stack([seen.margins("forgotten") for seen in references])
    others = np.stack([seen.margins("test") for seen in references])
    classes = after[0].on["test"].classes
    unit = membership.RESOLUTION * (1.0 if classes else float(np.median(np.abs(others))) or 1.0)

    def area(seen: Seen, itself: int | None = None) -> float:
        sides = seen.margins("forgotten"), seen.margins("test")
        return membership.calibrated_auc(*sides, (members, others), unit, itself)

    def scores(seen: Seen, without: int | None = None) -> tuple[Floats, Floats]:
        sides = [side if without is None else np.delete(side, without, axis=0) for side in (members, others)]
        return (
            membership.calibrated(seen.margins("forgotten"), sides[0], unit),
            membership.calibrated(seen.margins("test"), sides[1], unit),
        )

    audited = [area(seen) for seen in after]
    honest = [area(seen, place) for place, seen in enumerate(references)]
    own = scores(after[0])
    return Attacked(
        auc=float(np.mean(audited)),
        before=float(np.mean([area(seen) for seen in before])),
        null=_by_chance(len(own[0]), len(own[1])) if drawn == 1 else _share(Band.of(honest)),
        by_chance=drawn == 1,
        calibration=calibrate(audited, honest) if drawn > 1 else None,
        detectable=roc.smallest_detectable(len(own[0]), len(own[1])),
        found=roc.tpr_at(*own, 0.01),
        curve=_curve(*own),
        curve_before=_curve(*scores(before[0])),
        curve_again=_curve(*scores(references[0], 0)),
    )


def _curve(members: Floats, others: Floats) -> Curve:
    whole = roc.curve(members, others)
    found = np.interp(GRID, whole.fpr, whole.tpr)
    return Curve(tuple(map(float, GRID)), tuple(map(float, found)))


def _share(band: Band | None) -> tuple[float, float]:
    return (0.0, 1.0) if band is None else band.share


def _by_chance(members: int, others: int) -> tuple[float, float]:
    """Where the area of two samples of one law falls with probability 99 % (Mann & Whitney 1947)."""
    reach = float(ndtri((1 + LEVEL) / 2)) * math.sqrt((members + others + 1) / (12 * members * others))
    return max(0.0, 0.5 - reach), min(1.0, 0.5 + reach)
