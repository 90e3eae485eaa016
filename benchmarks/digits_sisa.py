"""SISA on scikit-learn's handwritten digits: accuracy, and the visits of rows that requests cost, beside retraining.

    python benchmarks/digits_sisa.py

Visits are counted as a share of training one network on everything. After each request the record's digest is compared
with that of learning again without the rows; doing nothing would have left the old digest.
"""

from __future__ import annotations

import os
import statistics

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from sklearn.datasets import load_digits

from expunge import NoiseKey, Rows
from expunge.learners.sgd import Sgd
from expunge.methods import Retrain, Sisa
from expunge.models import Mlp
from expunge.record import digest

EPOCHS, REQUESTS, BATCH = 30, 20, 50


def main() -> None:
    """Run and print one line for each configuration."""
    torch.set_num_threads(1)
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    x, y = data.data[order] / 16.0, data.target[order]
    rows, test = Rows.of(x[:1437], y[:1437], classes=10), Rows.of(x[1437:], y[1437:], classes=10)
    learner = Sgd(Mlp((64,)), epochs=EPOCHS)
    whole = EPOCHS * len(rows)
    key = NoiseKey.fresh(1)

    def accuracy(method: Retrain | Sisa, record: object) -> float:
        scores = method.predict(method.release(record), test.columns)  # type: ignore[arg-type]
        return float((scores.argmax(1).numpy() == test.y).mean())

    one = Retrain(learner)
    print(f"digits, {len(rows)} rows, a tanh network of 64 units, {EPOCHS} epochs, seed 0")
    print("shards x slices  accuracy  one request  expected  batch of 50: share, accuracy, digest  do-nothing digest")
    print(f"one network      {accuracy(one, one.learn(rows, seed=0, noise=key)):.3f}     1            1         1")
    for shards, slices in ((5, 1), (5, 5), (10, 5), (20, 5)):
        method = Sisa(learner, shards=shards, slices=slices)
        record = method.learn(rows, seed=0, noise=key)
        single = []
        for i in range(REQUESTS):
            step = method.forget(record, rows.without([i]), rows.only([i]), noise=key)
            single.append(step.stats["rows_visited"] / whole)
        gone = list(range(BATCH))
        step = method.forget(record, rows.without(gone), rows.only(gone), noise=key)
        again = method.learn(rows.without(gone), seed=0, noise=key)
        assert digest(step.record) == digest(again)
        assert digest(record) != digest(again)
        print(
            f"{shards:>2} x {slices}           {accuracy(method, record):.3f}     {statistics.mean(single):.3f}"
            f"        {(2 / 3 + 1 / (3 * slices)) / shards:.3f}     {step.stats['rows_visited'] / whole:.3f}, "
            f"{accuracy(method, step.record):.3f}, equal                      other"
        )


if __name__ == "__main__":
    main()
