"""A method of learning that can forget: the pair (A, U) of the papers, as pure functions.

`learn` makes a record of rows, `forget` a record without some of them, `release` is what leaves, and `predict` sees the
release only. A method is a frozen dataclass of hyperparameters; a record is a frozen dataclass of tensors, numbers,
strings, tuples, mappings with text keys, and such dataclasses (see `record.py`). No call changes its arguments.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
from torch import Tensor

from expunge.certificate import Certificate
from expunge.errors import InputError, MustRetrain
from expunge.noise import NoiseKey
from expunge.rows import Rows
from expunge.schema import Array

Record = TypeVar("Record")
State = TypeVar("State")
Made = TypeVar("Made", covariant=True)
Known = TypeVar("Known", contravariant=True)


@dataclass(frozen=True, eq=False)
class Release:
    """What leaves: the weights predictions are made from, noise included. Never a secret.

    Attributes:
        tensors: name -> tensor. settings: name -> number, text or tuple of them, needed to predict.
    """

    tensors: Mapping[str, Tensor]
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Forgetting(Generic[Record]):
    """One forgetting step: the record after it, what that guarantees, and figures for the operator.

    `stats` may hold passes over the data, iterations, slices retrained, the measured residual, seconds: they stay with
    the operator, never on a receipt.
    """

    record: Record
    certificate: Certificate
    stats: Mapping[str, float]


class Method(ABC, Generic[Record]):
    """The pair (A, U). Subclasses are final frozen dataclasses; all four functions are pure.

    Attributes:
        features_may_change: whether `forget` and `extend` stay valid when the retained rows' features were fitted again
            and differ from those of the step before (true of methods that measure their residual on what they are
            given). `Pipeline` raises MustRetrain otherwise.
        reads_tables: whether it reads raw columns itself (numbers with NaN for missing, text), so that the command
            line puts no features before it.
        needs_target: whether rows must have a target y to learn from; a clustering needs none.
        learns_plainly: whether, without noise, `learn` releases what its field `learner` trains on all rows, and
            nothing else: models retrained for comparison can then be shared between such methods.
    """

    features_may_change: ClassVar[bool] = False
    reads_tables: ClassVar[bool] = False
    needs_target: ClassVar[bool] = True
    learns_plainly: ClassVar[bool] = False

    @abstractmethod
    def learn(self, rows: Rows, *, seed: int, noise: NoiseKey) -> Record:
        """Learn from rows. `seed` drives every public choice; `noise` the secret ones of release `noise.release`.

        Raises:
            InputError: the rows cannot be learned from. Refused: an assumption of the guarantee fails.
        """

    @abstractmethod
    def forget(self, record: Record, retained: Rows, forgotten: Rows, *, noise: NoiseKey) -> Forgetting[Record]:
        """The record without the rows `forgotten`; `retained` are all the others.

        Raises:
            MustRetrain: only learning again can honour the request; the vault then does so.
        """

    @abstractmethod
    def release(self, record: Record) -> Release:
        """What leaves. Draws nothing: the noise is in the record's release already."""

    @abstractmethod
    def predict(self, release: Release, columns: Mapping[str, Array]) -> Tensor:
        """Scores (m, outputs): log-probabilities for a classification, values for a regression.

        For a clustering (a method that needs no target) minus the squared distance to each centroid.
        """


@runtime_checkable
class Extends(Protocol[State]):
    """A method that also learns new rows without starting again."""

    def extend(self, record: State, retained: Rows, added: Rows, *, noise: NoiseKey) -> Forgetting[State]:
        """The record of `retained` and `added` together; `record` was learned from `retained`."""


@runtime_checkable
class Adopts(Protocol[Made]):
    """A method that can start from a model trained elsewhere."""

    def adopt(self, weights: Mapping[str, Tensor], rows: Rows, *, seed: int, noise: NoiseKey) -> Made:
        """The record of a model trained elsewhere on exactly these rows."""


@runtime_checkable
class Settles(Protocol[State]):
    """A method whose record caches something of the model before the last step.

    The vault's purge replaces such caches: afterwards every part of the record is a function of the newest release, the
    retained rows and the seed.
    """

    def settle(self, record: State, retained: Rows) -> State:
        """The record with caches recomputed from its own release and `retained`."""


@runtime_checkable
class Foretells(Protocol[Known]):
    """A method that can say what a step would touch, without taking it."""

    def preview(self, record: Known, forgotten: Rows) -> Mapping[str, float]:
        """Counts as `forget` would report them (`rows_...`: rows learned again); reads no retained row."""


@runtime_checkable
class Remembers(Protocol[State]):
    """A method whose certificates speak of earlier releases too, so that learning again must not lose what they had."""

    def remember(self, learned: State, before: State) -> State:
        """The record `learned` anew, with what later certificates must know of the one `before`."""


@runtime_checkable
class Checkable(Protocol):
    """A convex method, whose certificate an audit can hold against a minimiser solved far beyond its tolerance."""

    def minimiser(self, rows: Rows, *, tol: float = 1e-12) -> Tensor:
        """The minimiser of the method's objective on `rows`, to a gradient norm of `tol`; flat, float64."""

    def centre(self, release: Release, noise: NoiseKey) -> Tensor:
        """The weights of a release without their noise; flat, float64. Only a step under way still has its key.

        Raises:
            InputError: one key does not tell the noise of this method's releases.
        """


def check_step(retained: Rows, forgotten: Rows) -> None:
    """What every `forget` checks first.

    Raises:
        InputError: a row to forget is still among the retained ones. MustRetrain: no row is left.
    """
    if np.isin(retained.keys, forgotten.keys).any():
        raise InputError("A row to forget is still among the retained rows; give rows.without(ids) and rows.only(ids).")
    if not len(retained):
        raise MustRetrain("No row is left to learn from: delete the model instead of asking it to forget.")


def check_learnable(rows: Rows) -> None:
    """What every training checks first.

    Raises:
        InputError: no row, no target, or a classification with fewer than two classes declared.
    """
    if not len(rows):
        raise InputError("There is no row to learn from; give at least one.")
    if rows.schema.target is None:
        raise InputError("These rows have no target y, and training needs one: give y=... when making the rows.")
    if rows.classes == 1:
        raise InputError("The target has one class only, so there is nothing to tell apart: declare all its classes.")


def check_size(size: int, *parts: Rows) -> None:
    """Hold the rows given against the number that a record was learned from.

    Raises:
        InputError: the parts are not all the rows of the record.
    """
    if sum(map(len, parts)) != size:
        raise InputError(
            f"The record was learned from {size} rows, and {' + '.join(str(len(part)) for part in parts)} were given: "
            "give all the rows it was learned from, and none that was forgotten before."
        )
