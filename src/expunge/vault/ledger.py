"""The ledger: what a vault has been asked, what it did, and which chunks hold its live state; one SQLite file.

Write-ahead log, synchronous=FULL, explicit transactions, deleted content overwritten. `secure_delete` alone leaves
copies of cells behind where a page was split (1 of 500 deleted ids in a trial), so the purge also rebuilds the file.
No id, subject or value of a row stands here: pending requests hold 64-bit keys of rows until they are forgotten.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from expunge.errors import Corrupt, VaultBusy, VaultError, VaultVersion

PATIENCE_MS = 10_000  # how long to wait for another short transaction
UNUSABLE = {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM}
READER_PATIENCE_MS = 200  # how long the purge waits for a reader

# One entry a version: the statements that lead from the version before to it. Entries are never edited, only added.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE vault (
            only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
            id TEXT NOT NULL,
            created TEXT NOT NULL,
            seed TEXT NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('learning', 'ready')),
            with_subjects INTEGER NOT NULL DEFAULT 0,
            releases INTEGER NOT NULL DEFAULT 0,
            settled INTEGER NOT NULL DEFAULT 1,
            forgotten INTEGER NOT NULL DEFAULT 0
        )""",
        # What is stored of values: holder is schema, method, record or release; the tree names the tensors.
        "CREATE TABLE trees (holder TEXT PRIMARY KEY, digest TEXT NOT NULL) WITHOUT ROWID",
        # One row a reference: a chunk without any is removed by the purge.
        "CREATE TABLE uses (holder TEXT, digest TEXT, PRIMARY KEY (holder, digest)) WITHOUT ROWID",
        "CREATE TABLE sources (module TEXT PRIMARY KEY, digest TEXT NOT NULL) WITHOUT ROWID",
        """CREATE TABLE batches (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            kind TEXT NOT NULL CHECK (kind IN ('forget', 'extend')),
            state TEXT NOT NULL CHECK (state IN ('frozen', 'committed', 'purged')),
            release INTEGER NOT NULL,
            noise BLOB,
            relearn TEXT NOT NULL DEFAULT '',
            rows INTEGER NOT NULL DEFAULT 0,
            equal_contents INTEGER NOT NULL DEFAULT 0,
            certificate TEXT,
            audit TEXT,
            before TEXT,
            after TEXT,
            frozen_at TEXT NOT NULL,
            committed_at TEXT,
            purged_at TEXT
        )""",
        # staged: the extension under way that brings the block, NULL for live rows.
        """CREATE TABLE blocks (
            number INTEGER PRIMARY KEY,
            rows INTEGER NOT NULL,
            index_digest TEXT NOT NULL,
            data_digest TEXT NOT NULL,
            staged INTEGER REFERENCES batches (number)
        )""",
        """CREATE TABLE requests (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            asked_at TEXT NOT NULL,
            reason TEXT NOT NULL,
            by TEXT NOT NULL CHECK (by IN ('ids', 'subjects')),
            rows INTEGER NOT NULL,
            members BLOB,
            owners BLOB,
            batch INTEGER REFERENCES batches (number)
        )""",
        """CREATE TABLE tombstones (
            kind TEXT NOT NULL CHECK (kind IN ('id', 'subject', 'content')),
            digest BLOB NOT NULL,
            request INTEGER NOT NULL REFERENCES requests (number),
            PRIMARY KEY (kind, digest)
        ) WITHOUT ROWID""",
        """CREATE TABLE receipts (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            request INTEGER REFERENCES requests (number),
            event TEXT NOT NULL,
            envelope TEXT NOT NULL
        )""",
    ),
)


class Ledger:
    """A connection to the ledger at `path`."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection

    @classmethod
    def open(cls, path: Path, *, create: bool = False) -> Ledger:
        """Open the ledger, brought to this version's schema; `create` makes an absent one.

        Raises:
            VaultVersion: a newer expunge wrote it. Corrupt: it is no SQLite file.
        """
        with _explained(path):
            mode = "rwc" if create else "rw"
            connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None)
            ledger = cls(path, connection)
            try:
                connection.row_factory = sqlite3.Row
                for setting in (
                    f"busy_timeout = {PATIENCE_MS}",
                    "journal_mode = WAL",
                    "synchronous = FULL",
                    "secure_delete = ON",
                    "foreign_keys = ON",
                    "temp_store = MEMORY",  # no copy of the ledger outside the vault's folder
                ):
                    connection.execute(f"PRAGMA {setting}").fetchall()
                ledger._migrate()
            except BaseException:
                connection.close()
                raise
        return ledger

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def all(self, query: str, *parameters: Any) -> list[sqlite3.Row]:
        """Every row of the answer; no read transaction stays open."""
        with _explained(self.path):
            return self._connection.execute(query, parameters).fetchall()

    def one(self, query: str, *parameters: Any) -> sqlite3.Row:
        """The only row of the answer."""
        (row,) = self.all(query, *parameters)
        return row

    def run(self, statement: str, *parameters: Any) -> int:
        """Execute a statement inside a transaction; the row number it made."""
        with _explained(self.path):
            return self._connection.execute(statement, parameters).lastrowid or 0

    def run_many(self, statement: str, parameters: Any) -> None:
        """Execute a statement for each of the parameters, inside a transaction."""
        with _explained(self.path):
            self._connection.executemany(statement, parameters)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside happens, durably, or nothing does."""
        self.run("BEGIN IMMEDIATE")
        try:
            yield
            self.run("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Every read inside sees one state."""
        self.run("BEGIN DEFERRED")
        try:
            yield
        finally:
            self._connection.execute("ROLLBACK")

    def rebuild(self) -> None:
        """Write the file anew from its live content, so that no copy of a deleted cell remains in it."""
        self.run("VACUUM")

    def truncate_log(self) -> bool:
        """Move the write-ahead log into the file and empty it; whether no reader was in the way."""
        self.run(f"PRAGMA busy_timeout = {READER_PATIENCE_MS}")
        try:
            return int(self.one("PRAGMA wal_checkpoint(TRUNCATE)")[0]) == 0
        finally:
            self.run(f"PRAGMA busy_timeout = {PATIENCE_MS}")

    def _migrate(self) -> None:
        if self._version() == len(MIGRATIONS):
            return
        with self.transaction():
            version = self._version()
            if version > len(MIGRATIONS):
                raise VaultVersion(
                    f"The vault {self.path.parent} has schema version {version}; this expunge knows versions up to "
                    f"{len(MIGRATIONS)}. Upgrade expunge."
                )
            for statements in MIGRATIONS[version:]:
                for statement in statements:
                    self._connection.execute(statement)
            self._connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")

    def _version(self) -> int:
        return int(self.one("PRAGMA user_version")[0])


def now() -> str:
    """The time as ISO 8601, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL:
            raise VaultError(
                f"The disk that holds {path.parent} is full. Nothing is lost and the live state is as it was: free "
                f"some space and run again."
            ) from error
        if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            raise VaultBusy(f"Another process is writing to {path}: wait until it has finished.") from error
        if code in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT} or "no such table" in str(error):
            raise Corrupt(f"{path} is damaged or no ledger ({error}): restore it from a backup.") from error
        if code in UNUSABLE:
            raise VaultError(
                f"{path} cannot be read or written ({error}); the live state is as it was: check the disk, and that "
                f"the folder is yours to write."
            ) from error
        raise
