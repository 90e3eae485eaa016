"""A disk that fills up in a chunk, in SQLite, at any statement of a step: done or not done, and begun again."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from expunge.errors import VaultError
from expunge.vault import Vault
from tests.cli.conftest import LEARN

from .conftest import UNCHANGED, Run, Told, full_disk, state, still_works

Refused = Callable[..., object]
LEARN_W = ("learn", "w", "--rows", "people.csv", *LEARN, "certified-newton")


@contextmanager
def full_ledger(monkeypatch: pytest.MonkeyPatch, spare: int) -> Iterator[None]:
    """SQLite itself answers that the disk is full once a ledger needs more than `spare` pages beside its own."""
    connect = sqlite3.connect

    def limited(*where: Any, **how: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*where, **how)
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + spare}").fetchall()
        return connection

    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", limited)
        yield


FULL = Told("The disk that holds", "Nothing is lost and the live state is as it was", "free some space and run again")


@pytest.mark.parametrize("after", [0, 3, 6])
def test_a_disk_that_fills_up_inside_a_chunk_loses_nothing(
    after: int, monkeypatch: pytest.MonkeyPatch, refused: Refused, folder: Path, run: Run
) -> None:
    for words in (LEARN_W, ("extend", "v", "--rows", "more.csv")):
        with full_disk(monkeypatch, after):
            refused(words, 1, FULL)
    run("request", "v", "--ids", "p1")
    before = state(folder / "v")
    with full_disk(monkeypatch, after):
        refused(("work", "v"), 1, FULL, untouched=False)
        left = state(folder / "v")
        assert [entry["state"] for entry in left["ledger"]] == ["frozen"]
        assert {**left, "ledger": 0, "unfinished": 0} == {**before, "ledger": 0, "unfinished": 0}
        with Vault.open("v") as vault, pytest.raises(VaultError, match="is full"):
            vault.work()
    assert [done["requests"] for done in run("work", "v", "--json").json] == [[1]]
    still_works(run)
    assert run(*LEARN_W).code == 0


def test_a_ledger_that_finds_no_room_is_left_as_it_was(
    monkeypatch: pytest.MonkeyPatch, refused: Refused, run: Run
) -> None:
    with full_ledger(monkeypatch, 0):
        refused(("request", "v", "--ids", ",".join(f"p{i}" for i in range(60)), "--reason", "x" * 9000), 1, FULL)
    with full_ledger(monkeypatch, 3):
        refused(LEARN_W, 1, FULL)
    still_works(run)
    assert run(*LEARN_W).code == 0


class FullAt(sqlite3.Connection):
    """A connection whose `left`-th change, or commit of changes, meets a full disk."""

    left = 0

    def _count(self, statement: str) -> None:
        if statement.startswith(("INSERT", "UPDATE", "DELETE", "COMMIT", "VACUUM")):
            FullAt.left -= 1
            if FullAt.left < 0:
                error = sqlite3.OperationalError("database or disk is full")
                error.sqlite_errorcode = sqlite3.SQLITE_FULL
                raise error

    def execute(self, statement: str, *parameters: Any) -> sqlite3.Cursor:
        self._count(statement)
        return sqlite3.Connection.execute(self, statement, *parameters)

    def executemany(self, statement: str, *parameters: Any) -> sqlite3.Cursor:
        self._count(statement)
        return sqlite3.Connection.executemany(self, statement, *parameters)


def test_a_disk_that_fills_up_at_any_statement_leaves_a_step_done_or_not_done(
    monkeypatch: pytest.MonkeyPatch, folder: Path, run: Run
) -> None:
    run("request", "v", "--ids", "p1,p2,p3")
    before, states = state(folder / "v"), []
    for changes in range(200):
        with monkeypatch.context() as patch:
            patch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=FullAt))
            patch.setattr(FullAt, "left", changes)
            ran = run("work", "v")
        if not ran.code:
            break
        assert all(text in ran.err for text in (FULL.given, FULL.expected, FULL.to_do))
        assert ran.err.count("\n") == 1
        now = state(folder / "v")
        states.append(now["ledger"][0]["state"])
        if states[-1] in {"pending", "frozen"}:
            assert {name: now[name] for name in UNCHANGED} == {name: before[name] for name in UNCHANGED}
        else:
            assert len(now["rows"][0]) == 117
            assert len(now["receipts"]) == 1
            assert now["release"] not in {before["release"], None}
    assert set(states) == {"pending", "frozen", "forgotten"}
    assert states == sorted(states, key=["pending", "frozen", "forgotten"].index)
    assert run("ledger", "v", "--json").json[0]["state"] == "purged"
    still_works(run)
