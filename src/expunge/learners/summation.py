"""What methods share whose model is a function of exact sums over rows [Cao & Yang 2015, section 4: summation form].

Such a method keeps the sums; forgetting subtracts the forgotten rows' own and reads no other row. The sums are exact
(`maths.exact_sums`), so what is left is what the retained rows alone give, bit for bit, in whatever order rows came.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from expunge.certificate import Exact
from expunge.errors import InputError, SchemaError
from expunge.learners.inputs import matrix, numbers
from expunge.method import Method, check_learnable
from expunge.rows import Rows, Table
from expunge.schema import TEXT, Array, Schema

LARGEST = 1e140  # sums of squares of 1e28 such numbers are still a float64

TWO_RELEASES = (
    "It speaks of one release. Whoever holds the releases before and after a deletion subtracts them and has what they "
    "say of the forgotten rows' sums: of one row alone, the row."
)
EXACT = Exact(
    conditions=(
        "The record holds exact sums over the retained rows and nothing drawn: it equals the one learned from them.",
        TWO_RELEASES,
        "The requests were chosen without looking at the model.",
    ),
    assumptions=(
        "Hyperparameters, alphabets and preprocessing fixed before learning owe nothing to the forgotten rows.",
    ),
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Declared = tuple[tuple[str, str, int], ...]  # of each column: its name, "numbers" or "levels", how many a row


def check_classes(rows: Rows, method: Method[Any]) -> None:
    """What a classification by sums checks first.

    Raises:
        InputError: no row, no target, fewer than two classes, or a regression.
    """
    check_learnable(rows)
    if not rows.classes:
        raise InputError(
            f"{type(method).__name__} tells classes apart, and the target is one of numbers: declare its classes "
            "(classes=...), or use Ridge for a regression."
        )


def row_matrix(table: Table) -> Floats:
    """The column `x` as a matrix (n, p), everything after the first axis flattened.

    Raises:
        InputError: there is no column `x`; or it is text, or holds NaN, infinity or a number above 1e140.
    """
    x = matrix(table.columns, torch.float64).numpy()
    check_size("x", x)
    return x


def class_codes(table: Table) -> Ints:
    """The target as class codes (n,)."""
    return np.asarray(table.y, dtype=np.int64)


def declared(schema: Schema, kinds: Mapping[str, str]) -> Declared:
    """How the columns of a schema are read, by name: `kinds` maps numpy's kind "T" and all others, "", to a reading.

    Raises:
        InputError: a kind of column is not read.
    """
    found = []
    for column in sorted(schema.columns, key=lambda column: column.name):
        reading = kinds.get("T" if column.kind == "T" else "", "")
        if not reading:
            raise InputError(
                f"Column {column.name!r} holds text, and numbers were expected: model='mixed' reads both, "
                "model='categorical' reads levels, and Pipeline(features, method) turns text into numbers."
            )
        found.append((column.name, reading, int(np.prod(column.shape))))
    return tuple(found)


def number_columns(columns: Mapping[str, Array], reading: Declared, *, missing: bool) -> Floats:
    """The columns read as numbers, side by side, (n, p); NaN is let through where numbers may be `missing`.

    Raises:
        SchemaError: a column is absent or of another width. InputError: text, NaN, infinity, a number above 1e140.
    """
    parts = []
    for name, kind, width in reading:
        if kind == "numbers":
            column = _column(columns, name, width)
            absent = np.isnan(column) if missing and column.dtype.kind == "f" else np.zeros(column.shape, dtype=bool)
            part = numbers(name, np.where(absent, 0, column) if absent.any() else column, torch.float64).numpy()
            check_size(name, part)
            parts.append(np.where(absent, np.nan, part))
    return np.concatenate(parts, axis=1) if parts else np.zeros((_length(columns), 0))


def width_of_numbers(reading: Declared) -> int:
    """How many numbers a row has."""
    return sum(width for _, kind, width in reading if kind == "numbers")


def level_names(reading: Declared) -> tuple[str, ...]:
    """The names of the entries read as levels: that of a column, or "name[j]" where it has several a row."""
    return tuple(
        name if width == 1 else f"{name}[{place}]"
        for name, kind, width in reading
        for place in range(width)
        if kind == "levels"
    )


def level_columns(columns: Mapping[str, Array], reading: Declared) -> dict[str, Array]:
    """The columns read as levels, as text (n,) by name (`level_names`).

    Text stands as it is, whole numbers as their digits; "" and NaN are missing.

    Raises:
        SchemaError: a column is absent or of another width. InputError: a number is not whole.
    """
    parts = [part for name, kind, width in reading if kind == "levels" for part in _column(columns, name, width).T]
    return {name: _as_levels(name, part) for name, part in zip(level_names(reading), parts, strict=True)}


def check_alphabet(name: str, texts: Array, alphabet: tuple[str, ...]) -> None:
    """Hold levels (n,) against those declared.

    Raises:
        InputError: a level is not among them.
    """
    if unknown := sorted(set(np.unique(texts).tolist()) - {"", *alphabet}):
        raise InputError(
            f"Column {name!r} holds {unknown[:5]}, and its declared levels are {alphabet[:20]}: declare them too, or "
            "give '' for a missing value."
        )


def _column(columns: Mapping[str, Array], name: str, width: int) -> Array:
    if name not in columns:
        raise SchemaError(f"Column {name!r} is absent; the columns given are {sorted(columns)}.")
    column = np.asarray(columns[name])
    column = column.reshape(len(column), -1) if column.size else column.reshape(len(column), width)
    if column.shape[1] != width:
        raise SchemaError(f"Column {name!r} has {column.shape[1]} value(s) a row; {width} were learned from.")
    return column


def _as_levels(name: str, column: Array) -> Array:
    if column.dtype.kind in "TU":
        return column.astype(TEXT)
    if column.dtype.kind not in "fiub":
        raise InputError(f"Column {name!r} has type {column.dtype}; text or whole numbers were expected.")
    values, which = np.unique(column, return_inverse=True)
    whole = np.ones(len(values), dtype=bool)
    if values.dtype.kind == "f":
        whole = np.isnan(values) | (np.isfinite(values) & (values == np.trunc(values)))
    if not whole.all():
        raise InputError(
            f"Column {name!r} holds {values[~whole][0]}, and levels are text or whole numbers: round or bin it, or "
            "read it as a number (model='mixed' or 'gaussian')."
        )
    levels = ["" if value != value else str(int(value)) for value in values.tolist()]
    return np.array(levels, dtype=TEXT)[which]


def check_size(name: str, numbers: Floats) -> None:
    """Hold numbers against `LARGEST`.

    Raises:
        InputError: one is above it.
    """
    if numbers.size and np.abs(numbers).max() > LARGEST:
        raise InputError(f"Column {name!r} holds a number above {LARGEST:g}, whose squares leave float64: scale it.")


def _length(columns: Mapping[str, Array]) -> int:
    return len(next(iter(columns.values()), ()))
