"""Rows as the aligned tensors that training reads, in the order of their keys.

The order rows arrive in must not matter, nor where numpy put them: sums over memory of another alignment may differ in
the last bit, so every tensor is a copy of its own (torch aligns to 64 bytes).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from expunge.errors import InputError
from expunge.rows import Block, Rows, Table
from expunge.schema import Array, Schema


def in_memory(tables: Sequence[Table], schema: Schema) -> Rows:
    """Tables as rows under a schema that was declared elsewhere."""
    return Rows([Block(table.keys, partial(_same, table)) for table in tables], schema)


def in_key_order(rows: Rows) -> Table:
    """All rows in memory, sorted by key."""
    table = rows.table()
    return table.take(np.argsort(table.keys))


def numbers(name: str, column: Array, dtype: torch.dtype) -> Tensor:
    """One column as an aligned tensor of `dtype`.

    Raises:
        InputError: the column is text, or holds NaN, infinity or a number beyond `dtype`.
    """
    if column.dtype.kind not in "fiub":
        raise InputError(f"Column {name!r} holds text, and training needs numbers: {_REMEDY}")
    if column.dtype.kind == "u" and column.dtype.itemsize > 1:
        column = column.astype(np.int64)
    column = column.astype(column.dtype.newbyteorder("="), order="C", copy=False)
    tensor = torch.tensor(column).to(dtype)
    if dtype.is_floating_point and not bool(torch.isfinite(tensor).all()):
        raise InputError(f"Column {name!r} holds NaN, infinity or a number too large for {dtype}: {_REMEDY}")
    return tensor


def matrix(columns: Mapping[str, Array], dtype: torch.dtype) -> Tensor:
    """Column `x` as a matrix (n, p); everything after the first axis is flattened.

    Raises:
        InputError: there is no column `x`, or see `numbers`.
    """
    if "x" not in columns:
        raise InputError(f"The column 'x' is what is read here; the columns given are {sorted(columns)}. {_REMEDY}")
    x = numbers("x", columns["x"], dtype)
    return x.reshape(len(x), -1)


def target(table: Table) -> Array:
    """The target as it was given.

    Raises:
        InputError: there is none.
    """
    if table.y is None:
        raise InputError("These rows have no target y, and training needs one: give y=... when making the rows.")
    return table.y


def inputs_and_outputs(schema: Schema) -> tuple[int, int]:
    """How many numbers the column `x` has a row, and how many scores a model of the target gives.

    Raises:
        InputError: there is no column `x` or no target.
    """
    shapes = {column.name: column.shape for column in schema.columns}
    if "x" not in shapes:
        raise InputError(f"A linear learner reads the column 'x'; the columns declared are {sorted(shapes)}. {_REMEDY}")
    if schema.target is None:
        raise InputError("These rows have no target y, and training needs one: give y=... when making the rows.")
    return int(np.prod(shapes["x"])), len(schema.classes) or int(np.prod(schema.target.shape))


def _same(table: Table) -> Table:
    return table


_REMEDY = "wrap the method in Pipeline(features, method), whose features turn raw columns into the numbers of 'x'."
