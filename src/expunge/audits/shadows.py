"""Shadow models: many models by one method, each on a keyed half of the rows, so that every row is in half of them.

Models come in pairs: 2k learns the rows whose keyed bit k is set, 2k+1 the others. So each row is in exactly one model
of each pair, whatever the number of pairs, and a row that leaves changes no other row's halves. The attacks on single
rows (LiRA, RMIA) and the memorisation of a row (Feldman & Zhang 2020) are read from what the models say of the rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from expunge import keyed
from expunge.audits.attacks.lira import Mask
from expunge.audits.references import Progress, learn_each
from expunge.audits.stored_releases import Learned
from expunge.errors import InputError
from expunge.method import Method
from expunge.rows import Rows


@dataclass(frozen=True, eq=False)
class Shadows:
    """Shadow models, and which rows each was trained on.

    Attributes:
        models: N of them, an even number. inside: (N, rows), in the order of the rows they were made of.
    """

    models: tuple[Learned, ...]
    inside: Mask


def halves(rows: Rows, *, count: int, seed: int) -> Mask:
    """Which rows each of `count` models learns, (count, rows); by subject, where rows have one.

    Raises:
        InputError: count is odd or below 2.
    """
    if count < 2 or count % 2:
        raise InputError(f"{count} shadow models were asked for: give an even number, for they come in pairs.")
    owners = np.concatenate([table.owners for table in rows.tables()]) if len(rows) else rows.keys
    bits = [keyed.bits(seed, ("shadow", pair), owners) & np.uint64(1) for pair in range(count // 2)]
    return np.array([bit == side for bit in bits for side in (1, 0)], dtype=bool).reshape(count, len(rows))


def train_shadows(
    method: Method[Any],
    rows: Rows,
    *,
    count: int,
    seed: int,
    number: int = 1,
    scratch: Path | None = None,
    jobs: int | None = 1,
    progress: Progress | None = None,
) -> Shadows:
    """Learn `count` shadow models, each under a seed of its own; what is in `scratch` already is read back.

    Args:
        seed: of the halves and of the models' seeds. number, scratch, jobs: as in `references.retrain`.
        progress: called with ("training shadow models", done, count).

    Raises:
        InputError: count is odd or below 2, or a half of the rows cannot be learned from.
    """
    inside = halves(rows, count=count, seed=seed)
    if not (inside.any(axis=1)).all():
        raise InputError(f"{len(rows)} rows are too few to be halved {count // 2} times: one half was empty.")
    tasks = [(rows.select(mask), keyed.subseed(seed, "shadow model", k)) for k, mask in enumerate(inside)]
    models = learn_each(
        method, tasks, "training shadow models", number=number, scratch=scratch, jobs=jobs, progress=progress
    )
    return Shadows(tuple(models), inside)
