"""Cells in parallel: those that are stored are read, the others computed and stored one by one as they come."""

from __future__ import annotations

import concurrent.futures
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib

from expunge.comparisons.cell import Cell, compute
from expunge.comparisons.content import own_sources
from expunge.comparisons.store import Outcome, Store
from expunge.errors import InputError, WorkersLost
from expunge.learners.learner import one_thread

Progress = Callable[[str, int, int], None]
BACKENDS = ("loky", "threading", "dask", "ray")


@dataclass(frozen=True)
class Workers:
    """Where cells are computed: `backend` of joblib, and how many at a time. Neither decides a bit of them."""

    backend: str = "loky"
    jobs: int = 1

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS:
            raise InputError(f"The backend is one of {', '.join(BACKENDS)}, not {self.backend!r}.")
        if self.jobs < 1:
            raise InputError(f"jobs={self.jobs} was given, and at least 1 was expected.")


def run(cells: Sequence[Cell], folder: Path, workers: Workers, what: str, progress: Progress) -> dict[str, Outcome]:
    """The outcome of every cell, by its digest. Rerun after a kill, only what is missing is computed.

    Args:
        folder: of the comparison; outcomes lie in its `cells`. what: is under way, for `progress`.

    Raises:
        WorkersLost: a worker died; what was done by then is stored.
    """
    store = Store(folder / "cells")
    store.tidy()
    wanted = {cell.digest: cell for cell in cells}
    found = {digest: outcome for digest in wanted if (outcome := store.read(digest)) is not None}
    missing = [cell for digest, cell in wanted.items() if digest not in found]
    progress(what, len(found), len(wanted))
    scratch = folder / "scratch"
    try:
        for cell, outcome in _computed(missing, workers, scratch):
            if "failed" not in outcome.facts:  # what broke is tried again next time
                store.write(cell.digest, outcome)
            found[cell.digest] = outcome
            progress(what, len(found), len(wanted))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return found


def _computed(cells: Sequence[Cell], workers: Workers, scratch: Path) -> Iterator[tuple[Cell, Outcome]]:
    if workers.jobs == 1 and workers.backend in ("loky", "threading"):
        with one_thread():
            yield from ((cell, compute(cell)) for cell in cells)
        return
    shipped = [cell for cell in cells if not own_sources(cell.method)]
    own = [cell for cell in cells if own_sources(cell.method)]  # other processes cannot import a file of the user's
    yield from _parallel(shipped, workers, scratch)
    yield from _parallel(own, Workers("threading", workers.jobs), scratch)


def _parallel(cells: Sequence[Cell], workers: Workers, scratch: Path) -> Iterator[tuple[Cell, Outcome]]:
    if not cells:
        return
    if workers.backend == "loky":
        scratch.mkdir(parents=True, exist_ok=True)
    mapped: dict[str, Any] = {"temp_folder": str(scratch)} if workers.backend == "loky" else {"max_nbytes": None}
    tasks = [joblib.delayed(_numbered)(place, cell) for place, cell in enumerate(cells)]
    try:
        with one_thread(), joblib.parallel_config(backend=workers.backend, n_jobs=workers.jobs):
            for place, outcome in _as_done(tasks, workers, mapped):
                yield cells[place], outcome
    except (concurrent.futures.BrokenExecutor, TimeoutError) as error:
        raise WorkersLost(
            f"A worker was lost ({type(error).__name__}), for want of memory perhaps. What was done is kept: run the "
            "same command again, with fewer jobs."
        ) from error


def _as_done(tasks: Sequence[Any], workers: Workers, mapped: dict[str, Any]) -> Iterable[tuple[int, Outcome]]:
    if workers.backend == "ray":  # which gives results in batches only
        for start in range(0, len(tasks), 2 * workers.jobs):
            yield from joblib.Parallel(**mapped)(tasks[start : start + 2 * workers.jobs])
    else:
        yield from joblib.Parallel(return_as="generator_unordered", pre_dispatch="n_jobs", batch_size=1, **mapped)(
            tasks
        )


def _numbered(place: int, cell: Cell) -> tuple[int, Outcome]:
    return place, compute(cell)
