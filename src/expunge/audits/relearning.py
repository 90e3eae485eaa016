"""Relearning time: how soon a copy of a model knows the forgotten rows again (Golatkar et al. 2020; Chundawat et al.).

A copy is trained on the forgotten rows alone, by the method's own learner, until its accuracy on them reaches 95 % of
what the model had before they were forgotten. Fewer epochs than a retrained model takes: something was left. More: the
rows were pushed away, and that is a trace too. AIN (`scores.anamnesis_index`) is the ratio of the two. The model under
audit stays as it is.

It can tell little where a learning rate brings any model there in an epoch: give a small one. And a network that
relearns as a retrained one does may still hold the rows: this is evidence of failure, never of success.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from expunge import keyed
from expunge.attribution.white_box import opened
from expunge.audits.metrics import accuracy
from expunge.audits.scores.anamnesis_index import relearning_time
from expunge.errors import InputError
from expunge.learners.sgd import Sgd
from expunge.method import Method, Release
from expunge.rows import Rows

MARGIN = 0.05
MOST = 50


@dataclass(frozen=True)
class Relearning:
    """How a copy learned the rows again.

    Attributes:
        accuracies: on the rows, after 0, 1, 2, ... epochs, up to the one that reached the goal.
        epochs: until then; infinite if `most` were not enough. steps: gradient steps until then.
    """

    accuracies: tuple[float, ...]
    epochs: float
    steps: float


def relearn(
    method: Method[Any],
    release: Release,
    forgotten: Rows,
    *,
    before: float,
    seed: int,
    learning_rate: float | None = None,
    margin: float = MARGIN,
    most: int = MOST,
) -> Relearning:
    """Train a copy of a release on the forgotten rows until it knows them as well as the model once did.

    Args:
        method: whose learner is `Sgd`, in a Pipeline or not. release: of the model under audit.
        forgotten: rows with their labels. before: accuracy on them before they were forgotten.
        seed: of the order of batches. learning_rate: in place of the learner's own. most: epochs at most.

    Raises:
        InputError: the learner trains to a tolerance, or not at all; the rows have no classes; `most` is below 1.
    """
    if most < 1 or not 0 <= before <= 1 or not 0 <= margin < 1:
        raise InputError(f"most={most}, before={before}, margin={margin}: give an epoch at least, and shares.")
    inside = opened(method, release, forgotten)
    if not isinstance(inside.learner, Sgd):
        raise InputError(
            f"{type(inside.learner).__name__} has no epochs to count: relearning time is of networks trained by Sgd."
        )
    if not forgotten.classes:
        raise InputError("Relearning time counts epochs until an accuracy, and these rows have no classes.")
    learner = inside.learner if learning_rate is None else replace(inside.learner, learning_rate=learning_rate)
    training, rows = inside.training, inside.rows
    subseed, reached = keyed.subseed(seed, "relearning"), [_accuracy(learner, training, rows)]
    while reached[-1] < (1 - margin) * before and len(reached) <= most:
        training = learner.train(training, rows, seed=subseed, purpose=("relearning",), epochs=1)
        reached.append(_accuracy(learner, training, rows))
    epochs = relearning_time(reached, before, margin)
    steps = epochs * math.ceil(len(rows) / learner.batch_size) if math.isfinite(epochs) else math.inf
    return Relearning(tuple(reached), epochs, steps)


def _accuracy(learner: Sgd, training: Any, rows: Rows) -> float:
    log_p = learner.predict(learner.release(training), rows.columns)
    return accuracy(log_p.double().numpy(), rows.y)
