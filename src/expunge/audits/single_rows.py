"""`audit_single_rows`: U-LiRA on a method and a forget set in one call, with what it needs to be believed.

It trains two worlds (models made to forget the rows, models that never saw them), and says how well each row's normals
tell them apart; beside it stand doing nothing, which says whether the attack can see anything, and never-trained models
against never-trained ones, which says what it sees where there is nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from expunge.audits.answers import answers_of
from expunge.audits.attacks import lira, u_lira
from expunge.audits.attacks.u_lira import ULira
from expunge.audits.collateral import over_forgotten
from expunge.audits.metrics import Floats
from expunge.audits.references import Progress, retrain
from expunge.audits.unlearned import unlearn
from expunge.errors import InputError
from expunge.method import Method
from expunge.rows import Rows

LEAST = 8  # models of a world: fewer cannot be halved for the null
SURPRISING = 0.01


@dataclass(frozen=True, eq=False)
class SingleRows:
    """What U-LiRA makes of a method.

    Attributes:
        nothing, after: doing nothing, and the method, each against models that never saw the rows.
        null: one half of these models against the other.
        p_nothing, p_after: permutation p-values of both balanced accuracies.
        over_forgotten: mean share of forgotten rows significantly below models that never saw them.
    """

    nothing: ULira
    after: ULira
    null: ULira
    p_nothing: float
    p_after: float
    over_forgotten: float

    @property
    def verdict(self) -> str:
        """What that says, in a sentence or two."""
        low, high = self.after.interval
        figures = f"balanced accuracy {self.after.accuracy:.3f}, {low:.3f} to {high:.3f}, p = {self.p_after:.3g}"
        if self.p_after <= SURPRISING:
            known = int(np.sum(self.after.auc_by_row > 0.9))
            how = f"{known} of {len(self.after.by_row)} rows with an area above 0.9"
            return f"Models that forgot these rows are told from models that never saw them ({figures}; {how})."
        passed = f"Models that forgot these rows look like models that never saw them ({figures})."
        if self.p_nothing > SURPRISING:
            passed += " So do models that forgot nothing: these rows, or so few models, show nothing."
        return passed


def audit_single_rows(
    method: Method[Any],
    rows: Rows,
    forgotten: Iterable[str | int],
    *,
    models: int = 20,
    seed: int = 0,
    variance: lira.Variance = "auto",
    scratch: Path | None = None,
    jobs: int | None = 1,
    progress: Progress | None = None,
) -> SingleRows:
    """Train both worlds and tell them apart.

    Args:
        forgotten: ids; mislabelled rows, canaries or the most memorised ones show most (`forget_set`).
        models: of each world; 2 x 20 trainings and 20 forgettings by default.
        seed: the two worlds draw seeds of their own from it. scratch, jobs, progress: as in `references.retrain`.

    Raises:
        InputError: fewer than 8 models, or no row is left. UnknownRows: an id is not among the rows.
    """
    if models < LEAST:
        raise InputError(f"{models} models of each world were asked for; give at least {LEAST}, better 20.")
    ids = list(forgotten)
    gone = rows.only(ids)
    if len(gone) == len(rows):
        raise InputError("All rows would be forgotten, and some must stay to learn from.")
    keep: dict[str, Any] = {"count": models, "scratch": scratch, "jobs": jobs, "progress": progress}
    made = unlearn(method, rows, ids, seed=seed, **keep)
    never = answers_of(method, retrain(method, rows.without(ids), seed=seed, **keep), gone).margins
    before, after = (
        answers_of(method, world, gone).margins for world in zip(*((m.before, m.after) for m in made), strict=True)
    )
    floor = least_spread(never, rows.classes)
    given: dict[str, Any] = {"seed": seed, "variance": variance, "floor": floor}
    below = [over_forgotten(one, never, floor=floor).share for one in after]
    return SingleRows(
        u_lira.attack(before, never, **given),
        u_lira.attack(after, never, **given),
        u_lira.null(never, **given),
        u_lira.p_value(before, never, **given),
        u_lira.p_value(after, never, **given),
        float(np.mean(below)),
    )


def least_spread(margins: Floats, classes: int) -> float:
    """The least standard deviation of margins that is believed: 0.01 logits, or 1 % of the usual squared error."""
    if classes:
        return lira.FLOOR
    return lira.FLOOR * float(np.median(np.abs(margins))) or lira.FLOOR
