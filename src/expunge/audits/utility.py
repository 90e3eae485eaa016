"""The utility guard: a model that works worse than honest retraining explains is broken, and nothing it wins counts.

Every score of forgetting can be had by wrecking the model: a constant classifier recognises nobody.
"""

from __future__ import annotations

from expunge.audits.audit import Measure
from expunge.audits.metrics import Band

ACCURACY_MARGIN = 0.003  # 0.3 points: no failure, however narrow the band of near-deterministic references
RMSE_MARGIN = 0.01  # of the references' median
GUARDED = ("retained", "test")


def worse(measure: Measure, rows: tuple[str, ...] = GUARDED) -> bool:
    """Whether this is a quality on these rows, on the bad side of where one more retrained model falls (99 %).

    A quality that is not a number is worse than any.
    """
    kind, _, where = measure.name.partition(" on ")
    if measure.null is None or where not in rows or kind not in ("accuracy", "rmse", "distance"):
        return False
    return falls_short(kind, measure.after, measure.null)


def falls_short(kind: str, value: float, null: Band) -> bool:
    """Whether an "accuracy" lies below, or an error ("rmse", "distance") above, what one more retrained model gives."""
    low, high = null.interval
    if kind == "accuracy":
        return not value >= low - ACCURACY_MARGIN
    return not value <= high + RMSE_MARGIN * null.median
