"""An opened vault's parts, and the state its ledger points to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from expunge import keyed
from expunge.errors import Corrupt, Incomplete, InputError
from expunge.rows import Rows, as_text
from expunge.schema import Schema
from expunge.vault import sources
from expunge.vault.chunks import Chunks
from expunge.vault.keys import Keys, key_file
from expunge.vault.ledger import Ledger
from expunge.vault.stored_records import Loaded, Stored, StoredRecords
from expunge.vault.stored_rows import StoredBlock, StoredRows
from expunge.vault.tombstones import Known

if TYPE_CHECKING:
    from expunge.method import Method, Release

LEDGER = "ledger.sqlite"
COLUMNS = "columns.json"  # how the columns of files are read
Progress = Callable[[str, int, int], None]  # what is being done, how much of it is done, of how much


def silent(stage: str, done: int, total: int) -> None:
    """Report to nobody."""
    del stage, done, total


@dataclass(frozen=True, eq=False)
class Opened:
    """A vault's folder with its ledger open.

    Attributes:
        folder: the vault. ledger: its open ledger. key_file: where the key file was said to be, or None.
    """

    folder: Path
    ledger: Ledger
    key_file: Path | None

    @property
    def lock(self) -> Path:
        """The file that the one writer locks."""
        return self.folder / "lock"

    @property
    def scratch(self) -> Path:
        """A folder for what methods and audits derive from rows; the purge empties it."""
        return self.folder / "scratch"

    @cached_property
    def chunks(self) -> Chunks:
        """The chunk files."""
        return Chunks(self.folder / "chunks")

    @cached_property
    def id(self) -> str:
        """The vault's id."""
        return str(self.ledger.one("SELECT id FROM vault")["id"])

    @cached_property
    def seed(self) -> int:
        """The public seed of all learning."""
        return int(self.ledger.one("SELECT seed FROM vault")["seed"])

    @cached_property
    def keys(self) -> Keys:
        """The vault's keys.

        Raises:
            MissingKey: the key file is absent or another vault's.
        """
        return Keys.read(key_file(self.folder, self.key_file), self.id)

    @cached_property
    def classes(self) -> Mapping[str, type]:
        """Classes of the user's own files; the first use may execute their stored source."""
        stored = {row["module"]: row["digest"] for row in self.ledger.all("SELECT module, digest FROM sources")}
        return sources.classes(self.chunks, stored)

    @cached_property
    def records(self) -> StoredRecords:
        """Values on disk."""
        return StoredRecords(self.chunks, self.classes)

    @cached_property
    def schema(self) -> Schema:
        """What every row has."""
        schema: Schema = StoredRecords(self.chunks, {}).read(self.tree("schema")).value
        return schema

    @cached_property
    def method(self) -> Method[Any]:
        """The method, with its hyperparameters."""
        method: Method[Any] = self.load("method").value
        return method

    @cached_property
    def stored_rows(self) -> StoredRows:
        """Rows on disk."""
        return StoredRows(self.chunks, self.schema)

    def tree(self, holder: str) -> str:
        """The digest of the schema, method, record or release."""
        return str(self.ledger.one("SELECT digest FROM trees WHERE holder = ?", holder)["digest"])

    def load(self, holder: str) -> Loaded:
        """The method, record or release, read and checked."""
        tree = self.tree(holder)
        try:
            return self.records.read(tree)
        except Corrupt:
            if self.tree(holder) == tree:
                raise
        return self.load(holder)  # another process has just committed a step and purged what we were reading

    def release(self) -> Release:
        """The newest release."""
        release: Release = self.load("release").value
        return release

    def check_ready(self) -> None:
        """Raise `Incomplete` unless a learn was committed."""
        states = [row["state"] for row in self.ledger.all("SELECT state FROM vault")]
        if not states:
            check_no_chunks(self.folder)
        if states != ["ready"]:
            raise Incomplete(
                f"The learning of the vault {self.folder} was interrupted and nothing was committed: learn again with "
                f"the same command; what is left of the first attempt is removed."
            )

    def blocks(self) -> dict[int, StoredBlock]:
        """The live blocks by their number, in order."""
        return self._blocks("staged IS NULL")

    def staged(self, batch: int) -> dict[int, StoredBlock]:
        """The blocks that an extension under way brings."""
        return self._blocks("staged = ?", batch)

    def _blocks(self, condition: str, *parameters: int) -> dict[int, StoredBlock]:
        query = f"SELECT * FROM blocks WHERE {condition} ORDER BY number"  # noqa: S608 (two constants above)
        found = self.ledger.all(query, *parameters)
        return {row["number"]: StoredBlock(row["rows"], row["index_digest"], row["data_digest"]) for row in found}

    def rows(self) -> Rows:
        """The live rows, unread."""
        blocks = self.blocks().values()
        self.stored_rows.keep_indexes(blocks)
        return self.stored_rows.rows(blocks)

    def hold(self, holder: str, stored: Stored) -> None:
        """Point `holder` to a stored value, inside a transaction."""
        self.ledger.run("INSERT OR REPLACE INTO trees VALUES (?, ?)", holder, stored.tree)
        before = {row["digest"] for row in self.ledger.all("SELECT digest FROM uses WHERE holder = ?", holder)}
        gone, new = before - stored.digests, stored.digests - before
        self.ledger.run_many("DELETE FROM uses WHERE holder = ? AND digest = ?", [(holder, d) for d in sorted(gone)])
        self.ledger.run_many("INSERT INTO uses VALUES (?, ?)", [(holder, digest) for digest in sorted(new)])

    def in_use(self) -> dict[str, int]:
        """How many references each chunk has; a file that is absent here belongs to nobody."""
        counted = self.ledger.all(
            """SELECT digest, count(*) AS uses FROM (
                 SELECT digest FROM uses UNION ALL SELECT digest FROM sources
                 UNION ALL SELECT index_digest FROM blocks UNION ALL SELECT data_digest FROM blocks
               ) GROUP BY digest"""
        )
        return {row["digest"]: row["uses"] for row in counted}

    def tombstones(self) -> Known:
        """The digests of everything forgotten, with the request that did it."""
        known: dict[str, dict[str, int]] = {"id": {}, "subject": {}, "content": {}}
        for row in self.ledger.all("SELECT kind, digest, request FROM tombstones"):
            known[row["kind"]][row["digest"].hex()] = row["request"]
        return Known(known["id"], known["subject"], known["content"])

    def pending(self) -> list[PendingRequest]:
        """Requests whose rows are still here, frozen in a batch or not, in order."""
        found = self.ledger.all("SELECT * FROM requests WHERE members IS NOT NULL ORDER BY number")
        return [
            PendingRequest(row["number"], row["batch"], _unpacked(row["members"]), _unpacked(row["owners"]))
            for row in found
        ]


@dataclass(frozen=True, eq=False)
class PendingRequest:
    """A request under way: the keys of its rows, and of its subjects where it named subjects."""

    number: int
    batch: int | None
    members: keyed.Keys
    owners: keyed.Keys


def packed(keys: keyed.Keys) -> bytes:
    """Keys as the ledger stores them."""
    return keys.astype("<u8").tobytes()


def joined(keys: Iterable[keyed.Keys]) -> keyed.Keys:
    """All keys as one array."""
    return np.concatenate([np.empty(0, dtype=np.uint64), *keys])


def as_names(names: Iterable[str | int] | str | int) -> list[str]:
    """Ids or subjects as sorted text, each once; a single one is taken as itself, not as its letters."""
    listed = [names] if isinstance(names, str | int) else names
    return sorted({str(name) for name in as_text(listed)})


def _unpacked(content: bytes | None) -> keyed.Keys:
    return np.frombuffer(content or b"", dtype="<u8").astype(np.uint64)


def check_folder(folder: Path) -> None:
    """Raise unless there is a ledger in the folder."""
    if (folder / LEDGER).is_file():
        return
    if (folder / "lock").is_file():
        check_no_chunks(folder)
        raise Incomplete(f"The learning of the vault {folder} was interrupted at its very start: learn again.")
    raise InputError(f"There is no vault at {folder}; make one with `expunge learn` or Vault.create.")


def check_no_chunks(folder: Path) -> None:
    """Raise `Corrupt` where chunks lie beside no ledger, or an empty one: it was lost, for it is written first."""
    chunks = folder / "chunks"
    if chunks.is_dir() and any(chunks.iterdir()):
        raise Corrupt(
            f"The ledger of the vault {folder} is lost or empty, and there are rows and records beside it: restore "
            f"{LEDGER} from a backup, or remove the folder yourself if its rows are elsewhere."
        )
