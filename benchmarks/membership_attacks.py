"""Attacks on the same models: one score for all rows, against a test for each row.

    python benchmarks/membership_attacks.py [--models 32]

Digits, 1,437 rows of which 5 % are mislabelled, and a perceptron 64-64-10 on a keyed half of them, so many times; every
row is in half of the models. Each model in turn is attacked, with the others as shadows. RMIA's population are the 360
digits that no model learned. Every figure is the mean over attacked models; a false positive rate of 0.1 % is resolved
by 718 rows only as "above all of them", so the last column is over all models' rows together.
"""

from __future__ import annotations

import argparse
import os
import time

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from sklearn.datasets import load_digits

from expunge import Rows
from expunge.attribution import opened
from expunge.audits import answers_of, forget_set, train_shadows
from expunge.audits.attacks import gradient_norm, lira, membership, rmia, roc, thresholds
from expunge.audits.candidates import outputs, released
from expunge.learners.sgd import Sgd
from expunge.methods import Retrain
from expunge.models import Mlp

METHOD = Retrain(Sgd(Mlp((64,)), epochs=40, batch_size=32, learning_rate=0.15))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=32)
    models = parser.parse_args().models
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    x, y = data.data[order] / 16, data.target[order]
    chosen = forget_set("mislabelled:5%", Rows.of(x[:1437], y[:1437], classes=10), seed=1)
    rows, population = chosen.rows, Rows.of(x[1437:], y[1437:], classes=10, ids=[f"test-{i}" for i in range(360)])
    started = time.process_time()
    shadows = train_shadows(METHOD, rows, count=models, seed=2)
    said, elsewhere = (answers_of(METHOD, shadows.models, some) for some in (rows, population))
    inside, wrong = shadows.inside, np.isin(rows.ids, chosen.ids)
    scores = population_scores(shadows.models, rows)
    scores["LiRA online"] = lira.each_by_the_others(said.margins, inside)
    scores["LiRA offline"] = lira.each_by_the_others(said.margins, inside, mode="offline")
    scores["RMIA online"], scores["RMIA offline"], scores["RMIA offline, 2 references"] = (
        np.stack([by_rmia(k, said.log_confidences, inside, elsewhere.log_confidences, how) for k in range(models)])
        for how in ("online", "offline", "few")
    )
    print(f"{models} models, {time.process_time() - started:.0f} s of processor time")
    print("attack                         AUC   TPR@1%  TPR@.1%   AUC of mislabelled rows")
    figures = {}
    for name, score in scores.items():
        one = [roc.Separation.of(score[k][inside[k]], score[k][~inside[k]]) for k in range(models)]
        hard = np.mean([roc.auc(score[k][inside[k] & wrong], score[k][~inside[k] & wrong]) for k in range(models)])
        area, low = (np.mean([getattr(s, what) for s in one]) for what in ("auc", "tpr_at_1_percent"))
        figures[name] = float(area)
        print(
            f"{name:<28} {area:.3f}   {low:6.3f}  {roc.tpr_at(score[inside], score[~inside], 0.001):7.3f}   {hard:6.3f}"
        )
    print("\nthresholds on the margin, held out: balanced accuracy (had it judged its own rows)")
    for name, by_class in (("one threshold", False), ("one for each class", True)):
        decided = []
        for k, mask in enumerate(inside):
            keys, codes = (rows.keys[mask], rows.keys[~mask]), (rows.y[mask], rows.y[~mask])
            decided.append(thresholds.held_out(scores["margin"][k][mask], scores["margin"][k][~mask], keys=keys,
                                               classes=codes if by_class else None))  # fmt: skip
        own, itself = (np.mean([getattr(d, what) for d in decided]) for what in ("accuracy", "chosen_on_itself"))
        print(f"{name:<28} {own:.3f}" + ("" if by_class else f" ({itself:.3f})"))
    assert figures["LiRA online"] > figures["margin"] + 0.05


def population_scores(models: tuple, rows: Rows) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
    """Each feature of each model's outputs, and the gradient norm, (models, rows)."""
    found: dict[str, list[np.ndarray]] = {}  # type: ignore[type-arg]
    for one in models:
        seen = outputs(released(METHOD, one.release), rows)
        features = membership.features(seen.values, seen.y)
        inside = opened(METHOD, one.release, rows)
        features["gradient norm"] = -gradient_norm.gradient_norms(*inside.objective(), inside.rows)
        for name, values in features.items():
            found.setdefault(name, []).append(values)
    return {name: np.stack(values) for name, values in found.items()}


def by_rmia(k: int, said: np.ndarray, inside: np.ndarray, elsewhere: np.ndarray, how: str) -> np.ndarray:  # type: ignore[type-arg]
    """Scores of model k's rows; its pair is left out too, and "few" keeps one other pair."""
    rest = np.ones(len(said), dtype=bool)
    rest[k - k % 2 : k - k % 2 + 2] = False
    if how == "few":
        first = (k - k % 2 + 2) % len(said)
        rest[:] = False
        rest[first : first + 2] = True
    if how == "online":
        return rmia.online(said[k], said[rest], inside[rest], elsewhere[k], elsewhere[rest])
    return rmia.offline(said[k], said[rest], elsewhere[k], elsewhere[rest], inside=inside[rest])


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
