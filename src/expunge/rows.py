"""Rows: training examples with stable ids and, where one person owns several, a subject.

Columns are a mapping name -> array whose first axis is the row: `x`, or `input_ids` and `attention_mask`, or raw table
columns (numbers with NaN for missing; text as numpy's StringDType with "" for missing). Ids and subjects are compared
as text. Rows are a sequence of blocks, each a `Table` in memory or read when it is asked for, so that a method that
needs no retained row reads none. `expunge.load` makes rows of files and frames.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from expunge import keyed
from expunge.errors import DuplicateRows, InputError, SchemaError, UnknownRows

Array = NDArray[Any]
TEXT = np.dtypes.StringDType()
BLOCK_ROWS = 16_384


def as_text(names: Iterable[str | int] | Array) -> Array:
    """Ids or subjects as text, shape (n,)."""
    return np.array([str(name) for name in names], dtype=TEXT)


@dataclass(frozen=True)
class Column:
    """One column's declared shape: its name, numpy kind ("f", "i", "u", "b", or "T" for text) and shape of a row."""

    name: str
    kind: str
    shape: tuple[int, ...]


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


@dataclass(frozen=True, eq=False)
class Table:
    """Rows in memory: `ids` (n,), their `keys` and their `owners`' keys (n,) uint64, `subjects` or None, columns, y."""

    ids: Array
    keys: keyed.Keys
    owners: keyed.Keys
    subjects: Array | None
    columns: Mapping[str, Array]
    y: Array | None

    def __len__(self) -> int:
        return len(self.keys)

    def take(self, where: Array | slice) -> Table:
        """The rows at positions (or mask, or slice) `where`, in that order."""
        return Table(
            self.ids[where],
            self.keys[where],
            self.owners[where],
            None if self.subjects is None else self.subjects[where],
            {name: column[where] for name, column in self.columns.items()},
            None if self.y is None else self.y[where],
        )


@dataclass(frozen=True, eq=False)
class Block:
    """A run of rows: how many, their keys (n,), and how to read them."""

    keys: keyed.Keys
    read: Callable[[], Table]

    def __len__(self) -> int:
        return len(self.keys)

    def take(self, where: Array) -> Block:
        """The rows at positions `where` of this block, still unread."""
        return Block(self.keys[where], lambda: self.read().take(where))


class Rows:
    """A set of rows; immutable. `Rows.of(...)` builds one from arrays, `expunge.load` from files."""

    def __init__(self, blocks: Sequence[Block], schema: Schema) -> None:
        self.blocks = tuple(block for block in blocks if len(block))
        self.schema = schema

    @classmethod
    def of(
        cls,
        columns: Mapping[str, ArrayLike] | ArrayLike,
        y: ArrayLike | None = None,
        *,
        ids: Iterable[str | int] | None = None,
        subjects: Iterable[str | int] | None = None,
        classes: int | Sequence[str] | None = None,
    ) -> Rows:
        """Rows from arrays.

        Args:
            columns: name -> (n, ...) array or tensor; a bare array is the column `x`.
            y: (n,) integer class codes, (n,) or (n, K) numbers, or None.
            ids: n strings or integers; default 0..n-1. subjects: n owners, or None.
            classes: how many classes (or their names) y's codes mean; default max(y)+1 for integer y of one
                dimension, none for floating y.

        Raises:
            DuplicateRows: two ids are equal as text (or two digests collide).
            SchemaError: lengths differ, a value is not a number or text, or y is out of its classes.
        """
        named = dict(columns) if isinstance(columns, Mapping) else {"x": columns}
        arrays = {name: _array(name, column) for name, column in named.items()}
        target = None if y is None else _array("y", y)
        lengths = {name: len(a) for name, a in arrays.items()} | ({} if target is None else {"y": len(target)})
        n = next(iter(lengths.values()), 0)
        names = as_text(range(n) if ids is None else ids)
        owners = None if subjects is None else as_text(subjects)
        lengths |= {"ids": len(names)} | ({} if owners is None else {"subjects": len(owners)})
        if len(set(lengths.values())) > 1:
            raise SchemaError(f"Every column needs one value a row; the lengths given are {lengths}.")
        if target is not None and target.dtype.kind == "T":
            raise SchemaError(
                "The target is text, and a number was expected: declare its classes (classes=[...]) or give codes."
            )
        table = Table(
            names, keyed.keys_of(names), keyed.keys_of(names if owners is None else owners), owners, arrays, target
        )
        _check_unique(table.ids, table.keys)
        return cls.from_table(table, _classes(classes, target))

    @classmethod
    def from_table(cls, table: Table, classes: tuple[str, ...] = ()) -> Rows:
        """Rows in memory; nothing is checked."""
        declared = tuple(_column(name, array) for name, array in sorted(table.columns.items()))
        schema = Schema(declared, None if table.y is None else _column("y", table.y), classes)
        size = BLOCK_ROWS
        blocks = [table.take(slice(start, start + size)) for start in range(0, len(table), size)]
        return cls([_in_memory(block) for block in blocks], schema)

    def __len__(self) -> int:
        return sum(len(block) for block in self.blocks)

    def __repr__(self) -> str:
        return f"Rows({len(self)} rows, columns {[column.name for column in self.schema.columns]})"

    @property
    def classes(self) -> int:
        """How many classes the target has; 0 for a regression or where there is no target."""
        return len(self.schema.classes)

    @cached_property
    def keys(self) -> keyed.Keys:
        """The 64-bit key of each row's id, (n,); reads no row."""
        return _joined([block.keys for block in self.blocks], np.dtype(np.uint64))

    def tables(self) -> Iterator[Table]:
        """Each block, read."""
        for block in self.blocks:
            yield block.read()

    def batches(self, size: int) -> Iterator[Table]:
        """Tables of at most `size` rows, in order."""
        for table in self.tables():
            if len(table) <= size:
                yield table
            else:
                yield from (table.take(slice(start, start + size)) for start in range(0, len(table), size))

    def table(self) -> Table:
        """All rows in memory, as one table."""
        tables = list(self.tables())
        if len(tables) == 1:
            return tables[0]
        with_subjects = bool(tables) and tables[0].subjects is not None
        return Table(
            _joined([t.ids for t in tables], TEXT),
            self.keys,
            _joined([t.owners for t in tables], np.dtype(np.uint64)),
            _joined([t.subjects for t in tables if t.subjects is not None], TEXT) if with_subjects else None,
            {c.name: _stacked([t.columns[c.name] for t in tables], c) for c in self.schema.columns},
            None
            if self.schema.target is None
            else _stacked([t.y for t in tables if t.y is not None], self.schema.target),
        )

    @property
    def ids(self) -> Array:
        """The ids as text, (n,)."""
        return _joined([table.ids for table in self.tables()], TEXT)

    @property
    def columns(self) -> Mapping[str, Array]:
        """All columns in memory."""
        return self.table().columns

    @property
    def y(self) -> Array:
        """The targets, (n,) or (n, K).

        Raises:
            SchemaError: these rows have no target.
        """
        if self.schema.target is None:
            raise SchemaError("These rows have no target y; learning and auditing need one.")
        return _stacked([table.y for table in self.tables() if table.y is not None], self.schema.target)

    def only(self, ids: Iterable[str | int]) -> Rows:
        """The rows with these ids, in the order of the rows.

        Raises:
            UnknownRows: an id is not among the rows.
        """
        return self.select(self._mask(ids))

    def without(self, ids: Iterable[str | int]) -> Rows:
        """All rows but those with these ids.

        Raises:
            UnknownRows: an id is not among the rows.
        """
        return self.select(~self._mask(ids))

    def of_subjects(self, subjects: Iterable[str | int]) -> Rows:
        """Every row of these subjects; a row without a subject is its own.

        Raises:
            UnknownRows: a subject owns no row.
        """
        wanted = sorted({str(subject) for subject in subjects})
        keys = keyed.keys_of(wanted)
        owners = _joined([table.owners for table in self.tables()], np.dtype(np.uint64))
        _check_known("subject", wanted, keys, owners)
        return self.select(np.isin(owners, keys))

    def select(self, where: NDArray[np.bool_]) -> Rows:
        """The rows where the mask (n,) is true; blocks that keep every row are shared, none is read."""
        blocks, start = [], 0
        for block in self.blocks:
            mask = where[start : start + len(block)]
            start += len(block)
            blocks.append(block if mask.all() else block.take(np.flatnonzero(mask)))
        return Rows(blocks, self.schema)

    def map(self, transform: Callable[[Table], Table], schema: Schema, *, keep: bool = True) -> Rows:
        """Each block transformed when it is read; with `keep`, the result stays in memory after the first reading."""
        return Rows([Block(block.keys, _mapped(block, transform, keep)) for block in self.blocks], schema)

    def and_rows(self, added: Rows) -> Rows:
        """These rows followed by `added`.

        Raises:
            SchemaError: the schemas differ. DuplicateRows: an id stands in both.
        """
        check_schema(added.schema, self.schema)
        both = Rows((*self.blocks, *added.blocks), self.schema)
        if len(np.unique(both.keys)) < len(both):
            clash = added.ids[np.isin(added.keys, self.keys)]
            raise DuplicateRows(f"These ids are among the rows already: {_some(clash)}. Give new rows new ids.")
        return both

    def _mask(self, ids: Iterable[str | int]) -> NDArray[np.bool_]:
        wanted = sorted({str(name) for name in ids})
        keys = keyed.keys_of(wanted)
        _check_known("id", wanted, keys, self.keys)
        return np.isin(self.keys, keys)


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
    if given.target is not None and expected.target is not None and given.classes != expected.classes:
        raise SchemaError(f"The classes given are {given.classes}; {expected.classes} were declared.")


def with_classes(rows: Rows, classes: tuple[str, ...]) -> Rows:
    """The same rows under other declared classes."""
    return Rows(rows.blocks, replace(rows.schema, classes=classes))


def _array(name: str, values: Any) -> Array:
    detached = values.detach().cpu().numpy() if hasattr(values, "detach") else values
    array = np.asarray(detached)
    if array.ndim == 0:
        raise SchemaError(f"Column {name!r} is a single value; an array with one entry a row was expected.")
    if array.dtype.kind in "UO":
        if not all(isinstance(value, str) for value in array.ravel().tolist()):
            raise SchemaError(
                f"Column {name!r} mixes text with other types; give text (missing: '') or numbers (missing: NaN)."
            )
        return array.astype(TEXT)
    if array.dtype.kind not in "fiubT":
        raise SchemaError(f"Column {name!r} has type {array.dtype}; numbers or text were expected.")
    return array


def _classes(classes: int | Sequence[str] | None, y: Array | None) -> tuple[str, ...]:
    if y is None or y.dtype.kind == "f" or y.ndim > 1:
        if classes is None or y is None:
            return () if y is None or classes is None else tuple(map(str, range(len(_names(classes)))))
        if y.ndim > 1 or not np.array_equal(y, np.round(y)):
            raise SchemaError(f"{len(_names(classes))} classes were declared, but y holds no class codes.")
    names = _names(int(y.max()) + 1 if classes is None and len(y) else classes or 0)
    if len(y) and (y.min() < 0 or y.max() >= len(names)):
        raise SchemaError(f"y holds codes from {y.min()} to {y.max()}; 0..{len(names) - 1} were declared.")
    return names


def _names(classes: int | Sequence[str]) -> tuple[str, ...]:
    return tuple(map(str, range(classes) if isinstance(classes, int) else classes))


def _column(name: str, array: Array) -> Column:
    return Column(name, array.dtype.kind, tuple(array.shape[1:]))


def _in_memory(table: Table) -> Block:
    return Block(table.keys, lambda: table)


def _mapped(block: Block, transform: Callable[[Table], Table], keep: bool) -> Callable[[], Table]:
    kept: list[Table] = []

    def read() -> Table:
        if kept:
            return kept[0]
        table = transform(block.read())
        if keep:
            kept.append(table)
        return table

    return read


def _joined(arrays: list[Array], dtype: Any) -> Array:
    return np.concatenate(arrays) if arrays else np.empty(0, dtype=dtype)


def _stacked(arrays: list[Array], column: Column) -> Array:
    return np.concatenate(arrays) if arrays else np.empty((0, *column.shape), dtype=_dtype(column))


def _dtype(column: Column) -> Any:
    return {"f": np.dtype(np.float64), "i": np.dtype(np.int64), "T": TEXT}.get(column.kind, np.dtype(np.uint8))


def _check_unique(ids: Array, keys: keyed.Keys) -> None:
    values, counts = np.unique(keys, return_counts=True)
    if len(values) < len(keys):
        clash = ids[np.isin(keys, values[counts > 1])]
        raise DuplicateRows(f"Every row needs an id of its own (compared as text); these stand twice: {_some(clash)}.")


def _check_known(what: str, wanted: Sequence[str], keys: keyed.Keys, known: keyed.Keys) -> None:
    if not len(wanted):
        raise InputError(f"No {what} was given; name at least one.")
    absent = np.asarray(wanted, dtype=object)[~np.isin(keys, known)]
    if len(absent):
        raise UnknownRows(f"No such {what} among the {len(known)} rows: {_some(absent)}.")


def _some(names: Iterable[Any]) -> str:
    listed = [repr(str(name)) for name in names]
    return ", ".join(listed[:5]) + (f" and {len(listed) - 5} more" if len(listed) > 5 else "")
