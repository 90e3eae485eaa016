"""Descent-to-delete and distributed descent on digits, odd against even: the paper's noise, and what forgetting costs.

    python benchmarks/descent_digits.py

Rows less 0.5 and of norm 1, the logistic loss, 1,437 rows and 360 for test, epsilon 1, delta 1e-5. The first table is
the paper's question: how much noise after I steps an update, and which accuracy (mean of 20 draws)? The others are the
methods as they are, noise first: gradients are of single rows; distances are between noiseless centres.
"""

from __future__ import annotations

import os
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from digits import odd_or_even

from expunge import NoiseKey
from expunge.maths import descent
from expunge.maths.privacy import mu_of
from expunge.methods.descent_to_delete import DescentToDelete
from expunge.methods.distributed_descent import DistributedDescent
from expunge.noise import add_noise
from expunge.objective import LinearObjective
from expunge.objective.minimise import minimise
from expunge.objective.projected_descent import ball, descend, minimiser_on_ball

EPSILON, DELTA = 1.0, 1e-5


def main() -> None:
    """Run and print the tables."""
    torch.set_num_threads(1)
    rows, test = odd_or_even()

    def accuracy(method: Any, w: torch.Tensor, noise_std: float = 0.0) -> float:
        scores = []
        for _ in range(20 if noise_std else 1):
            noisy = add_noise(w, noise_std, NoiseKey.fresh()).reshape(1, -1)
            release = type(method.release(blank))({"weights": noisy}, {"loss": "logistic"})
            scores.append(float((method.predict(release, test.columns).argmax(1).numpy() == test.y).mean()))
        return float(np.mean(scores))

    blank = DescentToDelete(loss="logistic").learn(rows, seed=0, noise=NoiseKey.fresh(1))
    print("the paper's question: noise after I steps an update, 60 deletions one by one (accuracy)")
    for l2, iterations in ((1e-2, 10), (1e-3, 100)):
        method = DescentToDelete(loss="logistic", l2=l2, radius=30.0)
        within = ball(LinearObjective("logistic", l2, 64, 1), radius=30.0, row_norm=1.0, target_norm=None)
        rate = descent.contraction(l2, within.smoothness)
        centre, worst = minimiser_on_ball(within, rows, tol=1e-10), 0.0
        for i in range(60):
            left = rows.without([str(j) for j in range(i + 1)])
            centre = descend(within, left, centre, within.step_size, iterations)
            worst = max(worst, float(torch.linalg.vector_norm(within.objective.gradient(centre, left))) / l2)
        setting: Any = {"rows": 1437, "strong_convexity": l2, "rate": rate, "epsilon": EPSILON, "delta": DELTA}
        plain = LinearObjective("logistic", l2, 64, 1, intercept=False)
        flat = torch.cat([minimise(plain, rows, plain.start(0), tol=1e-10, dense=True).x, torch.zeros(1).double()])
        bare, row = descent.contraction(l2, 0.25 + l2), 1 + 2 * l2 * float(torch.linalg.vector_norm(flat))
        known = descent.published_noise_std(iterations, lipschitz=row, **(setting | {"rate": bare}))
        less = descent.noise_std_after(iterations, descent.moved(1376, 1, row, l2), bare, EPSILON, DELTA)
        print(f"  without an intercept, radius 2 ||w*||, 1,376 rows left: published {known:.3g} "
              f"({accuracy(method, flat, known):.3f}), tight {less:.3g} ({accuracy(method, flat, less):.3f}); "
              f"perfect: I >= {descent.perfect_least_iterations(64, bare, EPSILON, DELTA):.0f}, more for update 1 and "
              f"1000: {[descent.perfect_iterations(0, i, 64, bare, DELTA) for i in (1, 1000)]}")  # fmt: skip
        stds = (
            descent.published_noise_std(iterations, lipschitz=within.gradient(), **setting),
            descent.noise_std_after(iterations, descent.moved(1437, 1, within.gradient(), l2), rate, EPSILON, DELTA),
            2 * worst / mu_of(EPSILON, DELTA),
        )
        told = ", ".join(f"{s:.3g} ({accuracy(method, centre, s):.3f})" for s in stds)
        print(f"  l2 {l2:g}, I = {iterations}: published, tight, measured {told}; without noise "
              f"{accuracy(method, minimiser_on_ball(within, left, tol=1e-10)):.3f}")  # fmt: skip

    print("noise first: l2 1e-2, noise 0.05; 1 and 20 rows forgotten; gradients in passes over the rows")
    print("method                     learn  forget 1  forget 20  nothing  retrain/retrain  after   accuracy")
    left, gone = rows.without(range(20)), rows.only(range(20))
    perfect = (("published", 0.0), ("tight", 0.0), ("tight", 0.01), ("measured", 0.0))
    secret = (("published", 0.0), ("tight", 0.0), ("measured", 0.0))
    for variant, (calibration, tail) in (*(("perfect", c) for c in perfect), *(("secret", c) for c in secret)):
        method = DescentToDelete(loss="logistic", noise_std=0.05, variant=variant, calibration=calibration, tail=tail)
        key, second, third = (NoiseKey.fresh(release) for release in (1, 2, 2))
        record = method.learn(rows, seed=0, noise=key)
        at, within = torch.zeros(65).double(), method._ball(rows)  # noqa: SLF001
        cost = method._descended(None, within, rows, at, np.inf, key)[1]["passes"]  # noqa: SLF001
        one = method.forget(record, rows.without(["0"]), rows.only(["0"]), noise=second).stats["passes"]
        step = method.forget(record, left, gone, noise=second)
        clean, again = method.minimiser(left), method.learn(left, seed=0, noise=third)
        gaps = [float(torch.dist(method.centre(method.release(r), k), clean))
                for r, k in ((record, key), (again, third), (step.record, second))]  # fmt: skip
        print(f"{variant + ' ' + calibration + (' tail' if tail else ''):<26} {cost:>6.0f}  {one:>8.0f}  "
              f"{step.stats['passes']:>9.0f}  {gaps[0]:.1e}  {gaps[1]:>15.1e}  {gaps[2]:.1e}  "
              f"{accuracy(method, step.record.weights):.3f} / {accuracy(method, again.weights):.3f}")  # fmt: skip

    print("weak_regularised:", [descent.sublinear_iterations(start, 0.0065, 1e-2, 0.51) for start in (0.15, 2.9)])
    print("distributed, l2 1e-2, noise 0.05; gradients of single rows, in passes over all; 1 row, mean of 8")
    full = DescentToDelete(loss="logistic").minimiser(rows)
    for xi in (1.0, 7 / 6, 4 / 3):
        spread = DistributedDescent(loss="logistic", noise_std=0.05, subsets=descent.bootstrap_size(1437, xi))
        learned = spread.learn(rows, seed=0, noise=NoiseKey.fresh(1))
        steps = [spread.forget(learned, rows.without([i]), rows.only([i]), noise=NoiseKey.fresh(2)) for i in range(8)]
        spent, subsets = (float(np.mean([step.stats[k] for step in steps])) for k in ("gradients", "subsets"))
        one, mean = (float(torch.dist(w, full)) for w in (learned.models[0], learned.models.mean(0)))
        scores = (accuracy(spread, learned.models.mean(0)), accuracy(spread, learned.weights))
        other = spread.learn(rows.without([0]), seed=0, noise=NoiseKey.fresh(2))
        retrained = float(torch.dist(other.models.mean(0), learned.models.mean(0)))
        moved = float(np.mean([float(torch.dist(s.record.models.mean(0), learned.models.mean(0))) for s in steps]))
        print(f"  xi {xi:.2f}: K = B = {spread.subsets}, subsets touched {subsets:.1f} of {1437 ** (xi - 1):.1f}, "
              f"passes {spent / 1436:.1f}; to the minimiser: a subset {one:.2f}, mean {mean:.2f}, another "
              f"{retrained:.2f} off, forget {moved:.4f}; accuracy {scores[0]:.3f}, noised {scores[1]:.3f}")  # fmt: skip


if __name__ == "__main__":
    main()
