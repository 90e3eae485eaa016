r"""Train on without the rows, from the present weights: what people do today.

    w <- train(w, D_r)   for a few epochs

Nothing pushes the forgotten rows out; what they taught fades as far as the retained rows overwrite it. With a convex
learner, which trains to a tolerance, it is a warm refit, and ends where retraining ends, up to that tolerance.

Differs from the paper in:
1. The optimiser's moments are kept, and the epochs count on: it is the same training, a few epochs longer.
2. The order of every epoch is keyed: two orders of the same rows give the same bits.

Guarantee: none; measure it
Models: any learner
Strong: a few epochs, and the accuracy on retained rows is kept
Weak: rows learned by heart stay learned, and often it is no nearer to retraining than doing nothing
Paper: Golatkar et al. 2020 (their baseline)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from expunge.certificate import Uncertified
from expunge.errors import InputError
from expunge.keyed import Purpose
from expunge.learners.learner import Learner, Training
from expunge.learners.sgd import Sgd
from expunge.method import Forgetting, Method, Release, check_learnable, check_size, check_step
from expunge.noise import NoiseKey
from expunge.rows import Rows
from expunge.schema import Array

PURPOSE: Purpose = ("fine_tune",)
WHY = "Training goes on from weights that the forgotten rows shaped, and nothing bounds what is left of them."


@dataclass(frozen=True, eq=False)
class FineTuneRecord:
    """The training so far, its seed, and the number of rows it stands for."""

    seed: int
    size: int
    training: Training


@dataclass(frozen=True)
class FineTune(Method[FineTuneRecord]):
    """A few more epochs on the retained rows.

    Args:
        learner: trains the model, and trains it on. epochs: more of them for each step (without effect on a convex
            learner, which trains to its tolerance).
    """

    learns_plainly: ClassVar[bool] = True
    features_may_change: ClassVar[bool] = True
    learner: Learner = field(default_factory=Sgd)
    epochs: int = 2

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise InputError(f"epochs is {self.epochs}; give at least 1 more epoch for each step, such as 2.")

    def learn(self, rows: Rows, *, seed: int, noise: NoiseKey) -> FineTuneRecord:
        """Train on all rows. No noise is used.

        Raises:
            InputError: there is no row, no target, only one class, or the learner cannot read a column.
        """
        del noise
        check_learnable(rows)
        started = self.learner.start(rows.schema, seed, PURPOSE)
        return FineTuneRecord(seed, len(rows), self.learner.train(started, rows, seed=seed, purpose=PURPOSE))

    def forget(
        self, record: FineTuneRecord, retained: Rows, forgotten: Rows, *, noise: NoiseKey
    ) -> Forgetting[FineTuneRecord]:
        """Train on, on the retained rows.

        Raises:
            MustRetrain: no row is left. InputError: these are not the record's rows. NotConverged: training diverged.
        """
        del noise
        check_step(retained, forgotten)
        check_size(record.size, retained, forgotten)
        return self._trained_on(record, retained) if len(forgotten) else Forgetting(record, Uncertified(WHY), {})

    def extend(
        self, record: FineTuneRecord, retained: Rows, added: Rows, *, noise: NoiseKey
    ) -> Forgetting[FineTuneRecord]:
        """Train on, on the retained and the added rows."""
        del noise
        check_size(record.size, retained)
        if not len(added):
            return Forgetting(record, Uncertified(WHY), {})
        return self._trained_on(record, retained.and_rows(added))

    def adopt(self, weights: Mapping[str, Tensor], rows: Rows, *, seed: int, noise: NoiseKey) -> FineTuneRecord:
        """Start from a model trained elsewhere on these rows.

        Raises:
            InputError: a name or shape is not the learner's model's, or the learner cannot adopt.
        """
        del noise
        check_learnable(rows)
        return FineTuneRecord(seed, len(rows), self.learner.adopt(rows.schema, weights))

    def release(self, record: FineTuneRecord) -> Release:
        """The model's weights."""
        return self.learner.release(record.training)

    def predict(self, release: Release, columns: Mapping[str, Array]) -> Tensor:
        """Scores (m, outputs)."""
        return self.learner.predict(release, columns)

    def _trained_on(self, record: FineTuneRecord, rows: Rows) -> Forgetting[FineTuneRecord]:
        before = record.training
        after = self.learner.train(before, rows, seed=record.seed, purpose=PURPOSE, epochs=self.epochs)
        stats = {
            "rows_visited": float(after.visits - before.visits),
            "passes": (after.visits - before.visits) / len(rows),
        }
        return Forgetting(FineTuneRecord(record.seed, len(rows), after), Uncertified(WHY), stats)
