"""Plain training, as methods that treat it as a black box see it: start, train on, release, predict.

A `Training` is the whole state of a training under way, so that training in two calls equals training in one, bit for
bit. Everything a learner draws is keyed by (seed, purpose, epoch, row key): the order of the rows does not matter, and
rows that are not there leave no trace.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from expunge.keyed import Purpose
from expunge.method import Release
from expunge.rows import Rows
from expunge.schema import Array, Column, Schema


@dataclass(frozen=True, eq=False)
class Training:
    """The whole state of a training: a checkpoint holds nothing more and nothing less.

    Attributes:
        tensors: weights, buffers and the optimiser's moments, by name.
        settings: what predicting needs beside the weights (`settings_of` the schema, at least).
        steps: updates made. epochs: epochs passed. visits: rows visited, counted once an epoch.
    """

    tensors: Mapping[str, Tensor]
    settings: Mapping[str, Any]
    steps: int = 0
    epochs: int = 0
    visits: int = 0


class Learner(ABC):
    """Plain training. Subclasses are final frozen dataclasses of hyperparameters; all functions are pure."""

    @property
    @abstractmethod
    def epochs(self) -> int:
        """Epochs of one full training; 1 where training runs to a tolerance and epochs mean nothing."""

    @abstractmethod
    def start(self, schema: Schema, seed: int, purpose: Purpose) -> Training:
        """The state before the first row."""

    @abstractmethod
    def train(
        self, training: Training, rows: Rows, *, seed: int, purpose: Purpose, epochs: int | None = None
    ) -> Training:
        """The state after `epochs` more epochs on `rows` (at least one row); default: `self.epochs`.

        Raises:
            InputError: the rows cannot be learned from. NotConverged: training diverged or stopped before its tol.
        """

    @abstractmethod
    def adopt(self, schema: Schema, weights: Mapping[str, Tensor]) -> Training:
        """The state of a model trained elsewhere, from its weights by name.

        Raises:
            InputError: a name or shape is not the model's; or this learner cannot adopt.
        """

    @abstractmethod
    def release(self, training: Training) -> Release:
        """What predictions are made from: no moments, no counters."""

    @abstractmethod
    def predict(self, release: Release, columns: Mapping[str, Array]) -> Tensor:
        """Scores (m, outputs): log-probabilities for a classification, values for a regression."""


def settings_of(schema: Schema) -> dict[str, Any]:
    """What a model must know of a schema, as settings: columns, target, number of classes (their names stay out)."""
    target = schema.target
    return {
        "columns": tuple((column.name, column.kind, column.shape) for column in schema.columns),
        "target": None if target is None else (target.name, target.kind, target.shape),
        "classes": len(schema.classes),
    }


def schema_of(settings: Mapping[str, Any]) -> Schema:
    """The schema that `settings_of` described; classes are named 0..K-1."""
    target = settings["target"]
    return Schema(
        tuple(Column(name, kind, tuple(shape)) for name, kind, shape in settings["columns"]),
        None if target is None else Column(target[0], target[1], tuple(target[2])),
        tuple(map(str, range(settings["classes"]))),
    )


@contextmanager
def one_thread() -> Iterator[None]:
    """Put torch on one thread: the order of a sum, hence its last bit, depends on how many share it."""
    before = torch.get_num_threads()
    if before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
