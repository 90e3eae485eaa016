"""A learner whose training dies, hangs or fails where it does not run in the process that made it."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from expunge.errors import InputError
from expunge.keyed import Purpose
from expunge.learners.learner import Learner, Training, settings_of
from expunge.method import Release
from expunge.rows import Rows
from expunge.schema import Array, Schema


@dataclass(frozen=True)
class Dying(Learner):
    """`how`: "dies" (away from `home`), "hangs" for so many seconds, "fails" or "breaks", in one shard; "" trains."""

    how: str = ""
    shard: int = 1
    home: int = field(default_factory=os.getpid)
    epochs: int = 1
    seconds: float = 60.0

    def start(self, schema: Schema, seed: int, purpose: Purpose) -> Training:
        return Training({"w": torch.zeros(1)}, settings_of(schema))

    def train(
        self, training: Training, rows: Rows, *, seed: int, purpose: Purpose, epochs: int | None = None
    ) -> Training:
        if purpose[-1] == self.shard:
            if self.how == "fails":
                raise InputError("This shard cannot be learned.")
            if self.how == "breaks":
                raise ZeroDivisionError("a bug")
            if self.how == "dies" and os.getpid() != self.home:
                os._exit(3)
            if self.how == "hangs":
                time.sleep(self.seconds)
        total = float(sum(rows.columns["x"].ravel().tolist()))
        return replace(training, tensors={"w": training.tensors["w"] + total}, visits=training.visits + len(rows))

    def adopt(self, schema: Schema, weights: Mapping[str, Tensor]) -> Training:
        raise NotImplementedError

    def release(self, training: Training) -> Release:
        return Release(training.tensors, training.settings)

    def predict(self, release: Release, columns: Mapping[str, Array]) -> Tensor:
        return torch.zeros((len(columns["x"]), 2))
