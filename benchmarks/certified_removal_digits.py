"""Certified removal on scikit-learn's digits, odd against even: bounds, how long a budget lasts, and doing nothing.

python benchmarks/certified_removal_digits.py
"""

from __future__ import annotations

import os
import statistics
import time
import timeit
from collections.abc import Callable
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import torch
from digits import odd_or_even

from expunge import NoiseKey, Rows
from expunge.maths.newton_residual import objective_budget
from expunge.methods.certified_removal import CertifiedRemoval, CertifiedRemovalRecord
from expunge.objective.heads import heads_for
from expunge.objective.removal_account import BOUNDS

PUBLISHED: dict[str, Any] = {"delta": 1e-4, "perturbation": "objective", "intercept": False, "row_norm": 1.0}


def timed(work: Callable[[], object]) -> float:
    """Median milliseconds of three calls."""
    return 1e3 * statistics.median(timeit.repeat(work, number=1, repeat=3))


def accuracy(method: CertifiedRemoval, record: CertifiedRemovalRecord, test: Rows) -> float:
    """Share of `test` classified right by the release."""
    return float((method.predict(method.release(record), test.columns).argmax(1).numpy() == test.y).mean())


def bounds(rows: Rows) -> None:
    """Each bound beside the residual."""
    method = CertifiedRemoval(noise_std=10.0, l2=1e-3, intercept=False, row_norm=1.0)
    record = method.learn(rows, seed=0, noise=NoiseKey.fresh(1))
    runs = [method.forget(record, rows.without([i]), rows.only([i]), noise=NoiseKey.fresh(2)).stats for i in range(60)]
    print("60 rows, one at a time from the fit, l2 1e-3, b = 0: ratio, least / median / largest")
    for name in ("residual", *(f"bound_{b}" for b in BOUNDS[1:]), "arithmetic"):
        ratio = [stats[name] / stats["bound_per_sample"] for stats in runs]
        print(f"  {name} / per_sample: {min(ratio):.3g} / {statistics.median(ratio):.3g} / {max(ratio):.3g}")


def capacity(rows: Rows, test: Rows, l2: float, noise_std: float, key: bytes) -> None:
    """How many of 1000 removals each account lasts."""
    method = CertifiedRemoval(l2=l2, noise_std=noise_std, **PUBLISHED)
    record = method.learn(rows, seed=0, noise=NoiseKey(key * 32, 1))
    objective, _ = heads_for(rows, 64, 1, "logistic", l2, intercept=False)
    budget, account, remaining, worst = objective_budget(noise_std, 1.0, 1e-4), record.account, rows, 0.0
    lasted: dict[str, int] = {}
    for i in range(1000):
        account, stats = account.stepped(objective, remaining.without([i]), remaining.only([i]), sign=1)
        remaining, worst = remaining.without([i]), max(worst, stats["residual"])
        for name in ("residual", *(f"beta_{bound}" for bound in BOUNDS)):
            if stats[name] > budget:
                lasted.setdefault(name, i)
        account = account.with_anchor(objective, remaining) if i % 50 == 49 else account
    counts = "  ".join(f"{n} {lasted.get(n, 1000)}" for n in [*(f"beta_{b}" for b in BOUNDS[::-1]), "residual"])
    print(f"  l2 {l2:g} std {noise_std:g} accuracy {accuracy(method, record, test):.3f}: {counts}; "
          f"residual {worst:.2g} of {budget:.3g}")  # fmt: skip


def sequence(name: str, method: CertifiedRemoval, rows: Rows, test: Rows) -> None:
    """1000 requests, one by one."""
    record, remaining, runs = method.learn(rows, seed=0, noise=NoiseKey.fresh(1)), rows, []
    start = time.perf_counter()
    for i in range(1000):
        few, remaining = remaining.only([i]), remaining.without([i])
        step = method.forget(record, remaining, few, noise=NoiseKey.fresh(i + 2))
        record = method.settle(step.record, remaining)
        runs.append(step.stats)
    each, spent = time.perf_counter() - start, max(s["beta"] / s["budget"] for s in runs)
    solves, passes = sum(s["resolved"] for s in runs), statistics.mean(s["passes"] for s in runs)
    print(f"  {name}: {solves:.0f}, {spent:.2f}, {passes:.1f}, {each:.1f}, {accuracy(method, record, test):.3f}")


def beside_nothing(method: CertifiedRemoval, rows: Rows, test: Rows, first: NoiseKey) -> None:
    """One line for each batch size."""
    record = method.learn(rows, seed=0, noise=first)
    print(f"output noise 0.1; accuracy before {accuracy(method, record, test):.4f}")
    print("rows resolved passes forget-ms cold-ms of-doing-nothing retrain/retrain accuracy after/retrained")
    for m in (1, 10, 50, 200):
        kept, few, second = rows.without(range(m)), rows.only(range(m)), NoiseKey.fresh(2)
        step, cold = method.forget(record, kept, few, noise=second), method.learn(kept, seed=0, noise=second)
        clean = method.minimiser(kept)
        nothing, left, band = (float(torch.dist(r.account.centre, clean)) for r in (record, step.record, cold))
        forget = timed(lambda: method.forget(record, kept, few, noise=second))  # noqa: B023
        learn = timed(lambda: method.learn(kept, seed=0, noise=second))  # noqa: B023
        print(f"{m} {step.stats['resolved']:.0f} {step.stats['passes']:.0f} {forget:.1f} {learn:.1f} "
              f"{left / nothing:.1e} {band / nothing:.1e} {accuracy(method, step.record, test):.4f} / "
              f"{accuracy(method, cold, test):.4f}")  # fmt: skip


def main() -> None:
    """Run and print."""
    torch.set_num_threads(1)
    rows, test = odd_or_even()
    bounds(rows)
    print("removals before beta passes the budget, of 1000 one by one; epsilon 1, delta 1e-4, as published")
    for l2, noise_std, key in [(1e-3, 1.0, b"7"), *((1e-3, 10.0, k) for k in (b"7", b"8", b"9")), (1e-2, 1.0, b"7")]:
        capacity(rows, test, l2, noise_std, key)
    print("1000 removals one by one, l2 1e-3: solves, largest beta / budget, passes, ms each, accuracy after")
    output = CertifiedRemoval(noise_std=0.1, l2=1e-3, intercept=False)
    for bound in ("per_sample", "published"):
        method = CertifiedRemoval(noise_std=10.0, bound=bound, **PUBLISHED)
        sequence(f"objective, {bound}, std 10", method, rows, test)
    sequence("output, per_sample, std 0.1", output, rows, test)
    beside_nothing(output, rows, test, NoiseKey.fresh(1))


if __name__ == "__main__":
    main()
