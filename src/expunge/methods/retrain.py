r"""Learn again without the rows: what forgetting means, and the yardstick of every other method.

    forget(learn(D), U) = learn(D \ U)

bit for bit, because every random choice of training is a function of (seed, purpose, row key) and of nothing else.

Guarantee: exact, bit for bit
Models: any learner
Strong: always applies, and every other method is measured by it
Weak: the full price, every time
Paper: the definition itself (Cao & Yang 2015)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

from torch import Tensor

from expunge.certificate import Exact
from expunge.keyed import Purpose
from expunge.learners.featured import assumptions_of
from expunge.learners.learner import Learner, Training
from expunge.learners.sgd import Sgd
from expunge.method import Forgetting, Method, Release, check_learnable, check_size, check_step
from expunge.noise import NoiseKey
from expunge.rows import Rows
from expunge.schema import Array

PURPOSE: Purpose = ("retrain",)

EXACT = Exact(
    conditions=(
        "The same seed is used: the record equals, bit for bit, the one learned from the retained rows alone.",
        "The same environment: package versions, instruction set, one thread inside a training.",
        "The requests were chosen without looking at the model.",
    ),
    assumptions=(
        "Hyperparameters, architecture and preprocessing fixed before learning owe nothing to the forgotten rows.",
    ),
)


@dataclass(frozen=True, eq=False)
class RetrainRecord:
    """The trained model, the seed it was trained with, and the number of rows it was trained on."""

    seed: int
    size: int
    training: Training


@dataclass(frozen=True)
class Retrain(Method[RetrainRecord]):
    """Exact forgetting at full price: any learner, any batch, any sequence.

    Args:
        learner: the training that is repeated.
    """

    learns_plainly: ClassVar[bool] = True
    features_may_change: ClassVar[bool] = True
    learner: Learner = field(default_factory=Sgd)

    def learn(self, rows: Rows, *, seed: int, noise: NoiseKey) -> RetrainRecord:
        """Train on all rows. No noise is used.

        Raises:
            InputError: there is no row, no target, only one class, or the learner cannot read a column.
        """
        del noise
        check_learnable(rows)
        started = self.learner.start(rows.schema, seed, PURPOSE)
        return RetrainRecord(seed, len(rows), self.learner.train(started, rows, seed=seed, purpose=PURPOSE))

    def forget(
        self, record: RetrainRecord, retained: Rows, forgotten: Rows, *, noise: NoiseKey
    ) -> Forgetting[RetrainRecord]:
        """Train again on the retained rows, from the start, under the record's seed.

        Raises:
            MustRetrain: no row is left. InputError: these are not the record's rows.
        """
        check_step(retained, forgotten)
        check_size(record.size, retained, forgotten)
        if not len(forgotten):
            return Forgetting(record, exact(self.learner), {"rows_visited": 0})
        return self._again(record, retained, noise)

    def extend(
        self, record: RetrainRecord, retained: Rows, added: Rows, *, noise: NoiseKey
    ) -> Forgetting[RetrainRecord]:
        """Train again on the retained and the added rows.

        Raises:
            InputError: these are not the record's rows, or an id is among them already.
        """
        check_size(record.size, retained)
        if not len(added):
            return Forgetting(record, exact(self.learner), {"rows_visited": 0})
        return self._again(record, retained.and_rows(added), noise)

    def adopt(self, weights: Mapping[str, Tensor], rows: Rows, *, seed: int, noise: NoiseKey) -> RetrainRecord:
        """Start from a model trained elsewhere; the next `forget` or `extend` replaces it by one trained here.

        Raises:
            InputError: a name or shape is not the learner's model's, or the learner cannot adopt.
        """
        del noise
        check_learnable(rows)
        return RetrainRecord(seed, len(rows), self.learner.adopt(rows.schema, weights))

    def release(self, record: RetrainRecord) -> Release:
        """The model's weights."""
        return self.learner.release(record.training)

    def predict(self, release: Release, columns: Mapping[str, Array]) -> Tensor:
        """Scores (m, outputs)."""
        return self.learner.predict(release, columns)

    def _again(self, record: RetrainRecord, rows: Rows, noise: NoiseKey) -> Forgetting[RetrainRecord]:
        again = self.learn(rows, seed=record.seed, noise=noise)
        return Forgetting(again, exact(self.learner), {"rows_visited": again.training.visits})


def exact(learner: Learner, *more: str) -> Exact:
    """The certificate, with what it assumes of the learner's features, and `more`."""
    return replace(EXACT, assumptions=(*EXACT.assumptions, *assumptions_of(learner), *more))
