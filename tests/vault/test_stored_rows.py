"""Rows on disk: what is read equals what was written, whatever the types and the text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.errors import SchemaError
from expunge.rows import Rows, Table, as_text
from expunge.schema import TEXT, Column, Schema
from expunge.vault.chunks import Chunks
from expunge.vault.stored_rows import StoredRows, conform


def stored(folder: Path, rows: Rows) -> Table:
    kept = StoredRows(Chunks(folder), rows.schema)
    blocks = list(kept.write_rows(rows))
    return StoredRows(Chunks(folder), rows.schema).rows(blocks).table()


@pytest.mark.parametrize("dtype", ["?", "i1", "u1", "i2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", ">f8", ">i4"])
def test_every_kind_of_number_is_kept(tmp_path: Path, dtype: str) -> None:
    x = np.arange(24).reshape(2, 3, 4).astype(dtype)
    back = stored(tmp_path, Rows.of(x, [0.5, 1.5])).columns["x"]
    np.testing.assert_array_equal(back, x)
    assert back.dtype == np.dtype(dtype).newbyteorder("=")
    assert back.flags.writeable


def test_missing_numbers_and_signed_zeros_keep_their_bytes(tmp_path: Path) -> None:
    x = np.array([[np.nan, -0.0], [5e-324, 1.0]])
    table = Table(as_text("ab"), *(np.arange(2, dtype=np.uint64),) * 2, None, {"x": x}, None)
    back = stored(tmp_path, Rows.from_table(table)).columns["x"]
    assert back.tobytes() == x.tobytes()


@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=8))
def test_any_text_is_kept(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    named = [f"{text}." for text in texts]
    table = Rows.of({"t": np.array(texts, dtype=TEXT)}, subjects=named).table()
    back = stored(tmp_path_factory.mktemp("chunks"), Rows.from_table(table))
    assert back.columns["t"].tolist() == texts
    assert back.subjects is not None
    assert back.subjects.tolist() == named


def test_a_block_without_some_rows_is_new_and_one_without_none_is_itself(tmp_path: Path) -> None:
    rows = Rows.of(np.arange(6.0).reshape(3, 2), [0, 1, 1], classes=2)
    kept = StoredRows(Chunks(tmp_path), rows.schema)
    (block,) = kept.write_rows(rows)
    assert kept.without(block, rows.only([7 % 3]).keys + np.uint64(1)) is block
    shorter = kept.without(block, rows.only([1]).keys)
    assert shorter is not None
    assert kept.table(shorter).ids.tolist() == ["0", "2"]
    assert kept.index(shorter).codes.tolist() == [0, 1]  # type: ignore[union-attr]
    assert kept.without(block, rows.keys) is None


def test_reading_the_keys_reads_no_data(tmp_path: Path) -> None:
    rows = Rows.of(np.arange(6.0).reshape(3, 2))
    kept = StoredRows(Chunks(tmp_path), rows.schema)
    (block,) = kept.write_rows(rows)
    (tmp_path / block.data).unlink()
    np.testing.assert_array_equal(kept.rows([block]).keys, rows.keys)


def declared(x: str, y: str | None = None, classes: tuple[str, ...] = ()) -> Schema:
    return Schema((Column("x", x, ()),), None if y is None else Column("y", y, ()), classes)


@pytest.mark.parametrize(
    ("given_", "kind", "becomes"),
    [([1, 2], "f", np.float64), ([1.0, 2.0], "i", np.int64), ([True, False], "i", np.int64), ([0, 1], "b", np.bool_)],
)
def test_numbers_take_the_declared_kind(given_: list[float], kind: str, becomes: type) -> None:
    x = conform(Rows.of({"x": given_}).table(), declared(kind)).columns["x"]
    assert x.dtype == becomes
    assert x.tolist() == given_


@pytest.mark.parametrize(
    ("x", "y", "schema", "told"),
    [
        ([0.5, 1], None, declared("i"), "'x' is no int64 in 1 row"),
        ([-1, 1], None, declared("u"), "'x' is no uint64"),
        ([np.inf, 1], None, declared("f"), "'x' is infinite"),
        ([0.0, 1], None, declared("f", "f"), "no target"),
        ([0.0, 1], [0.0, np.nan], declared("f", "f"), "target is missing"),
        ([0.0, 1], [0, 2], declared("f", "i", ("a", "b")), r"out of its classes.*'1'.*0\.\.1"),
    ],
)
def test_what_does_not_fit_is_refused(x: list[float], y: list[float] | None, schema: Schema, told: str) -> None:
    keys = np.arange(2, dtype=np.uint64)
    table = Table(as_text("01"), keys, keys, None, {"x": np.array(x)}, None if y is None else np.array(y))
    with pytest.raises(SchemaError, match=told):
        conform(table, schema)
