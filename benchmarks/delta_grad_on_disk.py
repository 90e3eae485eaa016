"""DeltaGrad with a million weights in a vault: the gradients of every step lie on disk, and memory holds a few of them.

    python benchmarks/delta_grad_on_disk.py [steps]

300 steps are 1.2 GB of gradients (1,000 would be 4 GB). Printed: CPU seconds, bytes on disk, and the largest amount of
memory that is this process's own (mapped files, which the system may drop at any time, are not counted).
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import threading
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch

from expunge import Rows
from expunge.learners.descent import Descent
from expunge.methods import DeltaGrad
from expunge.vault import Vault

ROWS, COLUMNS, CLASSES = 200, 100_000, 10


class OwnMemory:
    """Samples this process's own memory, in MB, and keeps the largest."""

    def __init__(self) -> None:
        self.most, self._going = 0.0, True
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def take(self) -> float:
        """The largest since the last time it was taken."""
        most, self.most = self.most, 0.0
        return most

    def _watch(self) -> None:
        while self._going:
            found = re.search(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text())
            self.most = max(self.most, int(found.group(1)) / 1024 if found else 0.0)
            time.sleep(0.02)


def main() -> None:
    """Learn, forget two rows, print."""
    torch.set_num_threads(1)
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    generator = np.random.default_rng(0)
    y = np.arange(ROWS) % CLASSES
    x = generator.normal(size=(ROWS, COLUMNS)).astype(np.float32) / np.float32(300)
    x[np.arange(ROWS), y] += 1
    rows = Rows.of(x, y, classes=CLASSES)
    del x
    method = DeltaGrad(Descent(epochs=steps, learning_rate=0.5), period=15)
    memory = OwnMemory()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "v"
        start = time.process_time()
        with Vault.create(path, rows, method, seed=1) as vault:
            learned, most = time.process_time() - start, memory.take()
            disk = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
            whole = steps * (COLUMNS + 1) * CLASSES * 4
            print(f"{(COLUMNS + 1) * CLASSES:,} weights, {steps} steps: {whole / 1e6:,.0f} MB of gradients")
            print(f"learned in {learned:.1f} s; {disk / 1e6:,.0f} MB on disk; own memory at most {most:,.0f} MB")
            vault.request(ids=["3", "17"])
            start = time.process_time()
            (done,) = vault.work()
            forgot, most = time.process_time() - start, memory.take()
            left = sum(file.stat().st_size for file in vault.scratch.rglob("*") if file.is_file())
            disk = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
            print(f"forgot in {forgot:.1f} s; {disk / 1e6:,.0f} MB on disk; own memory at most {most:,.0f} MB")
            assert done.purged
            assert left == 0


if __name__ == "__main__":
    main()
