"""New rows for a vault: checked against what is there and what was forgotten, staged on disk, then frozen as a batch.

After a crash the staged rows are learned with the same noise key. A step that fails drops them: the vault is as before.
"""

from __future__ import annotations

import numpy as np

from expunge.errors import DuplicateRows, SchemaError
from expunge.rows import Rows
from expunge.schema import check_schema
from expunge.vault import batches
from expunge.vault.batches import Batch
from expunge.vault.commit import insert_block, refuse_pending_subjects
from expunge.vault.creation import has_subjects
from expunge.vault.failpoints import reach
from expunge.vault.opened import Opened, Progress, joined
from expunge.vault.tombstones import admit


def stage(parts: Opened, rows: Rows, allow_equal_content: bool, progress: Progress) -> Batch:
    """Write new rows beside the live ones and freeze them as a batch; the caller holds the lock.

    Raises:
        SchemaError: their columns, classes or subjects are not as declared. DuplicateRows: an id is there already.
        Resurrection: an id, subject or content was forgotten, or is about to be.
    """
    equal = _check(parts, rows, allow_equal_content)
    try:
        number = _write(parts, rows, equal, progress)
    except Exception:  # no batch refers to what was written
        parts.chunks.keep_only(set(parts.in_use()))
        raise
    reach("extend.staged")
    batch = batches.frozen(parts.ledger)
    assert batch is not None, f"batch {number} was frozen a moment ago"
    return batch


def _write(parts: Opened, rows: Rows, equal: int, progress: Progress) -> int:
    """The number of the new batch, whose rows are on disk."""
    blocks, done = [], 0
    for block in parts.stored_rows.write_rows(rows):
        blocks.append(block)
        done += block.rows
        progress("store rows", done, len(rows))
    parts.chunks.sync()
    with parts.ledger.transaction():
        refuse_pending_subjects(parts, joined(parts.stored_rows.index(block).owners for block in blocks))
        number = batches.freeze(parts.ledger, batches.EXTEND, equal)
        for block in blocks:
            insert_block(parts, None, block, staged=number)
        reach("freeze.before_commit")
    return number


def _check(parts: Opened, rows: Rows, allow_equal_content: bool) -> int:
    if not len(rows):
        raise SchemaError("There are no new rows to learn from.")
    check_schema(rows.schema, parts.schema)
    named = bool(parts.ledger.one("SELECT with_subjects FROM vault")["with_subjects"])
    if named != bool(has_subjects(rows)):
        told = [
            "The vault's rows have no subjects; the new ones do.",
            "The vault's rows have subjects; the new ones lack them.",
        ]
        raise SchemaError(f"{told[named]} Give both or neither, so that a subject's request finds all their rows.")
    here = parts.rows().keys
    twice = np.isin(rows.keys, here)
    if twice.any() or len(np.unique(rows.keys)) < len(rows):
        clash = [str(name) for name in rows.select(twice).ids[:5]]
        raise DuplicateRows(
            f"New rows need ids of their own; {f'these are in the vault: {clash}' if clash else 'an id stands twice'}. "
            f"To change a row, request the old one to be forgotten and give the new one another id."
        )
    return admit(parts.keys, rows, parts.tombstones(), allow_equal_content=allow_equal_content)
