"""The work: complete what was interrupted, forget what was requested, learn new rows; one committed batch at a time.

A batch that was frozen is resumed after a crash with the same members and the same noise key, hence with the same
release. Nothing live changes before a commit, and after it only the purge is left to do. The caller holds the lock.
"""

from __future__ import annotations

from dataclasses import replace

import joblib

from expunge import scratch
from expunge.vault import batches
from expunge.vault.batches import Batch
from expunge.vault.commit import Leaving, commit_extending, commit_forgetting, write
from expunge.vault.done import Done
from expunge.vault.failpoints import reach
from expunge.vault.opened import Opened, Progress, joined
from expunge.vault.outcome import Audit, Outcome, of_extending, of_forgetting
from expunge.vault.purge import purge
from expunge.vault.stored_rows import among


def work_off(parts: Opened, audit: Audit | None, progress: Progress) -> list[Done]:
    """Complete what a crash interrupted, then forget every pending request."""
    done = resume(parts, audit, progress)
    while batch := batches.freeze_requests(parts.ledger):
        done.append(finish(parts, batch, audit, progress))
    return done


def resume(parts: Opened, audit: Audit | None, progress: Progress) -> list[Done]:
    """Complete an unfinished purge and a frozen batch, where there is one."""
    _ = parts.keys  # a missing key file shows before the work, not after it
    purge(parts, progress)
    batch = batches.frozen(parts.ledger)
    return [] if batch is None else [finish(parts, batch, audit, progress)]


def finish(parts: Opened, batch: Batch, audit: Audit | None, progress: Progress) -> Done:
    """Do one frozen batch: compute, commit, purge. A deletion that fails stays owed; an extension is dropped whole."""
    parts.scratch.mkdir(exist_ok=True)
    progress(batch.kind, 0, 1)
    try:
        with joblib.parallel_config(temp_folder=str(parts.scratch)), scratch.lent(parts.scratch):
            done = _forget(parts, batch, audit) if batch.kind == batches.FORGET else _extend(parts, batch)
    except Exception:
        batches.cancel(parts.ledger, batch)
        parts.chunks.keep_only(set(parts.in_use()))
        raise
    progress(batch.kind, 1, 1)
    return replace(done, purged=purge(parts, progress))


def _forget(parts: Opened, batch: Batch, audit: Audit | None) -> Done:
    requests = tuple(request for request in parts.pending() if request.batch == batch.number)
    gone = joined(request.members for request in requests)
    rows, loaded = parts.rows(), parts.load("record")
    leaves = among(rows.keys, gone)
    retained, forgotten = rows.select(~leaves), rows.select(leaves)
    outcome = of_forgetting(parts, batch, loaded.value, retained, forgotten, audit)
    reach("step.computed")
    rewritten = {number: (block, parts.stored_rows.without(block, gone)) for number, block in parts.blocks().items()}
    blocks = {number: new for number, (old, new) in rewritten.items() if new != old}
    leaving = Leaving(forgotten.table(), requests, blocks, len(retained))
    written = write(parts, outcome, loaded)
    reach("step.written")
    before = parts.tree("release")
    commit_forgetting(parts, batch, outcome, written, leaving)
    return _done(batch, outcome, tuple(r.number for r in requests), len(forgotten), before, written.release.tree)


def _extend(parts: Opened, batch: Batch) -> Done:
    retained, loaded = parts.rows(), parts.load("record")
    added = parts.stored_rows.rows(parts.staged(batch.number).values())
    outcome = of_extending(parts, batch, loaded.value, retained, added)
    reach("step.computed")
    written = write(parts, outcome, loaded)
    reach("step.written")
    before = parts.tree("release")
    commit_extending(parts, batch, outcome, written, len(added))
    return _done(batch, outcome, (), len(added), before, written.release.tree)


def _done(batch: Batch, outcome: Outcome, requests: tuple[int, ...], rows: int, before: str, after: str) -> Done:
    return Done(
        kind=batch.kind,
        batch=batch.number,
        requests=requests,
        rows=rows,
        release=batch.noise.release,
        before=before,
        after=after,
        certificate=outcome.certificate,
        relearned=outcome.relearned,
        audit=outcome.audit,
        stats=outcome.stats,
        seconds=outcome.seconds,
        purged=False,
    )
