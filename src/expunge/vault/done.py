"""What became of one batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from expunge.certificate import Certificate

if TYPE_CHECKING:
    from expunge.audits.step import AuditSummary


@dataclass(frozen=True)
class Done:
    """One batch, done.

    Attributes:
        kind: "forget" or "extend". batch: its number. requests: those it honoured. rows: how many came or went.
        release: number of the release made. before, after: digests of the releases.
        certificate: what the step guarantees. relearned: why the model was learned again, or "".
        audit: the summary of the audit, if one ran. stats: for the operator, never stored.
        seconds: of the step, without the audit. purged: whether the purge is complete.
    """

    kind: str
    batch: int
    requests: tuple[int, ...]
    rows: int
    release: int
    before: str
    after: str
    certificate: Certificate
    relearned: str
    audit: AuditSummary | None
    stats: Mapping[str, float]
    seconds: float
    purged: bool
