"""The target of a file: class codes from declared class names, or numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from expunge.errors import InputError, SchemaError
from expunge.schema import Array

Classes = int | Sequence[str] | None
SHOWN = 5
MOSTLY = 0.5  # a target with less text than that is one of numbers


def coded(y: Array, classes: Classes, ids: Array) -> tuple[Array, Classes]:
    """The target as `Rows.of` takes it: text becomes the code of its class.

    Declared names that all look like numbers mean the values themselves, for a numeric target too (classes=["1", "2"]);
    other names mean codes 0..K-1. This depends on the declaration alone, never on which values happen to occur.

    Args:
        y: (n,) or (n, K), numbers or text ("" where missing). classes: names, their number, 0 for a regression, or
            None. ids: (n,), for messages.

    Raises:
        InputError: a target is missing. SchemaError: text without declared classes, or a value that is no class.
    """
    names = None if classes is None or isinstance(classes, int | np.integer) else [str(name) for name in classes]
    missing = (y == "") if y.dtype.kind == "T" else np.isnan(y) if y.dtype.kind == "f" else np.zeros(y.shape, np.bool_)
    if missing.any():
        rows = ids[missing.reshape(len(y), -1).any(axis=1)]
        raise InputError(f"The target is missing in {len(rows)} row(s), ids {_some(rows)}: leave these rows out.")
    if y.dtype.kind == "T":
        _check_meant_as_text(y, classes, ids)
        return _codes(y, names), names
    if names and y.ndim == 1 and all(_number(name) is not None for name in names):
        return _codes_of_numbers(y, names), names
    return y, classes


def _check_meant_as_text(y: Array, classes: Classes, ids: Array) -> None:
    """Raise `SchemaError` where a target of numbers holds text: numbers were declared, or most of it is numbers."""
    if classes is not None and not isinstance(classes, int | np.integer):
        return
    text = np.array([_number(value) is None for value in y.ravel().tolist()]).reshape(len(y), -1)
    if text.any() and (classes is not None or text.mean() < MOSTLY):
        values = y.reshape(len(y), -1)[text]
        raise SchemaError(
            f"The target holds text in {len(values)} place(s) ({_some(sorted(set(values.tolist())))}, rows "
            f"{_some(ids[text.any(axis=1)])}), and numbers were expected: mend or leave out these rows, or declare the "
            f"names of its classes."
        )


def _codes(y: Array, names: Sequence[str] | None) -> Array:
    values = sorted(set(y.ravel().tolist()))
    if names is None:
        raise SchemaError(
            f"The target is text ({_some(values)}). Declare its classes in the order of their codes, for instance "
            f"classes={values[:SHOWN]}: they are public and must not change when rows leave."
        )
    unknown = [value for value in values if value not in names]
    if unknown or y.ndim > 1:
        raise SchemaError(f"The target holds {_some(unknown or values)}; the classes declared are {list(names)}.")
    place = {name: code for code, name in enumerate(names)}
    return np.array([place[value] for value in y.tolist()], dtype=np.int64)


def _codes_of_numbers(y: Array, names: Sequence[str]) -> Array:
    place = {_number(name): code for code, name in enumerate(names)}
    values = np.unique(y).tolist()
    if unknown := [value for value in values if float(value) not in place]:
        raise SchemaError(f"The target holds {_some(unknown)}; the classes declared are {list(names)}.")
    return np.array([place[float(value)] for value in y.tolist()], dtype=np.int64)


def _number(name: str) -> float | None:
    try:
        return float(name)
    except ValueError:
        return None


def _some(values: Sequence[object] | Array) -> str:
    listed = [repr(value) for value in (values.tolist() if isinstance(values, np.ndarray) else values)]
    return ", ".join(listed[:SHOWN]) + (f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else "")
