"""Making a vault: rows, then the model, then one commit. Before it nothing counts, and the next try starts afresh."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import numpy as np
from torch import Tensor

from expunge import scratch
from expunge.errors import DuplicateRows, InputError
from expunge.features import offers
from expunge.method import Adopts, Method
from expunge.noise import NoiseKey
from expunge.rows import Rows
from expunge.vault import sources
from expunge.vault.chunks import sync_folder
from expunge.vault.commit import insert_block
from expunge.vault.failpoints import reach
from expunge.vault.keys import Keys, key_file
from expunge.vault.ledger import Ledger, now
from expunge.vault.opened import COLUMNS, LEDGER, Opened, Progress, check_no_chunks
from expunge.vault.purge import empty
from expunge.vault.stored_records import StoredRecords
from expunge.vault.stored_rows import StoredBlock, StoredRows
from expunge.vault.writer_lock import writer_lock

FILES = {LEDGER, f"{LEDGER}-wal", f"{LEDGER}-shm", "chunks", "scratch", "lock", COLUMNS}


def create(
    folder: Path,
    rows: Rows,
    method: Method[Any],
    *,
    seed: int | None,
    key_path: Path | None,
    weights: Mapping[str, Tensor] | None,
    columns: Mapping[str, str | None] | None,
    progress: Progress,
) -> None:
    """Make a vault at `folder`, or nothing: what a failure leaves is removed, what a crash leaves the next try removes.

    Raises:
        InputError: the rows cannot be learned from, or something else is in the folder. VaultBusy: someone is learning
        there. Refused: the method refuses its guarantee.
    """
    if not isinstance(method, Method):
        raise InputError(f"A Method was expected, such as Retrain(...); given: {method!r}.")
    check_rows(rows)
    if weights is not None and not offers(method, Adopts):
        raise InputError(f"{type(method).__name__} cannot start from given weights: learn from the rows instead.")
    keys_at = key_file(folder, key_path)
    _check_free(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    with writer_lock(folder / "lock"):
        ours = not keys_at.exists()
        try:
            with closing(Ledger.open(folder / LEDGER, create=True)) as ledger:
                parts = Opened(folder, ledger, keys_at)
                _begin(parts, seed, keys_at)
                ours = True  # if not made just now, then by an interrupted attempt here: it protects nothing
                if columns is not None:
                    _write_columns(folder / COLUMNS, columns)
                _learn(parts, rows, method, weights, progress)
        except BaseException:
            _remove(folder)
            if ours:
                keys_at.unlink(missing_ok=True)
            raise


def check_rows(rows: Rows) -> None:
    """Raise `InputError` where rows cannot be learned from: none, an id twice, or one class only."""
    if not len(rows):
        raise InputError("There are no rows to learn from.")
    values, counts = np.unique(rows.keys, return_counts=True)
    if len(values) < len(rows):
        twice = np.isin(rows.keys, values[counts > 1])
        named = [str(name) for name in rows.select(twice).ids[:5]]
        raise DuplicateRows(f"Every row needs an id of its own (compared as text); these stand twice: {named}.")
    if rows.classes and rows.schema.target is not None:
        present = np.unique(rows.y)
        if len(present) == 1:
            raise InputError(
                f"All {len(rows)} rows are of the one class {rows.schema.classes[int(present[0])]!r}; a classification "
                f"needs rows of two."
            )


def _check_free(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file, and a folder for the vault was expected.")
    content = {entry.name for entry in folder.iterdir()} if folder.exists() else set()
    if other := sorted(content - FILES):
        raise InputError(f"The folder {folder} holds other things ({', '.join(other[:3])}): name a new one.")
    states: list[str] = []
    if LEDGER in content:
        ledger = Ledger.open(folder / LEDGER)
        states = [row["state"] for row in ledger.all("SELECT state FROM vault")]
        ledger.close()
        if "ready" in states:
            raise InputError(
                f"There is a vault at {folder} already: use `expunge extend` or Vault.extend to learn more rows, or "
                f"name a new folder."
            )
    if not states:
        check_no_chunks(folder)


def _write_columns(path: Path, columns: Mapping[str, str | None]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(json.dumps(dict(columns)) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _begin(parts: Opened, seed: int | None, keys_at: Path) -> None:
    """Remove what an interrupted attempt left, and note that a learn is under way; its vault id, keys and seed stay.

    So does its scratch folder: a recording that was killed goes on there, if it is of the same rows and settings.
    """
    ledger = parts.ledger
    shutil.rmtree(parts.folder / "chunks", ignore_errors=True)
    (parts.folder / "chunks").mkdir()
    parts.scratch.mkdir(exist_ok=True)
    with ledger.transaction():
        begun = ledger.all("SELECT id, seed FROM vault")
        identity = begun[0]["id"] if begun else secrets.token_hex(16)
        if seed is None:
            seed = int(begun[0]["seed"]) if begun else secrets.randbits(62)
        ledger.run(
            "INSERT OR REPLACE INTO vault (only_row, id, created, seed, state) VALUES (1, ?, ?, ?, 'learning')",
            *(identity, now(), str(seed)),
        )
    reach("create.ledger")
    if begun and keys_at.exists():
        Keys.read(keys_at, identity)
    else:
        Keys.create(keys_at, identity)
    reach("create.key")


def _learn(
    parts: Opened, rows: Rows, method: Method[Any], weights: Mapping[str, Tensor] | None, progress: Progress
) -> None:
    stored_rows = StoredRows(parts.chunks, rows.schema)
    blocks = _store(stored_rows, rows, progress)
    reach("create.rows")
    noise = NoiseKey.fresh(1)
    kept = stored_rows.rows(blocks)
    progress("learn", 0, 1)
    with scratch.lent(parts.scratch):
        if weights is None:
            learned = method.learn(kept, seed=parts.seed, noise=noise)
        else:
            learned = cast("Adopts[Any]", method).adopt(weights, kept, seed=parts.seed, noise=noise)
    progress("learn", 1, 1)
    reach("create.learned")
    values = StoredRecords(parts.chunks, {})
    record = values.write(learned)
    stored = {
        "schema": values.write(rows.schema),
        "method": values.write(method),
        "record": record,
        "release": values.write(method.release(learned), record.loaded),
    }
    modules = sources.outside(name for value in stored.values() for name in value.classes)
    digests = sources.store(parts.chunks, modules)
    empty(parts.scratch)
    for changed in (parts.chunks.folder, parts.folder, parts.folder.resolve().parent):
        sync_folder(changed)
    with parts.ledger.transaction():
        for holder, value in stored.items():
            parts.hold(holder, value)
        parts.ledger.run_many("INSERT INTO sources VALUES (?, ?)", sorted(digests.items()))
        for block in blocks:
            insert_block(parts, None, block)
        parts.ledger.run("UPDATE vault SET state = 'ready', releases = 1, with_subjects = ?", has_subjects(kept))
        reach("create.before_commit")
    reach("create.committed")


def _store(stored_rows: StoredRows, rows: Rows, progress: Progress) -> list[StoredBlock]:
    blocks, done = [], 0
    for block in stored_rows.write_rows(rows):
        blocks.append(block)
        done += block.rows
        progress("store rows", done, len(rows))
    return blocks


def has_subjects(rows: Rows) -> int:
    """1 where rows name their subjects, 0 where not, judged by the first block."""
    return int(next(rows.tables()).subjects is not None)


def _remove(folder: Path) -> None:
    for name in FILES:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()
