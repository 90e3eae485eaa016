"""What forgetting does to the rows that stay, and how soon the forgotten ones are known again.

    python benchmarks/collateral_harm.py [--references 10]

A perceptron 64-32-32-10 on 1,437 digits; 50 mislabelled rows are forgotten by several methods, one model each under one
seed. Beside each stands what models retrained under other seeds give.

    exposed      share of retained rows that are more exposed than before, and significantly more than after retraining
    classes      accuracy on test rows of the class served worst; * if no retraining explains it
    over         share of forgotten rows significantly below models that never saw them; * if above the band
    relearned    epochs until a copy knows the rows 95 % as well as the model once did; AIN: the ratio to retraining
"""

from __future__ import annotations

import argparse
import os
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from sklearn.datasets import load_digits

from expunge import Rows
from expunge.audits import answers_of, collateral_exposure, forget_set, over_forgotten, relearn, subgroup_accuracy
from expunge.audits import unlearn as made_to_forget
from expunge.audits.references import retrain
from expunge.audits.scores.anamnesis_index import anamnesis_index
from expunge.audits.stored_releases import Learned
from expunge.learners.sgd import Sgd
from expunge.method import Method
from expunge.methods import FineTune, GradientAscent, Retrain, Rewind
from expunge.models import Mlp

LEARNER = Sgd(Mlp((32, 32)), epochs=40, batch_size=32, learning_rate=0.15)
METHODS: dict[str, Method[Any]] = {
    "fine-tune, 5 epochs": FineTune(LEARNER, epochs=5),
    "gradient ascent": GradientAscent(LEARNER, steps=50, learning_rate=0.05),
    "ascent to loss 8": GradientAscent(LEARNER, steps=50, learning_rate=0.05, max_loss=8.0),
    "NegGrad+": GradientAscent(LEARNER, steps=50, learning_rate=0.05, retain_weight=0.5),
    "rewind, half": Rewind(LEARNER, rewind=0.5),
    "retraining": Retrain(LEARNER),
}
RELEARNING_RATE = 0.02


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--references", type=int, default=10)
    count = parser.parse_args().references
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    x, y = data.data[order] / 16, data.target[order]
    test = Rows.of(x[1437:], y[1437:], ids=[f"test-{i}" for i in range(360)], classes=10)
    chosen = forget_set("mislabelled:50", Rows.of(x[:1437], y[:1437], classes=10), seed=1)
    gone, left = chosen.rows.only(chosen.ids), chosen.rows.without(chosen.ids)
    exact = Retrain(LEARNER)
    references = retrain(exact, left, seed=10, count=count)
    on = {"gone": gone, "left": left, "test": test}
    said = {name: answers_of(exact, references, rows).margins for name, rows in on.items()}
    print(
        f"{count} references\nmethod                exposed (retraining up to)   worst class   over    relearned   AIN"
    )
    for name, method in METHODS.items():
        (done,) = made_to_forget(method, chosen.rows, chosen.ids, seed=3, count=1)
        kept = float((answers_of(method, [done.before], gone).margins[0] > 0).mean())
        usual = np.median([epochs(exact, one, gone, kept) for one in references[:5]])
        for what, model in (("doing nothing", done.before), (name, done.after)):
            if what == "doing nothing" and name != "fine-tune, 5 epochs":
                continue
            own = {where: answers_of(method, [model], rows).margins[0] for where, rows in on.items()}
            before = {where: answers_of(method, [done.before], rows).margins[0] for where, rows in on.items()}
            harm = collateral_exposure(before["left"], own["left"], said["left"]).rose
            groups = subgroup_accuracy(test.y, before["test"] > 0, own["test"] > 0, said["test"] > 0)
            worst = min(groups, key=lambda group: (not group.worse, group.after))
            below = over_forgotten(own["gone"], said["gone"])
            again = epochs(method, model, gone, kept)
            print(f"{what:<20}  {harm.share:.3f}{mark(harm.flagged)} ({harm.null.interval[1]:.3f})"  # type: ignore[union-attr]
                  f"{worst.after:22.3f}{mark(worst.worse)}  {below.share:8.2f}{mark(below.flagged)}"
                  f"{again:10g}  {anamnesis_index(again, float(usual)):8.2f}", flush=True)  # fmt: skip


def epochs(method: Method[Any], model: Learned, gone: Rows, kept: float) -> float:
    return relearn(method, model.release, gone, before=kept, seed=4, learning_rate=RELEARNING_RATE, most=100).epochs


def mark(flagged: bool | None) -> str:
    return "*" if flagged else " "


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
