"""DeltaGrad beside retraining with the same optimiser, on MNIST, Adult and a cut of Higgs: speed and error.

    python benchmarks/delta_grad.py [mnist] [adult] [batches] [higgs] [network] [online] [profile]

Times are CPU seconds of one thread and are compared within one run only; small ones are medians of five. The error is
the distance to the weights of retraining, as a share of the distance that doing nothing leaves (printed beside it).
"The paper's" is a period of 5, two plain pairs; "conjugate" is what this package does by default, at a longer period.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch

from expunge import NoiseKey, Rows
from expunge.learners import followed_descent
from expunge.learners.batch_gradients import BatchGradients
from expunge.learners.descent import Descent
from expunge.learners.recording import Recording
from expunge.maths.secants import Secants
from expunge.methods import DeltaGrad
from expunge.methods.delta_grad import PURPOSE
from expunge.models import Mlp

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
KEY, NEXT = NoiseKey.fresh(1), NoiseKey.fresh(2)
SHARES = (1e-4, 1e-3, 1e-2)


def mnist(n: int = 60_000) -> Rows:
    with np.load(DATA / "mnist.npz") as data:
        x = (data["X_train"][:n].reshape(n, -1) / 255).astype(np.float32)
        return Rows.of(x, data["y_train"][:n].astype(int), classes=10)


def adult() -> Rows:
    with np.load(DATA / "adult.npz") as data:
        numbers = data["X_num"].astype(np.float64)
        parts = [(numbers - numbers.mean(0)) / numbers.std(0)]
        parts += [np.eye(codes.max() + 1)[codes] for codes in data["X_cat"].T]
        return Rows.of(np.concatenate(parts, 1).astype(np.float32), data["y"].astype(int), classes=2)


def higgs() -> Rows:
    with np.load(DATA / "higgs_7500.npz") as data:
        x = data["X"][:7000].astype(np.float64)
        return Rows.of(((x - x.mean(0)) / x.std(0)).astype(np.float32), data["y"][:7000].astype(int), classes=2)


BINARY = Descent(loss="logistic", epochs=300, learning_rate=0.5, l2=0.005)
PAPERS = {"period": 5, "memory": 2, "conjugate": False}
SETS: dict[str, tuple[Callable[[], Rows], Descent, dict[str, Any], int]] = {
    "mnist": (mnist, Descent(epochs=200, learning_rate=0.1, l2=0.005), {"period": 15, "memory": 4}, 1),
    "adult": (adult, BINARY, {"period": 20, "memory": 4}, 5),
    "batches": (adult, replace(BINARY, epochs=60, batches=5, learning_rate=0.2), {"period": 10, "memory": 4}, 5),
    "higgs": (higgs, replace(BINARY, epochs=1000, learning_rate=0.2), {"period": 40, "memory": 8}, 5),
}


def timed(action: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """CPU seconds (the median), and what it gave."""
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        made = action()
        seconds.append(time.process_time() - start)
    return statistics.median(seconds), made


def some(rows: Rows, count: int) -> list[str]:
    return [str(i) for i in np.random.default_rng(1).choice(len(rows), count, replace=False)]


def retrained(learner: Descent, rows: Rows) -> torch.Tensor:
    return learner.flat(learner.train(learner.start(rows.schema, 0, PURPOSE), rows, seed=0, purpose=PURPOSE))


def convex(name: str) -> None:
    load, learner, settings, repeats = SETS[name]
    rows = load()
    record = DeltaGrad(learner).learn(rows, seed=0, noise=KEY)
    methods = {"the paper's": DeltaGrad(learner, **PAPERS), "conjugate": DeltaGrad(learner, **settings)}
    print(f"\n{name}: {len(rows)} rows, {len(record.weights)} weights, {learner.steps} steps, {settings}")
    print("rows gone  pairs        exact steps  retrain s  forget s  speed-up  nothing   error   estimated")
    for share in SHARES:
        gone = some(rows, max(1, round(share * len(rows))))
        kept, out = rows.without(gone), rows.only(gone)
        whole, again = timed(lambda kept=kept: retrained(learner, kept), repeats)  # type: ignore[misc]
        nothing = float((record.weights - again).norm())
        for pairs, method in methods.items():
            seconds, step = timed(lambda m=method, k=kept, o=out: m.forget(record, k, o, noise=NEXT), repeats)  # type: ignore[misc]
            error = float((step.record.weights - again).norm()) / nothing
            planned = sum(t < 10 or (t - 10) % method.period == 0 for t in range(1, learner.steps))
            exact = int(step.stats["exact_steps"])
            assert exact == planned if learner.batches == 1 else exact <= planned
            assert error <= 0.02
            print(
                f"{len(gone):>9}  {pairs:<11}  {exact:>4} of {learner.steps:<4} {whole:>9.3f}  {seconds:>8.3f}  "
                f"{whole / seconds:>7.1f}x  {nothing:.2e}  {error:.4f}  {step.stats['estimated_share']:.4f}"
            )


def network() -> None:
    """Two layers, the first 10,000 digits: no guarantee, and the true ratio."""
    rows = mnist(10_000)
    learner = Descent(Mlp((64,)), epochs=200, learning_rate=0.3, l2=1e-3)
    methods = {
        "the paper's": DeltaGrad(learner, **(PAPERS | {"burn_in": 50})),
        "conjugate": DeltaGrad(learner, period=5, burn_in=50, memory=4),
        "period 10": DeltaGrad(learner, period=10, burn_in=20, memory=4),
        "target 0.1": DeltaGrad(learner, period=5, burn_in=50, memory=4, target_error=0.1),
    }
    record = methods["conjugate"].learn(rows, seed=0, noise=KEY)
    print(f"\nnetwork 784-64-10: {len(rows)} rows, {len(record.weights)} weights, {learner.steps} steps, burn-in 50")
    print("rows gone  pairs        exact, guarded  retrain s  forget s  speed-up  nothing   error   estimated")
    for count in (1, 10, 100):
        gone = some(rows, count)
        kept, out = rows.without(gone), rows.only(gone)
        whole, again = timed(lambda kept=kept: retrained(learner, kept), 1)  # type: ignore[misc]
        nothing = float((record.weights - again).norm())
        for pairs, method in methods.items():
            seconds, step = timed(lambda m=method, k=kept, o=out: m.forget(record, k, o, noise=NEXT), 1)  # type: ignore[misc]
            error = float((step.record.weights - again).norm()) / nothing
            print(
                f"{count:>9}  {pairs:<11}  {step.stats['exact_steps']:>5.0f}, {step.stats['guarded_steps']:<7.0f} "
                f"{whole:>9.2f}  {seconds:>8.2f}  {whole / seconds:>7.1f}x  {nothing:.2e}  {error:.3f}   "
                f"{step.stats['estimated_share']:.3f}"
            )


def online() -> None:
    """One request after the other, each from the record of the one before, beside all in one."""
    print("\n100 single requests with refreshed caches, beside one batch of all: error as a share of doing nothing's")
    print("set    pairs        after 1   after 10  after 100  one batch of 100  seconds a request (retrain)")
    for name in ("higgs", "adult"):
        load, learner, settings, _ = SETS[name]
        rows = load()
        one_by_one(name, "the paper's", DeltaGrad(learner, **PAPERS), rows)
        one_by_one(name, "conjugate", DeltaGrad(learner, **settings), rows)


def one_by_one(name: str, pairs: str, method: DeltaGrad, rows: Rows) -> None:
    gone, errors, seconds = some(rows, 100), [], 0.0
    first = record = method.learn(rows, seed=0, noise=KEY)
    left = rows
    for number, one in enumerate(gone, start=1):
        start = time.process_time()
        record = method.forget(record, left.without([one]), left.only([one]), noise=NEXT).record
        seconds += time.process_time() - start
        left = left.without([one])
        if number in (1, 10, 100):
            start = time.process_time()
            again = retrained(method.learner, left)
            whole = time.process_time() - start
            nothing = float((first.weights - again).norm())
            errors.append(float((record.weights - again).norm()) / nothing)
    batch = method.forget(first, left, rows.only(gone), noise=NEXT).record
    at_once = float((batch.weights - again).norm()) / nothing
    told = "   ".join(f"{error:.5f}" for error in (*errors, at_once))
    print(f"{name:<6} {pairs:<11}  {told}           {seconds / 100:.3f} ({whole:.3f})")


@contextmanager
def watched(spent: dict[str, float]) -> Iterator[None]:
    """Adds up the CPU time of the parts of a step."""
    parts = [
        (BatchGradients, "sum", lambda self: "rows that leave" if len(self._keys) <= 1000 else "exact steps"),
        (Descent, "gradients", lambda _: "reading rows"),
        (Secants, "product", lambda _: "BFGS products"),
        (Secants, "add", lambda _: "pairs"),
        (Recording, "append", lambda _: "recording"),
        (Descent, "stepped", lambda _: "steps of both trainings"),
    ]
    honest = [getattr(cls, name) for cls, name, _ in parts]
    for (cls, name, label), function in zip(parts, honest, strict=True):

        def counting(self: Any, *given: Any, _f: Any = function, _label: Any = label) -> Any:
            start = time.process_time()
            made = _f(self, *given)
            spent[_label(self)] += time.process_time() - start
            return made

        setattr(cls, name, counting)
    try:
        yield
    finally:
        for (cls, name, _), function in zip(parts, honest, strict=True):
            setattr(cls, name, function)


def profile() -> None:
    """Where the time of one request goes."""
    print("\nwhere the time goes, one request of 1 in 1,000 rows (share of the request's CPU time)")
    assert followed_descent.Secants is Secants
    for name in ("higgs", "adult", "mnist"):
        load, learner, settings, _ = SETS[name]
        learner = replace(learner, epochs=60) if name == "mnist" else learner
        rows = load()
        gone = some(rows, len(rows) // 1000)
        method = DeltaGrad(learner, **settings)
        record = method.learn(rows, seed=0, noise=KEY)
        kept, out = rows.without(gone), rows.only(gone)
        method.forget(record, kept, out, noise=NEXT)
        spent: dict[str, float] = defaultdict(float)
        with watched(spent):
            whole, _step = timed(lambda m=method, r=record, k=kept, o=out: m.forget(r, k, o, noise=NEXT), 1)  # type: ignore[misc]
        spent["everything else"] = whole - sum(spent.values())
        print(f"{name} ({whole:.3f} s): " + ", ".join(f"{part} {s / whole:.0%}" for part, s in sorted(spent.items())))


def main() -> None:
    """Run the parts named on the command line, or all of them."""
    torch.set_num_threads(1)
    if not DATA.is_dir():
        print(f"The folder of real data sets is not here ({DATA.name}): nothing was measured.")
        return
    for part in sys.argv[1:] or [*SETS, "network", "online", "profile"]:
        if part in SETS:
            convex(part)
        else:
            {"network": network, "online": online, "profile": profile}[part]()


if __name__ == "__main__":
    main()
