"""The commit point: one transaction makes a step the live state, and erases what the step no longer needs.

New chunks are complete and durable before it begins. It points to the new record and release, drops the rows, keeps
tombstones, stores certificate, audit summary and signed receipts, and erases the requests' members and the noise key.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from expunge import keyed
from expunge.certificate import Certified
from expunge.errors import InputError, Resurrection
from expunge.features import offers
from expunge.method import Release, Settles
from expunge.rows import Table
from expunge.vault import disclosure, receipt_chain, receipts, sources
from expunge.vault.batches import Batch
from expunge.vault.failpoints import reach
from expunge.vault.opened import Opened, PendingRequest, joined
from expunge.vault.outcome import Outcome
from expunge.vault.stored_records import Loaded, Stored
from expunge.vault.stored_rows import StoredBlock, among
from expunge.vault.tombstones import Tombstone, tombstones


@dataclass(frozen=True)
class Written:
    """The chunks of a step: its record and release."""

    record: Stored
    release: Stored


@dataclass(frozen=True, eq=False)
class Leaving:
    """The rows that leave: as a table, the requests for them, and every block that changes (None: nothing is left)."""

    table: Table
    requests: tuple[PendingRequest, ...]
    blocks: Mapping[int, StoredBlock | None]
    retained: int


def write(parts: Opened, outcome: Outcome, loaded: Loaded | None) -> Written:
    """Store the chunks of a step beside the live ones; tensors shared with the `loaded` record are there already.

    Raises:
        InputError: the record holds a class whose source the vault does not have.
    """
    record = parts.records.write(outcome.record, loaded)
    release = parts.records.write(outcome.release, record.loaded)
    known = {row["module"] for row in parts.ledger.all("SELECT module FROM sources")}
    if new := sources.outside(record.classes | release.classes) - known:
        raise InputError(
            f"The record holds classes of {sorted(new)}, which the first record did not: the vault has no source for "
            f"them. Define every class of a record in the file of its method."
        )
    parts.chunks.sync()
    return Written(record, release)


def commit_forgetting(parts: Opened, batch: Batch, outcome: Outcome, written: Written, leaving: Leaving) -> None:
    """Make a forgetting step the live state."""
    ledger, time = parts.ledger, datetime.now(UTC)
    before = parts.release()
    stones = [_tombstones(parts, leaving.table, request) for request in leaving.requests]
    with ledger.transaction():
        old = parts.tree("release")
        _point(parts, batch, outcome, written, len(leaving.table), time)
        for number, block in leaving.blocks.items():
            ledger.run("DELETE FROM blocks WHERE number = ?", number)
            if block is not None:
                insert_block(parts, number, block)
        for request, of_request in zip(leaving.requests, stones, strict=True):
            _keep(parts, request.number, of_request)
            _issue(parts, batch, outcome, written, leaving, request, (old, before), time)
            ledger.run("UPDATE requests SET members = NULL, owners = NULL WHERE number = ?", request.number)
        ledger.run("UPDATE vault SET forgotten = forgotten + ?", len(leaving.table))
        reach("commit.before")
    reach("commit.done")


def commit_extending(parts: Opened, batch: Batch, outcome: Outcome, written: Written, added: int) -> None:
    """Make an extension the live state.

    Raises:
        Resurrection: a subject of the new rows was requested to be forgotten meanwhile.
    """
    with parts.ledger.transaction():
        refuse_pending_subjects(
            parts, joined(parts.stored_rows.index(b).owners for b in parts.staged(batch.number).values())
        )
        _point(parts, batch, outcome, written, added, datetime.now(UTC))
        parts.ledger.run("UPDATE blocks SET staged = NULL WHERE staged = ?", batch.number)
        reach("commit.before")
    reach("commit.done")


def insert_block(parts: Opened, number: int | None, block: StoredBlock, staged: int | None = None) -> None:
    """Add a block to the ledger, inside a transaction; with `number` None, after all others."""
    parts.ledger.run(
        "INSERT INTO blocks (number, rows, index_digest, data_digest, staged) VALUES (?, ?, ?, ?, ?)",
        *(number, block.rows, block.index, block.data, staged),
    )


def refuse_pending_subjects(parts: Opened, owners: keyed.Keys) -> None:
    """Raise `Resurrection` where one of these owners is in a pending request for subjects."""
    for request in parts.pending():
        if among(owners, request.owners).any():
            raise Resurrection(
                f"A subject of the new rows is to be forgotten by request {request.number}, which is pending. Leave "
                f"their rows out."
            )


def _point(parts: Opened, batch: Batch, outcome: Outcome, written: Written, rows: int, time: datetime) -> None:
    """Point to the new record and release, close the batch and erase its noise key."""
    ledger = parts.ledger
    before = parts.tree("release")
    parts.hold("record", written.record)
    parts.hold("release", written.release)
    # What was learned again depends on nothing older, so that there is nothing to settle.
    settled = bool(outcome.relearned) or not offers(parts.method, Settles)
    ledger.run("UPDATE vault SET releases = ?, settled = ?", batch.noise.release, int(settled))
    # First overwritten in place by as many zeros, then dropped.
    ledger.run("UPDATE batches SET noise = zeroblob(length(noise)) WHERE number = ?", batch.number)
    ledger.run(
        """UPDATE batches SET state = 'committed', noise = NULL, relearn = ?, rows = ?, certificate = ?, audit = ?,
             before = ?, after = ?, committed_at = ? WHERE number = ?""",
        # Only the kind of reason stays: the rest of it may hold figures measured on the rows that left.
        *(outcome.relearned.partition(":")[0], rows, json.dumps(receipts.certificate_to_json(outcome.certificate))),
        None if outcome.audit is None else json.dumps(outcome.audit),
        *(before, written.release.tree, time.isoformat("T", "seconds"), batch.number),
    )


def _tombstones(parts: Opened, table: Table, request: PendingRequest) -> list[Tombstone]:
    """The tombstones of one request's rows; a subject's only where the request named subjects."""
    mine = table.take(among(table.keys, request.members))
    whole = {str(s) for s in mine.subjects[among(mine.owners, request.owners)]} if mine.subjects is not None else set()
    return tombstones(parts.keys, mine, subjects=whole)


def _keep(parts: Opened, request: int, stones: list[Tombstone]) -> None:
    digests = {
        *(("id", stone.id) for stone in stones),
        *(("subject", stone.subject) for stone in stones if stone.subject is not None),
        *(("content", stone.content) for stone in stones),
    }
    parts.ledger.run_many(
        "INSERT OR IGNORE INTO tombstones VALUES (?, ?, ?)",
        [(kind, bytes.fromhex(digest), request) for kind, digest in sorted(digests)],
    )


def _issue(
    parts: Opened,
    batch: Batch,
    outcome: Outcome,
    written: Written,
    leaving: Leaving,
    request: PendingRequest,
    before: tuple[str, Release],
    time: datetime,
) -> None:
    event = receipts.Event.FORGOTTEN
    row = parts.ledger.one("SELECT * FROM requests WHERE number = ?", request.number)
    ids = leaving.table.ids[among(leaving.table.keys, request.members)]
    certificate = outcome.certificate
    private = {
        "ids": sorted(str(name) for name in ids),
        "rows": len(ids),
        "retained": leaving.retained,
        "seed": parts.seed,
        "reason": row["reason"],
        "record": written.record.tree,
        "relearned": outcome.relearned,
        "audit": outcome.audit,
        "doing_nothing_meets_it": certificate.doing_nothing_meets_it if isinstance(certificate, Certified) else None,
        "stats": dict(outcome.stats),
    }
    facts = receipts.Forgetting(
        vault=parts.id,
        request=request.number,
        requested=datetime.fromisoformat(row["asked_at"]),
        forgotten=time,
        release=batch.noise.release,
        before=before[0],
        after=written.release.tree,
        certificate=outcome.certificate,
        method=disclosure.described(parts.method),
        environment=disclosure.environment(),
        exposure=disclosure.exposure(before[1], outcome.release, outcome.certificate),
        commitments=receipts.commitments(parts.keys, private, request=request.number, event=event),
        previous=receipt_chain.previous(parts),
    )
    receipt_chain.append(parts, event, facts)
