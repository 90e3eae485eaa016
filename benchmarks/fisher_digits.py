"""Fisher forgetting and Newton shift on scikit-learn's handwritten digits, beside doing nothing and refitting.

    python benchmarks/fisher_digits.py

First the exact beside the empirical Fisher information (odd against even, unit rows, noise off), then ten classes.
Distances are between noiseless centres, as a share of what doing nothing leaves; `retrain/retrain` is that share
between two trainings. Refits are the learner's own, from zero and from the last release. Times are of the CPU.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from sklearn.datasets import load_digits

from expunge import NoiseKey, Rows
from expunge.learners.convex import Convex
from expunge.maths.curvature import Spectral
from expunge.maths.curvature_noise import NoiseLaw, structured_divergence
from expunge.methods.fisher import Fisher
from expunge.methods.newton_shift import NewtonShift
from expunge.objective.curvature import curvature

QUIET = 1e-9
NOISE = 1e-3
PUBLISHED = {"m' = m": "1.5/13.0/282.4x, < .2 %", "m' = m/8": "1.0/3.3/36.8x, about 0"}  # over the survey's data sets


def timed(work: Callable[[], object], repeats: int = 5) -> float:
    """Median milliseconds of the CPU that a call takes."""
    taken = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return 1e3 * statistics.median(taken)


def digits(*, parity: bool) -> tuple[Rows, Rows]:
    """Rows to learn and to test on: ten classes with pixels in [0, 1], or odd and even with rows of unit norm."""
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    x, y = data.data[order] / 16.0, data.target[order]
    if parity:
        x = x - 0.5
        x, y = x / np.linalg.norm(x, axis=1, keepdims=True), y % 2
    classes = 2 if parity else 10
    return Rows.of(x[:1437], y[:1437], classes=classes), Rows.of(x[1437:], y[1437:], classes=classes)


def solved(learner: Convex, rows: Rows, start: Any = None) -> Any:
    begin = start or learner.start(rows.schema, 0, ("benchmark",))
    return learner.train(begin, rows, seed=0, purpose=("benchmark",))


def exact_and_empirical() -> None:
    rows, _ = digits(parity=True)
    ids = [str(i) for i in range(100)]
    retained, forgotten = rows.without(ids), rows.only(ids)
    learner = Convex(loss="logistic", l2=1e-3)
    goal = learner.flat(solved(learner, retained))
    print("odd against even, 100 of 1437 rows: distance to the minimiser without them")
    print(f"  doing nothing  {float((learner.flat(solved(learner, rows)) - goal).norm()):.4f}")
    for form in ("exact", "kronecker", "diagonal", "empirical"):
        method = Fisher(learner, QUIET, form=form)
        record = method.learn(rows, seed=0, noise=NoiseKey.fresh(1))
        after = method.forget(record, retained, forgotten, noise=NoiseKey.fresh(2)).record
        print(f"  {form:<13}  {float((learner.flat(after.training) - goal).norm()):.4f}")


def speed(m: int) -> None:
    rows, test = digits(parity=False)
    ids = [str(i) for i in range(m)]
    retained, forgotten = rows.without(ids), rows.only(ids)
    learner = Convex(l2=1e-3, tol=1e-6)
    goal, before = (learner.flat(solved(replace(learner, tol=1e-9), part)) for part in (retained, rows))
    null = float((learner.flat(solved(learner, retained)) - goal).norm())  # two trainings end within their tolerance
    nothing = float((before - goal).norm())

    def law(w: torch.Tensor, part: Rows) -> tuple[Spectral, torch.Tensor]:
        started = learner.start(rows.schema, 0, ("benchmark",))
        F = curvature(learner.objective(started), w, part, form="exact", damping=0.0, dense_limit=2000)
        assert isinstance(F, Spectral)
        return F, NoiseLaw(NOISE, -0.25).variances(F)

    still = structured_divergence(before - goal, *law(before, rows), *law(goal, retained))

    def accuracy(method: Any, record: Any) -> float:
        return float((method.predict(method.release(record), test.columns).argmax(1).numpy() == test.y).mean())

    cold = timed(lambda: solved(learner, retained), 3)
    print(f"m={m}: doing nothing leaves {still / 1000:.3g} kNATs; retrain/retrain {null / nothing:.1e}; "
          f"cold refit {cold:.0f} ms")  # fmt: skip
    for name, method in {
        "m' = m": Fisher(learner, NOISE),
        "m' = m/8": Fisher(learner, NOISE, batch_size=max(1, m // 8)),
        "kronecker": Fisher(learner, NOISE, form="kronecker"),
        "diagonal": Fisher(learner, NOISE, form="diagonal"),
        "shift": NewtonShift(learner, tradeoff=1e-4, error_std=1e-4),  # the noise of scale 1e-3 as above
    }.items():
        record: Any = method.learn(rows, seed=0, noise=NoiseKey.fresh(1))
        step = method.forget(record, retained, forgotten, noise=NoiseKey.fresh(2))
        again: Any = method.learn(retained, seed=0, noise=NoiseKey.fresh(2))
        off = {"noise_std": QUIET} if isinstance(method, Fisher) else {"tradeoff": 1e-18, "error_std": 1e-9}
        quiet: Any = replace(method, **off)  # type: ignore[type-var]
        still_record = quiet.learn(rows, seed=0, noise=NoiseKey.fresh(1))
        centre = learner.flat(quiet.forget(still_record, retained, forgotten, noise=NoiseKey.fresh(2)).record.training)
        taken = timed(lambda: method.forget(record, retained, forgotten, noise=NoiseKey.fresh(2)), 3)  # noqa: B023
        warm = timed(lambda: solved(learner, retained, record.training), 3)  # noqa: B023
        print(
            f"  {name:<10} {taken:>6.0f} ms, {cold / taken:>5.1f}x cold, {warm / taken:>5.1f}x warm;"
            f" {float((centre - goal).norm()) / nothing:.1e} of doing nothing;"
            f" {step.stats['divergence_knats']:.2g} kNATs left; accuracy {accuracy(method, step.record):.4f} beside"
            f" {accuracy(method, again):.4f} learned again"
            + (f" [published: {PUBLISHED[name]}]" if name in PUBLISHED else "")
        )


if __name__ == "__main__":
    torch.set_num_threads(1)
    exact_and_empirical()
    print(
        f"ten classes, 1437 rows, 650 parameters, noise {NOISE} F^(-1/4), l2 1e-3; published: 3.3 and 33.4 kNATs left"
    )
    for size in (10, 100, 200):
        speed(size)
