"""What the releases before and after a deletion tell together: the row itself, its label, who left; against noise.

    python benchmarks/two_releases.py

Digits, 1,437 rows, linear models (odd or even by logistic loss, ten classes by softmax; l2 1e-3, rows of norm 1), 40
deletions of one row each, all from the same model. Both releases are exact minimisers with fresh Gaussian noise of the
stated standard deviation on every weight: noise 0 is exact retraining. The curvature comes from the 360 digits that no
model learned. Then a perceptron, retrained exactly without one row or without 50, under the same seed and another.

    |cos|        of the reconstructed direction with the row, median
    singled out  share of deletions whose row is better aligned than all but 1 in 1,000 of the others
    label        share of deletions whose label is read off
    who          share of deletions whose row is picked out of all 1,437 by its gradient
    drop         AUC of the row's fall of margin among all the rows that stayed, mean
    mu_2         two-release exposure of the centres, median: distance / (sqrt 2 noise)
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from sklearn.datasets import load_digits

from expunge import NoiseKey, Rows
from expunge.audits.attacks import roc, two_model
from expunge.audits.attacks.reconstruction import cosine, gradient_match, reconstruct, standing
from expunge.audits.candidates import outputs, released
from expunge.learners.sgd import Sgd
from expunge.methods import Retrain
from expunge.models import Mlp
from expunge.objective import LinearObjective
from expunge.objective.minimise import minimise

LOST = range(0, 1400, 35)
L2 = 1e-3


def main() -> None:
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    x, digits = data.data[order] / 16 - 0.5, data.target[order]
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    linear("odd or even, logistic", LinearObjective("logistic", L2, 64, 1), x, digits % 2, 2)
    linear("ten classes, softmax", LinearObjective("cross_entropy", L2, 64, 10), x, digits, 10)
    network(data.data[order] / 16, digits)


def linear(name: str, objective: LinearObjective, x: np.ndarray, y: np.ndarray, classes: int) -> None:  # type: ignore[type-arg]
    """One line for each size of noise."""
    rows = Rows.of(x[:1437], y[:1437], classes=classes)
    public = Rows.of(x[1437:], y[1437:], classes=classes, ids=[f"public-{i}" for i in range(360)])
    before = minimise(objective, rows, objective.start(0), tol=1e-10, dense=True).x
    after = {lost: minimise(objective, rows.without([lost]), before, tol=1e-10, dense=True).x for lost in LOST}
    print(f"\n{name}\nnoise     |cos|  singled out  label   who   drop    mu_2")
    generator = np.random.default_rng(1)
    for noise in (0.0, 1e-4, 1e-3, 1e-2, 3e-2, 0.1, 0.3):
        figures = []
        for lost, centre in after.items():
            draws = [noise * torch.from_numpy(generator.normal(size=len(before))) for _ in range(2)]
            first, second = before + draws[0], centre + draws[1]
            gone, left = rows.only([lost]), rows.without([lost])
            found = reconstruct(objective, first, second, public, retained=1436)
            match = gradient_match(found, objective, first, rows)
            said = [log_p(objective, w, rows) for w in (first, second)]
            drop = two_model.changes(said[0], said[1], rows.y)[two_model.MARGIN_DROP]
            figures.append((
                float(cosine(found.direction, gone)),
                standing(found.direction, gone, left) < 1e-3,
                found.label == rows.y[lost],
                int(match.argmax()) == lost,
                roc.auc(drop[[lost]], np.delete(drop, lost)),
                float((before - centre).norm()) / (2**0.5 * noise) if noise else np.inf,
            ))  # fmt: skip
        table = np.array(figures, dtype=float)
        cos, mu = np.median(table[:, 0]), np.median(table[:, 5])
        single, label, who, drop = table[:, 1:5].mean(axis=0)
        print(f"{noise:<7g}  {cos:6.3f}  {single:11.2f}  {label:5.2f}  {who:4.2f}  {drop:5.2f}  {mu:6.2g}", flush=True)
        if not noise:
            assert cos > 0.95
            assert who > 0.9
        if noise == 0.3:
            assert who < 0.1


def log_p(objective: LinearObjective, w: torch.Tensor, rows: Rows) -> np.ndarray:  # type: ignore[type-arg]
    return np.asarray(objective.loss.outputs(objective.scores(w, rows.columns)).numpy())


def network(x: np.ndarray, y: np.ndarray) -> None:  # type: ignore[type-arg]
    """A perceptron, exactly retrained: the margin drop of what left among what stayed, and among rows never learned."""
    rows = Rows.of(x[:1437], y[:1437], classes=10)
    test = Rows.of(x[1437:], y[1437:], classes=10, ids=[f"test-{i}" for i in range(360)])
    method = Retrain(Sgd(Mlp((64,)), epochs=40, batch_size=32, learning_rate=0.1))

    def said(of: Rows, seed: int) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
        model = released(method, method.release(method.learn(of, seed=seed, noise=NoiseKey.fresh(1))))
        return outputs(model, rows).values, outputs(model, test).values

    before = said(rows, 1)
    print("\nperceptron 64-64-10, exactly retrained: AUC of the fall of margin")
    print("deleted            among rows that stayed   among rows never learned")
    for what, sets in (("one row, 8 times", [[k] for k in range(0, 1400, 175)]), ("50 rows", [list(range(50))])):
        for seed, how in ((1, "same seed"), (2, "other seed")):
            areas = []
            for ids in sets:
                after = said(rows.without(ids), seed)
                drop, elsewhere = (two_model.changes(before[i], after[i], of.y)[two_model.MARGIN_DROP]
                                   for i, of in enumerate((rows, test)))  # fmt: skip
                areas.append((roc.auc(drop[ids], np.delete(drop, ids)), roc.auc(drop[ids], elsewhere)))
            stayed, never = np.mean(areas, axis=0)
            print(f"{what + ', ' + how:<28} {stayed:14.2f} {never:26.2f}", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
