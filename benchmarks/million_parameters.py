"""Forgetting from a network of a million weights on a CPU: seconds, memory and accuracy, beside doing nothing.

    python benchmarks/million_parameters.py [--rows 10000] [--forget 200] [--only fisher-diagonal ...]

An Mlp 784-1024-256-10 (1,066,762 weights) is trained once on MNIST rows, some of which carry a wrong label; those are
forgotten, in one batch, from the same trained weights by every method that adopts. Rewind must have seen the training:
it learns by itself, and the line before it is its own model with nothing done. Seconds are of the CPU, one thread.
Memory is the peak of resident memory while `forget` ran, above what was resident before. `wrong labels kept` is the
share of the forgotten rows that are still given their wrong label. A method that refuses says why. To add a method,
add a function to `METHODS`.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from expunge import NoiseKey, Rows
from expunge.errors import NotConverged
from expunge.learners.sgd import Sgd
from expunge.method import Adopts, Method, Release
from expunge.methods.certified_deep import CertifiedDeep
from expunge.methods.fine_tune import FineTune
from expunge.methods.fisher import Fisher
from expunge.methods.gradient_ascent import GradientAscent
from expunge.methods.newton_shift import NewtonShift
from expunge.methods.rewind import Rewind
from expunge.models import Mlp

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "mnist.npz"
LEARNER = Sgd(Mlp((1024, 256), "relu"), epochs=8, batch_size=64, learning_rate=0.05, l2=1e-4)
SAMPLE = 1000  # rows that a curvature is taken over; every gradient is over all
PAGE = os.sysconf("SC_PAGE_SIZE")


def newton_shift(learner: Sgd) -> Method[Any]:
    """Newton step by conjugate gradient, noise by Lanczos."""
    return NewtonShift(learner, damping=0.1, curvature_rows=SAMPLE)


def fisher_exact(learner: Sgd) -> Method[Any]:
    """The same by products of the Fisher information."""
    return Fisher(learner, form="exact", damping=0.1, curvature_rows=SAMPLE)


def fisher_diagonal(learner: Sgd) -> Method[Any]:
    """Diagonal of the Fisher information, one product for the step's length."""
    return Fisher(learner, form="diagonal", damping=0.1, curvature_rows=SAMPLE)


def fisher_kronecker(learner: Sgd) -> Method[Any]:
    """Kronecker factors (K-FAC)."""
    return Fisher(learner, form="kronecker", damping=0.1, curvature_rows=SAMPLE)


def fisher_scrub(learner: Sgd) -> Method[Any]:
    """Clamped noise without a step."""
    return Fisher(learner, form="diagonal", scrub=True, curvature_rows=SAMPLE)


def rewind(learner: Sgd) -> Method[Any]:
    """The last half of the epochs again."""
    return Rewind(learner)


def certified_deep(learner: Sgd) -> Method[Any]:
    """One damped Newton step by conjugate gradient, over all rows; a ball so large that no step ends at its border."""
    return CertifiedDeep(replace(learner, norm_bound=1e3), damping=1.0)


def fine_tune(learner: Sgd) -> Method[Any]:
    """Two more epochs."""
    return FineTune(learner)


def gradient_ascent(learner: Sgd) -> Method[Any]:
    """Ascent until the loss of a guess."""
    return GradientAscent(learner)


METHODS: Mapping[str, Callable[[Sgd], Method[Any]]] = {
    "fisher-diagonal": fisher_diagonal,
    "fisher-kronecker": fisher_kronecker,
    "fisher-scrub": fisher_scrub,
    "fisher-exact": fisher_exact,
    "newton-shift": newton_shift,
    "rewind": rewind,
    "certified-deep": certified_deep,
    "fine-tune": fine_tune,
    "gradient-ascent": gradient_ascent,
}


def mnist(rows: int, wrong: int) -> tuple[Rows, Rows]:
    """Rows to learn, the first `wrong` of them mislabelled, and rows to test on."""
    with np.load(DATA, allow_pickle=False) as data:
        x, y = data["X_train"][:rows].reshape(rows, -1), data["y_train"][:rows].astype(np.int64)
        test = Rows.of((data["X_test"] / np.float32(255)).reshape(10_000, -1), data["y_test"].astype(np.int64))
    y[:wrong] = (y[:wrong] + 1 + np.arange(wrong) % 9) % 10
    return Rows.of((x / np.float32(255)).astype(np.float32), y, classes=10), test


@contextmanager
def peak_memory() -> Iterator[list[float]]:
    """Appends the peak of resident memory inside, in MiB above the level at the start."""
    found: list[float] = []
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # what earlier work freed goes back, so that it is not taken for granted
    stop, levels = threading.Event(), [resident()]

    def watch() -> None:
        while not stop.wait(0.02):
            levels.append(resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield found
    finally:
        stop.set()
        watcher.join()
        found.append((max(levels) - levels[0]) / 2**20)


def resident() -> int:
    """Bytes of resident memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def accuracy(release: Release, rows: Rows) -> float:
    """Share of rows given the label they carry."""
    return float((LEARNER.predict(release, rows.columns).argmax(1).numpy() == rows.y).mean())


def main() -> None:
    """Train, then one line for each way to forget."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--forget", type=int, default=200)
    parser.add_argument("--only", nargs="*", default=list(METHODS), choices=list(METHODS))
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows, test = mnist(given.rows, given.forget)
    ids = [str(i) for i in range(given.forget)]
    retained, forgotten = rows.without(ids), rows.only(ids)
    print(f"{'':18} {'seconds':>8} {'memory MiB':>11} {'accuracy':>9} {'wrong labels kept':>18}")

    def line(name: str, seconds: float, memory: float, release: Release) -> None:
        print(f"{name:18} {seconds:>8.1f} {memory:>11.0f} {accuracy(release, test):>9.4f}"
              f" {accuracy(release, forgotten):>18.3f}", flush=True)  # fmt: skip

    def trained(on: Rows) -> tuple[Release, float, float]:
        started = LEARNER.start(on.schema, 0, ("benchmark",))
        with peak_memory() as memory:
            begin = time.process_time()
            training = LEARNER.train(started, on, seed=0, purpose=("benchmark",))
        return LEARNER.release(training), time.process_time() - begin, memory[0]

    model = trained(rows)[0]
    line("doing nothing", 0.0, 0.0, model)
    again, seconds, memory = trained(retained)
    line("retraining", seconds, memory, again)
    for name in given.only:
        method = METHODS[name](LEARNER)
        if isinstance(method, Adopts):
            record = method.adopt(model.tensors, rows, seed=0, noise=NoiseKey.fresh(1))
        else:
            record = method.learn(rows, seed=0, noise=NoiseKey.fresh(1))
            line(f"before {name}", 0.0, 0.0, method.release(record))
        try:
            with peak_memory() as most:
                begin = time.process_time()
                step = method.forget(record, retained, forgotten, noise=NoiseKey.fresh(2))
                taken = time.process_time() - begin
        except NotConverged as refused:
            print(f"{name:18} refused after {time.process_time() - begin:.1f} s: {refused}", flush=True)
            continue
        line(name, taken, most[0], method.release(step.record))


if __name__ == "__main__":
    main()
