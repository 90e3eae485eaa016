"""Influence and Sekhari on digits (odd against even), beside doing nothing, retraining cold and warm.

    python benchmarks/second_order_digits.py [mnist]

Rows have norm 1; logistic loss, l2 1e-3, 65 parameters (785 for mnist, 3 against 8). Cold: the fastest retraining here,
from zero to a gradient of 1e-10 (Newton after L-BFGS); warm: from the model before. Distances are to the minimiser
without the rows, as a share of what doing nothing leaves (noiseless centres); retrain/retrain is that of a cold and a
warm training at tol 1e-6. Times are of the CPU, one thread.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from digits import odd_or_even
from mnist_3_against_8 import digits_3_and_8
from torch import Tensor

from expunge import NoiseKey, Rows
from expunge.errors import MustRetrain
from expunge.learners.convex import Convex
from expunge.methods.influence import Influence
from expunge.methods.sekhari import Sekhari
from expunge.objective import LinearObjective
from expunge.objective.minimise import minimise

L2 = 1e-3


def timed(work: Callable[[], object], repeats: int = 9) -> float:
    """Median CPU milliseconds of a call, on one thread."""
    taken = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        taken.append(1e3 * (time.process_time() - start))
    return statistics.median(taken)


def mnist() -> tuple[Rows, Rows]:
    """3 or 8, rows of norm 1."""
    scaled = [rows.columns["x"] / np.linalg.norm(rows.columns["x"], axis=1, keepdims=True) for rows in digits_3_and_8()]
    train, test = (Rows.of(x, rows.y, classes=2) for x, rows in zip(scaled, digits_3_and_8(), strict=True))
    return train, test


def linear(rows: Rows, test: Rows) -> None:
    """One line for each method and batch."""
    objective, key = LinearObjective("logistic", L2, rows.columns["x"].shape[1], 1), NoiseKey.fresh(2)
    zero = objective.start(0)

    def solved(left: Rows, start: Tensor, tol: float = 1e-10) -> Tensor:
        return minimise(objective, left, start, tol=tol, dense=True).x

    def accuracy(w: Tensor) -> float:
        return float(((objective.scores(w, test.columns)[:, 0] > 0).numpy() == test.y).mean())

    learner = Convex(loss="logistic", l2=L2, tol=1e-10)
    start = solved(rows, zero)
    sekhari = {
        f"sekhari, {bound}": Sekhari(loss="logistic", l2=L2, noise_std=1e9, bound=bound, row_norm=1.0)
        for bound in ("published", "measured")
    }
    print("rows  method                     CPU ms   cold/   warm/  of doing nothing  retrain/retrain  accuracy: loss")
    for m in (1, 10, 100, 400):
        ids = [str(i) for i in range(m)]
        left, gone = rows.without(ids), rows.only(ids)
        clean = solved(left, zero, 1e-13)
        nothing = float((start - clean).norm())
        band = float((solved(left, zero, 1e-6) - solved(left, start, 1e-6)).norm()) / nothing
        cold, warm = timed(lambda: solved(left, zero)), timed(lambda: solved(left, start))  # noqa: B023

        def line(name: str, forget: Callable[[], object], w: Tensor) -> None:
            taken = timed(forget)
            print(f"{m:>4}  {name:<26} {taken:>9.2f} {cold / taken:>7.1f} {warm / taken:>7.1f}"  # noqa: B023
                  f"  {float((w - clean).norm()) / nothing:>16.1e}  {band:>15.1e}"  # noqa: B023
                  f"  {accuracy(w):.4f}: {accuracy(clean) - accuracy(w):+.4f}")  # fmt: skip  # noqa: B023

        forms = {"m' = m": {}, "m' = m/8": {"batch_size": max(1, m // 8)}, "full gradient": {"gradient": "full"},
                 "fresh Hessian": {"keep_hessian": False}}  # fmt: skip
        for name, settings in forms.items():
            method = Influence(learner, **settings)  # type: ignore[arg-type]
            record = method.learn(rows, seed=0, noise=NoiseKey.fresh(1))
            step = method.forget(record, left, gone, noise=key)
            work = lambda: method.forget(record, left, gone, noise=key)  # noqa: B023, E731
            line(f"influence, {name}", work, learner.flat(step.record.training))
        for name, certified in sekhari.items():
            fit = certified.learn(rows, seed=0, noise=NoiseKey.fresh(1))
            try:
                after = certified.forget(fit, left, gone, noise=key)
            except MustRetrain as refused:
                print(f"{m:>4}  {name:<26} {refused}")
                continue
            work = lambda: certified.forget(fit, left, gone, noise=key)  # noqa: B023, E731
            line(name, work, after.record.state.fit + after.record.state.step())
        said = ", ".join(f"{name} {value:.2g}" for name, value in after.stats.items() if "bound" in name)
        true = float((after.record.state.fit + after.record.state.step() - clean).norm())
        print(f"      sekhari: {said}; true {true:.2g}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    linear(*(mnist() if "mnist" in sys.argv else odd_or_even()))
