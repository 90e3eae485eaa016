"""A penalised linear model, solved to a tolerance by L-BFGS.

Minimises `mean loss + l2/2 ||W||^2` over W (outputs, p+1), intercepts included: with l2 > 0 and a convex loss the
minimiser is unique. The solve starts at the state's weights (zero at the start), so a checkpoint saves iterations; it
moves the result within `tol`, and by nothing that is not keyed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from expunge.errors import InputError, NotConverged
from expunge.keyed import Purpose
from expunge.learners.differentiable import Differentiable
from expunge.learners.inputs import in_key_order, inputs_and_outputs, matrix, numbers, target
from expunge.learners.learner import Training, one_thread, schema_of, settings_of
from expunge.maths import linear_models
from expunge.maths.lbfgs import minimise
from expunge.method import Release
from expunge.objective import LinearObjective, loss_for
from expunge.rows import Rows
from expunge.schema import Array, Schema


@dataclass(frozen=True)
class Convex(Differentiable):
    """Linear scores of the column `x` under a convex loss; float64.

    Args:
        loss: "cross_entropy", "logistic" (two classes, one output), "multilabel_logistic", "squared" or "huber".
        l2: lambda of `lambda/2 ||W||^2`, added to the mean loss; every parameter is penalised.
        tol: the gradient's norm at which the solve stops. max_iterations: of L-BFGS.
    """

    loss: str = "cross_entropy"
    l2: float = 1e-3
    tol: float = 1e-8
    max_iterations: int = 10_000

    def __post_init__(self) -> None:
        if not loss_for(self.loss).convex:
            raise InputError(f"loss={self.loss!r} is not convex in the scores; name one of the convex losses.")
        for name, value in (("l2", self.l2), ("tol", self.tol), ("max_iterations", self.max_iterations)):
            if not (value > 0 and math.isfinite(value)):
                raise InputError(f"{name}={value} was given, and a positive number was expected.")

    @property
    def epochs(self) -> int:
        """1: training runs to `tol`."""
        return 1

    def start(self, schema: Schema, seed: int, purpose: Purpose) -> Training:
        """Zero weights."""
        del seed, purpose
        inputs, outputs = self._sizes(schema)
        zero = torch.zeros((outputs, inputs), dtype=torch.float64), torch.zeros(outputs, dtype=torch.float64)
        return self.adopt(schema, {"weight": zero[0], "bias": zero[1]})

    def train(
        self, training: Training, rows: Rows, *, seed: int, purpose: Purpose, epochs: int | None = None
    ) -> Training:
        """Solve on these rows, from the state's weights. An evaluation of the gradient counts as a visit of each row.

        Raises:
            NotConverged: `max_iterations` were not enough.
        """
        del seed, purpose, epochs
        loss, table = loss_for(self.loss), in_key_order(rows)
        start = torch.cat([training.tensors["weight"], training.tensors["bias"][:, None]], 1)
        x = matrix(table.columns, torch.float64)
        y = loss.targets(numbers("y", target(table), torch.float64), len(start), torch.float64)

        def value_and_gradient(flat: Tensor) -> tuple[Tensor, Tensor]:
            value, gradient = linear_models.value_and_gradient(x, y, flat.view_as(start), loss)
            return value / len(x) + self.l2 / 2 * flat @ flat, gradient.reshape(-1) / len(x) + self.l2 * flat

        with one_thread():
            solution = minimise(value_and_gradient, start.reshape(-1), tol=self.tol, max_iterations=self.max_iterations)
        if not solution.converged:
            raise NotConverged(
                f"L-BFGS stopped at a gradient of {solution.residual:.3g} after {solution.iterations} iterations; "
                f"tol={self.tol} was asked for. Scale the columns, or raise max_iterations, tol or l2."
            )
        weights = solution.x.view_as(start)
        return replace(
            training,
            tensors={"weight": weights[:, :-1].clone(), "bias": weights[:, -1].clone()},
            steps=training.steps + solution.iterations,
            epochs=training.epochs + 1,
            visits=training.visits + solution.evaluations * len(x),
        )

    def adopt(self, schema: Schema, weights: Mapping[str, Tensor]) -> Training:
        """A linear model's "weight" (outputs, p) and "bias" (outputs,).

        Raises:
            InputError: other names or shapes.
        """
        inputs, outputs = self._sizes(schema)
        expected = {"weight": (outputs, inputs), "bias": (outputs,)}
        given = {name: tuple(tensor.shape) for name, tensor in weights.items()}
        if given != expected:
            raise InputError(f"The weights given have shapes {given}; {expected} were expected.")
        tensors = {name: tensor.detach().to(torch.float64, copy=True) for name, tensor in weights.items()}
        return Training(tensors, settings_of(schema))

    def release(self, training: Training) -> Release:
        """The weights."""
        return Release(training.tensors, training.settings)

    def predict(self, release: Release, columns: Mapping[str, Array]) -> Tensor:
        """Scores (m, outputs): log-probabilities for a classification, values for a regression."""
        weights = torch.cat([release.tensors["weight"], release.tensors["bias"][:, None]], 1)
        with one_thread():
            return loss_for(self.loss).outputs(linear_models.scores(matrix(columns, torch.float64), weights))

    def objective(self, training: Training) -> LinearObjective:
        """The mean loss and `l2/2 ||W||^2`, in closed form."""
        inputs, outputs = self._sizes(schema_of(training.settings))
        return LinearObjective(self.loss, self.l2, inputs, outputs)

    def flat(self, training: Training) -> Tensor:
        """The weights (outputs, p+1), row after row, intercepts last."""
        return torch.cat([training.tensors["weight"], training.tensors["bias"][:, None]], 1).reshape(-1)

    def moved(self, training: Training, w: Tensor) -> Training:
        """The same model at other weights."""
        weights = w.detach().view(len(training.tensors["bias"]), -1)
        return replace(training, tensors={"weight": weights[:, :-1].clone(), "bias": weights[:, -1].clone()})

    def shifted(self, training: Training, by: Tensor) -> Training:
        """The weights moved by `by`: there is nothing else."""
        return self.moved(training, self.flat(training) + by)

    def _sizes(self, schema: Schema) -> tuple[int, int]:
        inputs, outputs = inputs_and_outputs(schema)
        return inputs, 1 if self.loss == "logistic" else outputs
