"""One forgetting step as an audit sees it: both releases, both sets of rows, and the key, before the step is committed.

The vault builds a `Step` inside `work`, while the forgotten rows and the noise key still exist; a program without a
vault builds one from `learn` and `forget`. `Step.stats["seconds"]` is what forgetting took.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from expunge.certificate import Certificate
from expunge.method import Method, Release
from expunge.noise import NoiseKey
from expunge.rows import Rows

AuditSummary = dict[str, Any]  # JSON; "contradictions" is a list of sentences: not empty, it voids the certificate


@dataclass(frozen=True, eq=False)
class Step:
    """What happened when `method` forgot `forgotten`.

    Attributes:
        method: that learned and forgot. seed: its public seed, the same for learning and for any retraining.
        before, after: the releases before and after the step (`before` is what doing nothing would serve).
        certificate: what the step claims; the audit tries to contradict it.
        retained, forgotten: all rows of `before`, split in two.
        noise: the key of the release `after` while the step is under way, else None: without it a certificate cannot
            be held against a reference solved far beyond its tolerance.
        stats: of the forgetting; "seconds" is what it took. A caller who measured them adds "preparation_seconds" (of
            learning, over plain training) and "record_bytes".
    """

    method: Method[Any]
    seed: int
    before: Release
    after: Release
    certificate: Certificate
    retained: Rows
    forgotten: Rows
    noise: NoiseKey | None
    stats: Mapping[str, float] = field(default_factory=dict)
