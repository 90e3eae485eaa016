"""The schema of rows: what columns and target they have, declared and public."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from expunge.errors import SchemaError

Array = NDArray[Any]
TEXT = np.dtypes.StringDType()
_DTYPES: Mapping[str, Any] = {"f": np.float64, "i": np.int64, "u": np.uint8, "b": np.bool_, "T": TEXT}


@dataclass(frozen=True)
class Column:
    """One column's declared shape: its name, numpy kind ("f", "i", "u", "b", or "T" for text) and shape of a row."""

    name: str
    kind: str
    shape: tuple[int, ...]

    @classmethod
    def of(cls, name: str, array: Array) -> Column:
        """The declaration of a column from its values (n, ...)."""
        return cls(name, array.dtype.kind, tuple(array.shape[1:]))

    def empty(self) -> Array:
        """The column of no rows, (0, *shape)."""
        return np.empty((0, *self.shape), dtype=_DTYPES[self.kind])


@dataclass(frozen=True)
class Schema:
    """What every row of a set has, public by declaration: columns, target and, for a classification, the classes.

    Attributes:
        target: None where rows carry no y; else its kind and shape as a column named "y".
        classes: names of the classes that y's codes 0..K-1 mean; empty for a regression. Declared, not counted: the
            number of classes must not shrink when rows leave.
    """

    columns: tuple[Column, ...]
    target: Column | None
    classes: tuple[str, ...] = ()


def check_schema(given: Schema, expected: Schema) -> None:
    """Compare two schemas; the number kinds f, i, u and b are interchangeable in a column, text is not.

    Raises:
        SchemaError: a column is missing, extra, or of another kind or shape; or the classes differ.
    """
    have, want = ({column.name: column for column in schema.columns} for schema in (given, expected))
    if missing := sorted(set(want) - set(have)):
        raise SchemaError(f"Column(s) {missing} are missing; the rows were declared with {sorted(want)}.")
    if extra := sorted(set(have) - set(want)):
        raise SchemaError(f"Column(s) {extra} are not declared; the rows were declared with {sorted(want)}.")
    for name, column in want.items():
        if (have[name].kind == "T") != (column.kind == "T"):
            kinds = ["text" if c.kind == "T" else "numbers" for c in (have[name], column)]
            raise SchemaError(f"Column {name!r} holds {kinds[0]}; {kinds[1]} were declared.")
        if have[name].shape != column.shape:
            raise SchemaError(f"Column {name!r} has rows of shape {have[name].shape}; {column.shape} was declared.")
    if given.target is None or expected.target is None:
        return
    if given.classes != expected.classes:
        raise SchemaError(f"The classes given are {given.classes}; {expected.classes} were declared.")
    if given.target.shape != expected.target.shape:
        raise SchemaError(f"The targets have shape {given.target.shape} a row; {expected.target.shape} was declared.")
