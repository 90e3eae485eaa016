"""Workers elsewhere: dask and ray, for a comparison's cells. What they compute is the same to the last bit."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from expunge.comparisons.running import Workers
from expunge.errors import InputError


@contextmanager
def reached(workers: Workers) -> Iterator[None]:
    """Reach the cluster while cells are computed; processes of this machine need nothing.

    A cluster that this program is connected to already is used as it is. Else that of `DASK_SCHEDULER_ADDRESS` or
    `RAY_ADDRESS`; else one of `jobs` workers on this machine, for as long as this lasts.

    Raises:
        InputError: the extra is not installed.
    """
    match workers.backend:
        case "dask":
            distributed = _extra("distributed", "dask")
            try:
                distributed.get_client()
            except ValueError:
                address = os.environ.get("DASK_SCHEDULER_ADDRESS")
                own = {"n_workers": workers.jobs, "threads_per_worker": 1, "dashboard_address": None}
                with distributed.Client(address) if address else distributed.Client(**own):
                    yield
            else:
                yield
        case "ray":
            ray, joblib_of_ray = _extra("ray", "ray"), _extra("ray.util.joblib", "ray")
            started = not ray.is_initialized()
            if started:
                address = os.environ.get("RAY_ADDRESS")
                ray.init(address) if address else ray.init(num_cpus=workers.jobs, include_dashboard=False)
            joblib_of_ray.register_ray()
            try:
                yield
            finally:
                if started:
                    ray.shutdown()
        case _:
            yield


def _extra(module: str, extra: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(f"--backend {extra} needs {module}: pip install 'expunge[{extra}]'.") from error
