"""Small neighbouring blocks become one, so that a thousand extensions by one row do not leave a thousand blocks."""

from __future__ import annotations

from collections.abc import Mapping

from expunge.rows import BLOCK_ROWS
from expunge.vault.commit import insert_block
from expunge.vault.failpoints import reach
from expunge.vault.opened import Opened
from expunge.vault.stored_rows import StoredBlock

SLACK = 8  # blocks saved that make rewriting worth while


def compact(parts: Opened) -> None:
    """Merge small neighbours where that saves blocks enough; the order of the rows stays."""
    blocks = parts.blocks()
    runs = neighbours(blocks, BLOCK_ROWS)
    if sum(len(run) - 1 for run in runs) < SLACK:
        return
    merged = {run[0]: parts.stored_rows.merged([blocks[number] for number in run]) for run in runs}
    parts.chunks.sync()
    with parts.ledger.transaction():
        for run in runs:
            parts.ledger.run_many("DELETE FROM blocks WHERE number = ?", [(number,) for number in run])
            insert_block(parts, run[0], merged[run[0]])
        reach("purge.before_compaction_commit")
    reach("purge.compacted")


def neighbours(blocks: Mapping[int, StoredBlock], limit: int) -> list[tuple[int, ...]]:
    """Runs of two or more consecutive blocks that fit into one of `limit` rows, from the first on."""
    runs: list[list[int]] = []
    held = limit + 1
    for number, block in blocks.items():
        if held + block.rows > limit:
            runs.append([])
            held = 0
        runs[-1].append(number)
        held += block.rows
    return [tuple(run) for run in runs if len(run) > 1]
