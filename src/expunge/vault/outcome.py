"""What a step computes: the method's own answer, or the model learned again where that answer will not do.

Nothing here changes the live state; only the note that a contradicted step is to be learned again is written down.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

from expunge import record
from expunge.audits.step import AuditSummary, Step
from expunge.certificate import Certificate, Exact, may_stay
from expunge.errors import MustRetrain, NotConverged, Refused
from expunge.features import offers
from expunge.features.pipeline import learned_again
from expunge.learners.featured import declared_by
from expunge.method import Extends, Forgetting, Release
from expunge.rows import Rows
from expunge.vault.batches import Batch, must_relearn
from expunge.vault.failpoints import reach
from expunge.vault.opened import Opened

Audit = Callable[[Step], AuditSummary]

LEARNED_AGAIN = Exact(
    conditions=(
        "The model was learned again from the rows that are left: it is a run of the reference process itself.",
        "Requests were chosen without looking at the model.",
    ),
    assumptions=(
        "Hyperparameters, architecture and preprocessing fixed before learning owe nothing to the forgotten rows.",
    ),
)


@dataclass(frozen=True, eq=False)
class Outcome:
    """A step before anything of it is stored.

    Attributes:
        record, release, certificate, stats: what the method made of it.
        relearned: why the model was learned again, or "". audit: the last audit's summary, or None.
        seconds: of the computation, audits not included.
    """

    record: Any
    release: Release
    certificate: Certificate
    stats: Mapping[str, float] = field(default_factory=dict)
    relearned: str = ""
    audit: AuditSummary | None = None
    seconds: float = 0.0


def of_forgetting(
    parts: Opened, batch: Batch, live: Any, retained: Rows, forgotten: Rows, audit: Audit | None
) -> Outcome:
    """The outcome of forgetting; `live` is the live record.

    Raises:
        Refused: the audit contradicts even the model learned again.
    """
    before, why = parts.release(), batch.relearn
    if not why:
        outcome = _attempt(parts, lambda: parts.method.forget(live, retained, forgotten, noise=batch.noise))
        if isinstance(outcome, Outcome):
            outcome = _audited(parts, batch, outcome, before, retained, forgotten, audit)
            why = _objection(outcome, before)
            if not why:
                return outcome
            must_relearn(parts.ledger, batch, why)
        else:
            why = outcome
        reach("step.relearn")
    again = _learned_again(parts, batch, live, retained, len(forgotten), why)
    again = _audited(parts, batch, again, before, retained, forgotten, audit)
    if contradictions := _contradictions(again):
        raise Refused(
            f"The audit contradicts the model learned again from the retained rows: {contradictions}. Nothing was "
            f"committed; the requests stay frozen. Look at the audit's settings and at the method."
        )
    return again


def of_extending(parts: Opened, batch: Batch, live: Any, retained: Rows, added: Rows) -> Outcome:
    """The outcome of learning new rows; `live` is the live record, learned from `retained`."""
    method = parts.method
    why = f"{type(method).__name__} cannot learn new rows without starting again."
    if offers(method, Extends):
        extends = cast("Extends[Any]", method)
        outcome = _attempt(parts, lambda: extends.extend(live, retained, added, noise=batch.noise))
        if isinstance(outcome, Outcome):
            return outcome
        why = outcome
    return _learned_again(parts, batch, live, retained.and_rows(added), 0, why)


def _attempt(parts: Opened, step: Callable[[], Forgetting[Any]]) -> Outcome | str:
    """The method's own answer, or why only learning again will do."""
    start = time.perf_counter()
    try:
        answer = step()
    except (MustRetrain, Refused, NotConverged) as error:
        return f"{type(error).__name__}: {error}"
    release = parts.method.release(answer.record)
    seconds = time.perf_counter() - start
    return Outcome(answer.record, release, answer.certificate, {**answer.stats, "seconds": seconds}, seconds=seconds)


def _learned_again(parts: Opened, batch: Batch, live: Any, rows: Rows, forgotten: int, why: str) -> Outcome:
    start = time.perf_counter()
    learned = parts.method.learn(rows, seed=parts.seed, noise=batch.noise)
    release = parts.method.release(learned)
    seconds = time.perf_counter() - start
    exact = replace(LEARNED_AGAIN, assumptions=(*LEARNED_AGAIN.assumptions, *declared_by(parts.method)))
    record_now, certificate = learned_again(parts.method, live, learned, forgotten, exact)
    return Outcome(record_now, release, certificate, {"seconds": seconds}, relearned=why, seconds=seconds)


def _audited(
    parts: Opened, batch: Batch, outcome: Outcome, before: Release, retained: Rows, forgotten: Rows, audit: Audit | None
) -> Outcome:
    if audit is None:
        return outcome
    summary = audit(
        Step(
            method=parts.method,
            seed=parts.seed,
            before=before,
            after=outcome.release,
            certificate=outcome.certificate,
            retained=retained,
            forgotten=forgotten,
            noise=batch.noise,
            stats=outcome.stats,
        )
    )
    reach("step.audited")
    return replace(outcome, audit=summary)


def _objection(outcome: Outcome, before: Release) -> str:
    """Why a step must not be committed as it is, or ""."""
    if contradictions := _contradictions(outcome):
        return f"The audit contradicted the certificate: {contradictions}"
    if not may_stay(outcome.certificate) and record.digest(outcome.release) == record.digest(before):
        return "The release did not change, and the method does not prove that it need not."
    return ""


def _contradictions(outcome: Outcome) -> str:
    return "; ".join((outcome.audit or {}).get("contradictions", ()))
