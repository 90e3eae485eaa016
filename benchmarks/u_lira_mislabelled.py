"""U-LiRA on mislabelled and on random rows of digits: which methods leave something of single rows behind.

    python benchmarks/u_lira_mislabelled.py [--models 20]

A perceptron 64-32-32-10 on 1,437 digits; 50 rows are to be forgotten, mislabelled ones or random ones. For each method
that many models learn all rows under seeds of their own and forget the 50; as many never saw them. Doing nothing and
retraining (under other seeds than those it is compared with) are the two ends. The chosen forget set, the attack and
its folds are keyed: a run repeats.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from sklearn.datasets import load_digits

from expunge import Rows
from expunge.audits import answers_of, forget_set, over_forgotten, unlearn
from expunge.audits.attacks import u_lira
from expunge.audits.references import retrain
from expunge.audits.stored_releases import Learned
from expunge.learners.sgd import Sgd
from expunge.method import Method
from expunge.methods import FineTune, GradientAscent, Retrain, Rewind
from expunge.models import Mlp

LEARNER = Sgd(Mlp((32, 32)), epochs=40, batch_size=32, learning_rate=0.15)
EXACT = Retrain(LEARNER)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=20, help="of each world")
    models = parser.parse_args().models
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    x, y = data.data[order] / 16, data.target[order]
    test = Rows.of(x[1437:], y[1437:], ids=[f"test-{i}" for i in range(360)], classes=10)
    started = time.process_time()
    for text in ("mislabelled:50", "50"):
        chosen = forget_set(text, Rows.of(x[:1437], y[:1437], classes=10), seed=1)
        print(f"\n{chosen.words}, {models} models of each world")
        print(
            "method                accuracy (95 %)      AUC   TPR@1%  TPR@.1%  rows > .9  over-forgotten  test accuracy"
        )
        never = retrain(EXACT, chosen.rows.without(chosen.ids), seed=10, count=models)
        gone = chosen.rows.only(chosen.ids)
        said = answers_of(EXACT, never, gone).margins
        for name, method, learned in worlds(chosen.rows, chosen.ids, models):
            own = answers_of(method, learned, gone).margins
            found = u_lira.attack(own, said)
            below = np.mean([over_forgotten(one, said).share for one in own])
            low, high = found.interval
            print(f"{name:<20}  {found.accuracy:.3f} ({low:.3f}-{high:.3f})  {found.separation.auc:.3f}  "
                  f"{found.separation.tpr_at_1_percent:6.3f}  {found.separation.tpr_at_0_1_percent:7.3f}  "
                  f"{np.mean(found.auc_by_row > 0.9):9.2f}  {below:14.2f}  {accuracy(method, learned, test):13.4f}",
                  flush=True)  # fmt: skip
            if text.startswith("mislabelled"):
                assert name != "doing nothing" or found.separation.auc > 0.95, found.separation
                assert name != "retraining" or low <= 0.5 <= high, found.interval
    print(f"\n{time.process_time() - started:.0f} s of processor time")


def worlds(rows: Rows, ids: Any, models: int) -> Iterator[tuple[str, Method[Any], list[Learned]]]:
    """Each method's name, the method, and its models after forgetting."""
    tuned = unlearn(FineTune(LEARNER, epochs=5), rows, ids, seed=20, count=models)
    yield "doing nothing", FineTune(LEARNER), [one.before for one in tuned]
    yield "fine-tune, 5 epochs", FineTune(LEARNER), [one.after for one in tuned]
    ascent = GradientAscent(LEARNER, steps=50, learning_rate=0.05)
    yield "gradient ascent", ascent, [one.after for one in unlearn(ascent, rows, ids, seed=21, count=models)]
    negative = GradientAscent(LEARNER, steps=50, learning_rate=0.05, retain_weight=0.5)
    yield "NegGrad+", negative, [one.after for one in unlearn(negative, rows, ids, seed=22, count=models)]
    half = Rewind(LEARNER, rewind=0.5)
    yield "rewind, half", half, [one.after for one in unlearn(half, rows, ids, seed=23, count=models)]
    yield "retraining", EXACT, retrain(EXACT, rows.without(ids), seed=24, count=models)


def accuracy(method: Method[Any], learned: list[Learned], test: Rows) -> float:
    """On test rows, on average over the models."""
    log_p = [method.predict(one.release, test.columns) for one in learned]
    return float(np.mean([(p.argmax(1).numpy() == test.y).mean() for p in log_p]))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
