"""The ledger file: migrations, transactions, what deleting leaves."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from expunge.errors import VaultBusy, VaultError, VaultVersion
from expunge.vault import ledger
from expunge.vault.ledger import MIGRATIONS, Ledger


def test_a_ledger_of_an_older_version_is_migrated_with_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ledger.sqlite"
    old = ("CREATE TABLE people (name TEXT)", "INSERT INTO people VALUES ('ada')")
    monkeypatch.setattr(ledger, "MIGRATIONS", (old,))
    Ledger.open(path, create=True).close()
    newer = ("ALTER TABLE people ADD COLUMN age INTEGER", "UPDATE people SET age = 36")
    monkeypatch.setattr(ledger, "MIGRATIONS", (old, newer))
    with closing(Ledger.open(path)) as opened:
        assert tuple(opened.one("SELECT * FROM people")) == ("ada", 36)
        assert opened.one("PRAGMA user_version")[0] == 2
    monkeypatch.setattr(ledger, "MIGRATIONS", (old,))
    with pytest.raises(VaultVersion, match="version 2; this expunge knows versions up to 1"):
        Ledger.open(path)


def test_a_migration_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ledger.sqlite"
    Ledger.open(path, create=True).close()
    broken = ("CREATE TABLE half (done TEXT)", "ALTER TABLE nothing ADD COLUMN more TEXT")
    monkeypatch.setattr(ledger, "MIGRATIONS", (*MIGRATIONS, broken))
    with pytest.raises(sqlite3.OperationalError):
        Ledger.open(path)
    monkeypatch.undo()
    with closing(Ledger.open(path)) as opened:
        assert opened.one("PRAGMA user_version")[0] == len(MIGRATIONS)
        assert not opened.all("SELECT name FROM sqlite_master WHERE name = 'half'")


def test_a_transaction_happens_whole_or_not(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    opened = Ledger.open(path, create=True)
    insert = "INSERT INTO sources VALUES (?, ?)"

    def half() -> None:
        with opened.transaction():
            opened.run(insert, "a", "b")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half()
    with opened.transaction():
        opened.run(insert, "c", "d")
    opened.close()
    with closing(Ledger.open(path)) as again:
        assert [tuple(row) for row in again.all("SELECT * FROM sources")] == [("c", "d")]


def test_the_settings_that_deletion_rests_on_are_in_force(tmp_path: Path) -> None:
    with closing(Ledger.open(tmp_path / "ledger.sqlite", create=True)) as opened:
        settings = {name: opened.one(f"PRAGMA {name}")[0] for name in ("journal_mode", "synchronous", "secure_delete")}
    assert settings == {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1}


def test_a_long_writer_is_reported_as_busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "PATIENCE_MS", 5)
    path = tmp_path / "ledger.sqlite"
    with closing(Ledger.open(path, create=True)) as one, closing(Ledger.open(path)) as other:
        one.run("BEGIN IMMEDIATE")
        with pytest.raises(VaultBusy, match="Another process is writing"):
            other.run("BEGIN IMMEDIATE")


def test_a_full_disk_is_a_clear_error(tmp_path: Path) -> None:
    with closing(Ledger.open(tmp_path / "ledger.sqlite", create=True)) as opened:
        opened.all(f"PRAGMA max_page_count = {opened.one('PRAGMA page_count')[0]}")
        many = [(str(number), "x" * 100) for number in range(2000)]
        with pytest.raises(VaultError, match="full"), opened.transaction():
            opened.run_many("INSERT INTO sources VALUES (?, ?)", many)
        assert opened.all("SELECT * FROM sources") == []


def test_secure_delete_alone_leaves_copies_and_rebuilding_removes_them(tmp_path: Path) -> None:
    path, shuffle = tmp_path / "ledger.sqlite", random.Random(1)
    names = [f"module-{number:06d}-xyz" for number in range(20_000)]
    shuffle.shuffle(names)
    gone = shuffle.sample(names, 2000)

    def left() -> int:
        content = path.read_bytes()
        return sum(name.encode() in content for name in gone)

    with closing(Ledger.open(path, create=True)) as opened:
        with opened.transaction():
            opened.run_many("INSERT INTO sources VALUES (?, ?)", [(name, "1") for name in names])
        assert opened.truncate_log()
        assert left() == len(gone)
        with opened.transaction():
            opened.run_many("DELETE FROM sources WHERE module = ?", [(name,) for name in gone])
        assert opened.truncate_log()
        assert left() > 0  # why the purge rebuilds the file: drop this line if SQLite ever learns better
        opened.rebuild()
        assert opened.truncate_log()
        assert left() == 0
        assert path.with_name("ledger.sqlite-wal").stat().st_size == 0
