"""Bad input gets a clear error, and the vault is as it was."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_methods import Noisy, Totals
from vault_rows import people, traces

from expunge.errors import (
    AlreadyForgotten,
    Corrupt,
    DuplicateRows,
    Incomplete,
    InputError,
    MissingKey,
    Refused,
    Resurrection,
    SchemaError,
    UnknownRows,
    VaultBusy,
    VaultError,
    VaultVersion,
)
from expunge.rows import Rows, Table
from expunge.vault import Vault, chunks, ledger
from expunge.vault.ledger import Ledger

ONE = "person-00008-q"


@pytest.mark.parametrize(
    ("names", "error", "told"),
    [
        ({"ids": []}, InputError, "empty"),
        ({}, InputError, "one of the two"),
        ({"ids": [ONE], "subjects": ["family-00001-w"]}, InputError, "one of the two"),
        ({"ids": ["nobody", ONE]}, UnknownRows, "'nobody'.*nothing was requested"),
        ({"subjects": ["nobody"]}, UnknownRows, "subject 'nobody'"),
        ({"ids": [f"person-{i:05d}-q" for i in range(40)]}, InputError, "every row.*delete the vault's folder"),
        (
            {"ids": [f"person-{i:05d}-q" for i in range(40) if i % 3]},
            InputError,
            "one class only.*'0'.*Extend the vault",
        ),
    ],
)
def test_a_request_that_cannot_be_honoured_is_refused_whole(
    vault: Vault, names: dict[str, list[str]], error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        vault.request(**names)
    assert vault.ledger() == []
    assert vault.work() == []


def test_forgetting_one_class_of_three_is_a_request_like_any_other(vault: Vault) -> None:
    vault.request(ids=[f"person-{i:05d}-q" for i in range(0, 40, 3)])
    assert [done.rows for done in vault.work()] == [14]
    assert vault.schema.classes == ("0", "1", "2")
    with pytest.raises(InputError, match="one class only"):
        vault.request(ids=[f"person-{i:05d}-q" for i in range(1, 40, 3)])


def test_pending_requests_count_as_gone(vault: Vault) -> None:
    vault.request(ids=[f"person-{i:05d}-q" for i in range(0, 40, 3)])
    with pytest.raises(InputError, match="one class only"):
        vault.request(ids=[f"person-{i:05d}-q" for i in range(1, 40, 3)])


def test_an_id_requested_before_is_named_with_its_request(vault: Vault) -> None:
    vault.request(ids=["person-00001-q"])
    number = vault.request(ids=[ONE])
    with pytest.raises(AlreadyForgotten, match=f"'{ONE}' is in request {number} already"):
        vault.request(ids=["person-00002-q", ONE])
    vault.work()
    with pytest.raises(AlreadyForgotten, match=f"'{ONE}' was forgotten already, by request {number}"):
        vault.request(ids=["person-00002-q", ONE])


def test_a_subject_requested_before_is_named_with_its_request(vault: Vault) -> None:
    vault.request(subjects=["family-00004-w"])
    with pytest.raises(AlreadyForgotten, match="request 1"):
        vault.request(subjects=["family-00004-w"])
    vault.work()
    with pytest.raises(AlreadyForgotten, match="by request 1"):
        vault.request(subjects=["family-00004-w"])


def test_a_subject_whose_rows_are_all_requested_is_refused(vault: Vault) -> None:
    vault.request(ids=["person-00008-q", "person-00009-q"])
    with pytest.raises(AlreadyForgotten, match="Every row of 'family-00004-w'"):
        vault.request(subjects=["family-00004-w"])


@pytest.mark.parametrize(
    ("rows", "error", "told"),
    [
        (lambda: people(0), InputError, "no rows"),
        (lambda: Rows.of(np.ones((4, 1)), [1, 1, 1, 1], classes=2), InputError, "one class '1'"),
        (lambda: changed(people(2), x=np.full((2, 3), np.inf)), SchemaError, "'x' is infinite.*'person-00000-q'"),
        (lambda: Rows((*people(4).blocks, *people(2).blocks), people(4).schema), DuplicateRows, "person-00000-q"),
    ],
    ids=["none", "one class", "infinite", "twice"],
)
def test_rows_that_cannot_be_learned_leave_nothing(
    folder: Path, rows: Callable[[], Rows], error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        Vault.create(folder / "v", rows(), Totals())
    assert list(folder.iterdir()) == []


def test_a_learn_that_fails_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise Refused("noise below the floor")

    monkeypatch.setattr(Totals, "learn", refuse)
    with pytest.raises(Refused, match="noise below the floor"):
        Vault.create(folder / "v", people(40), Totals())
    assert list(folder.iterdir()) == []


def test_a_vault_is_not_learned_over(vault: Vault) -> None:
    with pytest.raises(InputError, match=r"a vault at .* already"):
        Vault.create(vault.path, people(40), Totals())
    assert len(vault.rows()) == 40


def test_a_folder_with_other_things_is_not_used(folder: Path) -> None:
    (folder / "letters").touch()
    with pytest.raises(InputError, match=r"other things \(letters\)"):
        Vault.create(folder, people(40), Totals())


def test_a_method_is_expected(folder: Path) -> None:
    with pytest.raises(InputError, match="A Method was expected"):
        Vault.create(folder / "v", people(40), "sisa")  # type: ignore[arg-type]


def test_weights_need_a_method_that_adopts(folder: Path) -> None:
    with pytest.raises(InputError, match="Totals cannot start from given weights"):
        Vault.create(folder / "v", people(40), Totals(), weights={})


def test_there_is_no_vault(folder: Path) -> None:
    with pytest.raises(InputError, match="no vault"):
        Vault.open(folder / "nowhere")


def test_an_interrupted_learn_is_incomplete(folder: Path) -> None:
    (folder / "v").mkdir()
    Ledger.open(folder / "v" / "ledger.sqlite", create=True).close()
    with pytest.raises(Incomplete, match="learn again"):
        Vault.open(folder / "v")
    Vault.create(folder / "v", people(40), Totals()).close()


def test_a_missing_key_file_stops_work_and_not_a_request(vault: Vault, folder: Path) -> None:
    (folder / "v.key").rename(folder / "elsewhere.key")
    vault.request(ids=[ONE])
    with pytest.raises(MissingKey, match=r"no key file at .*v\.key"):
        vault.work()
    assert vault.ledger()[0]["state"] == "pending"
    with Vault.open(vault.path, key_file=folder / "elsewhere.key") as again:
        assert again.work()[0].purged


def test_another_vaults_key_file_is_refused(vault: Vault, folder: Path) -> None:
    Vault.create(folder / "w", people(40), Totals()).close()
    vault.request(ids=[ONE])
    shutil.copy(folder / "w.key", folder / "v.key")
    with pytest.raises(MissingKey, match="belongs to the vault"):
        vault.work()


@pytest.mark.parametrize("write", ["work", "extend"])
def test_a_second_writer_is_told_who_is_at_work(vault: Vault, write: str) -> None:
    vault.request(ids=[ONE])
    lock = os.open(vault.path / "lock", os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    os.ftruncate(lock, 0)
    os.pwrite(lock, b"4711", 0)
    with pytest.raises(VaultBusy, match="process 4711"):
        vault.work() if write == "work" else vault.extend(people(2, first=100))
    assert vault.request(ids=["person-00001-q"]) == 2
    os.close(lock)
    assert len(vault.work()) == 1


def test_learning_where_another_process_learns_is_refused(folder: Path) -> None:
    (folder / "v").mkdir()
    with (folder / "v" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(VaultBusy):
            Vault.create(folder / "v", people(40), Totals())


def test_a_vault_of_a_newer_version_is_refused(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    vault.close()
    monkeypatch.setattr(ledger, "MIGRATIONS", (*ledger.MIGRATIONS, ("ALTER TABLE vault ADD COLUMN more TEXT",)))
    Ledger.open(vault.path / "ledger.sqlite").close()
    monkeypatch.undo()
    with pytest.raises(VaultVersion, match=r"version 2.*Upgrade"):
        Vault.open(vault.path)


def test_a_damaged_chunk_is_named(vault: Vault) -> None:
    for holder in ("record", "release", "method"):
        path = vault.path / "chunks" / vault._parts.tree(holder)
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with Vault.open(vault.path) as again, pytest.raises(Corrupt, match=path.name[:16]):
            _ = {"record": again.record, "release": again.release, "method": lambda: again.method}[holder]()
        path.write_bytes(content)


def test_damaged_rows_are_named_and_nothing_is_forgotten(vault: Vault) -> None:
    block = vault._parts.blocks()[1]
    path = vault.path / "chunks" / block.data
    content = path.read_bytes()
    path.write_bytes(content[:100] + b"?" + content[101:])
    vault.request(ids=[ONE])
    with pytest.raises(Corrupt, match=block.data[:16]):
        vault.work()
    assert vault.ledger()[0]["state"] == "frozen"
    path.write_bytes(content)
    assert vault.work()[0].purged


def test_a_lost_chunk_is_named(vault: Vault) -> None:
    (vault.path / "chunks" / vault._parts.tree("record")).unlink()
    with pytest.raises(Corrupt, match="is not in"):
        vault.record()


def test_a_file_that_is_no_ledger_is_corrupt(vault: Vault) -> None:
    vault.close()
    (vault.path / "ledger.sqlite").write_bytes(b"letters" * 1000)
    with pytest.raises(Corrupt, match="damaged or no ledger"):
        Vault.open(vault.path)


def full_disk(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Every write but the first `after` meets a full disk, in its middle."""
    written = iter(range(10_000))
    write_all = chunks.write_all

    def write(descriptor: int, content: memoryview) -> None:
        if next(written) >= after:
            write_all(descriptor, content[: len(content) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        write_all(descriptor, content)

    monkeypatch.setattr(chunks, "write_all", write)


def test_a_full_disk_leaves_the_live_state(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    vault.request(ids=[ONE])
    before = vault.status()["release"]
    for after in range(0, 12, 3):
        with monkeypatch.context() as patch:
            full_disk(patch, after)
            with pytest.raises(VaultError, match=r"disk .* is full.*free some space"):
                vault.work()
        assert vault.status()["release"] == before
        assert {file.name for file in (vault.path / "chunks").iterdir()} == set(vault._parts.in_use())
        assert len(vault.rows().table()) == 40
    assert vault.work()[0].purged


def test_a_full_disk_during_a_learn_or_an_extension_leaves_nothing(
    vault: Vault, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full_disk(monkeypatch, 3)
    with pytest.raises(VaultError, match="is full"):
        Vault.create(folder / "w", people(40), Totals())
    assert {path.name for path in folder.iterdir()} == {"v", "v.key"}
    monkeypatch.undo()
    with monkeypatch.context() as patch:
        full_disk(patch, 3)
        with pytest.raises(VaultError, match="is full"):
            vault.extend(people(20, first=100))
    vault.work()
    assert not traces(vault.path, people(20, first=100).table())
    assert vault.extend(people(20, first=100)).release == 2


def renamed(rows: Rows, ids: list[str], subjects: list[str]) -> Rows:
    table = rows.table()
    return Rows.of(dict(table.columns), table.y, ids=ids, subjects=subjects, classes=3)


def test_a_forgotten_id_subject_or_content_is_not_let_back(vault: Vault) -> None:
    vault.request(ids=["person-00008-q"])
    vault.request(subjects=["family-00010-w"])
    vault.work()
    fresh = people(1, first=300)
    mine, family = people(40).only(["person-00008-q"]), people(40).only(["person-00020-q"])
    for offered, told in (
        (renamed(fresh, ["person-00008-q"], ["new"]), "id 'person-00008-q'.*request 1"),
        (renamed(fresh, ["new"], ["family-00010-w"]), "subject 'family-00010-w'.*request 2"),
        (renamed(mine, ["new"], ["new"]), "content.*request 1"),
        (renamed(family, ["new"], ["new"]), "content.*request 2"),
    ):
        with pytest.raises(Resurrection, match=told):
            vault.extend(offered)
    assert len(vault.rows()) == 37
    # whoever lost one row by its id keeps the others, and may bring more
    assert vault.extend(renamed(fresh, ["new"], ["family-00004-w"])).rows == 1
    assert vault.extend(renamed(mine, ["equal"], ["other"]), allow_equal_content=True).rows == 1


def test_rows_of_a_subject_about_to_be_forgotten_are_not_let_in(vault: Vault) -> None:
    vault.request(subjects=["family-00010-w"])
    with pytest.raises(Resurrection, match="request 1, which is pending"):
        vault.extend(renamed(people(1, first=300), ["new"], ["family-00010-w"]))


def changed(rows: Rows, **columns: np.ndarray | None) -> Rows:
    table = rows.table()
    named = {name: array for name, array in (dict(table.columns) | columns).items() if array is not None}
    return Rows.from_table(
        Table(table.ids, table.keys, table.owners, table.subjects, named, table.y), rows.schema.classes
    )


@pytest.mark.parametrize(
    ("rows", "error", "told"),
    [
        (lambda new: changed(new, note=None), SchemaError, r"\['note'\] are missing"),
        (lambda new: changed(new, more=np.ones(2)), SchemaError, r"\['more'\] are not declared"),
        (lambda new: changed(new, x=np.ones((2, 4))), SchemaError, "shape"),
        (lambda new: changed(new, x=np.full((2, 3), np.inf)), SchemaError, "infinite"),
        (lambda new: Rows.from_table(new.table(), ("a", "b")), SchemaError, "classes"),
        (lambda _: people(2, first=39), DuplicateRows, "person-00039-q"),
        (lambda _: people(0), SchemaError, "no new rows"),
        (
            lambda new: Rows.of(dict(new.columns), new.y, ids=list(new.ids), classes=3),
            SchemaError,
            "have subjects; the new ones lack them",
        ),
    ],
    ids=["missing column", "extra column", "shape", "infinite", "classes", "twice", "none", "no subjects"],
)
def test_new_rows_of_another_form_are_refused(
    vault: Vault, rows: Callable[[Rows], Rows], error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        vault.extend(rows(people(2, first=100)))
    assert vault.status()["rows"] == 40
    assert vault.status()["unfinished"] == []


def test_whole_numbers_for_a_column_of_decimals_are_taken(folder: Path) -> None:
    rows = Rows.of(np.arange(20.0).reshape(10, 2), np.arange(10.0))
    with Vault.create(folder / "v", rows, Noisy()) as vault:
        vault.extend(Rows.of(np.arange(4).reshape(2, 2), np.arange(2), ids=["a", "b"], classes=()))
        assert vault.rows().columns["x"].dtype == np.float64


def test_decimals_for_a_column_of_whole_numbers_are_refused(folder: Path) -> None:
    rows = Rows.of(np.arange(20).reshape(10, 2), np.arange(10.0))
    with Vault.create(folder / "v", rows, Noisy()) as vault, pytest.raises(SchemaError, match="'x' is no int64"):
        vault.extend(Rows.of(np.full((1, 2), 0.5), [0.5], ids=["a"]))


def test_a_subject_requested_while_its_new_rows_are_learned_is_noticed(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    extend = Totals.extend

    def interrupted(self: Totals, *rows: Any, **noise: Any) -> object:
        with Vault.open(vault.path) as other:
            other.request(subjects=["family-00010-w"])
        return extend(self, *rows, **noise)

    monkeypatch.setattr(Totals, "extend", interrupted)
    with pytest.raises(Resurrection, match="request 1, which is pending"):
        vault.extend(renamed(people(1, first=300), ["new"], ["family-00010-w"]))
    assert vault.status()["rows"] == 40
    assert vault.status()["unfinished"] == []
    assert [done.rows for done in vault.work()] == [2]
