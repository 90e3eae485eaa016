"""What every column transform is: settings, accumulators of rows that can be undone, and a fitted public form.

A feature counts rows into accumulators (`accumulators.py`), fits the few numbers or names its transform needs, and
transforms columns with them. How those statistics may be known is declared:

- "public": given in the settings, nothing is learned from rows (pixel range, fixed vocabulary, the user's bounds);
- "exact": learned, and equal bit for bit to those of the retained rows after each forgetting. Seen in two releases they
  give a deleted row away, so a certificate holds for one release only;
- "noised": learned, with noise of its own budget `mu` (`Numeric` only).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import NDArray

from expunge.errors import InputError, SchemaError
from expunge.features.accumulators import Accumulator, Levels, Moments
from expunge.noise import NoiseKey
from expunge.schema import Array

State = tuple[Accumulator, ...]
Fitted = Mapping[str, Any]
STATISTICS = ("public", "noised", "exact")  # from the strongest to the weakest


class Feature(ABC):
    """One transform of some columns. Subclasses are final frozen dataclasses of settings with pure functions.

    Attributes:
        columns: names of the columns read.
    """

    columns: tuple[str, ...]

    @property
    @abstractmethod
    def statistics(self) -> str:
        """How its statistics are known: "public", "noised" or "exact"."""

    @abstractmethod
    def accumulate(self, columns: Mapping[str, Array]) -> State:
        """The accumulators of some rows; () where nothing is learned.

        Raises:
            InputError: a value cannot be used. SchemaError: a column is absent or of another kind.
        """

    @abstractmethod
    def fit(self, state: State, noise: NoiseKey | None, purpose: str) -> Fitted:
        """The public form of the accumulators: name -> tensor or text. `noise` is None only where nothing is noised."""

    @abstractmethod
    def transform(self, fitted: Fitted, columns: Mapping[str, Array]) -> NDArray[np.floating[Any]]:
        """The rows' features, (n, ...)."""

    @abstractmethod
    def assumptions(self) -> tuple[str, ...]:
        """What a certificate on these features assumes, in words."""


class PublicFeature(Feature):
    """A transform that learns nothing from rows."""

    @property
    def statistics(self) -> str:
        """Public: nothing is learned."""
        return "public"

    def accumulate(self, columns: Mapping[str, Array]) -> State:
        """Nothing is learned."""
        del columns
        return ()


def public_note(what: str, columns: tuple[str, ...], from_rows: bool) -> str:
    """How an assumption speaks of public statistics: given by the user, or read from rows by `declare_public`."""
    note = f"declared public: {what} of column(s) {', '.join(columns)}"
    if not from_rows:
        return note
    return f"{note}, read once from the rows first learned, forgotten ones among them: both worlds are given them"


def plus(a: State, b: State) -> State:
    """The accumulators of the rows of both; () counts no row."""
    if not a or not b:
        return a or b
    return tuple(_plus(x, y) for x, y in zip(a, b, strict=True))


def minus(a: State, b: State) -> State:
    """The accumulators of the rows of `a` without those of `b`, which are among them."""
    if not b:
        return a
    return tuple(_minus(x, y) for x, y in zip(a, b, strict=True))


def column(columns: Mapping[str, Array], name: str) -> Array:
    """The column `name`.

    Raises:
        SchemaError: it is absent.
    """
    if name not in columns:
        close = get_close_matches(name, list(columns), n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise SchemaError(f"Column {name!r} is absent; the columns given are {sorted(columns)}.{hint}")
    return columns[name]


def check_columns(kind: str, columns: object) -> None:
    """Settings name at least one column, each once.

    Raises:
        InputError: they do not.
    """
    named = isinstance(columns, tuple) and columns and all(isinstance(name, str) for name in columns)
    if not named or len(set(columns)) < len(columns):  # type: ignore[call-overload,arg-type]
        raise InputError(f"{kind} needs a tuple of different column names, for instance ('age',); given: {columns!r}.")


def _plus(x: Accumulator, y: Accumulator) -> Accumulator:
    match x, y:
        case Moments(), Moments():
            return x + y
        case Levels(), Levels():
            return x + y
    raise TypeError(f"Accumulators of different kinds cannot be added: {type(x).__name__}, {type(y).__name__}.")


def _minus(x: Accumulator, y: Accumulator) -> Accumulator:
    match x, y:
        case Moments(), Moments():
            return x - y
        case Levels(), Levels():
            return x - y
    raise TypeError(f"Accumulators of different kinds cannot be subtracted: {type(x).__name__}, {type(y).__name__}.")
