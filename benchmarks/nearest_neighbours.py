"""Nearest neighbours: forgetting one row beside scikit-learn's refits, n from 1,000 to 1,000,000, and on real data.

    python benchmarks/nearest_neighbours.py [--largest 1000000]

CPU seconds of one thread, medians, as ratios in this run; asserts counts and equal digests. Scikit-learn's brute-force
refit checks and keeps the rows it is given; its k-d tree is built anew. Doing nothing leaves the rows in the release:
printed is the share of answers that forgetting changes.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

from expunge import NoiseKey, Rows
from expunge.methods import NearestNeighbours
from expunge.record import digest

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
NOISE = NoiseKey.fresh(1)
COLUMNS, REQUESTS, QUERIES = 10, 9, 64


def seconds(work: Callable[[], object], repeats: int = 3) -> float:
    """Median CPU time of a call."""
    taken = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return statistics.median(taken)


def learned(method: NearestNeighbours, rows: Rows) -> Any:
    return method.learn(rows, seed=0, noise=NOISE)


def one_size(n: int) -> None:
    """Forget single rows, and compare with refits on what is left."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(n, COLUMNS))
    y = (x[:, 0] + x[:, 1] ** 2 > 1).astype(int)
    rows, method = Rows.of(x, y, classes=2), NearestNeighbours()
    record = learned(method, rows)
    taken, written = [], []
    for one in generator.choice(n, REQUESTS, replace=False).tolist():
        retained, forgotten = rows.without([one]), rows.only([one])
        start = time.process_time()
        step = method.forget(record, retained, forgotten, noise=NOISE)
        taken.append(time.process_time() - start)
        written.append(step.stats["rows_written"])
        assert step.stats["rows_visited"] == 0
        assert step.stats["buckets_written"] <= 1
        assert step.stats["rows_written"] <= method.bucket_rows
    if n <= 100_000:
        assert digest(step.record) == digest(learned(method, retained))
    forget, again = statistics.median(taken), seconds(lambda: learned(method, rows), 1)
    brute = seconds(lambda: KNeighborsClassifier(5, algorithm="brute").fit(x[1:], y[1:]))
    tree = seconds(lambda: KNeighborsClassifier(5, algorithm="kd_tree").fit(x[1:], y[1:]), 1)
    release = method.release(record)
    mine = seconds(lambda: method.predict(release, {"x": x[:QUERIES]}), 1) / QUERIES
    fitted = KNeighborsClassifier(5, algorithm="brute").fit(x, y)
    theirs = seconds(lambda: fitted.predict_proba(x[:QUERIES]), 1) / QUERIES
    print(
        f"{n:>9,}  {len(record.buckets):>7}  {statistics.median(written):>7.0f}   {1e3 * forget:>8.2f} ms  "
        f"{again / forget:>8.1f}x  {brute / forget:>8.2f}x  {tree / forget:>8.1f}x      {mine / theirs:>6.2f}x"
    )


def real(name: str, rows: Rows, test: Rows, gone: int) -> None:
    """Accuracy, equal answers, and what doing nothing would answer otherwise."""
    method, ids = NearestNeighbours(), rows.ids[:gone].tolist()
    record = learned(method, rows)
    retained, forgotten = rows.without(ids), rows.only(ids)
    forget = seconds(lambda: method.forget(record, retained, forgotten, noise=NOISE))
    step = method.forget(record, retained, forgotten, noise=NOISE)
    fresh = learned(method, retained)
    assert digest(step.record) == digest(fresh)
    x, y = retained.columns["x"], retained.y
    refit = seconds(lambda: KNeighborsClassifier(5, algorithm="brute").fit(x, y))
    before, after, again = (method.predict(method.release(r), test.columns) for r in (record, step.record, fresh))
    assert torch.equal(after, again)
    right = [float((scores.argmax(1).numpy() == test.y).mean()) for scores in (before, after)]
    stays = float((before != after).any(1).double().mean())
    print(
        f"{name:<22} {len(rows):>6}  {gone:>5}  {step.stats['buckets_written']:>7.0f}  {1e3 * forget:>7.2f} ms  "
        f"{refit / forget:>7.2f}x   {right[0]:.4f}  {right[1]:.4f}   0        {stays:.3f}"
    )


def real_data() -> None:
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    x, y = data.data[order] / 16.0, data.target[order]
    parts = Rows.of(x[:1437], y[:1437], classes=10), Rows.of(x[1437:], y[1437:], classes=10)
    real("digits, one row", *parts, 1)
    real("digits", *parts, 50)
    if not DATA.exists():
        print("skipped: MNIST and Adult are not here")
        return
    with np.load(DATA / "mnist.npz", allow_pickle=False) as stored:
        images = {name: stored[name] for name in stored.files}
    train = Rows.of(images["X_train"][:20_000].reshape(-1, 784) / 255.0, images["y_train"][:20_000], classes=10)
    held_out = Rows.of(images["X_test"][:500].reshape(-1, 784) / 255.0, images["y_test"][:500], classes=10)
    real("MNIST, one row", train, held_out, 1)
    real("MNIST", train, held_out, 200)
    with np.load(DATA / "adult.npz", allow_pickle=False) as stored:
        numbers, target = stored["X_num"].astype(float), stored["y"].astype(int)
    numbers = (numbers - numbers.mean(0)) / numbers.std(0)
    real("Adult, numbers", Rows.of(numbers[:32_561], target[:32_561], classes=2),
         Rows.of(numbers[40_000:42_000], target[40_000:42_000], classes=2), 300)  # fmt: skip


def main() -> None:
    """Run and print."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--largest", type=int, default=1_000_000)
    largest = arguments.parse_args().largest
    torch.set_num_threads(1)
    one_size(100)  # compiles
    print(f"\n{COLUMNS} columns, 5 neighbours, median of {REQUESTS} single requests; x: times our forgetting")
    print("        n  buckets  written       forget  our learn  brute fit   tree fit   answer: ours / brute")
    for n in (1_000, 10_000, 100_000, 1_000_000):
        if n <= largest:
            one_size(n)
    print("\ndata                     rows   gone  buckets       forget   brute   accuracy       after: answers that")
    print("                                      written               refit   before   after   differ   do nothing")
    real_data()


if __name__ == "__main__":
    main()
