"""The rows that every comparison has: doing nothing, learning again, training on, and a private model.

They are the ends of the scale: nothing is cheaper than doing nothing, nothing forgets better than learning again, and
differential privacy pays beforehand, in accuracy, for never having to do anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor

from expunge.certificate import Uncertified
from expunge.comparisons.plain_training import settings_of
from expunge.features import Pipeline
from expunge.learners.convex import Convex
from expunge.learners.differentiable import Differentiable
from expunge.learners.learner import Learner
from expunge.learners.sgd import Sgd
from expunge.maths.privacy import noise_std_for
from expunge.method import Forgetting, Method, Release
from expunge.methods.differential_privacy import DifferentialPrivacy
from expunge.methods.fine_tune import FineTune
from expunge.methods.retrain import Retrain, RetrainRecord
from expunge.noise import NoiseKey
from expunge.rows import Rows
from expunge.schema import Array, Schema

NOTHING, AGAIN, ON, PRIVATE = "doing nothing", "learning again", "training on", "private model"
WHY = "Nothing was done: the model of before is served."
MOST = 1000.0  # epsilon that the private model may spend on many rows before it learns again
SPARE = 1.1  # noise of the private model, over the least that epsilon takes for one row


@dataclass(frozen=True)
class Nothing(Method[RetrainRecord]):
    """Plain training, and no answer to any request.

    Args:
        learner: trains the model.
    """

    features_may_change: ClassVar[bool] = True
    learns_plainly: ClassVar[bool] = True
    learner: Learner = field(default_factory=Sgd)

    def learn(self, rows: Rows, *, seed: int, noise: NoiseKey) -> RetrainRecord:
        """Train on all rows."""
        return Retrain(self.learner).learn(rows, seed=seed, noise=noise)

    def forget(
        self, record: RetrainRecord, retained: Rows, forgotten: Rows, *, noise: NoiseKey
    ) -> Forgetting[RetrainRecord]:
        """The same record."""
        del retained, forgotten, noise
        return Forgetting(record, Uncertified(WHY), {"rows_visited": 0})

    def release(self, record: RetrainRecord) -> Release:
        """The model's weights."""
        return self.learner.release(record.training)

    def predict(self, release: Release, columns: Mapping[str, Array]) -> Tensor:
        """Scores (m, outputs)."""
        return self.learner.predict(release, columns)


def boundary_methods(
    chosen: Sequence[Method[Any]], rows: Rows, dress: Callable[[Method[Any]], Method[Any]]
) -> dict[str, Method[Any]]:
    """The boundary rows by their labels, for the learner that most of the methods train.

    Args:
        dress: puts a method over the features that a table needs.
    """
    learner = main_learner(chosen, rows.schema)
    found: dict[str, Method[Any]] = {}
    if learner is not None:
        found |= {NOTHING: Nothing(learner), AGAIN: Retrain(learner)}
        if isinstance(learner, Differentiable):
            found[ON] = FineTune(learner)
    if rows.schema.target is not None:
        found[PRIVATE] = private_model(rows)
    return {label: dress(method) for label, method in found.items() if dress(method) not in chosen}


def main_learner(chosen: Sequence[Method[Any]], schema: Schema) -> Learner | None:
    """The learner that most methods name, the first of those named most; a linear model where none names one.

    None without a target: a clustering has no plain training to stand beside it.
    """
    inner = [method.method if isinstance(method, Pipeline) else method for method in chosen]
    named = [learner for method in inner if isinstance(learner := settings_of(method).get("learner"), Learner)]
    if named:
        return max(named, key=named.count)
    if schema.target is None or any(not method.needs_target for method in inner):
        return None
    return Convex("cross_entropy" if schema.classes else "squared")


def private_model(rows: Rows) -> DifferentialPrivacy:
    """Differential privacy at epsilon 1 for one row, with the least noise that takes."""
    target = rows.schema.target
    outputs = len(rows.schema.classes) or (target.shape[0] if target is not None and target.shape else 1)
    settings = {"loss": "cross_entropy" if rows.classes else "huber"}
    reach = DifferentialPrivacy(**settings).sensitivity(len(rows), outputs)  # type: ignore[arg-type]
    plain = DifferentialPrivacy()
    noise_std = SPARE * noise_std_for(reach, plain.epsilon, plain.delta)
    return DifferentialPrivacy(noise_std=noise_std, max_epsilon=MOST, **settings)  # type: ignore[arg-type]
