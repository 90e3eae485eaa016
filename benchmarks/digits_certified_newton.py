"""Certified Newton on scikit-learn's handwritten digits: forgetting beside doing nothing, retraining cold and warm.

    python benchmarks/digits_certified_newton.py

Distances are between noiseless centres, as a share of the distance that doing nothing leaves; passes are counted. The
retrain-against-retrain column is the same distance between two cold trainings under other noise keys.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from sklearn.datasets import load_digits

from expunge import NoiseKey, Rows
from expunge.methods.certified_newton import CertifiedNewton
from expunge.noise import add_noise


def timed(work: Callable[[], object], repeats: int = 5) -> float:
    """Median seconds of a call."""
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def main() -> None:
    """Run and print one line for each batch size."""
    torch.set_num_threads(1)
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    x, y = data.data[order] / 16.0, data.target[order]
    rows, test = Rows.of(x[:1437], y[:1437], classes=10), Rows.of(x[1437:], y[1437:], classes=10)
    method = CertifiedNewton(epsilon=1.0, delta=1e-5, noise_std=0.01, l2=1e-3)
    first = NoiseKey.fresh(1)
    record = method.learn(rows, seed=0, noise=first)
    start = method.centre(method.release(record), first)

    def accuracy(release: object) -> float:
        return float((method.predict(release, test.columns).argmax(1).numpy() == test.y).mean())  # type: ignore[arg-type]

    print("digits, 1437 rows, 650 parameters, epsilon 1, delta 1e-5, noise 0.01, l2 1e-3; accuracy before "
          f"{accuracy(method.release(record)):.4f}")  # fmt: skip
    print("rows  passes  forget ms  cold ms  warm ms  of doing nothing  retrain/retrain  accuracy after/retrained")
    for m in (1, 10, 50, 200):
        ids = [str(i) for i in range(m)]
        retained, forgotten, second = rows.without(ids), rows.only(ids), NoiseKey.fresh(2)
        step = method.forget(record, retained, forgotten, noise=second)
        clean = method.minimiser(retained)
        cold = method.learn(retained, seed=0, noise=second)
        again = NoiseKey.fresh(2)
        other = method.centre(method.release(method.learn(retained, seed=0, noise=again)), again)
        nothing = float(torch.linalg.vector_norm(start - clean))
        left, null = (
            float(torch.linalg.vector_norm(centre - clean)) / nothing
            for centre in (method.centre(method.release(step.record), second), other)
        )
        weights = record.weights
        warm = {"weight": weights[:, :-1], "bias": weights[:, -1]}
        print(
            f"{m:>4}  {step.stats['passes']:>6.0f}"
            f"  {1e3 * timed(lambda: method.forget(record, retained, forgotten, noise=second)):>9.1f}"  # noqa: B023
            f"  {1e3 * timed(lambda: method.learn(retained, seed=0, noise=second), 3):>7.1f}"  # noqa: B023
            f"  {1e3 * timed(lambda: method.adopt(warm, retained, seed=0, noise=second), 3):>7.1f}"  # noqa: B023
            f"  {left:>16.1e}  {null:>15.1e}"
            f"  {accuracy(method.release(step.record)):.4f} / {accuracy(method.release(cold)):.4f}"
        )
    print("accuracy on test by noise, 20 keys each: mean (least)")
    clean = CertifiedNewton(noise_std=1e-6, l2=1e-3)
    for noise_std in (1e-6, 0.003, 0.01, 0.03, 0.1, 0.3):
        settled = clean.learn(rows, seed=0, noise=NoiseKey.fresh(1))
        noisy = [
            accuracy(clean.release(replace(settled, weights=add_noise(settled.weights, noise_std, NoiseKey.fresh(1)))))
            for _ in range(20)
        ]
        print(f"  {noise_std:<6g} {statistics.mean(noisy):.4f} ({min(noisy):.4f})")


if __name__ == "__main__":
    main()
