r"""Climb the loss of the forgotten rows, and if asked descend that of the retained ones beside it.

    w <- w + learning_rate ((1 - a) grad L_f(w; batch) - a (grad L_r(w; batch) + l2 w)),   a = retain_weight

for at most `steps` batches, a = 0 is plain ascent, a > 0 is NegGrad+. An ascent has no minimum to end in: it runs on
until the model is destroyed. So it stops before the mean loss of the forgotten rows passes `max_loss` (that of a guess
among the classes), and the step that would have passed it is not taken.

Differs from the papers in:
1. The rule above ends it; the papers tune the number of steps by hand for each request.
2. The gradient is the loss's alone: the ascent does not climb the penalty, which would blow up the weights.
3. Batches are keyed, and the first one of each request goes by how many requests came before.

Guarantee: none; measure it
Models: networks (Sgd) and linear models (Convex)
Strong: it needs the forgotten rows only, and a few gradients
Weak: it goes past what a model that never saw the rows would do, and often ends further from it than doing nothing
Paper: Graves et al. 2021; Kurmanji et al. 2023 (NegGrad+)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import inf, isfinite, log
from typing import ClassVar

import numpy as np
from torch import Tensor

from expunge import keyed
from expunge.certificate import Uncertified
from expunge.errors import InputError
from expunge.keyed import Purpose
from expunge.learners.differentiable import Differentiable
from expunge.learners.inputs import in_memory
from expunge.learners.learner import Training, one_thread
from expunge.learners.sgd import Sgd
from expunge.method import Forgetting, Method, Release, check_learnable, check_size, check_step
from expunge.noise import NoiseKey
from expunge.objective import Objective
from expunge.rows import Rows
from expunge.schema import Array

PURPOSE: Purpose = ("gradient_ascent",)
WHY = "Raising the loss of the forgotten rows is not forgetting them, and nothing bounds the distance to retraining."


@dataclass(frozen=True, eq=False)
class GradientAscentRecord:
    """The model, its seed, the number of rows it stands for, and how many requests were worked off."""

    seed: int
    size: int
    requests: int
    training: Training


@dataclass(frozen=True)
class GradientAscent(Method[GradientAscentRecord]):
    """Ascent on the forgotten rows, stopped before their loss passes that of a guess.

    Args:
        learner: trains the model, and gives its objective. steps: batches at most. batch_size: rows in each, of the
            forgotten and of the retained rows alike. learning_rate: of the ascent.
        retain_weight: the share of descent on the retained rows, from 0 (none) to below 1.
        max_loss: mean loss of the forgotten rows that is not passed; None: log(classes), that of a guess.
    """

    learns_plainly: ClassVar[bool] = True
    learner: Differentiable = field(default_factory=Sgd)
    steps: int = 20
    batch_size: int = 32
    learning_rate: float = 0.01
    retain_weight: float = 0.0
    max_loss: float | None = None

    def __post_init__(self) -> None:
        for name, count in (("steps", self.steps), ("batch_size", self.batch_size)):
            if count < 1:
                raise InputError(f"{name} is {count}; give at least 1.")
        if not 0 < self.learning_rate < inf:
            raise InputError(f"learning_rate is {self.learning_rate}; give a positive number, such as 0.01.")
        if not 0 <= self.retain_weight < 1:
            raise InputError(f"retain_weight is {self.retain_weight}; give 0 (ascent alone) or more, and below 1.")
        if self.max_loss is not None and not 0 < self.max_loss < inf:
            raise InputError(
                f"max_loss is {self.max_loss}; without a limit the model is destroyed: give a positive number, such as "
                "0.69 (a guess between two classes), or None, which finds it."
            )

    def learn(self, rows: Rows, *, seed: int, noise: NoiseKey) -> GradientAscentRecord:
        """Train on all rows. No noise is used.

        Raises:
            InputError: the learner cannot learn these rows, or they have no classes and `max_loss` is not given.
        """
        del noise
        self._limit(rows)
        started = self.learner.start(rows.schema, seed, PURPOSE)
        trained = self.learner.train(started, rows, seed=seed, purpose=PURPOSE)
        return GradientAscentRecord(seed, len(rows), 0, trained)

    def adopt(self, weights: Mapping[str, Tensor], rows: Rows, *, seed: int, noise: NoiseKey) -> GradientAscentRecord:
        """Start from a model trained elsewhere on these rows."""
        del noise
        self._limit(rows)
        return GradientAscentRecord(seed, len(rows), 0, self.learner.adopt(rows.schema, weights))

    def forget(
        self, record: GradientAscentRecord, retained: Rows, forgotten: Rows, *, noise: NoiseKey
    ) -> Forgetting[GradientAscentRecord]:
        """Climb; the model stays as it is where the loss of these rows is at the limit already.

        Raises:
            MustRetrain: no row is left. InputError: these are not the record's rows.
        """
        del noise
        check_step(retained, forgotten)
        check_size(record.size, retained, forgotten)
        if not len(forgotten):
            return Forgetting(record, Uncertified(WHY), {})
        with one_thread():
            w, stats = self._climbed(record, retained, forgotten)
        training = self.learner.moved(record.training, w) if stats["steps"] else record.training
        after = replace(record, size=len(retained), requests=record.requests + 1, training=training)
        return Forgetting(after, Uncertified(WHY), stats)

    def release(self, record: GradientAscentRecord) -> Release:
        """The model's weights."""
        return self.learner.release(record.training)

    def predict(self, release: Release, columns: Mapping[str, Array]) -> Tensor:
        """Scores (m, outputs)."""
        return self.learner.predict(release, columns)

    def _limit(self, rows: Rows) -> float:
        check_learnable(rows)
        if self.max_loss is None and not rows.classes:
            raise InputError(
                "These rows have no classes, so no guess among them sets a limit: give max_loss, such as "
                "the mean loss of a constant prediction."
            )
        return log(rows.classes) if self.max_loss is None else self.max_loss

    def _climbed(
        self, record: GradientAscentRecord, retained: Rows, forgotten: Rows
    ) -> tuple[Tensor, dict[str, float]]:
        """The weights after the ascent, and what it took."""
        objective, limit = self.learner.objective(record.training), self._limit(forgotten)
        purpose = (*PURPOSE, record.requests)
        climb = self._batches(forgotten, record.seed, (*purpose, "forgotten"))
        descend = self._batches(retained, record.seed, (*purpose, "retained")) if self.retain_weight else None
        w, taken, visited = self.learner.flat(record.training), 0, 0
        loss = started = mean_loss(objective, w, forgotten)
        while taken < self.steps and loss < limit:
            batch = next(climb)
            direction = (1 - self.retain_weight) * objective.gradient_sum(w, batch) / len(batch)
            visited += len(batch) + len(forgotten)
            if descend:
                beside = next(descend)
                direction = direction - self.retain_weight * objective.gradient(w, beside)
                visited += len(beside)
            moved = w + self.learning_rate * direction
            after = mean_loss(objective, moved, forgotten)
            if not (isfinite(after) and after <= limit):
                break
            w, loss, taken = moved, after, taken + 1
        return w, {"steps": taken, "rows_visited": visited, "loss_before": started, "loss": loss}

    def _batches(self, rows: Rows, seed: int, purpose: Purpose) -> Iterator[Rows]:
        """Batches without end, each pass over the rows in an order of its own."""
        table, epoch = rows.table(), 0
        while True:
            order = keyed.permutation(seed, (*purpose, epoch), table.keys)
            for start in range(0, len(order), self.batch_size):
                part = np.asarray(order[start : start + self.batch_size])
                yield in_memory([table.take(part)], rows.schema)
            epoch += 1


def mean_loss(objective: Objective, w: Tensor, rows: Rows) -> float:
    """The mean loss of these rows, without the penalty."""
    return float(objective.value(w, rows) - objective.l2 / 2 * (w @ w))
