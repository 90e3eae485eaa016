"""Rows from an npz file of plain arrays.

Every array with one entry a row is a column. Two habits of data sets are understood: matrices `X_num` with `num_names`
and `X_cat` with `cat_names` and `cat_levels_<j>` (codes of texts) become named columns, and `<target>_names` names the
classes. Arrays of another length are not rows and are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from expunge.errors import InputError, SchemaError
from expunge.load.frames import Names
from expunge.load.target import Classes, coded
from expunge.rows import Rows
from expunge.schema import TEXT, Array, Schema


def rows_from_npz(
    path: Path | str,
    *,
    target: Names = "y",
    id: str | None = None,  # noqa: A002
    subject: str | None = None,
    classes: Classes = None,
    columns: Mapping[str, str] | None = None,
    ignore: Sequence[str] = (),
    schema: Schema | None = None,
) -> Rows:
    """Rows from the arrays of an npz file; nothing pickled is read.

    Args:
        path: the file.
        target, id, subject: names of arrays (n,), or (n, K) for the target. classes: see `rows_from_frame`.
        columns: name of a column -> name of its array; default all arrays of the same length as the target (or as the
            longest array), a single one being called "x".
        ignore: arrays left out. schema: of rows these belong with; its classes hold.

    Raises:
        InputError: the file holds pickled objects or is no npz file. SchemaError: an array is absent.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = _named({name: _plain(file[name]) for name in file.files if name not in ignore})
    except (OSError, ValueError, BadZipFile) as error:
        raise InputError(f"{path} cannot be read as npz of plain arrays: {error}") from error
    if target is not None and not isinstance(target, str):
        raise SchemaError("An npz file has one target array, which may be (n, K); give its name.")
    for name in [name for name in (target, id, subject, *(columns or {}).values()) if name]:
        if name not in arrays:
            raise SchemaError(f"There is no array {name!r}; the file holds {sorted(arrays)}.")
    y = arrays[target] if target else None
    n = max((len(array) for array in arrays.values()), default=0) if y is None else len(y)
    chosen = columns or _columns(arrays, n, {name for name in (target, id, subject) if name})
    ids = None if id is None else arrays[id]
    if classes is None and target is not None:
        classes = _classes(arrays, target, schema)
    if y is not None:
        shown = np.array([str(name) for name in (range(n) if ids is None else ids)], dtype=TEXT)
        y, classes = coded(y, classes, shown)
    given = {name: arrays[source] for name, source in chosen.items()}
    return Rows.of(given, y, ids=ids, subjects=None if subject is None else arrays[subject], classes=classes)


def _plain(array: Array) -> Array:
    """The array, with text as StringDType."""
    return array.astype(TEXT) if array.dtype.kind == "U" else array


def _named(arrays: dict[str, Array]) -> dict[str, Array]:
    """The arrays with the matrices X_num and X_cat split into their named columns."""
    named = dict(arrays)
    if "X_num" in named and "num_names" in named:
        matrix, names = named.pop("X_num"), named.pop("num_names")
        named |= {str(name): np.asarray(matrix[:, j], dtype=np.float64) for j, name in enumerate(names)}
    if "X_cat" in named and "cat_names" in named:
        codes, names = named.pop("X_cat"), named.pop("cat_names")
        for j, name in enumerate(names):
            named[str(name)] = named.pop(f"cat_levels_{j}")[codes[:, j].astype(np.int64)]
    return named


def _columns(arrays: Mapping[str, Array], n: int, aside: set[str]) -> dict[str, str]:
    names = [name for name, array in arrays.items() if name not in aside and array.ndim and len(array) == n]
    if len(names) == 1:
        return {"x": names[0]}
    return {name: name for name in names}


def _classes(arrays: Mapping[str, Array], target: str, schema: Schema | None) -> Classes:
    if schema is not None and schema.target is not None:
        return schema.classes or 0
    names = arrays.get(f"{target}_names")
    return None if names is None else [str(name) for name in names]
