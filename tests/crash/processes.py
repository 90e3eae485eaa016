"""Processes that die: a forked child runs a function and may be killed at a crash point; another holds a read open."""

from __future__ import annotations

import json
import os
import sqlite3
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from expunge.vault import failpoints


def run(action: Callable[[], object], crash_at: str = "") -> int:
    """The exit status of a child that runs `action`: 0 done, 137 killed at the point, 1 failed."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    status = 1
    try:
        failpoints._arrivals.clear()
        if crash_at:
            os.environ[failpoints.ENVIRONMENT] = crash_at
        action()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def arrivals(action: Callable[[], object], told: Path) -> list[str]:
    """Every crash point that `action` reaches, as "point:n"."""

    def count() -> None:
        action()
        told.write_text(json.dumps(failpoints._arrivals))

    assert run(count, crash_at="nowhere") == 0
    return [f"{point}:{n + 1}" for point, count in json.loads(told.read_text()).items() for n in range(count)]


@contextmanager
def reader(ledger: Path, *, present: bool = True) -> Iterator[None]:
    """Another process holds a read transaction open on the ledger meanwhile."""
    if not present:
        yield
        return
    ready, say_ready = os.pipe()
    wait, release = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(release)
            connection = sqlite3.connect(ledger, isolation_level=None)
            connection.execute("BEGIN")
            connection.execute("SELECT count(*) FROM requests").fetchall()
            os.write(say_ready, b"x")
            os.read(wait, 1)
        finally:
            os._exit(0)
    os.close(wait)
    os.read(ready, 1)
    try:
        yield
    finally:
        os.close(release)
        os.waitpid(child, 0)
        os.close(ready)
        os.close(say_ready)
