"""Columns as 32-bit codes, one at a time and without statistics: what a tree compares.

A number becomes a float32 (as in scikit-learn's trees) and then an integer of the same order; -0.0 is 0.0. A missing
number and the text "" get the code below all others, so that "is missing" is a split like any other and missing rows
else go with the low numbers. Any other text is a 32-bit BLAKE2b digest: a category is its name, no vocabulary exists,
and a name never seen equals none that was. Two names collide with probability 2^-32; they are then one category.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from expunge.errors import InputError, SchemaError
from expunge.kernels.forest_layout import MISSING
from expunge.schema import Array, Column

Codes = NDArray[np.int32]


def coded(columns: Mapping[str, Array], declared: tuple[Column, ...]) -> Codes:
    """The codes (n, p) of the declared columns, each flattened after its first axis.

    Raises:
        SchemaError: a column is absent or of another kind or shape. InputError: a number is infinite for a float32.
    """
    if absent := [column.name for column in declared if column.name not in columns]:
        raise SchemaError(f"Column(s) {absent} are missing; the forest was learned from {[c.name for c in declared]}.")
    return np.concatenate([_coded(column, columns[column.name]) for column in declared], axis=1)


def categorical(declared: tuple[Column, ...]) -> NDArray[np.uint8]:
    """Which of the p features are categories, (p,)."""
    return np.array([column.kind == "T" for column in declared for _ in range(_width(column))], np.uint8)


def feature_names(declared: tuple[Column, ...]) -> tuple[str, ...]:
    """One name a feature: the column's, with its place where the column has several."""
    return tuple(
        column.name if _width(column) == 1 else f"{column.name}[{i}]"
        for column in declared
        for i in range(_width(column))
    )


def number_of(code: int) -> float:
    """The number that has this code; NaN for the code of a missing one."""
    if code == MISSING:
        return float("nan")
    bits = np.array([code if code >= 0 else code ^ 0x7FFFFFFF], np.int32)
    return float(bits.view(np.float32)[0])


def level_code(level: str) -> int:
    """The code of a category."""
    if not level:
        return MISSING
    digest = hashlib.blake2b(level.encode(), digest_size=4, person=b"expunge-level").digest()
    code = int.from_bytes(digest, "little", signed=True)
    return 0 if code == MISSING else code


def _width(column: Column) -> int:
    return int(np.prod(column.shape))


def _coded(column: Column, values: Array) -> Codes:
    values = np.asarray(values)
    if (values.dtype.kind in "TU") != (column.kind == "T") or tuple(values.shape[1:]) != column.shape:
        what = "text" if column.kind == "T" else "numbers"
        raise SchemaError(
            f"Column {column.name!r} was declared as {what} of shape {column.shape} a row; given: kind "
            f"{values.dtype.kind!r}, shape {tuple(values.shape[1:])}."
        )
    flat = values.reshape(len(values), -1)
    if column.kind == "T":
        levels = flat.ravel().tolist()
        known = {level: level_code(level) for level in set(levels)}
        return np.array([known[level] for level in levels], np.int32).reshape(flat.shape)
    with np.errstate(over="ignore"):
        numbers = np.ascontiguousarray(flat, dtype=np.float32) + np.float32(0)
    if np.isinf(numbers).any():
        raise InputError(
            f"Column {column.name!r} holds infinity or a number too large for a float32 in "
            f"{int(np.isinf(numbers).any(1).sum())} row(s): leave these rows out or scale the column. Missing: NaN."
        )
    codes = numbers.view(np.int32)
    codes = np.where(codes < 0, codes ^ np.int32(0x7FFFFFFF), codes)
    codes[np.isnan(numbers)] = MISSING
    return codes
