"""Rewind to delete: go back to a checkpoint on the way, and train on without the rows [Mu & Klabjan 2024].

With E epochs and K = round(rewind E), at least 1: learning keeps the training after E - K epochs. To forget, the last K
epochs are run again, from there, on the retained rows, in the order that learning without the rows would have used:

    w = TRAIN(w_{E-K}(D); D_r; epochs E-K+1..E)

The checkpoint saw the forgotten rows, so what is left of them depends on how fast K epochs wash it out. It stays the
same for all later requests: rows that ever left are in none of the epochs run again, and one request after the other
equals all at once, bit for bit. With `rewind=1` it is the start, and forgetting is exact retraining.

Differs from the paper in:
1. No noise and no certificate. The published distance (maths/rewind.py) is for full-batch descent, and for a network it
   grows like (1 + eta L)^T: on the digits perceptron of the docs it asks for noise of about 9e4 on each weight.
2. Mini-batches, momentum and Adam are allowed; the checkpoint holds their whole state.
3. The order of rows is keyed, so the epochs run again are the reference's own, from other weights.

Guarantee: none (audited only); exact where `rewind=1`
Models: any learner
Strong: a price known in advance, `rewind` times a retraining
Weak: the checkpoint that is kept has seen the forgotten rows, and a good attack still finds them in the model
Paper: Mu & Klabjan 2024
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

from torch import Tensor

from expunge.certificate import Certificate, Uncertified
from expunge.errors import InputError
from expunge.keyed import Purpose
from expunge.learners.learner import Learner, Training
from expunge.learners.sgd import Sgd
from expunge.method import Forgetting, Method, Release, check_learnable, check_size, check_step
from expunge.methods.retrain import exact
from expunge.noise import NoiseKey
from expunge.rows import Rows
from expunge.schema import Array

PURPOSE: Purpose = ("rewind",)
UNCERTIFIED = Uncertified(
    "Training went on from a checkpoint that has seen the forgotten rows and is kept: nothing was proved of what is "
    "left of them, in the release or in the stored state."
)


@dataclass(frozen=True, eq=False)
class RewindRecord:
    """The seed, the number of rows, the checkpoint of the *first* training after E - K epochs, and the model."""

    seed: int
    size: int
    checkpoint: Training
    training: Training


@dataclass(frozen=True)
class Rewind(Method[RewindRecord]):
    """Train the last epochs again without the rows.

    Args:
        learner: the training. rewind: the share of its epochs that is run again, above 0 and at most 1.
    """

    features_may_change: ClassVar[bool] = False  # the checkpoint was trained on the features of then
    learns_plainly: ClassVar[bool] = True
    learner: Learner = field(default_factory=Sgd)
    rewind: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.rewind <= 1:
            raise InputError(f"rewind={self.rewind} was given; give a share of the epochs above 0, at most 1: try 0.5.")

    @property
    def again(self) -> int:
        """K: how many epochs are run again."""
        return max(1, round(self.rewind * self.learner.epochs))

    def learn(self, rows: Rows, *, seed: int, noise: NoiseKey) -> RewindRecord:
        """Train on all rows and keep the training as it was K epochs before its end. No noise is used."""
        del noise
        check_learnable(rows)
        checkpoint = self.learner.start(rows.schema, seed, PURPOSE)
        if before := self.learner.epochs - self.again:
            checkpoint = self.learner.train(checkpoint, rows, seed=seed, purpose=PURPOSE, epochs=before)
        return self._finished(RewindRecord(seed, len(rows), checkpoint, checkpoint), rows)

    def forget(
        self, record: RewindRecord, retained: Rows, forgotten: Rows, *, noise: NoiseKey
    ) -> Forgetting[RewindRecord]:
        """Run the last K epochs again, on the retained rows.

        Raises:
            MustRetrain: no row is left. InputError: these are not the record's rows.
        """
        del noise
        check_step(retained, forgotten)
        check_size(record.size, retained, forgotten)
        if not len(forgotten):
            return Forgetting(record, _promise(record, self.learner), {})
        return self._again(record, retained)

    def extend(self, record: RewindRecord, retained: Rows, added: Rows, *, noise: NoiseKey) -> Forgetting[RewindRecord]:
        """Run the last K epochs again, with the added rows.

        Raises:
            InputError: these are not the record's rows, or an id is among them already.
        """
        del noise
        check_size(record.size, retained)
        if not len(added):
            return Forgetting(record, _promise(record, self.learner), {})
        return self._again(record, retained.and_rows(added))

    def release(self, record: RewindRecord) -> Release:
        """The model's weights; the checkpoint stays."""
        return self.learner.release(record.training)

    def predict(self, release: Release, columns: Mapping[str, Array]) -> Tensor:
        """Scores (m, outputs)."""
        return self.learner.predict(release, columns)

    def _again(self, record: RewindRecord, rows: Rows) -> Forgetting[RewindRecord]:
        after = self._finished(record, rows)
        visits = after.training.visits - record.checkpoint.visits
        return Forgetting(
            after, _promise(record, self.learner), {"epochs": float(self.again), "rows_visited": float(visits)}
        )

    def _finished(self, record: RewindRecord, rows: Rows) -> RewindRecord:
        training = self.learner.train(
            record.checkpoint, rows, seed=record.seed, purpose=PURPOSE, epochs=self.again
        )  # fmt: skip
        return replace(record, size=len(rows), training=training)


def _promise(record: RewindRecord, learner: Learner) -> Certificate:
    return UNCERTIFIED if record.checkpoint.epochs else exact(learner)
