"""Certified forgetting on MNIST, 3 against 8: one removal beside a full Hessian and solve, and 1,000 in a row.

    python benchmarks/mnist_3_against_8.py [--removals 1000]

Prints medians on one thread, as ratios measured in this run; asserts counts and residuals, never seconds. The full
Hessian and solve is what the published certified removal does each time; it starts, as ours, at the last release.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch

from expunge import NoiseKey, Rows
from expunge.methods.certified_newton import CertifiedNewton, CertifiedNewtonRecord
from expunge.objective import LinearObjective

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "mnist.npz"
TARGET = 1e-9  # gradient of the mean loss after a removal
NOISES = (0.0005, 0.003)  # more noise displaces the start further: one more pass


def digits_3_and_8() -> tuple[Rows, Rows]:
    """Training and test rows, pixels in [0, 1]."""
    with np.load(DATA, allow_pickle=False) as data:
        parts = [(data[f"X_{part}"], data[f"y_{part}"]) for part in ("train", "test")]
    both = []
    for x, y in parts:
        keep = (y == 3) | (y == 8)
        both.append(Rows.of({"x": x[keep].reshape(-1, 784) / 255.0}, (y[keep] == 8).astype(np.int64), classes=2))
    return both[0], both[1]


def median_seconds(work: Callable[[], object], repeats: int) -> float:
    """Median wall time of a call."""
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def accuracy(method: CertifiedNewton, record: CertifiedNewtonRecord, test: Rows) -> float:
    """Share of test rows classified right from the release."""
    scores = method.predict(method.release(record), test.columns)
    return float((scores.argmax(1).numpy() == test.y).mean())


def full_newton(method: CertifiedNewton, rows: Rows, start: torch.Tensor) -> torch.Tensor:
    """The yardstick: the Hessian of the retained rows, and one solve."""
    objective = LinearObjective(method.loss, method.l2, 784, 1)
    gradient, hessian = objective.gradient_and_hessian(start, rows)
    return start - torch.linalg.solve(hessian, gradient)


def one_removal(method: CertifiedNewton, record: CertifiedNewtonRecord, rows: Rows) -> None:
    """Seconds of one forget beside the yardstick, and what the purge's re-anchoring adds, spread over a batch."""
    for batch in (1, 10, 100):
        ids = [str(i) for i in range(batch)]
        retained, forgotten = rows.without(ids), rows.only(ids)
        key = NoiseKey.fresh(round(110_000 * method.noise_std))  # so late that its tolerance has tightened to TARGET
        step = method.forget(record, retained, forgotten, noise=key)
        forget = median_seconds(lambda: method.forget(record, retained, forgotten, noise=key), 9)  # noqa: B023
        settle = median_seconds(lambda: method.settle(step.record, retained), 3)  # noqa: B023
        full = median_seconds(lambda: full_newton(method, retained, record.weights.reshape(-1)), 3)  # noqa: B023
        assert step.stats["residual"] <= TARGET, step.stats
        print(
            f"  batch {batch:>3}: forget {1e3 * forget:6.1f} ms ({step.stats['passes']:.0f} passes, residual "
            f"{step.stats['residual']:.1e}); full Hessian and solve {1e3 * full:6.1f} ms: {full / forget:.1f}x; "
            f"re-anchoring {1e3 * settle:.0f} ms, {1e3 * settle / batch:.1f} ms a row, with it "
            f"{full * batch / (forget + settle):.1f}x a batch removed one by one"
        )


def sequence(method: CertifiedNewton, record: CertifiedNewtonRecord, rows: Rows, test: Rows, removals: int) -> None:
    """Removals one after the other: every residual within the tolerance of its release."""
    remaining, worst, passes = rows, 0.0, []
    for release in range(2, removals + 2):
        one = [remaining.blocks[0].read().ids[0]]
        retained, forgotten = remaining.without(one), remaining.only(one)
        step = method.forget(record, retained, forgotten, noise=NoiseKey.fresh(release))
        worst = max(worst, step.stats["residual"] / step.stats["tolerance"])
        assert step.stats["residual"] <= step.stats["tolerance"]
        passes.append(step.stats["passes"])
        record, remaining = method.settle(step.record, retained), retained
    print(
        f"  {removals} removals: largest residual {worst:.2f} of its tightening tolerance, passes at most "
        f"{max(passes):.0f}, median {statistics.median(passes):.0f}, test accuracy {accuracy(method, record, test):.4f}"
    )


def main() -> None:
    """Run and print."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--removals", type=int, default=1000)
    removals = arguments.parse_args().removals
    if not DATA.exists():
        print(f"skipped: {DATA.name} is not here")
        return
    torch.set_num_threads(1)
    rows, test = digits_3_and_8()
    print(f"MNIST 3 against 8, n={len(rows)}, d=785, epsilon 1, delta 1e-5, l2 1e-3")
    for noise_std in reversed(NOISES):
        method = CertifiedNewton(epsilon=1.0, delta=1e-5, l2=1e-3, noise_std=noise_std, loss="logistic")
        record = method.learn(rows, seed=0, noise=NoiseKey.fresh(1))
        print(f"  noise {noise_std}: learned, test accuracy {accuracy(method, record, test):.4f}")
        one_removal(method, record, rows)
    sequence(method, record, rows, test, removals)


if __name__ == "__main__":
    main()
