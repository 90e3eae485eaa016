"""Fine-tuning and gradient ascent on a network, beside doing nothing and retraining.

    python benchmarks/what_people_do.py

Handwritten digits of scikit-learn, a perceptron of 64 hidden units, 50 rows to forget: once mislabelled, once random.
Printed for each method: accuracy on test rows, the mean loss of the forgotten rows, the distance of the weights to the
model retrained under the same seed as a share of what doing nothing leaves, the calibrated membership area (forgotten
against test rows, five references under other seeds; an honest model gives about 0.5), seconds. Means over three seeds.
The line "retrain" is the band: what an exact method gives.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from sklearn.datasets import load_digits

from expunge import NoiseKey, Rows
from expunge.audits.attacks import membership
from expunge.learners.sgd import Sgd
from expunge.method import Method, Release
from expunge.methods.fine_tune import FineTune
from expunge.methods.gradient_ascent import GradientAscent
from expunge.methods.retrain import Retrain
from expunge.models import Mlp

LEARNER = Sgd(Mlp((64,)), epochs=40, batch_size=32, learning_rate=0.05)
METHODS: dict[str, Method[Any]] = {
    "fine-tune, 2 epochs": FineTune(LEARNER, epochs=2),
    "fine-tune, 10 epochs": FineTune(LEARNER, epochs=10),
    "ascent, max_loss ln 10": GradientAscent(LEARNER, steps=40, learning_rate=0.05, batch_size=50),
    "ascent, max_loss 0.5": GradientAscent(LEARNER, steps=40, learning_rate=0.05, batch_size=50, max_loss=0.5),
    "ascent, max_loss 14": GradientAscent(LEARNER, steps=40, learning_rate=0.05, batch_size=50, max_loss=14.0),
    "ascent, max_loss 1000": GradientAscent(LEARNER, steps=40, learning_rate=0.05, batch_size=50, max_loss=1e3),
    "NegGrad+ 0.9, max_loss ln 10": GradientAscent(
        LEARNER, steps=200, learning_rate=0.05, batch_size=50, retain_weight=0.9
    ),
    "NegGrad+ 0.9, max_loss 14": GradientAscent(
        LEARNER, steps=200, learning_rate=0.05, batch_size=50, retain_weight=0.9, max_loss=14.0
    ),
}
SEEDS, REFERENCES, GONE = (1, 2, 3), 5, 50


def digits(mislabelled: bool) -> tuple[Rows, Rows]:
    """Training rows, of which the first 50 are to be forgotten, and test rows."""
    data = load_digits()
    generator = np.random.default_rng(0)
    order = generator.permutation(len(data.target))
    x, y = data.data[order] / 16.0, data.target[order]
    if mislabelled:
        y[:GONE] = (y[:GONE] + generator.integers(1, 10, size=GONE)) % 10
    return Rows.of(x[:1437], y[:1437], classes=10), Rows.of(x[1437:], y[1437:], classes=10)


def weights(release: Release) -> torch.Tensor:
    """All weights as one vector."""
    return torch.cat([release.tensors[name].double().ravel() for name in sorted(release.tensors)])


def timed(work: Callable[[], Release]) -> tuple[Release, float]:
    """A release, and the seconds it took."""
    start = time.perf_counter()
    made = work()
    return made, time.perf_counter() - start


def main() -> None:
    """Run and print both tables."""
    torch.set_num_threads(1)
    key = NoiseKey.fresh(1)
    for mislabelled in (True, False):
        rows, test = digits(mislabelled)
        ids = [str(i) for i in range(GONE)]
        retained, forgotten = rows.without(ids), rows.only(ids)

        def log_p(release: Release, given: Rows) -> Any:
            return Retrain(LEARNER).predict(release, given.columns).double().numpy()

        def margins(release: Release) -> tuple[Any, Any]:
            return tuple(membership.features(log_p(release, r), r.y)[membership.MARGIN] for r in (forgotten, test))  # type: ignore[return-value]  # noqa: B023

        retrain = Retrain(LEARNER)
        every: dict[str, Method[Any]] = {"doing nothing": FineTune(LEARNER), "retrain": retrain, **METHODS}
        seen = [margins(retrain.release(retrain.learn(retained, seed=100 + k, noise=key))) for k in range(REFERENCES)]
        references = tuple(np.stack([pair[side] for pair in seen]) for side in (0, 1))
        figures: dict[str, list[list[float]]] = {}
        for seed in SEEDS:
            for name, method in every.items():
                record = method.learn(rows, seed=seed, noise=key)
                clean = weights(method.release(method.learn(retained, seed=seed, noise=key)))
                before = method.release(record)

                def forget() -> Release:
                    return method.release(method.forget(record, retained, forgotten, noise=key).record)  # noqa: B023

                after, seconds = (before, 0.0) if name == "doing nothing" else timed(forget)
                gap = float((weights(after) - clean).norm() / (weights(before) - clean).norm())
                loss = -float(log_p(after, forgotten)[np.arange(GONE), forgotten.y].mean())
                accuracy = float((log_p(after, test).argmax(1) == test.y).mean())
                area = membership.calibrated_auc(*margins(after), references, membership.RESOLUTION)  # type: ignore[arg-type]
                figures.setdefault(name, []).append([accuracy, loss, gap, area, seconds])
        print(f"{GONE} {'mislabelled' if mislabelled else 'random'} rows: accuracy, loss, distance, area, seconds")
        for name, measured in figures.items():
            means = [statistics.mean(column) for column in zip(*measured, strict=True)]
            print("| {} | {:.3f} | {:.2f} | {:.2f} | {:.2f} | {:.2f} |".format(name, *means))


if __name__ == "__main__":
    main()
