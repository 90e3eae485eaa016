"""Rows from a pandas data frame, and back."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from difflib import get_close_matches

import numpy as np
import pandas as pd

from expunge.errors import InputError, SchemaError
from expunge.load.target import Classes, coded
from expunge.rows import Rows
from expunge.schema import TEXT, Array, Schema

Names = str | Sequence[str] | None
EXACT = 2**53  # from here on floating numbers skip integers
MOST_CLASSES = 100  # taken for granted; more are declared


def rows_from_frame(
    frame: pd.DataFrame,
    *,
    target: Names = None,
    id: str | None = None,  # noqa: A002 (the word of the command line)
    subject: str | None = None,
    classes: Classes = None,
    ignore: Sequence[str] = (),
    schema: Schema | None = None,
) -> Rows:
    """Rows from a data frame: numbers become float64 (missing: NaN), everything else text (missing: "").

    Args:
        frame: one row a row.
        target: the column of y, or several for y of shape (n, K); None for rows without a target.
        id: the column of ids; None numbers the rows 0..n-1. subject: the column that says who owns a row.
        classes: names of the classes in the order of their codes, or their number, or 0 for a regression. Text needs
            names; integers 0..K-1 (K up to 100) count as classes by themselves, floating numbers as a regression.
        ignore: columns left out.
        schema: of rows these belong with: columns are read as it declares them, and its classes hold.

    Raises:
        InputError: an id or a target is missing. DuplicateRows: an id stands twice.
        SchemaError: a column is absent or of another kind than declared, or a target is no declared class.
    """
    frame = frame.set_axis([str(name) for name in frame.columns], axis=1)
    if len(set(frame.columns)) < len(frame.columns):
        raise SchemaError(f"Two columns share a name; the columns are {list(frame.columns)}.")
    targets = [] if target is None else [target] if isinstance(target, str) else list(target)
    for name in [*targets, *([id] if id else []), *([subject] if subject else []), *ignore]:
        _check_column(frame, name)
    ids = None if id is None else _names(frame[id], id)
    subjects = None if subject is None else _names(frame[subject], subject)
    declared = None if schema is None else {column.name: column.kind for column in schema.columns}
    if classes is None and schema is not None and schema.target is not None:
        classes = schema.classes or 0
    aside = {*targets, *ignore} | {name for name in (id, subject) if name}
    columns = {
        name: _values(frame[name], name, None if declared is None else declared.get(name))
        for name in frame.columns
        if name not in aside
    }
    y, known = None, classes
    if targets:
        shown = np.array([str(place) for place in range(len(frame))] if ids is None else ids, dtype=TEXT)
        y, known = coded(_target(frame, targets, classes), classes, shown)
    return Rows.of(columns, y, ids=ids, subjects=subjects, classes=known)


def frame_of(rows: Rows) -> pd.DataFrame:
    """All rows in one data frame: `id`, `subject` where there are any, the columns, `y` (y_0, y_1, ... where several).

    A column with several numbers a row becomes columns name_0, name_1, ...; class codes become class names.
    """
    table = rows.table()
    parts: dict[str, Array] = {"id": table.ids}
    if table.subjects is not None:
        parts["subject"] = table.subjects
    for name, column in table.columns.items():
        parts |= _flat(name, column)
    if table.y is not None:
        named = np.array(rows.schema.classes, dtype=TEXT)
        parts |= _flat("y", named[table.y.astype(np.int64)] if len(named) and table.y.ndim == 1 else table.y)
    return pd.DataFrame({name: part.tolist() for name, part in parts.items()})


def _flat(name: str, column: Array) -> dict[str, Array]:
    if column.ndim == 1:
        return {name: column}
    flat = column.reshape(len(column), int(np.prod(column.shape[1:])))
    return {f"{name}_{place}": flat[:, place] for place in range(flat.shape[1])}


def _check_column(frame: pd.DataFrame, name: str) -> None:
    if name not in frame.columns:
        close = get_close_matches(name, list(frame.columns), n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise SchemaError(f"There is no column {name!r}; the columns are {list(frame.columns)}.{hint}")


def _names(series: pd.Series, name: str) -> list[str]:
    """Ids or subjects as text; whole numbers without their ".0"."""
    empty = series.isna() | (series.astype(str) == "")
    if empty.any():
        places = np.flatnonzero(empty.to_numpy())[:5].tolist()
        raise InputError(f"Column {name!r} names rows and is empty in {empty.sum()} of them, at places {places}.")
    return [_name(value, name) for value in series.tolist()]


def _name(value: Hashable, column: str) -> str:
    """One id or subject as text: 1, 1.0 and "1" are one name, in whatever column of a file they stand."""
    if isinstance(value, bool | np.bool_):
        raise InputError(f"Column {column!r} names rows and holds {value}; text or whole numbers were expected.")
    if not isinstance(value, float | np.floating):
        return str(value)
    number = float(value)
    if not number.is_integer():
        raise InputError(f"Column {column!r} names rows and holds fractions; text or whole numbers were expected.")
    if abs(number) >= EXACT:
        raise InputError(
            f"Column {column!r} names rows and holds {number} as a floating number, too large to be told from its "
            "neighbours: store it as text or as an integer."
        )
    return str(int(number))


def _values(series: pd.Series, name: str, kind: str | None) -> Array:
    """A column as float64 or text; `kind` is the declared one, or None to see for itself."""
    if pd.api.types.is_datetime64_any_dtype(series) or pd.api.types.is_timedelta64_dtype(series):
        raise SchemaError(f"Column {name!r} holds times; make numbers of them (days since a date) or text.")
    numeric = pd.api.types.is_numeric_dtype(series) and not pd.api.types.is_complex_dtype(series)
    if series.dtype == object:
        numeric = all(_is_number(value) for value in series.tolist())
    if kind == "T" or (kind is None and not numeric):
        return _text(series, name)
    if numeric:
        return series.astype(np.float64).to_numpy(dtype=np.float64, na_value=np.nan)
    try:
        return pd.to_numeric(series.replace("", np.nan)).to_numpy(dtype=np.float64, na_value=np.nan)
    except (ValueError, TypeError) as error:
        raise SchemaError(f"Column {name!r} was declared as numbers, and holds text: {error}.") from error


def _text(series: pd.Series, name: str) -> Array:
    texts = []
    for value in series.tolist():
        if isinstance(value, str):
            texts.append(value)
        elif value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
            texts.append("")
        elif isinstance(value, int | float | np.number):
            texts.append(str(int(value)) if float(value).is_integer() else str(value))
        else:
            raise SchemaError(f"Column {name!r} holds a {type(value).__name__}; text or numbers were expected.")
    return np.array(texts, dtype=TEXT)


def _is_number(value: Hashable) -> bool:
    return value is None or value is pd.NA or isinstance(value, int | float | np.number)


def _target(frame: pd.DataFrame, names: Sequence[str], classes: Classes) -> Array:
    """The target, (n,) or (n, K); integers and booleans of one column stay whole, as they may be class codes."""
    parts = [_values(frame[name], name, None) for name in names]
    if len(parts) > 1:
        return np.stack(parts, axis=1)
    series, y = frame[names[0]], parts[0]
    if not (pd.api.types.is_integer_dtype(series) or pd.api.types.is_bool_dtype(series)) or np.isnan(y).any():
        return y
    if classes is None and len(y) and y.max() >= MOST_CLASSES:
        raise SchemaError(
            f"The target {names[0]!r} holds whole numbers up to {y.max():.0f}: say classes=0 for a regression, or how "
            "many classes there are."
        )
    return y.astype(np.int64)
