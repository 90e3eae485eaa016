"""The comparison of Mercuri et al. (2022) on real data, beside doing nothing and retraining.

    python experiments/mercuri2022/run.py [--quick] [--data NAME ...] [--method NAME ...] [--out FILE.json]

One thread; CPU seconds are medians of three, and only their ratios are printed. The yardstick is the *fastest* refit we
have on the retained rows (Newton or L-BFGS, whichever is quicker there), cold from zero and warm from the model before,
to the tolerance that a certified release needs; beside it 20 epochs of SGD, which is how the papers retrain. Distances
are to the minimiser on the retained rows, as a share of what doing nothing leaves; for methods that can tell their
noiseless centre, from the centre.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parent))

import data
import numpy as np
import torch
from data import Problem
from torch import Tensor

from expunge import NoiseKey, Rows
from expunge.certificate import Certificate, Certified, Exact
from expunge.errors import ExpungeError, MustRetrain
from expunge.features import offers
from expunge.learners.convex import Convex
from expunge.learners.sgd import Sgd
from expunge.maths.privacy import epsilon_of, mu_of, noise_std_for, release_share, residual_tolerance
from expunge.method import Checkable, Settles
from expunge.models import Linear
from expunge.objective import LinearObjective, outputs
from expunge.objective.minimise import minimise

DELTA, EPSILON = 1e-5, 1.0
REPEATS, RETRAININGS = 3, 3
EPOCHS = 20


@dataclass(frozen=True)
class Entry:
    """A method of the comparison.

    `make`: (class, problem, rows to forget) -> method. `survey`: speed-up least/geometric mean/most and the loss of
    accuracy that the survey gives, or None. `applies`: whether the method can learn the problem.
    """

    module: str
    kind: str
    make: Callable[[Any, Problem, int], Any]
    survey: str | None = None
    applies: Callable[[Problem], bool] = lambda _: True


def _convex(problem: Problem) -> Convex:
    return Convex(loss=problem.loss, l2=problem.l2, tol=1e-7)


def _certified(kind: Any, problem: Problem, forget: int, **settings: Any) -> Any:
    del forget
    given = {"epsilon": EPSILON, "delta": DELTA, "loss": problem.loss, "l2": problem.l2}
    return kind(**(given | {"noise_std": problem.noise_std} | settings))


def _learner(kind: Any, problem: Problem, forget: int, **settings: Any) -> Any:
    del forget
    return kind(learner=_convex(problem), **settings)


def _in_eight(kind: Any, problem: Problem, forget: int) -> Any:
    return kind(learner=_convex(problem), batch_size=-(-forget // 8))


def _small(problem: Problem) -> bool:
    return problem.parameters < 1000  # eight factors a request


def _two_classes(problem: Problem) -> bool:
    return problem.loss == "logistic"


def _descent(kind: Any, problem: Problem, forget: int) -> Any:
    return _certified(kind, problem, forget, row_norm=problem.row_norm, radius=20.0)


def _private(kind: Any, problem: Problem, forget: int) -> Any:
    """Differential privacy with the least noise that epsilon takes for one row."""
    settings = {"row_norm": problem.row_norm, "l2": problem.l2, "loss": problem.loss, "epsilon": EPSILON}
    outputs = 1 if problem.loss == "logistic" else problem.rows.classes
    reach = kind(**settings, delta=DELTA, noise_std=1.0).sensitivity(len(problem.rows), outputs)
    return _certified(kind, problem, forget, row_norm=problem.row_norm,
                      noise_std=1.1 * noise_std_for(reach, EPSILON, DELTA))  # fmt: skip


METHODS: Mapping[str, Entry] = {
    "certified_newton": Entry("certified_newton", "CertifiedNewton", _certified),
    "certified_removal": Entry("certified_removal", "CertifiedRemoval", _certified, None, _two_classes),
    "certified_removal, published": Entry(
        "certified_removal", "CertifiedRemoval", partial(_certified, bound="published"), None, _two_classes
    ),
    "influence, m'=m": Entry("influence", "Influence", _learner, "2.5 / 38.2 / 215.1, < 0.57 %"),
    "influence, m'=m/8": Entry("influence", "Influence", _in_eight, "0.3 / 5.9 / 75.7, < 0.55 %", _small),
    "fisher, m'=m": Entry("fisher", "Fisher", _learner, "1.5 / 13.0 / 282.4, < 0.2 %"),
    "fisher, m'=m/8": Entry("fisher", "Fisher", _in_eight, "1.0 / 3.3 / 36.8, about 0 %", _small),
    "newton_shift": Entry("newton_shift", "NewtonShift", _learner),
    "sekhari, measured": Entry("sekhari", "Sekhari", _certified),
    "descent_to_delete": Entry("descent_to_delete", "DescentToDelete", _descent),
    "differential_privacy": Entry("differential_privacy", "DifferentialPrivacy", _private),
    "fine_tune": Entry("fine_tune", "FineTune", _learner),
    "gradient_ascent": Entry("gradient_ascent", "GradientAscent", _learner),
}


# At this l2 its steps are of length 2/(l2 + row_norm^2/4), and it takes some ten thousand passes: minutes a request.
ONLY_WHEN_NAMED = ("descent_to_delete",)


@dataclass
class Result:
    """One method on one problem and one number of rows; `left` and the bands are shares of what doing nothing leaves.

    `accuracy_loss` is in points against the minimiser on the retained rows; `band` is that of the method's own
    retrainings under other seeds and noise keys, `nulls` their distances from one another.
    """

    problem: str
    method: str
    forget: int
    cold: float
    warm: float
    descent: float
    with_purge: float
    left: float
    nulls: tuple[float, float]
    accuracy_loss: float
    band: tuple[float, float]
    guarantee: str
    survey: str


@dataclass(frozen=True)
class Case:
    """What is asked of every method alike, and what refits of it cost (seconds) and give."""

    retained: Rows
    forgotten: Rows
    clean: Tensor
    nothing: float
    cold: float
    warm: float
    descent: float
    accuracy: float


class Yardstick:
    """Refits of one objective by whatever is fastest: what every method's seconds are held against."""

    def __init__(self, problem: Problem) -> None:
        inputs = problem.rows.schema.columns[0].shape[0]
        self.objective = LinearObjective(
            problem.loss, problem.l2, inputs, 1 if problem.loss == "logistic" else problem.rows.classes
        )
        distance = problem.noise_std * mu_of(EPSILON, DELTA) * release_share(2)
        self.tolerance = residual_tolerance(distance, 1.0, problem.l2)
        self.problem = problem
        self.before = self.solved(problem.rows, self.objective.start(0), 1e-10, dense=True)
        self.cases: dict[int, Case] = {}

    def case(self, forget: int) -> Case:
        """The request of `forget` rows, drawn by their number; made once."""
        if forget not in self.cases:
            rows = self.problem.rows
            ids = rows.ids[np.random.default_rng(forget).permutation(len(rows))[:forget]]
            retained = rows.without(ids)
            clean = self.solved(retained, self.before, 1e-10, dense=True)
            scores = outputs(self.objective.scores(clean, self.problem.test.columns), self.problem.loss)
            self.cases[forget] = Case(
                retained, rows.only(ids), clean, float((self.before - clean).norm()),
                self._seconds(retained, self.objective.start(0)), self._seconds(retained, self.before),
                self._descent(retained),
                100 * float((scores.argmax(1).numpy() == self.problem.test.y).mean()),
            )  # fmt: skip
        return self.cases[forget]

    def _descent(self, rows: Rows) -> float:
        """CPU seconds of `EPOCHS` epochs of plain SGD on the same objective: how the published comparisons retrain."""
        learner = Sgd(Linear(), self.problem.loss, EPOCHS, batch_size=128, learning_rate=0.1, l2=self.problem.l2)
        start = learner.start(rows.schema, 0, ("yardstick",))
        begun = time.process_time()
        learner.train(start, rows, seed=0, purpose=("yardstick",))
        return time.process_time() - begun

    def solved(self, rows: Rows, start: Tensor, tol: float, *, dense: bool) -> Tensor:
        """The minimiser on `rows`."""
        return minimise(self.objective, rows, start, tol=tol, dense=dense).x

    def _seconds(self, rows: Rows, start: Tensor) -> float:
        refits = [partial(self.solved, rows, start, self.tolerance, dense=dense) for dense in (True, False)]
        return min(timed(refit)[1] for refit in refits)


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What a call gives, and its median CPU seconds on one thread."""
    taken = []
    for _ in range(REPEATS):
        start = time.process_time()
        given = work()
        taken.append(time.process_time() - start)
    return given, statistics.median(taken)


def accuracy(method: Any, record: Any, test: Rows) -> float:
    """Of a record's release on the test rows, in points."""
    scores = method.predict(method.release(record), test.columns)
    return 100 * float((scores.argmax(1).numpy() == test.y).mean())


def point(method: Any, record: Any, noise: NoiseKey) -> Tensor:
    """The weights (d,) of a record, rows of outputs with their intercepts last; without noise where it can be told."""
    release = method.release(record)
    if offers(method, Checkable):
        return method.centre(release, noise)  # type: ignore[no-any-return]
    tensors = release.tensors
    if "weights" in tensors:
        return tensors["weights"].double().reshape(-1)
    return torch.cat([tensors["weight"], tensors["bias"][:, None]], 1).double().reshape(-1)


def told(certificate: Certificate | None) -> str:
    """The guarantee as the table prints it, with epsilon at delta 1e-5."""
    match certificate:
        case None:
            return "learned again"
        case Exact():
            return "exact"
        case Certified() as promise:
            nothing = "; doing nothing meets it" if promise.doing_nothing_meets_it else ""
            return f"epsilon {epsilon_of(promise.mu, DELTA):.2g}, {promise.basis.value}{nothing}"
        case _:
            return "uncertified"


def measured(entry: Entry, kind: Any, name: str, yard: Yardstick, sizes: Sequence[int]) -> list[Result]:
    """One method on one problem, for every number of rows."""
    problem, found, first = yard.problem, [], NoiseKey.fresh(1)
    learned: tuple[Any, Any] = (None, None)
    for forget in sizes:
        method, case, second = entry.make(kind, problem, forget), yard.case(forget), NoiseKey.fresh(2)
        if learned[0] != method:
            learned = (method, method.learn(problem.rows, seed=0, noise=first))

        def step(
            record: Any = learned[1], method: Any = method, case: Case = case, key: NoiseKey = second
        ) -> tuple[Any, Certificate | None]:
            try:
                done = method.forget(record, case.retained, case.forgotten, noise=key)
            except MustRetrain:
                return method.learn(case.retained, seed=0, noise=key), None
            return done.record, done.certificate

        (after, certificate), seconds = timed(step)
        purge = timed(lambda: method.settle(after, case.retained))[1] if offers(method, Settles) else 0.0  # noqa: B023
        keys = [NoiseKey.fresh(2) for _ in range(RETRAININGS)]
        again = [method.learn(case.retained, seed=seed, noise=key) for seed, key in enumerate(keys)]
        points = [point(method, other, key) for other, key in zip(again, keys, strict=True)]
        nulls = [float((a - b).norm()) / case.nothing for a, b in itertools.combinations(points, 2)]
        own = [accuracy(method, other, problem.test) for other in again]
        left = float((point(method, after, second) - case.clean).norm()) / case.nothing
        lost = case.accuracy - accuracy(method, after, problem.test)
        found.append(
            Result(
                problem.name, name, forget, case.cold / seconds, case.warm / seconds,
                case.descent / seconds, case.cold / (seconds + purge),
                left, (min(nulls), max(nulls)), lost, (case.accuracy - max(own), case.accuracy - min(own)),
                told(certificate), entry.survey or "-",
            )
        )  # fmt: skip
        print(_line(found[-1]), flush=True)
    return found


HEADS = (
    "data", "rows", "method", "x cold", "x warm", "x SGD", "x cold with purge", "of doing nothing",
    "retrain against retrain",
    "accuracy lost, points", "of its retrainings", "guarantee at delta 1e-5",
)  # fmt: skip


def _line(r: Result) -> str:
    cells = (
        r.problem, str(r.forget), r.method, f"{r.cold:.3g}", f"{r.warm:.3g}", f"{r.descent:.3g}",
        f"{r.with_purge:.3g}", f"{r.left:.1e}",
        f"{r.nulls[0]:.1e} to {r.nulls[1]:.1e}", f"{r.accuracy_loss:+.2f}", f"{r.band[0]:+.2f} to {r.band[1]:+.2f}",
        r.guarantee,
    )  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def summary(results: Sequence[Result]) -> list[str]:
    """Least, geometric mean and most over all settings of each method, beside the survey's."""
    lines = ["| method | settings | x cold: least / mean / most | x warm | x SGD | accuracy lost at most | survey |",
             "|---|---|---|---|---|---|---|"]  # fmt: skip
    for name in dict.fromkeys(r.method for r in results):
        own = [r for r in results if r.method == name]
        spans = [
            f"{min(v):.2g} / {statistics.geometric_mean(v):.3g} / {max(v):.3g}"
            for v in ([r.cold for r in own], [r.warm for r in own], [r.descent for r in own])
        ]
        worst = max(r.accuracy_loss for r in own)
        lines.append(f"| {name} | {len(own)} | {spans[0]} | {spans[1]} | {spans[2]} | {worst:+.2f} | {own[0].survey} |")
    return lines


def main() -> None:
    """Run, and print a line for each setting and a table of means."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--quick", action="store_true", help="1,000 rows of Higgs and of MNIST 3 against 8")
    arguments.add_argument("--data", nargs="+", choices=list(data.PROBLEMS), default=None)
    usual = [name for name in METHODS if name not in ONLY_WHEN_NAMED]
    arguments.add_argument("--method", nargs="+", choices=list(METHODS), default=usual)
    arguments.add_argument("--rows", nargs="+", type=int, default=None, help="how many to forget; 0: 1 % of them")
    arguments.add_argument("--out", type=Path, default=None, help="write every figure there as JSON")
    arguments.add_argument("--combine", nargs="+", type=Path, default=None, help="only the means of such files")
    given = arguments.parse_args()
    if given.combine:
        print("\n".join(summary([Result(**each) for file in given.combine for each in json.loads(file.read_text())])))
        return
    torch.set_num_threads(1)
    kinds: dict[str, Any] = {}
    for name in given.method:
        entry = METHODS[name]
        try:
            kinds[name] = getattr(importlib.import_module(f"expunge.methods.{entry.module}"), entry.kind)
        except (ImportError, AttributeError):
            print(f"{name} skipped: this version of expunge has no expunge.methods.{entry.module}")
    print("| " + " | ".join(HEADS) + " |\n|" + "---|" * len(HEADS), flush=True)
    results: list[Result] = []
    for chosen in given.data or (["higgs", "mnist38"] if given.quick else list(data.PROBLEMS)):
        file, make = data.PROBLEMS[chosen]
        if not (data.FOLDER / file).exists():
            print(f"{chosen} skipped: {file} is not here")
            continue
        yard = Yardstick(make(1000 if given.quick else None))
        wanted = given.rows or ((1, 100) if given.quick else (1, 10, 100, 0))
        sizes = sorted({size or len(yard.problem.rows) // 100 for size in wanted})
        for name, kind in kinds.items():
            if not METHODS[name].applies(yard.problem):
                continue
            try:
                results += measured(METHODS[name], kind, name, yard, sizes)
            except ExpungeError as refused:
                print(f"{name} on {yard.problem.name} skipped: {refused}", flush=True)
    print("\n" + "\n".join(summary(results)))
    if given.out:
        given.out.write_text(json.dumps([asdict(result) for result in results], indent=1) + "\n")


if __name__ == "__main__":
    main()
