"""Folders and machines that fail: another version, another process, changed bytes, a full disk, a kill, a lost key."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from expunge.errors import Corrupt, Incomplete, MissingKey, VaultBusy, VaultVersion
from expunge.load import rows_from_csv
from expunge.vault import Vault, ledger
from tests.cli.conftest import LEARN

from .conftest import UNCHANGED, Run, Told, full_disk, names_in, state, still_works

Refused = Callable[..., object]
AGAIN = ("learn", "v", "--rows", "people.csv", *LEARN, "certified-newton")
READ = (("status", "v"), ("ledger", "v"), ("receipt", "v", 1), ("export", "v", "--out", "e"))
WRITE = (("request", "v", "--ids", "p1"), ("work", "v"), ("extend", "v", "--rows", "more.csv"))


def test_a_vault_of_a_newer_version_is_left_alone(folder: Path, refused: Refused, run: Run) -> None:
    def write_version(version: int) -> None:
        with closing(sqlite3.connect(folder / "v" / "ledger.sqlite")) as connection:
            connection.execute(f"PRAGMA user_version = {version}")

    before = state(folder / "v")
    write_version(7)
    told = Told("The vault v has schema version 7", "versions up to 1", "Upgrade expunge")
    for words in (*READ, *WRITE, AGAIN):
        refused(words, 1, told, untouched=False)
    with pytest.raises(VaultVersion):
        Vault.open("v")
    write_version(len(ledger.MIGRATIONS))
    assert state(folder / "v") == before
    still_works(run)


HOLD = """import sys
from pathlib import Path
from expunge.vault.writer_lock import writer_lock
with writer_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_process(lock: Path) -> Iterator[int]:
    """A process of its own that holds the writer lock; its id."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process.pid
        process.communicate()


def test_a_vault_in_use_is_read_and_asked_and_not_changed(folder: Path, refused: Refused, run: Run) -> None:
    with another_process(folder / "v" / "lock") as process:
        told = Told("The vault v is in use", f"process {process} is", "Wait until it has finished")
        for words in WRITE[1:]:
            refused(words, 1, told)
        with Vault.open("v") as vault, pytest.raises(VaultBusy, match=str(process)):
            vault.work()
        assert run("request", "v", "--ids", "p1").out == "1\n"  # a person need not wait
        assert run("predict", "v", "--rows", "test.csv", "--out", "p.csv").code == 0
        assert run("status", "v", "--json").json["pending"]["requests"] == 1
    still_works(run)
    assert run("ledger", "v", "--json").json[0]["state"] == "purged"


@contextmanager
def changed_byte(path: Path) -> Iterator[None]:
    """One bit of one byte in the middle of a file is another."""
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    yield
    path.write_bytes(content)


def chunk_of(what: str) -> Path:
    """A chunk of the record, of the release, or of the rows' data or index."""
    with Vault.open("v") as vault:
        parts = vault._parts
        block = next(iter(parts.blocks().values()))
        name = {"data": block.data, "index": block.index}.get(what) or parts.tree(what)
    return Path("v/chunks") / name


@pytest.mark.parametrize(
    ("what", "stops", "goes_on"),
    [
        ("record", ("work", "extend", "audit"), ("status", "ledger", "predict", "public-key")),
        ("release", ("work", "extend", "audit", "predict", "export"), ("status", "ledger", "public-key")),
        ("data", ("work", "extend", "audit"), ("status", "ledger", "predict", "export", "public-key")),
        ("index", ("work", "extend", "audit", "request"), ("status", "ledger", "predict", "public-key")),
    ],
)
def test_changed_bytes_are_noticed_and_nothing_is_signed(
    what: str, stops: tuple[str, ...], goes_on: tuple[str, ...], refused: Refused, folder: Path, run: Run
) -> None:
    words: dict[str, tuple[object, ...]] = {
        "work": ("work", "v"),
        "extend": ("extend", "v", "--rows", "more.csv"),
        "audit": ("audit", "v", "--test", "test.csv", "--references", 2),
        "predict": ("predict", "v", "--rows", "test.csv", "--out", "p.csv"),
        "export": ("export", "v", "--out", "e"),
        "request": ("request", "v", "--ids", "p2"),
        "status": ("status", "v", "--json"),
        "ledger": ("ledger", "v", "--json"),
        "public-key": ("public-key", "v"),
    }
    run("request", "v", "--ids", "p1")
    before = state(folder / "v")
    path = chunk_of(what)
    with changed_byte(path):
        for command in stops:
            told = Told(path.name[:16], "does not match its digest", "Restore it from a backup")
            refused(words[command], 1, told, untouched=False)
        for command in goes_on:
            assert run(*words[command]).code == 0
        assert run("ledger", "v", "--json").json[0]["state"] in {"pending", "frozen"}
        with Vault.open("v") as vault, pytest.raises(Corrupt):
            vault.work()
    after = state(folder / "v")
    assert {name: after[name] for name in UNCHANGED} == {name: before[name] for name in UNCHANGED}
    assert [done["requests"] for done in run("work", "v", "--json").json] == [[1]]
    still_works(run)


@pytest.mark.parametrize("loss", ["emptied", "removed", "replaced", "another database", "truncated"])
def test_a_lost_ledger_is_never_taken_for_an_interrupted_learn(
    loss: str, refused: Refused, folder: Path, run: Run
) -> None:
    path = folder / "v" / "ledger.sqlite"
    content, files = path.read_bytes(), names_in(folder / "v" / "chunks")
    path.unlink()
    if loss == "emptied":
        path.touch()
    elif loss == "replaced":
        path.write_bytes(b"Dear reader, " * 99)
    elif loss == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif loss == "another database":
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE letters (text TEXT)")
            connection.execute(f"PRAGMA user_version = {len(ledger.MIGRATIONS)}")
    for words in (("status", "v"), ("work", "v"), AGAIN):
        refused(words, 1, Told("ledger", "v", "from a backup"), untouched=False)
    with pytest.raises(Corrupt):
        Vault.open("v")
    assert names_in(folder / "v" / "chunks") == files
    for left in ("-wal", "-shm"):
        path.with_name(path.name + left).unlink(missing_ok=True)
    path.write_bytes(content)
    still_works(run)


SLOW = """from dataclasses import dataclass
from pathlib import Path
from typing import Any
import time
from expunge.methods import CertifiedNewton
from expunge.method import Method

@dataclass(frozen=True)
class Slow(Method):
    inner: CertifiedNewton = CertifiedNewton()
    def learn(self, rows, *, seed, noise):
        learned = self.inner.learn(rows, seed=seed, noise=noise)
        Path("learning").touch()
        while Path("slow").exists():
            time.sleep(0.01)
        return learned
    def forget(self, record, retained, forgotten, *, noise):
        return self.inner.forget(record, retained, forgotten, noise=noise)
    def release(self, record):
        return self.inner.release(record)
    def predict(self, release, columns):
        return self.inner.predict(release, columns)
"""


def test_a_learn_that_is_killed_counts_for_nothing_and_is_begun_again(
    folder: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    (folder / "own.py").write_text(SLOW)
    (folder / "slow").touch()
    learn = ("learn", "w", "--rows", "people.csv", *LEARN, "own.py:Slow")
    process = subprocess.Popen([sys.executable, "-m", "expunge.cli", *learn], stderr=subprocess.PIPE)
    until = time.monotonic() + 60
    while not (folder / "learning").exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    told = Told("The vault w is in use", f"process {process.pid} is learning", "Wait until it has finished")
    refused(("learn", "w", *AGAIN[2:]), 1, told)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert process.stderr is not None
    process.stderr.close()
    told = Told("The learning of the vault w was interrupted", "nothing was committed", "learn again")
    for command in ("status", "work", "public-key"):
        refused((command, "w"), 1, told)
    refused(("request", "w", "--ids", "p1"), 1, told)
    with pytest.raises(Incomplete):
        Vault.open("w")
    with full_disk(monkeypatch, 2):  # and again an attempt that comes to nothing, with the key file of the first there
        assert run(*learn).code == 1
    assert not {"w", "w.key"} & set(names_in(folder))
    (folder / "slow").unlink()
    assert run(*learn).code == 0
    assert names_in(folder / "w") == ["chunks", "columns.json", "ledger.sqlite", "lock", "scratch"]
    assert run("extend", "w", "--rows", "more.csv", "--json").json["rows"] == 130
    assert run("request", "w", "--ids", "p1").code == 0
    assert run("work", "w", "--json").json[0]["purged"] is True


def test_a_learn_that_is_committed_knows_the_columns_of_its_files(
    folder: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    learn = ("learn", "w", "--rows", "people.csv", *LEARN, "certified-newton")
    environment = {**os.environ, "EXPUNGE_CRASH_AT": "create.committed"}
    died = subprocess.run([sys.executable, "-m", "expunge.cli", *learn], env=environment, check=False)
    assert died.returncode == 137
    monkeypatch.delenv("EXPUNGE_CRASH_AT", raising=False)
    assert run("extend", "w", "--rows", "more.csv", "--json").json["rows"] == 130
    (folder / "w" / "columns.json").write_text("{")
    ran = run("predict", "w", "--rows", "test.csv", "--out", "p.csv")
    assert (ran.code, "columns.json is damaged" in ran.err, ran.err.count("\n")) == (1, True, 1)


NEEDS_KEY = (("work", "v"), ("extend", "v", "--rows", "more.csv"), ("public-key", "v"), ("request", "v", "--ids", "q"))


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        ("absent", Told("There is no key file at", "It cannot be made again", "restore it from its backup")),
        ("another", Told("belongs to the vault", "was expected", "name this vault's own key file")),
        ("open", Told("mode 0644", "0600 was expected", "run `chmod 600")),
        ("letters", Told("v.key", "a JSON object", "was expected")),
        ("bytes", Told("v.key", "a JSON object", "was expected")),
        ("folder", Told("v.key", "Is a directory", "cannot be read")),
    ],
)
def test_without_its_key_file_a_vault_takes_requests_and_does_no_work(
    harm: str, told: Told, refused: Refused, folder: Path, run: Run
) -> None:
    key, kept = folder / "v.key", folder / "kept.key"
    key.rename(kept)
    if harm == "another":
        rows = rows_from_csv("people.csv", target="income", id="id", classes=["low", "high"])
        with Vault.open("v") as vault:
            Vault.create("o", rows, vault.method).close()
        (folder / "o.key").rename(key)
    elif harm == "open":
        key.write_bytes(kept.read_bytes())
        key.chmod(0o644)
    elif harm == "folder":
        key.mkdir()
    elif harm != "absent":
        key.write_bytes(b"Dear reader" if harm == "letters" else b"\xff\xfe")
        key.chmod(0o600)
    assert run("request", "v", "--ids", "p1").out == "1\n"
    for words in NEEDS_KEY:
        refused(words, 1, told)
    with Vault.open("v") as vault, pytest.raises(MissingKey):
        vault.work()
    assert run("predict", "v", "--rows", "test.csv", "--out", "p.csv").code == 0
    assert run("work", "v", "--key-file", kept, "--json").json[0]["requests"] == [1]
    refused(
        ("work", "v", "--key-file", "v/chunks/key"), 1, Told("inside the vault v", "whoever copies", "Name a place")
    )
    if key.is_dir():
        key.rmdir()
    kept.replace(key)
    still_works(run)
