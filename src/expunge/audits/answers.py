"""What many models say of the same rows, as the two arrays that attacks are functions of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from expunge.audits.attacks import membership
from expunge.audits.candidates import Candidate, Outputs, outputs, released
from expunge.audits.stored_releases import Learned
from expunge.errors import InputError
from expunge.maths.performance import LOG_FLOOR, Floats
from expunge.method import Method
from expunge.rows import Rows


@dataclass(frozen=True, eq=False)
class Answers:
    """What models say of rows, both (models, rows).

    Attributes:
        margins: phi = log p_y - log sum of the others, cut off at +-27.6; minus the squared error of a regression (or
            squared distance to the nearest centroid of a clustering), which is not cut off.
        log_confidences: log p_y, at least log 1e-12; the same as margins where there are no classes.
    """

    margins: Floats
    log_confidences: Floats

    def of_rows(self, where: Any) -> Answers:
        """The same of some rows: a mask or positions."""
        return Answers(self.margins[:, where], self.log_confidences[:, where])

    def of_models(self, where: Any) -> Answers:
        """The same of some models: a mask or positions."""
        return Answers(self.margins[where], self.log_confidences[where])


def margins(seen: Outputs) -> Floats:
    """Of one model, (rows,), as in `Answers`."""
    return membership.clipped_margins(seen.values, seen.y) if seen.classes else _minus_errors(seen)


def log_confidences(seen: Outputs) -> Floats:
    """Of one model, (rows,), as in `Answers`."""
    if not seen.classes:
        return _minus_errors(seen)
    return np.asarray(np.maximum(seen.values[np.arange(len(seen.y)), seen.y], LOG_FLOOR), dtype=np.float64)


def ask(candidates: Iterable[Candidate], rows: Rows) -> Answers:
    """Ask each model about the rows.

    Raises:
        InputError: no model, or a model does not fit the rows.
    """
    seen = [outputs(candidate, rows) for candidate in candidates]
    if not seen:
        raise InputError("There is no model to ask: give at least one.")
    return Answers(np.stack([margins(one) for one in seen]), np.stack([log_confidences(one) for one in seen]))


def answers_of(method: Method[Any], learned: Iterable[Learned], rows: Rows) -> Answers:
    """`ask`, of models that `method` learned: references, shadows, or models made to forget."""
    return ask((released(method, one.release) for one in learned), rows)


def _minus_errors(seen: Outputs) -> Floats:
    return np.asarray(-((seen.values - seen.y) ** 2).sum(axis=1), dtype=np.float64)
