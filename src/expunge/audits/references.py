"""References: models retrained without the forgotten rows, with independent seeds and fresh noise.

They are what an audit compares with, so they are worth keeping: with `scratch` each is stored under a digest of the
method, the retained rows' content, the seed and the release number, and is read back when the same one is asked for.
`learn_each` trains any set of models in that way, each on rows of its own: shadow models too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import joblib
import torch

from expunge import keyed
from expunge.audits import stored_releases
from expunge.audits.stored_releases import Learned as Learned
from expunge.errors import InputError
from expunge.method import Method
from expunge.noise import NoiseKey
from expunge.rows import Rows

Progress = Callable[[str, int, int], None]  # what is being done, how many are done, of how many


def learn(method: Method[Any], rows: Rows, seed: int, noise: NoiseKey) -> Learned:
    """Learn again and time it."""
    started = time.perf_counter()
    learned = method.learn(rows, seed=seed, noise=noise)
    seconds = time.perf_counter() - started
    return Learned(method.release(learned), seconds)


def retrain(
    method: Method[Any],
    retained: Rows,
    *,
    seed: int,
    count: int,
    number: int = 1,
    scratch: Path | None = None,
    jobs: int | None = 1,
    progress: Progress | None = None,
) -> list[Learned]:
    """`count` models of `retained`, under seeds drawn from `seed` and fresh noise.

    Args:
        number: of the release, which sets how far a certified method solves. scratch: where to keep them.
        jobs: processes at a time, through joblib; None leaves it to `joblib.parallel_config`.
        progress: called with ("retraining references", done, count).

    Raises:
        InputError: count is negative.
    """
    if count < 0:
        raise InputError(f"{count} references were asked for; give 0 or more (5 is quick, 20 is the protocol).")
    tasks = [(retained, keyed.subseed(seed, "audit reference", k)) for k in range(count)]
    return learn_each(
        method, tasks, "retraining references", number=number, scratch=scratch, jobs=jobs, progress=progress
    )


def learn_each(
    method: Method[Any],
    tasks: Sequence[tuple[Rows, int]],
    what: str,
    *,
    number: int = 1,
    scratch: Path | None = None,
    jobs: int | None = 1,
    progress: Progress | None = None,
) -> list[Learned]:
    """A model of each task's rows under its seed, with fresh noise; the other arguments as in `retrain`.

    Args:
        what: that `progress` is called with.
    """
    known: dict[int, str | None] = {}

    def content(rows: Rows) -> str | None:
        if id(rows) not in known:
            known[id(rows)] = stored_releases.content(method, rows, number)
        return known[id(rows)]

    def place(rows: Rows, seed: int) -> Path | None:
        if scratch is None or (decided := content(rows)) is None:
            return None
        return stored_releases.place(scratch, "references", decided, seed)

    places = [place(rows, seed) for rows, seed in tasks]
    found = {k: learned for k, at in enumerate(places) if at is not None and (learned := stored_releases.read(at))}
    missing, count = [k for k in range(len(tasks)) if k not in found], len(tasks)
    tell = progress or (lambda _what, _done, _of: None)
    tell(what, len(found), count)
    if jobs == 1 or len(missing) < 2:
        for done, k in enumerate(missing, start=len(found) + 1):
            found[k] = _learned(method, *tasks[k], number, places[k])
            tell(what, done, count)
    else:
        work = (joblib.delayed(_learned)(method, held(tasks[k][0]), tasks[k][1], number, places[k]) for k in missing)
        found |= dict(zip(missing, in_parallel(work, jobs, scratch), strict=True))
        tell(what, count, count)
    return [found[k] for k in range(count)]


def held(rows: Rows) -> Rows:
    """The rows in memory: those read from a vault hold an open database, which no worker may get."""
    return Rows.from_table(rows.table(), rows.schema.classes)


def in_parallel(work: Any, jobs: int | None, scratch: Path | None) -> list[Any]:
    """Results of joblib's delayed calls; nothing of a row lies outside `scratch`, nor in a file without it."""
    folder: dict[str, Any] = {"temp_folder": str(scratch)} if scratch is not None else {"max_nbytes": None}
    return list(joblib.Parallel(n_jobs=jobs, **folder)(work))


def _learned(method: Method[Any], rows: Rows, seed: int, number: int, place: Path | None) -> Learned:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        learned = learn(method, rows, seed, NoiseKey.fresh(number))
    finally:
        torch.set_num_threads(threads)
    if place is not None:
        stored_releases.write(place, learned)
    return learned
