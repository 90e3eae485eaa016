"""Where a crash test may kill the process. In production every call returns at once.

EXPUNGE_CRASH_AT=point (or point:n) ends the process at the n-th arrival at that point, without any clean-up, as a power
cut would: buffers of this process are lost, locks are left to the operating system. `POINTS` lists every place, so that
the crash tests miss none.
"""

from __future__ import annotations

import os
from collections import Counter

ENVIRONMENT = "EXPUNGE_CRASH_AT"
EXIT_STATUS = 137  # what a killed process reports

POINTS = (
    "create.ledger",
    "create.key",
    "create.rows",
    "create.learned",
    "create.before_commit",
    "create.committed",
    "chunk.half",
    "chunk.rename",
    "chunk.renamed",
    "request.before_commit",
    "request.committed",
    "freeze.before_commit",
    "freeze.committed",
    "extend.staged",
    "step.computed",
    "step.audited",
    "step.relearn",
    "step.written",
    "commit.before",
    "commit.done",
    "purge.settled",
    "purge.before_settle_commit",
    "purge.settle_committed",
    "purge.before_compaction_commit",
    "purge.compacted",
    "purge.removed_one",
    "purge.swept",
    "purge.vacuumed",
    "purge.checkpointed",
    "purge.marked",
)

_arrivals: Counter[str] = Counter()


def reach(point: str) -> None:
    """Say that `point` is reached; end the process if the environment asks for it."""
    wanted = os.environ.get(ENVIRONMENT)
    if wanted is None:
        return
    if point not in POINTS:
        raise ValueError(f"{point!r} is no crash point; they are {POINTS}.")
    _arrivals[point] += 1
    name, _, count = wanted.partition(":")
    if name == point and _arrivals[point] == int(count or 1):
        os._exit(EXIT_STATUS)
