"""A folder on disk for what a method derives from rows and cannot hold in memory; the vault lends its own.

`lent(folder)` is put around a method's call by who owns the folder; `folder()` is asked for inside. Nothing derived
from a row lies anywhere else on disk: outside such a call there is no folder, and methods stay in memory. The owner
empties it after the step (the vault's purge does).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

_LENT: ContextVar[Path | None] = ContextVar("scratch", default=None)


@contextmanager
def lent(folder: Path) -> Iterator[None]:
    """Lend a folder that exists to the calls inside."""
    before = _LENT.set(folder)
    try:
        yield
    finally:
        _LENT.reset(before)


def folder() -> Path | None:
    """The folder that was lent, or None."""
    return _LENT.get()
