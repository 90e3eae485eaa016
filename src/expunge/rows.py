"""Rows: training examples with stable ids and, where one person owns several, a subject.

Columns are a mapping name -> array whose first axis is the row: `x`, or `input_ids` and `attention_mask`, or raw table
columns (numbers with NaN for missing; text as numpy's StringDType with "" for missing). Ids and subjects are compared
as text. Rows are a sequence of blocks, each a `Table` in memory or read when it is asked for, so that a method that
needs no retained row reads none. `expunge.load` makes rows of files and frames.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from expunge import keyed
from expunge.errors import DuplicateRows, InputError, SchemaError, UnknownRows
from expunge.schema import TEXT, Array, Column, Schema, check_schema

BLOCK_ROWS = 16_384


def as_text(names: Iterable[str | int] | Array) -> Array:
    """Ids or subjects as text, shape (n,), in Unicode's form NFC: what looks the same names the same.

    Raises:
        InputError: a name is neither text nor an integer, or is empty.
    """
    given = names.tolist() if isinstance(names, np.ndarray) else list(names)
    for place, name in enumerate(given):
        if isinstance(name, bool) or not isinstance(name, str | int | np.integer) or name == "":
            raise InputError(f"Ids and subjects are text or integers; {name!r} stands at place {place}.")
    return np.array([_composed(str(name)) for name in given], dtype=TEXT)


def _composed(name: str) -> str:
    return name if name.isascii() else unicodedata.normalize("NFC", name)


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
        """The rows at positions `where`: a copy of a block in memory, still unread of any other."""
        match self.read:
            case _Held(table):
                return _in_memory(table.take(where))
            case _Taken(read, kept):  # one selection, however many requests came before
                return Block(self.keys[where], _Taken(read, kept[where]))
            case read:
                return Block(self.keys[where], _Taken(read, where))


@dataclass(frozen=True, eq=False)
class _Held:
    """A table in memory, as a reader."""

    table: Table

    def __call__(self) -> Table:
        return self.table


@dataclass(frozen=True, eq=False)
class _Taken:
    """Reads a block and takes some of its rows."""

    read: Callable[[], Table]
    where: Array

    def __call__(self) -> Table:
        return self.read().take(self.where)


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
            y: (n,) class codes, (n,) or (n, K) numbers, or None.
            ids: n strings or integers; default 0..n-1. subjects: n owners, or None.
            classes: how many classes (or their names) y's codes 0..K-1 mean, or 0 for a regression. Default: max(y)+1
                for integer or bool y of one dimension, a regression for everything else.

        Raises:
            DuplicateRows: two ids are equal as text (or two digests collide).
            InputError: y is NaN or infinite, or an id is neither text nor an integer.
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
        declared: tuple[str, ...] = ()
        if target is not None:
            target, declared = _target(target, classes, names)
        keys = keyed.keys_of(names)
        _check_unique(names, keys)
        owned = keys if owners is None else keyed.keys_of(owners)
        return cls.from_table(Table(names, keys, owned, owners, arrays, target), declared)

    @classmethod
    def from_table(cls, table: Table, classes: tuple[str, ...] = ()) -> Rows:
        """Rows in memory; nothing is checked."""
        declared = tuple(Column.of(name, array) for name, array in sorted(table.columns.items()))
        schema = Schema(declared, None if table.y is None else Column.of("y", table.y), classes)
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
        if any((table.subjects is not None) != with_subjects for table in tables):
            raise SchemaError("Some rows name their subjects and others do not; give them to all rows, or to none.")
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

    def only(self, ids: Iterable[str | int] | str | int) -> Rows:
        """The rows with these ids, in the order of the rows.

        Raises:
            UnknownRows: an id is not among the rows.
        """
        return self.select(_named("id", ids, self.keys))

    def without(self, ids: Iterable[str | int] | str | int) -> Rows:
        """All rows but those with these ids.

        Raises:
            UnknownRows: an id is not among the rows.
        """
        return self.select(~_named("id", ids, self.keys))

    def of_subjects(self, subjects: Iterable[str | int] | str | int) -> Rows:
        """Every row of these subjects; a row without a subject is its own.

        Raises:
            UnknownRows: a subject owns no row.
        """
        owners = _joined([table.owners for table in self.tables()], np.dtype(np.uint64))
        return self.select(_named("subject", subjects, owners))

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
        if (added.schema.target is None) != (self.schema.target is None):
            raise SchemaError("Either all rows have a target y or none has; give the added rows the same target.")
        both = Rows((*self.blocks, *added.blocks), self.schema)
        if len(np.unique(both.keys)) < len(both):
            clash = added.ids[np.isin(added.keys, self.keys)]
            raise DuplicateRows(f"These ids are among the rows already: {_some(clash)}. Give new rows new ids.")
        return both


def with_classes(rows: Rows, classes: tuple[str, ...]) -> Rows:
    """The same rows under other declared classes."""
    return Rows(rows.blocks, replace(rows.schema, classes=classes))


def check_finite(table: Table) -> None:
    """What a method that takes no missing values checks: every number of every column is finite.

    Raises:
        InputError: a NaN or infinity, with its column and ids.
    """
    for name, column in table.columns.items():
        if column.dtype.kind == "f":
            _check_numbers(f"Column {name!r}", column, table.ids)


def _check_numbers(what: str, array: Array, ids: Array) -> None:
    bad = ~np.isfinite(array).all(axis=tuple(range(1, array.ndim)))
    if bad.any():
        raise InputError(
            f"{what} is NaN or infinite in {bad.sum()} row(s), ids {_some(ids[bad])}: leave these rows out, fill them, "
            "or let features handle missing values (expunge.features.Numeric)."
        )


def _array(name: str, values: Any) -> Array:
    from torch import Tensor  # slow to import

    array = np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values)
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


def _target(y: Array, classes: int | Sequence[str] | None, ids: Array) -> tuple[Array, tuple[str, ...]]:
    """The target (class codes as int64, or numbers), and the names of its classes."""
    if y.dtype.kind == "T":
        raise SchemaError("The target is text: give codes 0..K-1, or load it with its classes declared (expunge.load).")
    if y.dtype.kind == "f":
        _check_numbers("The target y", y, ids)
    if classes is None and (y.dtype.kind == "f" or y.ndim > 1 or not len(y)):
        return y, ()
    names = _names(int(y.max()) + 1 if classes is None else classes)
    if not names and classes is not None:
        return y.astype(np.float64), ()
    if y.ndim > 1:
        raise SchemaError(f"{len(names)} classes were declared, but y has {y.shape[1]} columns; classes are for one.")
    codes = y.astype(np.int64)
    outside = (codes != y) | (codes < 0) | (codes >= len(names))
    if outside.any():
        seen = ", ".join(str(value) for value in np.unique(y[outside])[:5].tolist())
        raise SchemaError(
            f"y holds {seen}, and codes from 0 to {len(names) - 1} were expected. Declare the right classes=, or "
            "classes=0 for a regression."
        )
    return codes, names


def _names(classes: int | Sequence[str]) -> tuple[str, ...]:
    names = tuple(str(name) for name in (range(classes) if isinstance(classes, int | np.integer) else classes))
    if len(set(names)) < len(names):
        raise SchemaError(f"Every class needs a name of its own; given: {_some(names)}.")
    return names


def _in_memory(table: Table) -> Block:
    return Block(table.keys, _Held(table))


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
    return np.concatenate(arrays) if arrays else column.empty()


def _check_unique(ids: Array, keys: keyed.Keys) -> None:
    values, counts = np.unique(keys, return_counts=True)
    if len(values) < len(keys):
        clash = dict.fromkeys(ids[np.isin(keys, values[counts > 1])].tolist())
        raise DuplicateRows(
            f"Every row needs an id of its own (compared as text); these stand twice: {_some(clash)}. "
            "Leave out what is there twice, or give the rows other ids."
        )


def _named(what: str, names: Iterable[str | int] | str | int, known: keyed.Keys) -> NDArray[np.bool_]:
    """Where `known` (n,) is the key of one of the names; every name must be somewhere."""
    listed = [names] if isinstance(names, str | int) else names  # one id, not its letters
    wanted = sorted({_composed(str(name)) for name in listed})
    if not wanted:
        raise InputError(f"No {what} was given; name at least one.")
    keys = keyed.keys_of(wanted)
    mask = np.isin(known, keys)
    absent = np.asarray(wanted, dtype=object)[~np.isin(keys, known[mask])]
    if len(absent):
        raise UnknownRows(f"No such {what} among the {len(known)} rows: {_some(absent)}.")
    return mask


def _some(names: Iterable[Any]) -> str:
    listed = [repr(str(name)) for name in names]
    return ", ".join(listed[:5]) + (f" and {len(listed) - 5} more" if len(listed) > 5 else "")
