"""Draws from global generators during a training: they are no function of the rows, so they are found and refused.

The states of Python's, numpy's and torch's generators are compared before and after. In a thread of a worker (joblib's
threads, a dask worker) the worker itself draws from Python's generator meanwhile, for the jitter of its timers: there,
this thread's calls of that generator are watched instead.
"""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from expunge.errors import InputError

NO_FUNCTION = (
    "such draws are no function of the rows, and forgetting could not be exact. Set p=0, or take the layer out."
)
HIDDEN = random.random.__self__  # type: ignore[attr-defined]  # the generator behind Python's module


@contextmanager
def no_draws_of_python_or_numpy() -> Iterator[None]:
    """Refuse what is done inside if it draws from the global generator of Python or numpy.

    Raises:
        InputError: it did.
    """
    alone = threading.current_thread() is threading.main_thread()
    before, called = _states(alone), [False]

    def watch(frame: FrameType, event: str, function: Any) -> None:
        del frame
        if event == "c_call" and getattr(function, "__self__", None) is HIDDEN:
            called[0] = True

    profile = sys.getprofile()
    if not alone:
        sys.setprofile(watch)
    try:
        yield
    finally:
        sys.setprofile(profile)
    if called[0] or _states(alone) != before:
        raise InputError(f"The module draws from a global generator of Python or numpy: {NO_FUNCTION}")


def torch_state() -> bytes:
    """The state of torch's global generator."""
    return torch.get_rng_state().numpy().tobytes()


def _states(python: bool) -> tuple[Any, ...]:
    name, words, *rest = np.random.get_state(legacy=True)  # noqa: NPY002 (it is looked at, not used)
    return (random.getstate() if python else (), name, np.asarray(words).tobytes(), *rest)


class NoDraws(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Refuses draws from torch's global generator. (Attention without dropout is tagged as one, and is none.)"""

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Pass the operation on.

        Raises:
            InputError: it draws.
        """
        del types
        if torch.Tag.nondeterministic_seeded in function.tags and "scaled_dot_product" not in str(function):
            raise InputError(
                f"The module draws from torch's global generator ({function}; Dropout does): {NO_FUNCTION}"
            )
        return function(*args, **(kwargs or {}))
