"""What `expunge plan` foretells beside what then happens: seconds of one processor, as ratios.

    python benchmarks/plan_predictions.py

Routes are foretold from small runs on the digits (up to half of them) and on 20,000 made rows (up to a fiftieth), and
then walked on all rows; the median of three. The stated accuracy is a factor of 3 either way.
"""

from __future__ import annotations

import os
import statistics
import time
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
from sklearn.datasets import load_digits

from expunge import NoiseKey, Rows
from expunge.learners.convex import Convex
from expunge.learners.sgd import Sgd
from expunge.method import Method
from expunge.methods import (
    CertifiedNewton,
    DareForest,
    DeltaGrad,
    FineTune,
    Influence,
    NaiveBayes,
    NearestNeighbours,
    Ridge,
    Sisa,
)  # fmt: skip
from expunge.models import Mlp
from expunge.planning import routes
from expunge.planning.scaling import FACTOR

METHODS: dict[str, Method[Any]] = {
    "certified-newton": CertifiedNewton(),
    "sisa": Sisa(Sgd(Mlp((32,)), epochs=5), shards=5, slices=2),
    "fine-tune": FineTune(Sgd(Mlp((32,)), epochs=10)),
    "dare-forest": DareForest(trees=20),
    "influence": Influence(Convex()),
    "delta-grad": DeltaGrad(),
    "naive-bayes": NaiveBayes(),
    "ridge": Ridge(l2=1e-2),
    "nearest-neighbours": NearestNeighbours(),
}


def digits() -> Rows:
    """1,797 pictures."""
    data = load_digits()
    return Rows.of(data.data / 16.0, data.target, classes=10)


def made(n: int = 20_000) -> Rows:
    """Two classes in 20 columns."""
    x = np.random.default_rng(0).normal(size=(n, 20))
    return Rows.of(x, (x[:, :3].sum(axis=1) + np.random.default_rng(1).normal(size=n) > 0).astype(int), classes=2)


def walked(method: Method[Any], rows: Rows, gone: list[str]) -> float:
    """Median seconds of three steps on all rows, each with its own draw of what leaves."""
    record = method.learn(rows, seed=0, noise=NoiseKey.fresh(1))
    taken = []
    for shift in range(3):
        ids = [str((int(name) + 31 * shift) % len(rows)) for name in gone]
        retained, forgotten, noise = rows.without(ids), rows.only(ids), NoiseKey.fresh(2)
        started = time.thread_time()
        method.forget(record, retained, forgotten, noise=noise)
        taken.append(time.thread_time() - started)
    return statistics.median(taken)


def main() -> None:
    """Print a line for each method, and how many lie within the stated factor."""
    print("| data | method | foretold, ms | happened, ms | ratio | from |\n|---|---|---|---|---|---|")
    ratios = []
    for name, rows, seconds in (("digits", digits(), 1.0), ("made", made(), 0.05)):
        for label, method in METHODS.items():
            found = routes({label: method}, rows, 5, pilot_seconds=seconds)
            route = next((route for route in found if route.how == "forget"), None)
            if route is None or route.closed or route.seconds is None:
                print(f"| {name} | {label} | closed | – | – | – |")
                continue
            happened = walked(method, rows, [str(k * 17 % len(rows)) for k in range(1, 6)])
            ratios.append(route.seconds / happened)
            line = f"{1000 * route.seconds:.3g} | {1000 * happened:.3g} | {ratios[-1]:.2f}"
            print(f"| {name} | {label} | {line} | {route.basis} |", flush=True)
    within = sum(1 / FACTOR <= ratio <= FACTOR for ratio in ratios)
    print(f"\n{within} of {len(ratios)} within a factor of {FACTOR:g}; median ratio {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
