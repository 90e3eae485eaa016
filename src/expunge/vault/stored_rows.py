"""Rows on disk: blocks of at most 16,384 rows, each two chunks, read when asked for.

The *index* of a block holds what a request needs (keys, owners' keys, class codes: 24 bytes a row), the *data* the ids,
subjects, columns and targets. Text is UTF-8 bytes beside their lengths. Forgetting rewrites the blocks that lose a row
and touches no other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from expunge import keyed
from expunge.errors import SchemaError
from expunge.rows import BLOCK_ROWS, Block, Rows, Table
from expunge.schema import TEXT, Array, Column, Schema
from expunge.vault.chunks import Chunks


@dataclass(frozen=True)
class StoredBlock:
    """Where one block of rows is: how many rows, and the digests of its two chunks."""

    rows: int
    index: str
    data: str


@dataclass(frozen=True, eq=False)
class Index:
    """What a request needs of a block: keys and owners (n,) uint64; class codes (n,), or None without classes."""

    keys: keyed.Keys
    owners: keyed.Keys
    codes: NDArray[np.int64] | None


@dataclass(frozen=True, eq=False)
class StoredRows:
    """Reads and writes blocks under one schema; indexes that were read stay in memory."""

    chunks: Chunks
    schema: Schema
    _indexes: dict[str, Index] = field(default_factory=dict)

    def write(self, table: Table) -> StoredBlock:
        """Store one block."""
        index = {"keys": table.keys, "owners": table.owners}
        if self.schema.classes and table.y is not None:
            index["codes"] = table.y.astype(np.int64)
        data = {**_text("ids", table.ids), **({} if table.subjects is None else _text("subjects", table.subjects))}
        for name, column in table.columns.items():
            data |= _stored(f"column/{name}", column)
        if table.y is not None:
            data |= _stored("y", table.y)
        return StoredBlock(len(table), self.chunks.write(_packed(index)), self.chunks.write(_packed(data)))

    def write_rows(self, rows: Rows) -> Iterator[StoredBlock]:
        """Store rows block by block, as the schema declares their numbers.

        Raises:
            SchemaError: see `conform`.
        """
        for table in rows.batches(BLOCK_ROWS):
            yield self.write(conform(table, self.schema))

    def index(self, block: StoredBlock) -> Index:
        """The index of a block.

        Raises:
            Corrupt: its bytes do not match its digest.
        """
        if block.index not in self._indexes:
            arrays = _unpacked(self.chunks.read(block.index))
            self._indexes[block.index] = Index(arrays["keys"], arrays["owners"], arrays.get("codes"))
        return self._indexes[block.index]

    def table(self, block: StoredBlock) -> Table:
        """A block, read.

        Raises:
            Corrupt: its bytes do not match its digest.
        """
        index, arrays = self.index(block), _unpacked(self.chunks.read(block.data))
        return Table(
            _read_text("ids", arrays),
            index.keys,
            index.owners,
            _read_text("subjects", arrays) if "subjects/lengths" in arrays else None,
            {column.name: _read(f"column/{column.name}", arrays) for column in self.schema.columns},
            None if self.schema.target is None else _read("y", arrays),
        )

    def rows(self, blocks: Iterable[StoredBlock]) -> Rows:
        """Blocks as rows; only their indexes are read now."""
        return Rows([self._lazy(block) for block in blocks], self.schema)

    def without(self, block: StoredBlock, gone: keyed.Keys) -> StoredBlock | None:
        """The block without the rows of these keys: itself if it has none of them, None if nothing is left."""
        stays = ~among(self.index(block).keys, gone)
        if stays.all():
            return block
        return self.write(self.table(block).take(stays)) if stays.any() else None

    def merged(self, blocks: Iterable[StoredBlock]) -> StoredBlock:
        """One block with the rows of several."""
        return self.write(self.rows(blocks).table())

    def keep_indexes(self, blocks: Iterable[StoredBlock]) -> None:
        """Forget every index but those of `blocks`."""
        live = {block.index for block in blocks}
        for digest in self._indexes.keys() - live:
            del self._indexes[digest]

    def _lazy(self, block: StoredBlock) -> Block:
        return Block(self.index(block).keys, lambda: self.table(block))


def among(keys: keyed.Keys, few: keyed.Keys) -> NDArray[np.bool_]:
    """Which of many keys are among a few, (n,): a search for each, much faster than sorting the many."""
    if not len(few):
        return np.zeros(len(keys), dtype=np.bool_)
    ordered = np.sort(few)
    found: NDArray[np.bool_] = ordered[np.minimum(np.searchsorted(ordered, keys), len(ordered) - 1)] == keys
    return found


def conform(table: Table, schema: Schema) -> Table:
    """The table with its numbers in the kinds the schema declares, so that blocks of one column agree.

    Raises:
        SchemaError: a number has no value in the declared kind; an infinity; a target that is no number or no class.
    """
    declared = {column.name: column for column in schema.columns}
    columns = {name: _of_kind(column, declared[name], table.ids) for name, column in table.columns.items()}
    y = table.y
    if schema.target is not None:
        if y is None:
            raise SchemaError("These rows have no target y; the vault's rows have one.")
        y = _of_kind(y, schema.target, table.ids)
        _check_target(y, table.ids, len(schema.classes))
    return Table(table.ids, table.keys, table.owners, table.subjects, columns, y)


def _of_kind(values: Array, column: Column, ids: Array) -> Array:
    if values.dtype.kind == "f":
        _refuse(
            np.isinf(values), ids, f"Column {column.name!r} is infinite", "Give a finite number, or NaN if missing."
        )
    if values.dtype.kind == column.kind:
        return values if values.dtype.itemsize <= 8 or column.kind == "T" else values.astype(np.float64)
    wanted = {"f": np.float64, "i": np.int64, "u": np.uint64, "b": np.bool_}[column.kind]
    converted: Array = values.astype(wanted)
    _refuse(converted != values, ids, f"Column {column.name!r} is no {np.dtype(wanted)}", "The schema declares it so.")
    return converted


def _check_target(y: Array, ids: Array, classes: int) -> None:
    if y.dtype.kind == "f":
        _refuse(~np.isfinite(y), ids, "The target is missing or infinite", "Leave such rows out.")
    if classes:
        _refuse((y < 0) | (y >= classes), ids, "The target is out of its classes", f"Give a code in 0..{classes - 1}.")


def _refuse(wrong: NDArray[np.bool_], ids: Array, what: str, remedy: str) -> None:
    rows = wrong.reshape(len(wrong), -1).any(axis=1)
    if rows.any():
        raise SchemaError(f"{what} in {int(rows.sum())} row(s), first {str(ids[rows][0])!r}. {remedy}")


def _stored(name: str, values: Array) -> dict[str, Array]:
    return _text(name, values) if values.dtype.kind == "T" else {name: values}


def _text(name: str, values: Array) -> dict[str, Array]:
    encoded = [text.encode() for text in values.ravel().tolist()]
    lengths = np.array([len(text) for text in encoded], dtype=np.int64).reshape(values.shape)
    return {f"{name}/utf8": np.frombuffer(b"".join(encoded), dtype=np.uint8), f"{name}/lengths": lengths}


def _read(name: str, arrays: Mapping[str, Array]) -> Array:
    return arrays[name] if name in arrays else _read_text(name, arrays)


def _read_text(name: str, arrays: Mapping[str, Array]) -> Array:
    joined, lengths = arrays[f"{name}/utf8"].tobytes(), arrays[f"{name}/lengths"]
    ends = np.cumsum(lengths.ravel()).tolist()
    starts = [0, *ends[:-1]]
    if joined.isascii():
        text = joined.decode()
        parts = [text[start:end] for start, end in zip(starts, ends, strict=False)]
    else:
        parts = [joined[start:end].decode() for start, end in zip(starts, ends, strict=False)]
    return np.array(parts, dtype=TEXT).reshape(lengths.shape)


def _packed(arrays: Mapping[str, Array]) -> bytes:
    little = {name: array.astype(array.dtype.newbyteorder("<"), copy=False) for name, array in arrays.items()}
    return bytes(safetensors.numpy.save({name: np.ascontiguousarray(array) for name, array in little.items()}))


def _unpacked(content: bytes) -> dict[str, Array]:
    # A copy each: numpy's own alignment, whatever the offset in the file, so that arithmetic repeats bit for bit.
    return {name: array.copy() for name, array in safetensors.numpy.load(content).items()}
