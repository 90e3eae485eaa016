"""Models that learned all rows and were then made to forget some: one of the two worlds that U-LiRA tells apart.

Each has a training seed and noise of its own. `before` is what doing nothing would serve. Both are kept as references
are, under a digest that the forgotten rows enter too.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from joblib import delayed

from expunge import keyed
from expunge.audits import stored_releases
from expunge.audits.references import Progress, held, in_parallel
from expunge.audits.stored_releases import Learned
from expunge.errors import InputError, MustRetrain
from expunge.method import Method
from expunge.noise import NoiseKey
from expunge.rows import Rows


@dataclass(frozen=True, eq=False)
class Unlearned:
    """A model before and after forgetting; the seconds are those of learning and of forgetting."""

    before: Learned
    after: Learned


def unlearn(
    method: Method[Any],
    rows: Rows,
    forgotten: Iterable[str | int],
    *,
    seed: int,
    count: int,
    scratch: Path | None = None,
    jobs: int | None = 1,
    progress: Progress | None = None,
) -> list[Unlearned]:
    """`count` models of all rows, each made to forget the rows of these ids; where it must, by learning again.

    Args:
        seed: the models' seeds are drawn from it. scratch, jobs: as in `references.retrain`.
        progress: called with ("forgetting", done, count).

    Raises:
        InputError: count is negative. UnknownRows: an id is not among the rows.
    """
    if count < 0:
        raise InputError(f"{count} unlearned models were asked for; give 0 or more (20 is the protocol).")
    ids = list(forgotten)
    gone = rows.only(ids)
    content = stored_releases.content(method, rows, 1) if scratch is not None and count else None
    seeds = [keyed.subseed(seed, "unlearned model", k) for k in range(count)]
    keys = hashlib.sha256(gone.keys.tobytes()).hexdigest()

    def place(k: int) -> Path | None:
        if content is None or scratch is None:
            return None
        return stored_releases.place(scratch, "unlearned", content, keys, seeds[k])

    found = {k: read for k in range(count) if (at := place(k)) is not None and (read := _read(at)) is not None}
    missing = [k for k in range(count) if k not in found]
    tell = progress or (lambda _what, _done, _of: None)
    tell("forgetting", len(found), count)
    if jobs == 1 or len(missing) < 2:
        left = rows.without(ids)
        for done, k in enumerate(missing, start=len(found) + 1):
            found[k] = _unlearned(method, rows, left, gone, seeds[k], place(k))
            tell("forgetting", done, count)
    else:
        memory = held(rows)
        left, gone = memory.without(ids), memory.only(ids)
        work = (delayed(_unlearned)(method, memory, left, gone, seeds[k], place(k)) for k in missing)
        found |= dict(zip(missing, in_parallel(work, jobs, scratch), strict=True))
        tell("forgetting", count, count)
    return [found[k] for k in range(count)]


def _unlearned(
    method: Method[Any], rows: Rows, retained: Rows, forgotten: Rows, seed: int, place: Path | None
) -> Unlearned:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        started = time.perf_counter()
        record = method.learn(rows, seed=seed, noise=NoiseKey.fresh(1))
        middle = time.perf_counter()
        try:
            record_after = method.forget(record, retained, forgotten, noise=NoiseKey.fresh(2)).record
        except MustRetrain:
            record_after = method.learn(retained, seed=seed, noise=NoiseKey.fresh(2))
        ended = time.perf_counter()
    finally:
        torch.set_num_threads(threads)
    done = Unlearned(
        Learned(method.release(record), middle - started), Learned(method.release(record_after), ended - middle)
    )
    if place is not None:
        stored_releases.write(_before(place), done.before)
        stored_releases.write(place, done.after)
    return done


def _before(place: Path) -> Path:
    return place.with_name(f"{place.name}-before")


def _read(place: Path) -> Unlearned | None:
    before, after = stored_releases.read(_before(place)), stored_releases.read(place)
    return None if before is None or after is None else Unlearned(before, after)
