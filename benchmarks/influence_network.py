"""Influence on a perceptron that has learned wrong labels by heart, beside doing nothing and retraining.

    python benchmarks/influence_network.py

Digits, 1,437 rows, a perceptron 64-64-10, 100 rows mislabelled and then forgotten. Weights of two trainings of a net
are not near each other, so what counts is how many wrong labels are still believed, and the accuracy on test.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from second_order_digits import timed
from sklearn.datasets import load_digits

from expunge import NoiseKey, Rows
from expunge.learners.sgd import Sgd
from expunge.methods.influence import Influence, InfluenceRecord
from expunge.models import Mlp


def main() -> None:
    """One line for each form of the step."""
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    x, y = data.data[order] / 16, data.target[order]
    test = Rows.of(x[1437:], y[1437:], classes=10)
    y[:100] = (y[:100] + 1) % 10
    wrong, ids = Rows.of(x[:1437], y[:1437], classes=10), [str(i) for i in range(100)]
    left, gone = wrong.without(ids), wrong.only(ids)
    learner = Sgd(Mlp((64,)), epochs=120, batch_size=64, learning_rate=0.2, momentum=0.9, l2=1e-4)
    plain = Influence(learner)

    def trained(rows: Rows, seed: int = 0) -> InfluenceRecord:
        return plain.learn(rows, seed=seed, noise=NoiseKey.fresh(1))

    def agreed(record: InfluenceRecord, rows: Rows) -> float:
        return float((plain.predict(plain.release(record), rows.columns).argmax(1).numpy() == rows.y).mean())

    before, clean, other = trained(wrong), trained(left), trained(left, 1)
    print(f"cold retraining {timed(lambda: trained(left), 1):.0f} ms; 64-64-10, 100 of 1,437 rows mislabelled")
    for name, record in (("nothing done", before), ("retrained", clean), ("retrained, other seed", other)):
        print(f"  {name:<24} wrong labels believed {agreed(record, gone):.2f}, test {agreed(record, test):.4f}")
    for gradient in ("removed", "full"):
        for damping in (0.01, 0.03, 0.1):
            method = Influence(learner, gradient=gradient, damping=damping)
            step = method.forget(before, left, gone, noise=NoiseKey.fresh(2))
            taken = timed(lambda: method.forget(before, left, gone, noise=NoiseKey.fresh(2)), 3)  # noqa: B023
            print(f"  {gradient}, damping {damping:<6g} wrong labels believed {agreed(step.record, gone):.2f}, "
                  f"test {agreed(step.record, test):.4f}, {taken:.0f} ms")  # fmt: skip


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
