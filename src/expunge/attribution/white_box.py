"""A release seen from inside: its loss as a function of flat weights, for attacks and scores that take derivatives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from expunge.errors import InputError
from expunge.features import Pipeline
from expunge.learners.differentiable import Differentiable
from expunge.learners.learner import Learner, Training
from expunge.method import Method, Release
from expunge.objective import Objective
from expunge.rows import Rows


@runtime_checkable
class Learns(Protocol):
    """A method that trains by a learner and releases what the learner would."""

    @property
    def learner(self) -> Learner: ...  # noqa: D102


@dataclass(frozen=True, eq=False)
class Opened:
    """A released model as a training, and rows in the form that its learner reads."""

    learner: Learner
    training: Training
    rows: Rows

    def objective(self) -> tuple[Objective, Tensor]:
        """F(w; D) and the released weights w (d,), float64.

        Raises:
            InputError: the learner has no derivatives.
        """
        if not isinstance(self.learner, Differentiable):
            raise InputError(f"{type(self.learner).__name__} has no derivatives; Convex and Sgd have.")
        return self.learner.objective(self.training), self.learner.flat(self.training)


def opened(method: Method[Any], release: Release, rows: Rows) -> Opened:
    """The release of a method, adopted by the method's own learner: a copy, on which anything may be tried.

    Args:
        rows: as `method.learn` reads them; a pipeline's features are taken from the release.

    Raises:
        InputError: the method has no learner, or its release is not one model of it (SISA's shards, say).
    """
    if isinstance(method, Pipeline):
        return opened(method.method, method.inside(release), method.mapped(release, rows))
    name = type(method).__name__
    if not isinstance(method, Learns) or not isinstance(method.learner, Learner):
        raise InputError(f"{name} trains by no learner, so its model cannot be opened: use an attack on outputs.")
    try:
        return Opened(method.learner, method.learner.adopt(rows.schema, release.tensors), rows)
    except InputError as error:
        raise InputError(f"The release of {name} is not one model of its learner's: {error}") from error
