"""Tombstones: equal rows meet whatever their form, others do not, and a digest tells nothing without the key."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.errors import Resurrection
from expunge.rows import Block, Rows, Table
from expunge.vault.keys import Keys
from expunge.vault.tombstones import Known, admit, name_digest, tombstones

KEYS = Keys("v", bytes(range(32)), None)  # type: ignore[arg-type]
OTHER = Keys("v", bytes(range(1, 33)), None)  # type: ignore[arg-type]


def table(columns: object, y: object = None, **more: object) -> Table:
    return Rows.of(columns, y, **more).table()  # type: ignore[arg-type]


def content(columns: object, y: object = None, **more: object) -> list[str]:
    return [stone.content for stone in tombstones(KEYS, table(columns, y, **more))]


def known(rows: Rows, request: int = 7) -> Known:
    stones = tombstones(KEYS, rows.table())
    return Known(
        {stone.id: request for stone in stones},
        {stone.subject: request for stone in stones if stone.subject},
        {stone.content: request for stone in stones},
    )


def test_a_digest_is_keyed_blake2b_of_the_documented_bytes() -> None:
    stone = tombstones(KEYS, table([[1.0, 2.0]], [3.0], ids=["ann"], subjects=["s"]))[0]
    for kind, message, digest in (("id", b"ann", stone.id), ("subject", b"s", stone.subject)):
        key = KEYS.derived("tombstone", kind)
        assert digest == hashlib.blake2b(message, digest_size=16, key=key, person=b"expunge-tomb").hexdigest()
        assert digest == name_digest(KEYS, kind, message.decode())
    numbers = np.array([1.0, 2.0, 3.0], dtype="<f8").tobytes()
    key = KEYS.derived("tombstone", 'content [[["x", [2]], ["", []]], []]')
    assert stone.content == hashlib.blake2b(numbers, digest_size=16, key=key, person=b"expunge-tomb").hexdigest()


def test_every_digest_changes_with_the_key() -> None:
    rows = table([[1.0]], [0], ids=["a"], subjects=["s"])
    (one,), (other,) = tombstones(KEYS, rows), tombstones(OTHER, rows)
    assert one.id != other.id
    assert one.subject != other.subject
    assert one.content != other.content


def test_one_name_as_id_and_as_subject_gives_two_digests() -> None:
    assert name_digest(KEYS, "id", "a") != name_digest(KEYS, "subject", "a")


def test_ids_are_compared_as_text() -> None:
    assert tombstones(KEYS, table([[1.0]], ids=[7]))[0].id == tombstones(KEYS, table([[1.0]], ids=["7"]))[0].id


def test_content_ignores_ids_order_of_columns_and_of_rows() -> None:
    one = content({"a": [1.0, 2.0], "b": [3.0, 4.0], "c": ["x", "y"]}, [0, 1], classes=2)
    other = content({"c": ["y", "x"], "b": [4.0, 3.0], "a": [2.0, 1.0]}, [1, 0], classes=2, ids=["p", "q"])
    assert one == other[::-1]
    assert one[0] != one[1]


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "i8", "u1", ">f8", "?"])
def test_content_ignores_the_width_of_equal_numbers(dtype: str) -> None:
    assert content(np.array([[0, 1], [1, 1]]).astype(dtype)) == content(np.array([[0.0, 1.0], [1.0, 1.0]]))


def test_content_knows_one_zero_and_one_nan() -> None:
    odd_nan = np.array([0x7FF8000000000001], dtype=np.uint64).view(np.float64)[0]
    assert content([[-0.0], [odd_nan], [-np.nan]]) == content([[0.0], [np.nan], [np.nan]])
    assert len(set(content([[0.0], [np.nan], [np.inf], [-np.inf]]))) == 4


def test_content_includes_y_names_and_shapes() -> None:
    made = [
        content([[1.0, 2.0]], [0], classes=2)[0],
        content([[1.0, 2.0]], [1], classes=2)[0],
        content([[1.0, 2.0]])[0],
        content({"z": [[1.0, 2.0]]})[0],
        content({"x": [[[1.0, 2.0]]]})[0],
        content({"a": [1.0], "b": [2.0]})[0],
        content({"a": [2.0], "b": [1.0]})[0],
        content({"a": [1.0], "b": ["2.0"]})[0],
    ]
    assert len(set(made)) == len(made)


def test_texts_are_told_apart_where_their_joins_agree() -> None:
    made = content({"a": ["ab", "a", "", "abc", "ab"], "b": ["c", "bc", "abc", "", "\0c"]})
    assert len(set(made)) == 5


def test_a_number_beyond_float64_meets_its_neighbour() -> None:
    """The documented limit: integers above 2^53 are compared as float64."""
    assert content(np.array([[2**53]])) == content(np.array([[2**53 + 1]]))
    assert content(np.array([[2**52]])) != content(np.array([[2**52 + 1]]))


def test_a_rounded_value_is_another_value() -> None:
    assert content(np.array([[0.1]], dtype="f4")) != content(np.array([[0.1]]))


@given(st.lists(st.lists(st.integers(-3, 3), min_size=2, max_size=2), min_size=1, max_size=8))
def test_contents_are_equal_exactly_where_rows_are(values: list[list[int]]) -> None:
    made = content(np.array(values, dtype=float))
    for (a, first), (b, second) in itertools.combinations(zip(made, values, strict=True), 2):
        assert (a == b) == (first == second)


def test_subjects_leave_a_digest_only_where_all_of_them_left() -> None:
    rows = table([[1.0], [2.0], [3.0]], ids=["a", "b", "c"], subjects=["s", "t", "s"])
    assert [stone.subject is not None for stone in tombstones(KEYS, rows, subjects={"t"})] == [False, True, False]
    assert [stone.subject for stone in tombstones(KEYS, rows, subjects=())] == [None, None, None]
    every = tombstones(KEYS, rows)
    assert every[0].subject == every[2].subject == name_digest(KEYS, "subject", "s")


def test_rows_without_subjects_or_without_rows() -> None:
    assert tombstones(KEYS, table([[1.0]]))[0].subject is None
    assert tombstones(KEYS, table(np.empty((0, 3)))) == []
    assert len(tombstones(KEYS, table({"name": ["a", "b"]}))) == 2


FORGOTTEN = Rows.of([[1.0, 2.0], [3.0, 4.0]], [0, 1], ids=["a", "b"], subjects=["s", "t"], classes=2)


def offered(x: list[list[float]], y: list[int], ids: list[str], subjects: list[str] | None) -> Rows:
    return Rows.of(x, y, ids=ids, subjects=subjects, classes=2)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (offered([[9.0, 9.0]], [0], ["a"], ["new"]), "The id 'a' was forgotten by request 7"),
        (offered([[9.0, 9.0]], [0], ["a"], None), "The id 'a' was forgotten by request 7"),
        (offered([[9.0, 9.0]], [0], ["new"], ["t"]), "The subject 't' was forgotten by request 7"),
        (offered([[1.0, 2.0]], [0], ["new"], ["new"]), "The row 'new' has the content of a row forgotten by request 7"),
        (offered([[8.0, 8.0], [3.0, 4.0]], [1, 1], ["m", "n"], None), "The row 'n' has the content"),
        (offered([[9.0, 9.0], [8.0, 8.0]], [0, 0], ["b", "a"], None), "The id 'b' and 1 more was forgotten"),
    ],
)
def test_what_comes_back_is_refused_with_the_requests_number(rows: Rows, message: str) -> None:
    with pytest.raises(Resurrection, match=message):
        admit(KEYS, rows, known(FORGOTTEN))


def test_new_rows_are_admitted() -> None:
    assert admit(KEYS, offered([[1.0, 2.0], [3.0, 5.0]], [1, 1], ["c", "d"], ["u", "v"]), known(FORGOTTEN)) == 0


def test_an_equal_content_is_admitted_on_demand_and_counted() -> None:
    rows = offered([[1.0, 2.0], [0.0, 0.0], [1.0, 2.0]], [0, 0, 0], ["c", "d", "e"], None)
    with pytest.raises(Resurrection, match="allow_equal_content=True"):
        admit(KEYS, rows, known(FORGOTTEN))
    assert admit(KEYS, rows, known(FORGOTTEN), allow_equal_content=True) == 2


@pytest.mark.parametrize(("ids", "subjects"), [(["a"], ["new"]), (["new"], ["s"])])
def test_no_permission_brings_back_an_id_or_a_subject(ids: list[str], subjects: list[str]) -> None:
    with pytest.raises(Resurrection, match="offered again"):
        admit(KEYS, offered([[9.0, 9.0]], [0], ids, subjects), known(FORGOTTEN), allow_equal_content=True)


def test_a_return_is_found_in_any_block() -> None:
    rows = Rows.of(np.arange(40_000.0)[:, None], ids=[f"r{i}" for i in range(40_000)])
    assert len(rows.blocks) > 2
    with pytest.raises(Resurrection, match="'r39999'"):
        admit(KEYS, rows, Known(ids={name_digest(KEYS, "id", "r39999"): 3}))


def test_without_tombstones_no_row_is_read() -> None:
    def unreadable() -> Table:
        raise AssertionError("a row was read")

    rows = Rows([Block(FORGOTTEN.keys, unreadable)], FORGOTTEN.schema)
    assert admit(KEYS, rows, Known()) == 0
    with pytest.raises(AssertionError, match="a row was read"):
        admit(KEYS, rows, known(FORGOTTEN))


def test_many_requests_are_listed_briefly() -> None:
    rows = Rows.of(np.arange(8.0)[:, None], ids=[f"r{i}" for i in range(8)])
    numbers = {name_digest(KEYS, "id", f"r{i}"): i + 1 for i in range(8)}
    with pytest.raises(Resurrection, match=r"request 1, 2, 3, 4, 5 and 3 more"):
        admit(KEYS, rows, Known(ids=numbers))


def test_no_tombstone_holds_a_name_or_a_value(tmp_path: Path) -> None:
    rows = table({"name": ["Margarethe"]}, ids=["patient-4711"], subjects=["Margarethe"])
    text = repr(tombstones(KEYS, rows))
    assert "Tombstone" in text  # the positive control
    for secret in ("Margarethe", "4711", b"Margarethe".hex(), b"patient-4711".hex()):
        assert secret not in text
