"""The purge: after it the folder holds nothing that a forgotten row has touched. Idempotent; a crash repeats it.

Caches of the old model are settled, the chunks that nobody refers to and everything temporary are removed, the ledger
is rebuilt without the copies that deleted cells leave, and its log is emptied. Only when no reader kept the log from
being emptied do the requests count as *purged*.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from expunge import record
from expunge.errors import ExpungeError
from expunge.features import offers
from expunge.method import Settles
from expunge.vault import receipt_chain, receipts
from expunge.vault.compaction import compact
from expunge.vault.failpoints import reach
from expunge.vault.opened import Opened, Progress


def purge(parts: Opened, progress: Progress) -> bool:
    """Purge; whether it is complete (no reader was in the way). The caller holds the writer lock."""
    settle(parts, progress)
    compact(parts)
    empty(parts.scratch)
    parts.chunks.keep_only(set(parts.in_use()))
    reach("purge.swept")
    if not parts.ledger.all("SELECT number FROM batches WHERE state = 'committed'"):
        return True
    progress("purge", 0, 1)
    parts.ledger.rebuild()
    reach("purge.vacuumed")
    if not parts.ledger.truncate_log():
        return False
    reach("purge.checkpointed")
    mark(parts)
    reach("purge.marked")
    parts.ledger.truncate_log()
    progress("purge", 1, 1)
    return True


def settle(parts: Opened, progress: Progress) -> None:
    """Replace the caches of a record that still hold the model before the last step."""
    if parts.ledger.one("SELECT settled FROM vault")["settled"]:
        return
    method = parts.method
    if offers(method, Settles):
        progress("settle", 0, 1)
        loaded = parts.load("record")
        settled = method.settle(loaded.value, parts.rows())  # type: ignore[attr-defined]
        if record.digest(method.release(settled)) != parts.tree("release"):
            raise ExpungeError(f"{type(method).__name__}.settle changed the release, and it may replace caches only.")
        reach("purge.settled")
        stored = parts.records.write(settled, loaded)
        parts.chunks.sync()
    else:
        stored = None
    with parts.ledger.transaction():
        if stored is not None:
            parts.hold("record", stored)
        parts.ledger.run("UPDATE vault SET settled = 1")
        reach("purge.before_settle_commit")
    reach("purge.settle_committed")
    progress("settle", 1, 1)


def mark(parts: Opened) -> None:
    """Set every forgotten request *purged*, each with a receipt of it."""
    ledger, event = parts.ledger, receipts.Event.PURGED
    with ledger.transaction():
        time = datetime.now(UTC)
        release, digest = ledger.one("SELECT releases FROM vault")["releases"], parts.tree("release")
        for row in ledger.all(
            """SELECT requests.number FROM requests JOIN batches ON requests.batch = batches.number
               WHERE batches.state = 'committed' ORDER BY requests.number"""
        ):
            request = row["number"]
            facts = {"record": parts.tree("record")}
            purged = receipts.Purging(
                vault=parts.id,
                request=request,
                purged=time,
                release=release,
                after=digest,
                receipt=receipts.digest(receipt_chain.receipt(parts, request, receipts.Event.FORGOTTEN)),
                commitments=receipts.commitments(parts.keys, facts, request=request, event=event),
                previous=receipt_chain.previous(parts),
            )
            receipt_chain.append(parts, event, purged)
        ledger.run(
            "UPDATE batches SET state = 'purged', purged_at = ? WHERE state = 'committed'",
            time.isoformat("T", "seconds"),
        )


def empty(folder: Path) -> None:
    """Remove every file under the folder; folders stay, because a library may still think it owns them."""
    for path in sorted(folder.rglob("*")):
        if not path.is_dir():
            path.unlink(missing_ok=True)
