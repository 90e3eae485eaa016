"""A vault learned once and copied for each test, commands run in this process, and what "nothing was lost" means."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from expunge import record
from expunge.cli import main
from expunge.vault import Vault, chunks
from tests.cli.conftest import LEARN, Ran, people

Run = Callable[..., Ran]
UNCHANGED = ("record", "release", "rows", "receipts", "chunks")  # of `state`, by a step that is not done


def command(capsys: pytest.CaptureFixture[str], *words: object) -> Ran:
    """The command line, without a process of its own; any error that is not explained fails the test."""
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    printed = capsys.readouterr()
    return Ran(int(stop.value.code or 0), printed.out, printed.err)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """`run("status", "v")`."""
    return lambda *words: command(capsys, *words)


@pytest.fixture(scope="session")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """people.csv, more.csv, test.csv, and the vault `v` of certified Newton on people.csv."""
    folder = tmp_path_factory.mktemp("learned")
    table = people()
    table[:120].to_csv(folder / "people.csv", index=False)
    table[120:130].to_csv(folder / "more.csv", index=False)
    table[130:].to_csv(folder / "test.csv", index=False)
    words = ("learn", folder / "v", "--rows", folder / "people.csv", *LEARN, "certified-newton", "--seed", 3)
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    assert not stop.value.code
    return folder


@pytest.fixture
def folder(learned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of all that, as the working folder."""
    monkeypatch.delenv("EXPUNGE_KEY_FILE", raising=False)
    copy = tmp_path / "work"
    shutil.copytree(learned, copy)
    monkeypatch.chdir(copy)
    return copy


def names_in(folder: Path) -> list[str]:
    """The names in a folder."""
    return sorted(path.name for path in folder.iterdir())


def state(vault: Path) -> dict[str, Any]:
    """All that a failure must leave alone: ledger, record, release, rows, and the names of the files."""
    with Vault.open(vault) as opened:
        table = opened.rows().table()
        assert table.y is not None
        rows = [table.ids.tolist(), table.y.tolist(), {name: repr(c.tolist()) for name, c in table.columns.items()}]
        return {
            "ledger": opened.ledger(),
            "record": record.digest(opened.record()),
            "release": record.digest(opened.release()),
            "rows": rows,
            "receipts": opened.receipts(),
            "unfinished": opened.status()["unfinished"],
            "chunks": names_in(vault / "chunks"),
            "files": [name for name in names_in(vault) if not name.startswith("ledger.sqlite-")],
        }


@dataclass(frozen=True)
class Told:
    """What an error must say: what was given, what was expected, what to do."""

    given: str
    expected: str
    to_do: str


def explained(ran: Ran, code: int, told: Told) -> None:
    """The command failed with one line, which says these things."""
    assert (ran.code, ran.out, ran.err.count("\n")) == (code, "", 1), ran
    for what in (told.given, told.expected, told.to_do):
        assert what in ran.err, ran.err


@pytest.fixture
def refused(folder: Path, run: Run) -> Callable[..., Ran]:
    """`refused(words, code, told)`: the command fails with one such line, and leaves the vault and the folder alone."""

    def check(words: tuple[object, ...], code: int, told: Told, *, untouched: bool = True) -> Ran:
        before = state(folder / "v") if untouched else None
        beside = names_in(folder)
        ran = run(*words)
        assert ran.code == code, ran
        assert ran.out == ""
        assert ran.err.startswith("Error: ")
        assert ran.err.count("\n") == 1
        for what in (told.given, told.expected, told.to_do):
            assert what in ran.err, ran.err
        assert names_in(folder) == beside
        if untouched:
            assert state(folder / "v") == before
        return ran

    return check


def still_works(run: Run, name: str = "p7") -> None:
    """A correct request on the vault `v` is honoured, to the purge and a genuine receipt."""
    before = len(state(Path("v"))["ledger"])
    number = run("request", "v", "--ids", name, "--json").json["request"]
    assert number == before + 1
    done = run("work", "v", "--json").json
    assert number in done[-1]["requests"]
    assert done[-1]["purged"] is True
    assert name not in state(Path("v"))["rows"][0]
    assert run("receipt", "v", number, "--out", "r.json").code == 0
    assert run("public-key", "v", "--out", "k.pem").code == 0
    assert run("verify", "r.json", "--public-key", "k.pem", "--json").json["request"] == number


def table(name: str, edit: Callable[[pd.DataFrame], pd.DataFrame], rows: slice = slice(0, 120)) -> str:
    """A CSV file of people that differ by `edit`."""
    edit(people()[rows].copy()).to_csv(name, index=False)
    return name


def cell(column: str, value: object, place: int = 4) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """An edit that puts one value into one row."""

    def edit(frame: pd.DataFrame) -> pd.DataFrame:
        values = frame[column].astype(object).to_numpy().copy()
        values[place] = value
        return frame.assign(**{column: pd.Series(np.asarray(values, dtype=object), index=frame.index)})

    return edit


@contextmanager
def full_disk(monkeypatch: pytest.MonkeyPatch, after: int) -> Iterator[None]:
    """Every write of a chunk but the first `after` meets a full disk half way through."""
    left, write_all = iter(range(after)), chunks.write_all

    def write(descriptor: int, content: memoryview) -> None:
        if next(left, None) is None:
            write_all(descriptor, content[: len(content) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_all(descriptor, content)

    with monkeypatch.context() as patch:
        patch.setattr(chunks, "write_all", write)
        yield
