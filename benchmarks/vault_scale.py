"""A vault of 1,000,000 rows x 30: latency of a request and of its command, time and peak memory of the work.

    python benchmarks/vault_scale.py [--rows 1000000] [--columns 30] [--folder DIR]

Learning, requesting and working run in processes of their own, so that each one's peak memory is its own. The method
is certified Newton, first on the rows as one array, then as a table of 30 columns behind fitted features, as the
command line has it. Peaks include the imports.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def learn(folder: Path, rows: int, columns: int, table: bool) -> dict[str, float]:
    from expunge.features import Pipeline, tabular
    from expunge.method import Method
    from expunge.methods.certified_newton import CertifiedNewton
    from expunge.rows import Rows
    from expunge.vault import Vault

    generator = np.random.default_rng(0)
    x = generator.normal(size=(rows, columns))
    y = (x[:, 0] + generator.normal(size=rows) > 0).astype(np.int64)
    method: Method[Any] = CertifiedNewton(loss="logistic")
    if table:
        given = Rows.of({f"column {place:02}": x[:, place] for place in range(columns)}, y, classes=2)
        method = Pipeline(tabular(given, statistics="public"), method)
    else:
        given = Rows.of(x, y, classes=2)
    start = time.perf_counter()
    Vault.create(folder, given, method, seed=0).close()
    return {"seconds": time.perf_counter() - start}


def request(folder: Path, ids: range) -> dict[str, float]:
    from expunge.vault import Vault

    start = time.perf_counter()
    vault = Vault.open(folder)
    vault.request(ids=[ids[0]])
    first = time.perf_counter() - start
    later = []
    for name in ids[1:]:
        start = time.perf_counter()
        vault.request(ids=[name])
        later.append(time.perf_counter() - start)
    return {"first, opening included": first, "median of the next": statistics.median(later)}


def command(folder: Path, ids: range) -> dict[str, float]:
    """`expunge request`, a process for each id: what who types it waits for, from its start to its end."""
    seconds = []
    for name in ids:
        words = ["-m", "expunge.cli", "request", str(folder), "--ids", str(name)]
        start = time.perf_counter()
        subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - start)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = (used.ru_utime + used.ru_stime) / len(ids)
    return {"median": statistics.median(seconds), "longest": max(seconds), "cpu": cpu}


def work(folder: Path) -> dict[str, float]:
    from expunge.vault import Vault

    start = time.perf_counter()
    with Vault.open(folder) as vault:
        (done,) = vault.work()
    return {"seconds": time.perf_counter() - start, "seconds of the step": done.seconds}


def imports() -> dict[str, float]:
    import torch  # noqa: F401

    from expunge.methods.certified_newton import CertifiedNewton  # noqa: F401
    from expunge.vault import creation, work  # noqa: F401

    return {}


def apart(action: Callable[..., dict[str, float]], *arguments: Any) -> dict[str, float]:
    """Run `action` in a new process; its figures and its peak memory in bytes."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measured, (action, arguments))


def _measured(action: Callable[..., dict[str, float]], arguments: tuple[Any, ...]) -> dict[str, float]:
    figures = action(*arguments)
    return figures | {"peak bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--columns", type=int, default=30)
    parser.add_argument("--folder", type=Path, default=None)
    given = parser.parse_args()
    size = given.rows * given.columns * 8
    print(f"rows {given.rows:,} x {given.columns}: {size / 2**20:.0f} MiB; imports alone {_peak(apart(imports), size)}")
    for table in (False, True):
        with tempfile.TemporaryDirectory(dir=given.folder) as folder:
            print("a table behind features" if table else "one array")
            stages(Path(folder) / "v", given.rows, given.columns, table)


def stages(vault: Path, rows: int, columns: int, table: bool) -> None:
    """Learn, request, work: each in a process of its own."""
    size = rows * columns * 8
    learned = apart(learn, vault, rows, columns, table)
    print(f"  learn    {learned['seconds']:.1f} s, peak {_peak(learned, size)}")
    asked = apart(request, vault, range(100, 121))
    print(
        f"  request  first {asked['first, opening included'] * 1e3:.0f} ms (opening included), then "
        f"{asked['median of the next'] * 1e3:.0f} ms; peak {_peak(asked, size)}"
    )
    typed = apart(command, vault, range(200, 211))
    print(
        f"  command  {typed['median'] * 1e3:.0f} ms from start to end (longest {typed['longest'] * 1e3:.0f} ms), of "
        f"which {typed['cpu'] * 1e3:.0f} ms of CPU"
    )
    worked = apart(work, vault)
    print(
        f"  work     {worked['seconds']:.1f} s, of which the step {worked['seconds of the step']:.1f} s; "
        f"peak {_peak(worked, size)}"
    )
    assert asked["first, opening included"] < 1
    assert typed["median"] < 1
    assert worked["peak bytes"] < 3 * size


def _peak(figures: dict[str, float], size: int) -> str:
    return f"{figures['peak bytes'] / 2**20:.0f} MiB, {figures['peak bytes'] / size:.2f} x the rows' size"


if __name__ == "__main__":
    main()
