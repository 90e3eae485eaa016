"""Networks on scikit-learn's handwritten digits: certified deep unlearning and rewinding beside doing nothing.

    python benchmarks/deep_digits.py

Fifty mislabelled rows, then fifty random ones, leave a perceptron 64-32-32-10. Eight models retrained without them,
from other seeds, say how an honest model treats those rows; the areas are of membership scores from which each row's
mean among them is taken (0.5 is honest). The last line of a table is the band of the eight, each against the others.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from sklearn.datasets import load_digits

from expunge import NoiseKey, Rows
from expunge.audits.attacks.membership import MARGIN, RESOLUTION, calibrated_auc, features
from expunge.audits.references import retrain
from expunge.errors import NotConverged
from expunge.learners.sgd import Sgd
from expunge.maths.privacy import noise_std_for
from expunge.maths.rewind import nonconvex_distance
from expunge.method import Method, Release
from expunge.methods.certified_deep import CertifiedDeep
from expunge.methods.retrain import Retrain
from expunge.methods.rewind import Rewind
from expunge.models import Mlp

LEARNER = Sgd(Mlp((32, 32)), epochs=20, batch_size=32, learning_rate=0.05, l2=1e-4, norm_bound=20.0)
GONE, REFERENCES, SEEDS = 50, 8, 6


def timed_step(method: Method[Any], rows: Rows, ids: list[str], seed: int = 0) -> tuple[Release, dict[str, float], str]:
    """The release after forgetting `ids`, the step's figures with `learn_seconds` and `seconds`, and its promise."""
    start = time.perf_counter()
    record = method.learn(rows, seed=seed, noise=NoiseKey.fresh(1))
    learned = time.perf_counter()
    step = method.forget(record, rows.without(ids), rows.only(ids), noise=NoiseKey.fresh(2))
    seconds = {"learn_seconds": learned - start, "seconds": time.perf_counter() - learned}
    return method.release(step.record), {**step.stats, **seconds}, getattr(step.certificate, "why", "exact")


def margins(method: Method[Any], release: Release, rows: Rows) -> np.ndarray[Any, Any]:
    """The margin of each row's label."""
    return features(method.predict(release, rows.columns).double().numpy(), rows.y)[MARGIN]


def main() -> None:
    """Run and print a table for mislabelled rows and one for random ones."""
    torch.set_num_threads(1)
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    x, y = data.data[order] / 16.0, data.target[order]
    test = Rows.of(x[1437:], y[1437:], classes=10)
    ids = [str(i) for i in range(GONE)]
    retraining = Retrain(LEARNER)
    methods: dict[str, Method[Any]] = {
        "certified deep, damping 1": CertifiedDeep(LEARNER, damping=1.0),
        "certified deep, damping 0.1": CertifiedDeep(LEARNER, damping=0.1),
        "rewind 50 %": Rewind(LEARNER, rewind=0.5),
        "rewind 25 %": Rewind(LEARNER, rewind=0.25),
        "retrain": retraining,
    }
    for kind in ("mislabelled", "random"):
        labels = y[:1437].copy()
        if kind == "mislabelled":
            labels[:GONE] = (labels[:GONE] + 1 + np.random.default_rng(1).integers(0, 9, GONE)) % 10
        rows = Rows.of(x[:1437], labels, classes=10)
        forgotten = rows.only(ids)
        clean = [learned.release for learned in retrain(retraining, rows.without(ids), seed=99, count=REFERENCES)]
        sides = tuple(np.stack([margins(retraining, r, part) for r in clean]) for part in (forgotten, test))

        def judged(method: Method[Any], release: Release, itself: int | None = None) -> tuple[float, float, float]:
            """Accuracy on test, mean loss on the forgotten rows, calibrated area."""
            accuracy = (method.predict(release, test.columns).argmax(1).numpy() == test.y).mean()
            log_p = method.predict(release, forgotten.columns).double().numpy()  # noqa: B023
            own = [margins(method, release, part) for part in (forgotten, test)]  # noqa: B023
            area = calibrated_auc(own[0], own[1], sides, RESOLUTION, itself)  # type: ignore[arg-type]  # noqa: B023
            return float(accuracy), float(-log_p[np.arange(GONE), forgotten.y].mean()), area  # noqa: B023

        print(f"\n{GONE} {kind} rows of 1,437; mean of {SEEDS} seeds\n"
              f"{'':<28}  accuracy  loss on forgotten  area (least-most)     seconds")  # fmt: skip
        for name, method in {"do nothing": retraining, **methods}.items():
            found, seconds = [], []
            for seed in range(SEEDS):
                if name == "do nothing":
                    record = method.learn(rows, seed=seed, noise=NoiseKey.fresh(1))
                    release, figures = method.release(record), {"seconds": 0.0}
                else:
                    try:
                        release, figures, _ = timed_step(method, rows, ids, seed)
                    except NotConverged:  # the damping is below a negative curvature: a vault would retrain
                        continue
                found.append(judged(method, release))
                seconds.append(figures["seconds"])
            accuracy, loss, areas = np.array(found).T
            print(f"{name:<28}  {accuracy.mean():.3f}     {loss.mean():<17.3f}  {areas.mean():.3f} ({areas.min():.3f}-"
                  f"{areas.max():.3f})  {np.median(seconds):.3f}" + (f"  refused: {SEEDS - len(found)} of {SEEDS}"
                  if len(found) < SEEDS else ""))  # fmt: skip
        band = np.array([judged(retraining, release, k) for k, release in enumerate(clean)])
        print("retrain against retrain       " + "  ".join(f"{low:.3f}-{high:.3f}" for low, high in
              zip(band.min(0), band.max(0), strict=True)))  # fmt: skip
    asserted = replace(methods["certified deep, damping 1"], hessian_lipschitz=10.0, gradient_bound=1.0)  # type: ignore[type-var]
    _, figures, why = timed_step(asserted, rows, ids)
    print(f"\nasserting M = 10, G = 1 (M is at least {figures['lipschitz_at_least']:.3g}, lambda_min at least "
          f"{figures['least_eigenvalue']:.3g}; {figures['products']:.0f} products): {why}")  # fmt: skip
    sigma = noise_std_for(nonconvex_distance(1437, GONE, 1.0, 0.01, 4.0, 360, 180), 1.0, 1e-5)
    print(f"rewind, full batch, T = 360, eta = 0.01, L = 4, G = 1: noise of {sigma:.2g} on each weight at (1, 1e-5)")


if __name__ == "__main__":
    main()
