"""Sums of loss gradients over batches whose members are a keyed choice of each row.

Epoch e deals every row into one of `batches` batches by PRF(seed, purpose, e, row key): where a row goes depends on no
other row, so that without some rows every batch is the old one less those. Sizes are binomial, and a batch may be
empty. Rows are held once, in the order of their keys and in the arithmetic of the gradients.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from expunge import keyed
from expunge.errors import InputError
from expunge.keyed import Keys, Purpose
from expunge.learners.inputs import in_key_order, in_memory, matrix, numbers, target
from expunge.maths import linear_models
from expunge.objective import LinearObjective, ModuleObjective, Objective
from expunge.rows import Rows, Table
from expunge.schema import Array

MICRO_BATCH = 1024
FEW_ROWS = 1024


def batch_numbers(seed: int, purpose: Purpose, epoch: int, keys: Keys, batches: int) -> Array:
    """The batch of each row in this epoch, (n,)."""
    if batches == 1:
        return np.zeros(len(keys), dtype=np.int64)
    return keyed.integers(seed, (*purpose, "batch", epoch), keys, batches)


class BatchGradients:
    """The rows of every step's batch, and the sums of their loss gradients.

    Steps are counted through the epochs: step t is batch t mod `batches` of epoch t div `batches`.
    """

    def __init__(
        self, objective: Objective, rows: Rows, *, seed: int, purpose: Purpose, batches: int, dtype: torch.dtype
    ) -> None:
        """Read the rows; raises InputError where a column cannot be learned from."""
        table = in_key_order(rows)
        self._keys, self._seed, self._purpose, self._batches = table.keys, seed, purpose, batches
        self._sums = _linear(objective, table, dtype) if isinstance(objective, LinearObjective) else None
        if self._sums is None:
            self._sums = _module(objective, table, rows, dtype)
        self._zero = torch.zeros(objective.dimension, dtype=dtype)
        self._dtype, self._epoch, self._rows = dtype, -1, rows
        self._order, self._ends = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)

    def count(self, step: int) -> int:
        """How many rows the batch of this step has."""
        return len(self._keys) if self._batches == 1 else len(self._members(step))

    def sum(self, w: Tensor, step: int) -> Tensor:
        """The sum of the batch's loss gradients at w (d,), without l2, (d,); zeros for an empty batch."""
        where = None if self._batches == 1 else self._members(step)
        if not (len(self._keys) if where is None else len(where)):
            return self._zero
        return self._sums(w.to(self._dtype), where)  # type: ignore[misc]

    def digest(self) -> str:
        """SHA-256 over keys and values of all rows, in the order of their keys: two trainings on the same rows."""
        table, sha = in_key_order(self._rows), hashlib.sha256()
        for name, column in [("keys", table.keys), *sorted(table.columns.items()), ("y", target(table))]:
            content = repr(column.tolist()).encode() if column.dtype.kind == "T" else column.tobytes()
            sha.update(f"{name} {column.dtype} {column.shape}".encode())
            sha.update(content)
        return sha.hexdigest()

    def _members(self, step: int) -> Array:
        epoch, batch = divmod(step, self._batches)
        if epoch != self._epoch:
            dealt = batch_numbers(self._seed, self._purpose, epoch, self._keys, self._batches)
            self._order = np.argsort(dealt, kind="stable")  # rows of a batch stay in the order of their keys
            self._ends = np.searchsorted(dealt[self._order], np.arange(self._batches + 1))
            self._epoch = epoch
        return self._order[self._ends[batch] : self._ends[batch + 1]]


Sums = Callable[[Tensor, Array | None], Tensor]


def _linear(objective: LinearObjective, table: Table, dtype: torch.dtype) -> Sums:
    """Closed forms, without the checks that the objective makes at every call."""
    X, loss = matrix(table.columns, dtype), objective.loss
    given = numbers("y", target(table), torch.float64)
    y = loss.targets(given, objective.outputs, dtype)

    if len(X) <= FEW_ROWS:  # overhead is all there is to save
        few = torch.cat([X, X.new_ones((len(X), 1))], 1)

        def sums_of_few(w: Tensor, where: Array | None) -> Tensor:
            x, t = (few, y) if where is None else (few[where], y[where])
            return (loss.slopes(x @ w.view(objective.outputs, -1).T, t).T @ x).view(-1)

        return sums_of_few

    def sums(w: Tensor, where: Array | None) -> Tensor:
        W = w.view(objective.outputs, -1)
        if where is None:
            return linear_models.gradient(X, y, W, loss).reshape(-1)
        chosen = torch.from_numpy(where)
        return linear_models.gradient(X[chosen], y[chosen], W, loss).reshape(-1)

    return sums


def _module(objective: Objective, table: Table, rows: Rows, dtype: torch.dtype) -> Sums:
    if not isinstance(objective, ModuleObjective):
        raise InputError(f"Gradients of a {type(objective).__name__} cannot be batched; a linear model or module can.")
    columns = {name: _converted(name, column, dtype) for name, column in table.columns.items()}
    whole = replace(table, columns=columns)

    def sums(w: Tensor, where: Array | None) -> Tensor:
        part = whole if where is None else whole.take(where)
        return objective.gradient_sum(w, in_memory([part], rows.schema)).detach()

    return sums


def _converted(name: str, column: Array, dtype: torch.dtype) -> Array:
    """Floating columns in the arithmetic of the gradients, once; others (token ids, text nobody reads) as they are."""
    return numbers(name, column, dtype).numpy() if column.dtype.kind == "f" else column
