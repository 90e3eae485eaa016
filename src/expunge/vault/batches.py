"""Batches: what one step does, frozen with its one noise key before it begins, so that a crash cannot change it."""

from __future__ import annotations

from dataclasses import dataclass

from expunge.noise import NoiseKey
from expunge.vault.failpoints import reach
from expunge.vault.ledger import Ledger, now

FORGET, EXTEND = "forget", "extend"


@dataclass(frozen=True)
class Batch:
    """A frozen batch: its number, FORGET or EXTEND, its noise key, and why it must be learned again, or ""."""

    number: int
    kind: str
    noise: NoiseKey
    relearn: str


def frozen(ledger: Ledger) -> Batch | None:
    """The batch under way, if there is one."""
    for row in ledger.all("SELECT * FROM batches WHERE state = 'frozen'"):
        return Batch(row["number"], row["kind"], NoiseKey(row["noise"], row["release"]), row["relearn"])
    return None


def freeze_requests(ledger: Ledger) -> Batch | None:
    """Freeze every pending request into a new batch, if there is any."""
    with ledger.transaction():
        if not ledger.all("SELECT number FROM requests WHERE batch IS NULL LIMIT 1"):
            return None
        number = freeze(ledger, FORGET)
        ledger.run("UPDATE requests SET batch = ? WHERE batch IS NULL", number)
        reach("freeze.before_commit")
    reach("freeze.committed")
    return frozen(ledger)


def freeze(ledger: Ledger, kind: str, equal_contents: int = 0) -> int:
    """Write a new batch with a fresh noise key for the next release, inside a transaction; its number."""
    noise = NoiseKey.fresh(ledger.one("SELECT releases FROM vault")["releases"] + 1)
    return ledger.run(
        """INSERT INTO batches (kind, state, release, noise, equal_contents, frozen_at)
           VALUES (?, 'frozen', ?, ?, ?, ?)""",
        *(kind, noise.release, noise.secret, equal_contents, now()),
    )


def must_relearn(ledger: Ledger, batch: Batch, why: str) -> None:
    """Note, durably, that this batch is to be learned again: no crash lets a contradicted step through."""
    with ledger.transaction():
        ledger.run("UPDATE batches SET relearn = ? WHERE number = ?", why, batch.number)


def cancel(ledger: Ledger, batch: Batch) -> None:
    """Drop an extension that cannot be done; a deletion is owed and is never dropped."""
    if batch.kind != EXTEND:
        return
    with ledger.transaction():
        ledger.run("DELETE FROM blocks WHERE staged = ?", batch.number)
        ledger.run("DELETE FROM batches WHERE number = ? AND state = 'frozen'", batch.number)
