"""The vault: a folder with the rows, the live record and the ledger of requests. The only stateful object.

A person who asks to be forgotten does not wait for torch: what learning and forgetting alone need, the calls that learn
and forget import.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from expunge.rows import Rows
from expunge.schema import Array, Schema
from expunge.vault import overview, receipt_chain
from expunge.vault.done import Done
from expunge.vault.ledger import Ledger
from expunge.vault.opened import LEDGER, Opened, Progress, check_folder, silent
from expunge.vault.receipts import Event
from expunge.vault.requests import Names, record_request
from expunge.vault.writer_lock import writer_lock

if TYPE_CHECKING:
    from torch import Tensor

    from expunge.method import Method, Release
    from expunge.vault.outcome import Audit
    from expunge.vault.replay import Newest


class Vault:
    """An open vault; close it, or use it as a context manager. Make one with `create` or `open`."""

    def __init__(self, parts: Opened) -> None:
        self._parts = parts

    @classmethod
    def create(
        cls,
        path: Path | str,
        rows: Rows,
        method: Method[Any],
        *,
        seed: int | None = None,
        key_file: Path | None = None,
        weights: Mapping[str, Tensor] | None = None,
        columns: Mapping[str, str | None] | None = None,
        progress: Progress | None = None,
    ) -> Vault:
        """Learn from rows into a new vault.

        Args:
            path: its folder, new, empty, or left by an interrupted learn. seed: of all public choices; default random.
            key_file: where the vault's keys go; default $EXPUNGE_KEY_FILE, else `<path>.key` beside the vault.
            weights: of a model trained elsewhere on exactly these rows, for a method that adopts one.
            columns: how a file's columns were read (target, id, subject), kept for the files that come later.
            progress: called with (what is being done, how much is done, of how much).

        Raises:
            InputError: the rows cannot be learned from, or something else is in the folder.
            VaultBusy: another process is learning there. Refused: the method refuses its guarantee.
            VaultError: the disk is full.
        """
        from expunge.vault import creation

        creation.create(
            Path(path),
            rows,
            method,
            seed=seed,
            key_path=key_file,
            weights=weights,
            columns=columns,
            progress=progress or silent,
        )
        return cls.open(path, key_file=key_file)

    @classmethod
    def open(cls, path: Path | str, *, key_file: Path | None = None) -> Vault:
        """Open a vault. Its key file is read only when it is needed.

        Raises:
            InputError: there is no vault. Incomplete: a learn was interrupted. VaultVersion: a newer expunge wrote it.
        """
        folder = Path(path)
        check_folder(folder)
        parts = Opened(folder, Ledger.open(folder / LEDGER), key_file)
        try:
            parts.check_ready()
        except BaseException:
            parts.ledger.close()
            raise
        return cls(parts)

    def __enter__(self) -> Vault:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the ledger."""
        self._parts.ledger.close()

    @property
    def path(self) -> Path:
        """The folder."""
        return self._parts.folder

    @property
    def id(self) -> str:
        """The vault's id, which its receipts name."""
        return self._parts.id

    @property
    def seed(self) -> int:
        """The public seed of all learning."""
        return self._parts.seed

    @property
    def method(self) -> Method[Any]:
        """The method and its hyperparameters."""
        return self._parts.method

    @property
    def schema(self) -> Schema:
        """What every row has."""
        return self._parts.schema

    @property
    def scratch(self) -> Path:
        """A folder for what is derived from rows, such as an audit's references; the purge empties it."""
        self._parts.scratch.mkdir(exist_ok=True)
        return self._parts.scratch

    def rows(self) -> Rows:
        """The live rows, read when asked for; those of pending requests are among them until `work`."""
        return self._parts.rows()

    def record(self) -> Any:
        """The live record. It may hold what a release must not: audit with it, serve `release`."""
        return self._parts.load("record").value

    def release(self) -> Release:
        """The newest release: what predictions are made from."""
        return self._parts.release()

    def predict(self, columns: Mapping[str, Array]) -> Tensor:
        """Scores (m, outputs) of the newest release."""
        return self.method.predict(self.release(), columns)

    def request(self, ids: Names | None = None, subjects: Names | None = None, reason: str = "") -> int:
        """Ask for rows to be forgotten, by id or by subject (all their rows); the request's number, once it is durable.

        Args:
            reason: kept in the ledger for good: name no person there.

        Raises:
            InputError: nothing is named, or nothing (or one class only) would be left. UnknownRows: no such row.
            AlreadyForgotten: a row was requested before.
        """
        return record_request(self._parts, ids, subjects, reason)

    def work(self, audit: Audit | None = None, progress: Progress | None = None) -> list[Done]:
        """Complete what a crash interrupted, then forget every pending request, batched into one step.

        Args:
            audit: called with each forgetting step before it is committed; contradictions in its summary void the
                certificate, and the model is learned again.

        Raises:
            VaultBusy: another process holds the writer lock. MissingKey: the key file is not there.
            Refused: the guarantee fails even for the model learned again; the requests stay frozen.
        """
        from expunge.vault import work

        with writer_lock(self._parts.lock):
            return work.work_off(self._parts, audit, progress or silent)

    def extend(self, rows: Rows, *, allow_equal_content: bool = False, progress: Progress | None = None) -> Done:
        """Learn new rows.

        Args:
            allow_equal_content: admit rows whose content equals that of a forgotten row; the ledger counts them.

        Raises:
            SchemaError: their columns, classes or subjects are not as declared. DuplicateRows: an id is there already.
            Resurrection: an id, subject or content was forgotten. VaultBusy: another process holds the writer lock.
        """
        from expunge.vault import extension, work

        with writer_lock(self._parts.lock):
            work.resume(self._parts, None, progress or silent)
            batch = extension.stage(self._parts, rows, allow_equal_content, progress or silent)
            return work.finish(self._parts, batch, None, progress or silent)

    def newest(self) -> Newest:
        """What the ledger says of the newest state, for `replay`."""
        from expunge.vault import replay

        return replay.newest_of(self._parts)

    def status(self) -> dict[str, Any]:
        """The live state as a dictionary: rows, pending, forgotten, purged, release, certificate, views in force."""
        return overview.status(self._parts)

    def ledger(self) -> list[dict[str, Any]]:
        """Every request as a dictionary: number, state, times, reason, count; never the ids."""
        return overview.requests(self._parts)

    def receipt(self, number: int, event: str = "forgotten") -> dict[str, Any]:
        """The signed receipt of a request, a DSSE envelope. `event`: "forgotten" or "purged".

        Raises:
            InputError: there is no such request, or it is not that far.
        """
        return receipt_chain.receipt(self._parts, number, Event(event))

    def receipts(self) -> list[dict[str, Any]]:
        """Every receipt, in the order of their chain."""
        return receipt_chain.chain(self._parts)

    def public_key(self) -> bytes:
        """The public key that verifies the receipts, as PEM.

        Raises:
            MissingKey: the key file is not there.
        """
        return self._parts.keys.public_pem()
