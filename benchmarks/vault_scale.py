"""A vault of 1,000,000 rows x 30: latency of a request, time and peak memory of the work.

    python benchmarks/vault_scale.py [--rows 1000000] [--columns 30] [--folder DIR]

Learning, requesting and working run in processes of their own, so that each one's peak memory is its own. The method
is certified Newton; the memory of `work` is given as a multiple of the rows' own size.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def learn(folder: Path, rows: int, columns: int) -> dict[str, float]:
    from expunge.methods.certified_newton import CertifiedNewton
    from expunge.rows import Rows
    from expunge.vault import Vault

    generator = np.random.default_rng(0)
    x = generator.normal(size=(rows, columns))
    y = (x[:, 0] + generator.normal(size=rows) > 0).astype(np.int64)
    given = Rows.of(x, y, classes=2)
    start = time.perf_counter()
    Vault.create(folder, given, CertifiedNewton(), seed=0).close()
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


def work(folder: Path) -> dict[str, float]:
    from expunge.vault import Vault

    start = time.perf_counter()
    with Vault.open(folder) as vault:
        (done,) = vault.work()
    return {"seconds": time.perf_counter() - start, "seconds of the step": done.seconds}


def imports() -> dict[str, float]:
    import torch  # noqa: F401

    from expunge.methods.certified_newton import CertifiedNewton  # noqa: F401
    from expunge.vault import Vault  # noqa: F401

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
    folder = Path(tempfile.mkdtemp(dir=given.folder))
    size = given.rows * given.columns * 8
    try:
        vault = folder / "v"
        before = apart(imports)["peak bytes"]
        print(f"rows {given.rows:,} x {given.columns}: {size / 2**20:.0f} MiB; imports alone {before / 2**20:.0f} MiB")
        learned = apart(learn, vault, given.rows, given.columns)
        print(f"learn    {learned['seconds']:.1f} s, peak {_times(learned, before, size)}")
        asked = apart(request, vault, range(100, 121))
        print(
            f"request  first {asked['first, opening included'] * 1e3:.0f} ms (opening included), then "
            f"{asked['median of the next'] * 1e3:.0f} ms; peak {_times(asked, before, size)}"
        )
        worked = apart(work, vault)
        print(
            f"work     {worked['seconds']:.1f} s, of which the step {worked['seconds of the step']:.1f} s; "
            f"peak {_times(worked, before, size)}"
        )
        assert asked["first, opening included"] < 1
        assert worked["peak bytes"] - before < 3 * size
    finally:
        shutil.rmtree(folder)


def _times(figures: dict[str, float], before: float, size: int) -> str:
    return f"{(figures['peak bytes'] - before) / size:.2f} x the rows' size beside the imports"


if __name__ == "__main__":
    main()
