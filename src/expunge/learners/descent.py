r"""Plain gradient descent on keyed batches, without momentum: the training that trajectory methods can follow.

Epoch e deals the rows into `batches` batches, each by its own key (`batch_gradients`), and goes through them in order;
a batch without rows is skipped. One step takes the mean loss gradient g of the batch at the weights,

    w <- (1 - learning_rate l2) w - learning_rate g

so `batches=1` is full-batch descent. Gradients are summed in `precision`; the weights are float64, and a mean gradient
is rounded to `precision`: who keeps the gradients can repeat the weights of every step, bit for bit.

Linear models take closed forms, intercepts penalised as everything else; other modules are differentiated.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from expunge.errors import InputError, NotConverged
from expunge.keyed import Purpose
from expunge.learners.batch_gradients import MICRO_BATCH, BatchGradients
from expunge.learners.convex import Convex
from expunge.learners.differentiable import Differentiable
from expunge.learners.learner import Training, one_thread
from expunge.learners.sgd import DTYPES, Sgd
from expunge.method import Release
from expunge.models import Linear, Model
from expunge.objective import ModuleObjective, Objective
from expunge.objective.objective import AnyLoss
from expunge.rows import Rows
from expunge.schema import Array, Schema


@dataclass(frozen=True)
class Descent(Differentiable):
    """Gradient descent on a linear model of `x`, or on a torch module.

    Args:
        model: `Linear` (closed forms), or what builds a module. loss: a name of `expunge.objective.LOSSES`.
        epochs: passes over the rows. batches: how many batches an epoch has; a public number, whatever the rows are.
        learning_rate: of every step. l2: lambda of `lambda/2 ||w||^2`, added to the mean loss; positive for `Linear`.
        precision: "float32" or "float64", of the gradients.
    """

    model: Model = field(default_factory=Linear)
    loss: AnyLoss = "cross_entropy"
    epochs: int = 200
    batches: int = 1
    learning_rate: float = 0.1
    l2: float = 1e-3
    precision: Literal["float32", "float64"] = "float32"

    def __post_init__(self) -> None:
        for name, value in (("epochs", self.epochs), ("batches", self.batches)):
            if value < 1:
                raise InputError(f"{name}={value} was given, and at least 1 was expected.")
        if not (self.learning_rate > 0 and math.isfinite(self.learning_rate)):
            raise InputError(f"learning_rate={self.learning_rate} was given, and a positive number was expected.")
        if self.precision not in DTYPES:
            raise InputError(f"precision={self.precision!r} was given; expected 'float32' or 'float64'.")
        self._kind()

    @property
    def steps(self) -> int:
        """T: of one full training."""
        return self.epochs * self.batches

    @property
    def dtype(self) -> torch.dtype:
        """Of the gradients."""
        return DTYPES[self.precision]

    def start(self, schema: Schema, seed: int, purpose: Purpose) -> Training:
        """Zero weights of a linear model; keyed ones of a module.

        Raises:
            InputError: the module cannot be built for this schema, or draws at random, or normalises over a batch.
        """
        training = self._kind().start(schema, seed, purpose)
        objective = self.objective(training)
        if isinstance(objective, ModuleObjective):
            _check_plain(objective.module)
        return training

    def train(
        self, training: Training, rows: Rows, *, seed: int, purpose: Purpose, epochs: int | None = None
    ) -> Training:
        """`epochs` more epochs on these rows; the count of epochs goes on from the state's.

        Raises:
            InputError: a column is text or not finite. NotConverged: the weights are no longer finite.
        """
        last = training.epochs + (self.epochs if epochs is None else epochs)
        w, taken = self.flat(training).clone(), 0
        with one_thread():
            gradients = self.gradients(training, rows, seed, purpose)
            for step in range(training.epochs * self.batches, last * self.batches):
                if count := gradients.count(step):
                    self.stepped(w, self.mean(gradients.sum(w, step), count))
                    taken += 1
        self.check_finite(w)
        visits = training.visits + len(rows) * (last - training.epochs)
        moved = self.moved(training, w)
        return replace(moved, steps=training.steps + taken, epochs=last, visits=visits)

    def gradients(self, training: Training, rows: Rows, seed: int, purpose: Purpose) -> BatchGradients:
        """The rows, dealt into the batches of every step."""
        objective = self.objective(training)
        return BatchGradients(
            objective, rows, seed=seed, purpose=purpose, batches=self.batches, dtype=self.dtype
        )  # fmt: skip

    def mean(self, total: Tensor, count: int) -> Tensor:
        """A mean gradient as it is kept and used: a sum over `count` rows, divided and rounded to `precision`."""
        return (total.double() / count).to(self.dtype)

    def stepped(self, w: Tensor, g: Tensor) -> None:
        """One step, in place."""
        w.mul_(1 - self.learning_rate * self.l2).sub_(g, alpha=self.learning_rate)

    def check_finite(self, w: Tensor) -> None:
        """Raise NotConverged where the weights are not finite."""
        if not bool(torch.isfinite(w).all()):
            raise NotConverged(f"Training diverged at learning_rate={self.learning_rate}; give a smaller one.")

    def adopt(self, schema: Schema, weights: Mapping[str, Tensor]) -> Training:
        """A linear model's "weight" and "bias", or a module's state_dict."""
        return self._kind().adopt(schema, weights)

    def release(self, training: Training) -> Release:
        """The weights by name, float64."""
        return self._kind().release(training)

    def predict(self, release: Release, columns: Mapping[str, Array]) -> Tensor:
        """Scores (m, outputs): log-probabilities for a classification, values for a regression."""
        return self._kind().predict(release, columns)

    def objective(self, training: Training) -> Objective:
        """The mean loss and `l2/2 ||w||^2`."""
        objective = self._kind().objective(training)
        if isinstance(objective, ModuleObjective):
            objective.micro_batch = MICRO_BATCH
        return objective

    def flat(self, training: Training) -> Tensor:
        """The weights as the objective reads them, (d,) float64."""
        return self._kind().flat(training)

    def moved(self, training: Training, w: Tensor) -> Training:
        """The same model at other weights."""
        return self._kind().moved(training, w)

    def shifted(self, training: Training, by: Tensor) -> Training:
        """The same training with `by` added to its weights."""
        return self._kind().shifted(training, by)

    def _kind(self) -> Convex | Sgd:
        """The learner with the same model, for everything but training."""
        if isinstance(self.model, Linear):
            if not isinstance(self.loss, str):
                raise InputError("A linear model under a loss of your own has no closed forms: name a convex loss.")
            return Convex(loss=self.loss, l2=self.l2)
        return Sgd(model=self.model, loss=self.loss, l2=self.l2, momentum=0.0, precision="float64")


def _check_plain(module: nn.Module) -> None:
    """Raise InputError for what makes a row's gradient depend on chance or on other rows."""
    for name, part in module.named_modules():
        if isinstance(part, _BatchNorm):
            raise InputError(
                f"Layer {name!r} normalises over the batch, so a row that left would have moved the gradients of all "
                "others: use LayerNorm or GroupNorm."
            )
        share = part.p if isinstance(part, _DropoutNd) else getattr(part, "dropout", 0.0)
        if isinstance(share, float) and share > 0:
            raise InputError(
                f"Layer {name!r} drops values at random, and a trajectory that is followed must be a function of the "
                "rows: set its p or dropout to 0, or take it out."
            )
