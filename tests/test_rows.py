"""Rows keep their names whatever their order, and say clearly what they cannot take."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from expunge import rows as rows_module
from expunge.errors import DuplicateRows, InputError, SchemaError, UnknownRows
from expunge.rows import Block, Rows, Table, as_text, check_finite, with_classes
from expunge.schema import check_schema

X = np.arange(12.0).reshape(6, 2)
Y = np.array([0, 1, 2, 0, 1, 2])
IDS = ["a", "b", "c", "d", "e", "f"]


def some(**kwargs: Any) -> Rows:
    return Rows.of(X, Y, **({"ids": IDS} | kwargs))


def test_rows_hold_what_they_were_given() -> None:
    rows = some(subjects=["p", "p", "q", "q", "r", "s"])
    assert len(rows) == 6
    assert rows.ids.tolist() == IDS
    assert np.array_equal(rows.columns["x"], X)
    assert np.array_equal(rows.y, Y)
    assert rows.classes == 3
    assert rows.table().subjects is not None
    assert "6 rows" in repr(rows)


def test_tensors_are_columns_too() -> None:
    rows = Rows.of(torch.ones(3, 2, requires_grad=True), torch.tensor([0, 1, 1]))
    assert rows.columns["x"].shape == (3, 2)
    assert rows.classes == 2


@given(st.sets(st.sampled_from(IDS), min_size=1))
def test_only_and_without_are_complements(ids: set[str]) -> None:
    rows = some()
    chosen, rest = rows.only(ids), rows.without(ids)
    assert set(chosen.ids.tolist()) == ids
    assert set(rest.ids.tolist()) == set(IDS) - ids
    for part in (chosen, rest):
        places = [IDS.index(name) for name in part.ids.tolist()]
        assert places == sorted(places)
        if places:
            assert np.array_equal(part.columns["x"], X[places])
            assert np.array_equal(part.y, Y[places])


def test_integers_and_their_text_are_the_same_id() -> None:
    rows = Rows.of(X, Y, ids=[0, 1, 2, 3, 4, np.int64(5)])
    assert rows.only(["3"]).ids.tolist() == rows.only([3]).ids.tolist() == ["3"]
    with pytest.raises(DuplicateRows, match="'1'"):
        Rows.of(X, Y, ids=[0, 1, "1", 3, 4, 5])


@pytest.mark.parametrize("bad", [1.5, None, True, "", b"a"])
def test_ids_are_text_or_integers(bad: Any) -> None:
    with pytest.raises(InputError, match="place 1"):
        as_text(["a", bad])


def test_a_subject_owns_all_its_rows_and_a_row_without_one_is_its_own() -> None:
    rows = some(subjects=["p", "q", "p", "q", "r", "p"])
    assert rows.of_subjects(["p"]).ids.tolist() == ["a", "c", "f"]
    assert some().of_subjects(["b"]).ids.tolist() == ["b"]
    with pytest.raises(UnknownRows, match="nobody"):
        rows.of_subjects(["nobody"])


def test_unknown_and_empty_requests_are_errors() -> None:
    with pytest.raises(UnknownRows, match="'z'"):
        some().only(["a", "z"])
    with pytest.raises(UnknownRows, match="and 1 more"):
        some().without([f"z{k}" for k in range(6)])
    with pytest.raises(InputError, match="at least one"):
        some().without([])


def test_duplicate_ids_are_named() -> None:
    with pytest.raises(DuplicateRows, match="'a'"):
        some(ids=["a", "a", "c", "d", "e", "f"])


def test_colliding_digests_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module.keyed, "keys_of", lambda names: np.zeros(len(list(names)), dtype=np.uint64))
    with pytest.raises(DuplicateRows):
        some()


def test_lengths_must_agree() -> None:
    with pytest.raises(SchemaError, match="'y': 5"):
        Rows.of(X, Y[:5])
    with pytest.raises(SchemaError, match="'ids': 1"):
        some(ids=["a"])


@pytest.mark.parametrize(
    ("y", "classes", "names", "kind"),
    [
        (Y, None, ("0", "1", "2"), "i"),
        (Y.astype(np.uint8), None, ("0", "1", "2"), "i"),
        (Y > 0, None, ("0", "1"), "i"),
        (np.zeros(6, dtype=bool), 2, ("0", "1"), "i"),
        (Y.astype(float), 3, ("0", "1", "2"), "i"),
        (Y.astype(float), ["no", "maybe", "yes"], ("no", "maybe", "yes"), "i"),
        (Y, ["no", "maybe", "yes", "never seen"], ("no", "maybe", "yes", "never seen"), "i"),
        (Y, np.int64(5), ("0", "1", "2", "3", "4"), "i"),
        (Y.astype(float), None, (), "f"),
        (Y, 0, (), "f"),
        (X, None, (), "f"),
        (np.stack([Y > 0, Y > 1], axis=1), None, (), "b"),
    ],
)
def test_classes_are_declared_or_counted(y: Any, classes: Any, names: tuple[str, ...], kind: str) -> None:
    rows = Rows.of(X, y, classes=classes)
    assert rows.schema.classes == names
    assert rows.y.dtype.kind == kind
    assert np.array_equal(rows.y.astype(float), np.asarray(y, dtype=float))


def test_no_row_leaves_the_declared_classes() -> None:
    rows = some(classes=["no", "maybe", "yes"])
    assert rows.without(["c", "f"]).schema.classes == ("no", "maybe", "yes")
    assert Rows.of(np.empty((0, 2)), np.empty(0), classes=3).classes == 3


@pytest.mark.parametrize(
    ("y", "classes", "message"),
    [
        (Y, 2, "y holds 2"),
        (Y - 1, None, "y holds -1.*classes=0"),
        (Y + 0.5, 3, "y holds 0.5, 1.5, 2.5"),
        (X, 2, "2 columns"),
        (np.array(list("aabbcc")), None, "target is text"),
        (Y, ["a", "a", "b"], "name of its own"),
    ],
)
def test_a_target_outside_its_classes_is_an_error(y: Any, classes: Any, message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        Rows.of(X, y, classes=classes)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("classes", [None, 3])
def test_a_missing_or_infinite_target_names_its_rows(bad: float, classes: int | None) -> None:
    y = Y.astype(float)
    y[3] = bad
    with pytest.raises(InputError, match=r"y is NaN or infinite in 1 row\(s\), ids 'd'"):
        Rows.of(X, y, ids=IDS, classes=classes)


def test_check_finite_names_column_and_rows() -> None:
    column = np.ones((6, 2))
    column[4, 1] = np.nan
    rows = Rows.of({"age": column, "k": Y, "t": np.array(IDS)}, ids=IDS)
    with pytest.raises(InputError, match=r"Column 'age'.*'e'"):
        check_finite(rows.table())
    check_finite(rows.without(["e"]).table())


@pytest.mark.parametrize("bad", [np.array(["a", 1], dtype=object), np.array([1j, 2]), np.array(3.0)])
def test_columns_are_numbers_or_text(bad: Any) -> None:
    with pytest.raises(SchemaError, match="'age'"):
        Rows.of({"age": bad})


def test_select_shares_whole_blocks_and_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "BLOCK_ROWS", 2)
    table = some().table()
    reads: list[int] = []

    def block(start: int) -> Block:
        part = table.take(slice(start, start + 2))

        def read() -> Table:
            reads.append(start)
            return part

        return Block(part.keys, read)

    rows = Rows([block(start) for start in (0, 2, 4)], some().schema)
    rest = rows.without(["c"])
    assert rest.blocks[0] is rows.blocks[0]
    assert rest.blocks[2] is rows.blocks[2]
    assert len(rows.without(["c", "d"]).blocks) == 2
    assert reads == []
    assert rest.ids.tolist() == ["a", "b", "d", "e", "f"]
    assert reads == [0, 2, 4]


def test_two_thousand_requests_leave_one_selection_a_block() -> None:
    n = 2_100
    rows = Rows.of(np.arange(n))
    for name in range(2_000):
        rows = rows.without([name])
    assert rows.ids.tolist() == [str(name) for name in range(2_000, n)]
    assert rows.columns["x"].tolist() == list(range(2_000, n))


@given(size=st.integers(1, 8), block=st.integers(1, 7))
def test_batches_cover_all_rows_in_order(size: int, block: int) -> None:
    table = some().table()
    blocks = [table.take(slice(start, start + block)) for start in range(0, 6, block)]
    rows = Rows([Block(part.keys, lambda part=part: part) for part in blocks], some().schema)
    batches = list(rows.batches(size))
    assert all(1 <= len(batch) <= size for batch in batches)
    assert [name for batch in batches for name in batch.ids.tolist()] == IDS
    assert rows.table().ids.tolist() == IDS


def test_no_rows_keep_shapes_and_types() -> None:
    none = some().select(np.zeros(6, dtype=bool))
    assert len(none) == 0
    assert none.columns["x"].shape == (0, 2)
    assert none.y.shape == (0,)
    assert none.ids.shape == (0,)


def test_map_keeps_what_it_computed_only_where_asked() -> None:
    calls: list[int] = []

    def transform(table: Table) -> Table:
        calls.append(len(table))
        return table

    rows = some()
    kept = rows.map(transform, rows.schema)
    assert np.array_equal(kept.y, kept.y)
    assert len(calls) == 1
    fresh = rows.map(transform, rows.schema, keep=False)
    assert np.array_equal(fresh.y, fresh.y)
    assert len(calls) == 3


def test_added_rows_need_the_same_schema_and_new_ids() -> None:
    rows = some()
    added = Rows.of(X[:2], [0, 1], ids=["g", "h"], classes=3)
    assert rows.and_rows(added).ids.tolist() == [*IDS, "g", "h"]
    with pytest.raises(DuplicateRows, match="'a'"):
        rows.and_rows(Rows.of(X[:2], [0, 1], ids=["a", "h"], classes=3))
    with pytest.raises(SchemaError, match="classes"):
        rows.and_rows(Rows.of(X[:2], [0, 1], ids=["g", "h"]))
    with pytest.raises(SchemaError, match="target"):
        rows.and_rows(Rows.of(X[:2], ids=["g", "h"]))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"age": [1.0]}, "missing"),
        ({"age": [1.0], "job": ["a"], "extra": [1.0]}, "not declared"),
        ({"age": [1.0], "job": [1.0]}, "'job' holds numbers; text"),
        ({"age": [[1.0, 2.0]], "job": ["a"]}, "shape"),
    ],
)
def test_a_changed_schema_is_an_error(columns: Any, message: str) -> None:
    declared = Rows.of({"age": [3.0], "job": ["b"]}).schema
    with pytest.raises(SchemaError, match=message):
        check_schema(Rows.of(columns).schema, declared)


def test_number_kinds_are_interchangeable() -> None:
    declared = Rows.of({"age": [3.0]}).schema
    check_schema(Rows.of({"age": np.array([3], dtype=np.int8)}).schema, declared)
    check_schema(Rows.of({"age": [True]}).schema, declared)


def test_targets_of_another_shape_are_an_error() -> None:
    with pytest.raises(SchemaError, match="targets have shape"):
        check_schema(Rows.of(X, X).schema, Rows.of(X, X[:, 0]).schema)


def test_rows_without_a_target_say_so() -> None:
    with pytest.raises(SchemaError, match="no target"):
        _ = Rows.of(X).y


def test_with_classes_declares_others() -> None:
    assert with_classes(some(), ("x", "y", "z")).schema.classes == ("x", "y", "z")


def test_nothing_a_caller_holds_is_changed() -> None:
    x, y, ids = X.copy(), Y.copy(), list(IDS)
    rows = Rows.of(x, y, ids=ids)
    rows.without(["a"]).table()
    assert np.array_equal(x, X)
    assert np.array_equal(y, Y)
    assert ids == IDS
