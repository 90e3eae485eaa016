"""When many cheap forgetting steps are worth one training (the online strategy of Mahadevan & Mathioudakis 2021).

What matters is how far the model is from a retrained one on the rows that left, and that is not known without
retraining. What is cheap to track is how far its accuracy on test rows has moved since it was trained. Once, where both
can be had, their proportion c is measured; from then on c times the second stands for the first.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from expunge.errors import InputError


def disparity(one: float, other: float) -> float:
    """|a - b| / (|a| + |b|), between 0 and 1: AccDis of accuracies on the rows that left, AccErr on test rows."""
    both = abs(one) + abs(other)
    return abs(one - other) / both if both else 0.0


def calibrated(pairs: Iterable[tuple[float, float]]) -> float:
    """c: the least squares slope through zero of AccDis by AccErr.

    Args:
        pairs: (AccErr, AccDis) of trial deletions against real retraining.

    Raises:
        InputError: no AccErr above 0, so that nothing can stand for anything; or a number is negative.
    """
    known = list(pairs)
    if not all(error >= 0 and disparate >= 0 for error, disparate in known):
        raise InputError("AccErr and AccDis are disparities; give numbers of at least 0.")
    squares = math.fsum(error**2 for error, _ in known)
    if not squares > 0:
        raise InputError("No trial deletion moved the accuracy on test rows: calibrate with larger ones.")
    return math.fsum(error * disparate for error, disparate in known) / squares


def restart_due(errors: Iterable[float], calibration: float, threshold: float) -> bool:
    """Whether c times any AccErr since the last training is above `threshold`; once due, it stays due.

    Args:
        errors: AccErr after each step. calibration: c of `calibrated`. threshold: of AccDis, such as 0.01.
    """
    if not (calibration >= 0 and threshold >= 0):
        raise InputError(f"calibration={calibration} and threshold={threshold} were given; both are at least 0.")
    return any(calibration * error > threshold for error in errors)
