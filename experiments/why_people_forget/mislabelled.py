"""Mislabelled rows: one in ten has a wrong label. Find them, predict, forget, measure."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import rows as data

from expunge import NoiseKey
from expunge.attribution import Ranking, influence, nearest_to, row_loss, self_influence, trained_model, try_removals
from expunge.attribution.curvature import Curvature
from expunge.learners.convex import Convex
from expunge.learners.sgd import Sgd
from expunge.methods.retrain import Retrain
from expunge.models import Mlp

SHARE = 0.1
PROBES, ROUGHLY = 20, Curvature(damping=0.03, tol=1e-2)  # a ranking needs no more digits
LOOKED_AT = (0.1, 0.2, 0.3)  # shares of the rows that somebody looks at
MODELS: dict[str, Callable[[], Retrain]] = {
    "softmax": lambda: Retrain(Convex("cross_entropy", l2=1e-3)),
    "perceptron": lambda: Retrain(Sgd(Mlp((64,)), epochs=30, batch_size=32, learning_rate=0.05, l2=1e-4)),
}


def run(quick: bool, seeds: int) -> list[dict[str, Any]]:
    """A line for each data set, model and seed."""
    found = []
    for seed in range(seeds):
        splits = [data.digits(seed)] + ([] if quick else [s for s in (data.fashion(seed),) if s])
        for split in splits:
            for name, make in MODELS.items():
                if not (quick and name == "perceptron"):
                    found.append(one(data.quick(split, 400) if quick else split, name, make(), seed))
    return found


def one(split: data.Split, name: str, method: Retrain, seed: int) -> dict[str, Any]:
    """Recovery by every ranking, and what forgetting the first rows of the influence ranking does."""
    n = len(split.y[0])
    wrong = data.chosen(seed, "mislabelled", np.arange(n), int(SHARE * n))
    bad = [f"r{place}" for place in wrong]
    learned, clean, test = (
        split.rows(0, data.noisy_labels(split.y[0], wrong, split.classes, seed)), split.rows(1), split.rows(2),
    )  # fmt: skip
    record = method.learn(learned, seed=seed, noise=NoiseKey.fresh(1))
    release = method.release(record)
    model = trained_model(method, release, learned.schema)
    rankings: dict[str, Callable[[], Ranking]] = {
        "influence": lambda: influence(model, learned, clean, curvature=ROUGHLY),
        "self-influence": lambda: self_influence(model, learned, probes=PROBES, seed=seed, curvature=ROUGHLY),
        "loss": lambda: row_loss(method, release, learned),
        "nearest": lambda: nearest_to(learned, bad[:5]),
        "random": lambda: Ranking.of("random", learned, np.random.default_rng(seed).random(n)),
    }
    recovery, made = {}, {}
    for by, make in rankings.items():
        started = time.process_time()
        made[by] = make()
        recall = made[by].found(bad)
        recovery[by] = {
            "average precision": made[by].average_precision(bad),
            "recall": {f"{share:.0%}": float(recall[int(share * n) - 1]) for share in LOOKED_AT},
            "seconds": time.process_time() - started,
        }
    sizes = [len(bad) // 2, len(bad)]
    trials = try_removals(
        method, record, learned, test, made["influence"], sizes, seed=seed, model=model, curvature=ROUGHLY
    )
    oracle = Ranking.of("oracle", learned, np.isin(np.arange(n), wrong).astype(float))
    (perfect,) = try_removals(
        method, record, learned, test, oracle, [len(bad)], seed=seed, model=model, curvature=ROUGHLY
    )
    return {
        "data": split.name, "model": name, "seed": seed, "rows": n, "mislabelled": len(bad), "recovery": recovery,
        "before": trials[0].before.accuracy,
        "forgotten": {str(trial.rows): trial.forgotten.accuracy for trial in trials},
        "predicted": {str(trial.rows): trial.predicted.accuracy for trial in trials if trial.predicted},
        "random": {str(trial.rows): trial.random.accuracy for trial in trials},
        "all mislabelled forgotten": perfect.forgotten.accuracy,
        "predicted change of loss": [t.predicted.loss - t.before.loss for t in (*trials, perfect) if t.predicted],
        "measured change of loss": [t.forgotten.loss - t.before.loss for t in (*trials, perfect)],
    }  # fmt: skip


def table(found: list[dict[str, Any]]) -> list[str]:
    """Lines of markdown, means over seeds."""
    lines = [
        "| data, model | ranking | average precision | found in 10 / 20 / 30 % | seconds |",
        "|---|---|---|---|---|",
    ]
    for key in dict.fromkeys((f["data"], f["model"]) for f in found):
        those = [f for f in found if (f["data"], f["model"]) == key]
        for by in those[0]["recovery"]:
            ap, seconds = (
                np.mean([f["recovery"][by][what] for f in those]) for what in ("average precision", "seconds")
            )
            shares = [
                np.mean([f["recovery"][by]["recall"][s] for f in those]) for s in those[0]["recovery"][by]["recall"]
            ]
            lines.append(
                f"| {key[0]}, {key[1]} | {by} | {ap:.2f} | {' / '.join(f'{s:.0%}' for s in shares)} | {seconds:.2g} |"
            )
    lines += [
        "",
        "| data, model | before | half forgotten | all forgotten | predicted | as many at random | all mislabelled |",
        "|---|---|---|---|---|---|---|",
    ]
    for key in dict.fromkeys((f["data"], f["model"]) for f in found):
        those = [f for f in found if (f["data"], f["model"]) == key]
        half, whole = list(those[0]["forgotten"])
        picked = [
            (f["before"], f["forgotten"][half], f["forgotten"][whole], f["predicted"][whole], f["random"][whole],
             f["all mislabelled forgotten"])
            for f in those
        ]  # fmt: skip
        cells = np.mean(picked, axis=0)
        lines.append(f"| {key[0]}, {key[1]} | {' | '.join(f'{cell:.1%}' for cell in cells)} |")
    guessed = [value for f in found for value in f["predicted change of loss"]]
    measured = [value for f in found for value in f["measured change of loss"]]
    r = np.corrcoef(guessed, measured)[0, 1]
    lines += ["", f"Predicted and measured change of the test loss: correlation {r:.2f} over {len(guessed)} removals."]
    return lines
