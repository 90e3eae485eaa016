"""A learner of three numbers that writes down what it is asked, and whose path can be followed in plain numpy."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from expunge.keyed import Purpose
from expunge.learners.differentiable import Differentiable
from expunge.learners.learner import Training, settings_of
from expunge.method import Release
from expunge.objective import Objective
from expunge.rows import Rows
from expunge.schema import Array, Schema


@dataclass(frozen=True)
class BlockLearner(Differentiable):
    """w <- keep w + scale (mean of the rows' x) + w^2 / 100; the moment is that mean.

    `calls`: weights it started at, epochs passed, ids it was given.
    """

    keep: float = 0.9
    scale: float = 1.0
    calls: list[tuple[tuple[float, ...], int, tuple[int, ...]]] = field(default_factory=list, compare=False)

    @property
    def epochs(self) -> int:
        return 2

    def start(self, schema: Schema, seed: int, purpose: Purpose) -> Training:
        zero = torch.zeros(3, dtype=torch.float64)
        return Training({"weights": zero, "momentum": zero.clone()}, settings_of(schema))

    def train(
        self, training: Training, rows: Rows, *, seed: int, purpose: Purpose, epochs: int | None = None
    ) -> Training:
        weights = training.tensors["weights"]
        self.calls.append((tuple(weights.tolist()), training.epochs, tuple(sorted(int(i) for i in rows.ids))))
        table = rows.table()
        mean = torch.from_numpy(table.columns["x"][np.argsort(table.keys)].mean(0))
        moved = self.keep * weights + self.scale * mean + weights**2 / 100
        visits = training.visits + self.epochs * len(rows)
        tensors = {"weights": moved, "momentum": mean}
        return dataclasses.replace(
            training, tensors=tensors, steps=training.steps + 1, epochs=training.epochs + self.epochs, visits=visits
        )

    def adopt(self, schema: Schema, weights: Mapping[str, Tensor]) -> Training:
        raise NotImplementedError

    def release(self, training: Training) -> Release:
        return Release({"weights": training.tensors["weights"]}, training.settings)

    def predict(self, release: Release, columns: Mapping[str, Array]) -> Tensor:
        return torch.from_numpy(columns["x"]) @ release.tensors["weights"][:, None]

    def objective(self, training: Training) -> Objective:
        raise NotImplementedError

    def flat(self, training: Training) -> Tensor:
        return training.tensors["weights"].double()

    def moved(self, training: Training, w: Tensor) -> Training:
        raise NotImplementedError

    def shifted(self, training: Training, by: Tensor) -> Training:
        weights = training.tensors["weights"] + by
        return dataclasses.replace(training, tensors={**training.tensors, "weights": weights})
