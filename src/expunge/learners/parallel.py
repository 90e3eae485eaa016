"""Independent trainings through joblib, on whatever backend stands outside: nothing is written, nothing waits for ever.

`joblib.parallel_config(backend="loky" | "threading" | "dask" | "ray", n_jobs=...)` around a call decides where they
run. A worker that dies, or a training beyond its time, ends in `WorkersLost`; records are values, so none is half done.
"""

from __future__ import annotations

import concurrent.futures
import multiprocessing
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import joblib

from expunge.errors import ExpungeError, WorkersLost
from expunge.learners.learner import one_thread

T = TypeVar("T")
CLUSTERS = ("dask", "distributed", "ray")


def in_parallel(task: Callable[..., T], arguments: Iterable[tuple[Any, ...]], timeout: float) -> list[T]:
    """`task(*each)` for each of the arguments, in order; torch is on one thread in this process.

    Args:
        timeout: seconds that one task may take, from when it is waited for; one process alone is not interrupted.

    Raises:
        WorkersLost: a worker died, or a task took longer. What a task raises on purpose comes through as it is.
    """
    try:
        with one_thread():
            alone = joblib.effective_n_jobs(None) == 1  # which asks a cluster, and may wait for it in vain
            # max_nbytes: joblib would otherwise map large rows to files outside the vault.
            parallel = joblib.Parallel(max_nbytes=None, timeout=None if alone else timeout)
            return list(parallel(joblib.delayed(task)(*each) for each in arguments))
    except ExpungeError:
        raise
    except Exception as error:
        if not _lost(error):
            raise
        raise WorkersLost(
            f"A parallel training was lost ({type(error).__name__}): a worker died, none came, or one took more than "
            f"{timeout:g} seconds. Nothing was changed: ask again with more memory, other workers or a longer timeout."
        ) from error


def _lost(error: Exception) -> bool:
    kinds = (TimeoutError, multiprocessing.TimeoutError, concurrent.futures.BrokenExecutor)
    return isinstance(error, kinds) or type(error).__module__.partition(".")[0] in CLUSTERS
