"""Columns and targets of a table as tensors, uncopied where possible; text and non-finite numbers are refused."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from expunge.errors import InputError
from expunge.maths.losses import Loss
from expunge.rows import Table
from expunge.schema import Array


def numbers(name: str, array: Array) -> Tensor:
    """A column as a tensor on the CPU that shares its memory where it can; nobody writes to it.

    Raises:
        InputError: the column is text.
    """
    array = np.asarray(array)
    if array.dtype.kind not in "fiub":
        raise InputError(f"Column {name!r} holds {array.dtype}; numbers were expected: encode it first (features).")
    if not array.dtype.isnative or any(stride < 0 for stride in array.strides):
        array = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("="))
    return torch.utils.dlpack.from_dlpack(array)  # unlike from_numpy it takes read-only arrays in silence


def column(columns: Mapping[str, Array], name: str) -> Array:
    """The column of that name.

    Raises:
        InputError: there is none.
    """
    if name not in columns:
        raise InputError(
            f"The model reads column {name!r}, and the columns given are {sorted(columns)}: rename one, or name the "
            "arguments of your module's forward as the columns."
        )
    return columns[name]


def finite(name: str, values: Tensor) -> Tensor:
    """The values themselves. A finite sum proves every term finite in one pass; another sum may be an overflow.

    Raises:
        InputError: one is NaN or infinite.
    """
    if values.is_floating_point() and not torch.isfinite(values.sum()) and not torch.isfinite(values).all():
        bad = torch.nonzero(~torch.isfinite(values.reshape(len(values), -1)).all(1))[:, 0].tolist()
        raise InputError(
            f"Column {name!r} holds NaN or infinity in {len(bad)} row(s), the first at {bad[0]} of its batch: "
            "fill them in or drop these rows."
        )
    return values


def targets(table: Table, loss: Loss, outputs: int, w: Tensor) -> Tensor:
    """The table's targets as `loss` takes them, on the device of w.

    Raises:
        InputError: there are none, or they do not fit the loss.
    """
    if table.y is None:
        raise InputError("These rows have no target y, and the loss needs one.")
    return loss.targets(numbers("y", table.y).to(w.device), outputs, w.dtype)
