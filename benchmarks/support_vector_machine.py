"""Support vector machine: forgetting beside scikit-learn's SVC refits, the roads taken, and how often paths fail.

    python benchmarks/support_vector_machine.py [--largest 10000] [--images 4000]

CPU seconds of one thread, medians, as ratios in this run; asserts equal digests and the conditions of the optimum.
Doing nothing is printed as the largest change of a decision that forgetting makes.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.svm import SVC

from expunge import NoiseKey, Rows
from expunge.learners.class_pairs import decisions
from expunge.methods import SupportVectorMachine
from expunge.record import digest

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
NOISE = NoiseKey.fresh(1)
KERNELS = {"rbf": "rbf", "linear": "linear", "polynomial": "poly"}
ROADS = ("unchanged", "on_path", "warm", "learned")


def seconds(work: Callable[[], object], repeats: int = 1) -> float:
    """Median CPU time of a call."""
    taken = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return statistics.median(taken)


def learned(method: SupportVectorMachine, rows: Rows) -> Any:
    return method.learn(rows, seed=0, noise=NOISE)


def refit(method: SupportVectorMachine, rows: Rows, tol: float) -> SVC:
    x = rows.columns["x"]
    gamma = method.gamma or 1 / x.shape[1]
    shape = {"kernel": KERNELS[method.kernel], "gamma": gamma, "coef0": method.coef0, "degree": method.degree}
    return SVC(C=method.cost, tol=tol, cache_size=1000, **shape).fit(x, rows.y)


def cloud(n: int, p: int, seed: int, noise: float = 0.5) -> Rows:
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(n, p))
    y = x[:, 0] + (x[:, -1] ** 2 - 1) / 2 + noise * generator.normal(size=n) > 0
    return Rows.of(x, y.astype(int), classes=2)


def measure(name: str, method: SupportVectorMachine, rows: Rows, test: Rows | None, requests: int = 5) -> None:
    """Single support vectors, a row without weight, a random batch of one in a hundred; beside refits."""
    generator = np.random.default_rng(1)
    start = time.process_time()
    record = learned(method, rows)
    learn = time.process_time() - start
    weighty = np.unique(np.concatenate([machine.keys.numpy() for machine in record.machines]))
    holds = np.isin(rows.keys, weighty)
    ids = rows.ids
    taken, roads, events, moved = [], Counter[str](), [], []
    queries = (test or rows).columns
    before = decisions(method.release(record), queries)
    for one in generator.choice(np.flatnonzero(holds), requests, replace=False):
        retained, forgotten = rows.without(ids[one]), rows.only(ids[one])
        start = time.process_time()
        step = method.forget(record, retained, forgotten, noise=NOISE)
        taken.append(time.process_time() - start)
        roads.update({road: int(step.stats[road]) for road in ROADS})
        events.append(step.stats["events"])
        moved.append(float((decisions(method.release(step.record), queries) - before).abs().max()))
    again = learned(method, retained)
    assert digest(step.record) == digest(again)
    assert digest(record) != digest(again)
    idle = ids[np.flatnonzero(~holds)[0]]
    free = seconds(lambda: method.forget(record, rows.without(idle), rows.only(idle), noise=NOISE))
    batch = ids[generator.choice(len(rows), len(rows) // 100, replace=False)].tolist()
    kept, gone = rows.without(batch), rows.only(batch)
    many = seconds(lambda: method.forget(record, kept, gone, noise=NOISE))
    loose, tight = (seconds(lambda tol=tol: refit(method, retained, tol)) for tol in (1e-3, 1e-8))  # type: ignore[misc]
    forget = statistics.median(taken)
    right = ""
    if test is not None:
        answers = method.predict(method.release(record), test.columns).argmax(1).numpy()
        right = f"{float((answers == test.y).mean()):.4f}"
    beside = f"{learn / forget:>6.1f}x {loose / forget:>6.1f}x {tight / forget:>6.1f}x"
    went = "/".join(str(roads[road]) for road in ROADS)
    print(
        f"{name:<26} {len(rows):>5}  {len(weighty):>5}  {1e3 * forget:>8.1f} ms {beside}  {1e3 * free:>7.1f} ms  "
        f"{1e3 * many:>8.1f} ms {learn / many:>6.1f}x {tight / many:>6.1f}x   {statistics.median(events):>4.0f}  "
        f"{went:<10} {statistics.median(moved):.1e}  {right}",
        flush=True,
    )


def failures() -> None:
    """Hundreds of deletions over random problems: the roads taken, digests, and the conditions at the end."""
    settings = [
        ("rbf, C 1", SupportVectorMachine(), "cloud"),
        ("rbf, C 100", SupportVectorMachine(cost=100.0), "cloud"),
        ("rbf, C 0.01", SupportVectorMachine(cost=0.01), "cloud"),
        ("rbf, gamma 0.01", SupportVectorMachine(gamma=0.01), "cloud"),
        ("linear, C 1", SupportVectorMachine("linear"), "cloud"),
        ("linear, C 0.01", SupportVectorMachine("linear", 0.01), "cloud"),
        ("polynomial, degree 3", SupportVectorMachine("polynomial"), "cloud"),
        ("rbf, copies", SupportVectorMachine(), "grid"),
        ("linear, copies", SupportVectorMachine("linear"), "grid"),
        ("linear, separable", SupportVectorMachine("linear", 1e3), "apart"),
    ]
    for name, method, kind in settings:
        roads, equal, steps, worst = Counter[str](), 0, 0, 0.0
        for seed in range(8):
            rows = problem(kind, seed)
            record, order = learned(method, rows), np.random.default_rng(seed).permutation(len(rows))
            for place in range(12):
                ids = [str(i) for i in order[4 * place : 4 * place + 1 + place % 4]]
                step = method.forget(record, rows.without(ids), rows.only(ids), noise=NOISE)
                record, rows = step.record, rows.without(ids)
                roads.update({road: int(step.stats[road]) for road in ROADS})
                steps += 1
                equal += digest(record) == digest(learned(method, rows))
                worst = max(worst, violation(method, record, rows))
        assert equal == steps
        print(
            f"{name:<22} {steps:>5}  "
            + "  ".join(f"{roads[road]:>9}" for road in ROADS)
            + f"   {equal:>5}   {worst:.1e}"
        )


def problem(kind: str, seed: int) -> Rows:
    generator = np.random.default_rng(seed)
    if kind == "grid":
        x = generator.integers(0, 5, size=(150, 2)).astype(float)
        return Rows.of(x, (x.sum(1) + generator.normal(size=150) > 4).astype(int), classes=2)
    if kind == "apart":
        y = np.arange(150) % 2
        return Rows.of(generator.normal(size=(150, 4)) + 8 * y[:, None] * np.eye(1, 4), y, classes=2)
    return cloud(150, 4, seed)


def violation(method: SupportVectorMachine, record: Any, rows: Rows) -> float:
    """The largest violation of the conditions by the release's decisions, over the rows that stay."""
    machine = record.machines[0]
    g = (2 * rows.y - 1) * decisions(method.release(record), rows.columns)[:, 0].numpy() - 1
    x, which = np.unique(np.column_stack([rows.columns["x"], rows.y]), axis=0, return_inverse=True)
    upper = method.cost * np.bincount(which)
    alpha = np.zeros(len(x))
    place = dict(zip(rows.keys.tolist(), which.tolist(), strict=True))
    for key, weight in zip(machine.keys.tolist(), machine.alpha.tolist(), strict=True):
        alpha[place[key]] = weight
    alpha, upper = alpha[which], upper[which]
    over = np.where(alpha > 0, g, 0.0).max(initial=0.0)
    under = np.where(alpha < upper, -g, 0.0).max(initial=0.0)
    return float(max(over, under))


def real_data(images_kept: int, requests: int = 5) -> None:
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    x, y = data.data[order] / 16.0, data.target[order]
    parts = Rows.of(x[:1437], y[:1437], classes=10), Rows.of(x[1437:], y[1437:], classes=10)
    measure("digits, rbf", SupportVectorMachine(cost=10.0, gamma=0.05), *parts, requests)
    measure("digits, linear", SupportVectorMachine("linear"), *parts, requests)
    if not DATA.exists():
        print("skipped: MNIST and Adult are not here")
        return
    with np.load(DATA / "mnist.npz", allow_pickle=False) as stored:
        images = [(stored[f"X_{part}"], stored[f"y_{part}"]) for part in ("train", "test")]
    both = []
    for pixels, label in images:
        keep = (label == 3) | (label == 8)
        some = pixels[keep][:images_kept].reshape(-1, 784) / 255.0
        both.append(Rows.of(some, (label[keep][:images_kept] == 8).astype(int), classes=2))
    measure("MNIST 3 against 8, rbf", SupportVectorMachine(cost=5.0, gamma=0.02), *both, requests)
    measure("MNIST 3 against 8, linear", SupportVectorMachine("linear", 0.01), *both, requests)
    with np.load(DATA / "adult.npz", allow_pickle=False) as stored:
        numbers, codes, target = stored["X_num"].astype(float), stored["X_cat"], stored["y"].astype(int)
    numbers = (numbers - numbers.mean(0)) / numbers.std(0)
    table = np.column_stack([numbers, *(np.eye(codes[:, j].max() + 1)[codes[:, j]] for j in range(codes.shape[1]))])
    cut = Rows.of(table[:4_000], target[:4_000], classes=2), Rows.of(table[40_000:], target[40_000:], classes=2)
    measure("Adult cut, rbf", SupportVectorMachine(gamma=0.02), *cut, requests)


def main() -> None:
    """Run and print."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--largest", type=int, default=10_000)
    arguments.add_argument("--images", type=int, default=4_000, help="of MNIST's 3 and 8, at most")
    chosen = arguments.parse_args()
    torch.set_num_threads(1)
    learned(SupportVectorMachine(), cloud(20, 4, 0))  # compiles
    print("roads: machines unchanged / on the path / by descent from the old weights / learned from nothing")
    print("settings               steps  unchanged    on path       warm    learned   equal   worst violation")
    failures()
    print("\nforget: one support vector; x: times that; free: a row without weight; batch: a random 1 % of the rows")
    print(
        "data                        rows support      forget    our     SVC     SVC     free          batch    our"
        "     SVC    events roads   do nothing  accuracy\n"
        "                                                      learn    1e-3    1e-8                            "
        "learn    1e-8"
    )
    for n in (1_000, 3_000, 10_000):
        if n <= chosen.largest:
            measure("cloud, rbf", SupportVectorMachine(), cloud(n, 20, 0), None)
            measure("cloud, linear", SupportVectorMachine("linear", 0.1), cloud(n, 20, 0), None)
    real_data(chosen.images)


if __name__ == "__main__":
    main()
