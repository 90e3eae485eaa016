"""One writer at a time: an advisory lock on a file that names its holder, released by the kernel when that dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from expunge.errors import VaultBusy


@contextmanager
def writer_lock(path: Path) -> Iterator[None]:
    """Hold the lock at `path`.

    Raises:
        VaultBusy: someone else holds it; the message names the process.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
            raise VaultBusy(
                f"The vault {path.parent} is in use: process {holder} is learning, forgetting or extending. "
                f"Wait until it has finished, then run again."
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)  # releases the lock
