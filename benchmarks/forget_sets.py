"""Which forget sets show anything: how well U-LiRA tells a model that forgot nothing from one that never saw the rows.

    python benchmarks/forget_sets.py [--models 16]

A perceptron 64-32-32-10 on 1,437 digits, 20 rows (or a class) to forget, chosen in seven ways. A set on which doing
nothing passes cannot tell a good method from a bad one. Beside each: never-trained models against never-trained ones.
"""

from __future__ import annotations

import argparse
import os
import time

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from sklearn.datasets import load_digits

from expunge import Rows, keyed
from expunge.audits import Chooser, answers_of
from expunge.audits.attacks import u_lira
from expunge.audits.references import learn_each, retrain
from expunge.audits.stored_releases import Learned
from expunge.learners.sgd import Sgd
from expunge.methods import Retrain
from expunge.models import Mlp

METHOD = Retrain(Sgd(Mlp((32, 32)), epochs=40, batch_size=32, learning_rate=0.15))
SETS = ("20", "influence:20", "outliers:20", "memorised:20", "canary:20", "mislabelled:20", "class:8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=16, help="of each world")
    models = parser.parse_args().models
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    x, y = data.data[order] / 16, data.target[order]
    rows = Rows.of(x[:1437], y[:1437], classes=10)
    test = Rows.of(x[1437:], y[1437:], ids=[f"test-{i}" for i in range(360)], classes=10)
    chooser, started = Chooser(seed=1, method=METHOD, test=test), time.process_time()
    whole: dict[str, list[Learned]] = {}  # models of all rows serve every set that plants none
    print("forget set                       doing nothing: accuracy    AUC   rows > .9    null: accuracy    AUC")
    for text in SETS:
        chosen = chooser.choose(text, rows)
        which = "" if chosen.rows is rows else text
        if which not in whole:
            tasks = [(chosen.rows, keyed.subseed(5, "whole", k)) for k in range(models)]
            whole[which] = learn_each(METHOD, tasks, "learning all rows")
        never = retrain(METHOD, chosen.rows.without(chosen.ids), seed=6, count=models)
        gone = chosen.rows.only(chosen.ids)
        kept, unseen = (answers_of(METHOD, learned, gone).margins for learned in (whole[which], never))
        found, null = u_lira.attack(kept, unseen), u_lira.null(unseen)
        known = np.mean(found.auc_by_row > 0.9)
        print(f"{chosen.words:<32} {found.accuracy:23.3f}  {found.separation.auc:.3f}  {known:9.2f}  "
              f"{null.accuracy:16.3f}  {null.separation.auc:.3f}", flush=True)  # fmt: skip
    print(f"{time.process_time() - started:.0f} s of processor time")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
