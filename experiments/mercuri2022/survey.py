"""The survey's whole table of comparison, measured again: its seven methods, each as its paper learns.

    python experiments/mercuri2022/survey.py [--quick] [--data NAME ...] [--method NAME ...] [--out FILE.json]

Efficiency is T(h*) / T(h^U): CPU seconds, on one thread, of learning again on the retained rows *by the procedure the
method stands beside* (one plain model for SISA, the same learner without records for the others), over those of the
forget. Effectiveness is |M^U - M*| in points of accuracy on test rows, M* of the same method learned again under the
same seed; beside it stands what doing nothing gives. Consistency is the distance of the weights as a share of doing
nothing's, and the share of test rows with equal predictions. One row, and one in a hundred, are forgotten.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parent))

import data
import numpy as np
import torch
from data import Problem

from expunge import NoiseKey, Rows
from expunge.audits.candidates import released
from expunge.audits.scores.certifiability import certifiability
from expunge.audits.scores.consistency import equal_predictions, share_of_nothing, weight_distance
from expunge.audits.scores.effectiveness import effectiveness
from expunge.certificate import Certified, Exact
from expunge.errors import ExpungeError, MustRetrain
from expunge.learners.convex import Convex
from expunge.learners.descent import Descent
from expunge.learners.sgd import Sgd
from expunge.maths import performance
from expunge.method import Method
from expunge.methods.dare_forest import DareForest
from expunge.methods.deep_obliviate import DeepObliviate
from expunge.methods.delta_grad import DeltaGrad
from expunge.methods.descent_to_delete import DescentToDelete
from expunge.methods.fisher import Fisher
from expunge.methods.influence import Influence
from expunge.methods.retrain import Retrain
from expunge.methods.sisa import Sisa
from expunge.models import Mlp, SmallConvNet

IMAGES = ("MNIST ten digits", "Fashion-MNIST", "CIFAR-10, random features")


@dataclass(frozen=True)
class Entry:
    """A line of the table: what it makes for a problem (the method, the plain one), and what the survey says.

    `published`: type, certificate, efficiency least / mean / most, effectiveness, consistency. `pictures`: whether it
    learns from whole pictures. `most`: rows at most, where a method would take hours.
    """

    make: Callable[[Problem, int], tuple[Method[Any], Method[Any]]]
    published: tuple[str, str, str, str, str]
    applies: Callable[[Problem], bool] = lambda _: True
    convert: Callable[[Rows], Rows] = lambda rows: rows
    pictures: bool = False
    most: int | None = None


def _columns(rows: Rows) -> Rows:
    """Each number of x as a column of its own, as forests read tables."""
    x = rows.columns["x"]
    return Rows.of({f"c{j}": x[:, j] for j in range(x.shape[1])}, rows.y, ids=rows.ids, classes=rows.classes)


def _sisa(problem: Problem, forget: int) -> tuple[Method[Any], Method[Any]]:
    del problem, forget
    learner = Sgd(Mlp((32,)), epochs=10, batch_size=32, learning_rate=0.1, l2=1e-4)
    return Sisa(learner=learner, shards=10, slices=5), Retrain(learner)


def _forest(random_depth: int) -> Callable[[Problem, int], tuple[Method[Any], Method[Any]]]:
    method = DareForest(trees=50, max_depth=10, candidates=5, random_depth=random_depth)
    return lambda _problem, _forget: (method, method)


def _convex(kind: Any, parts: int = 1) -> Callable[[Problem, int], tuple[Method[Any], Method[Any]]]:
    def make(problem: Problem, forget: int) -> tuple[Method[Any], Method[Any]]:
        learner = Convex(loss=problem.loss, l2=problem.l2, tol=1e-7)
        size = {} if parts == 1 else {"batch_size": -(-forget // parts)}
        return kind(learner=learner, **size), Retrain(learner)

    return make


def _delta(problem: Problem, forget: int) -> tuple[Method[Any], Method[Any]]:
    del forget
    learner = Descent(loss=problem.loss, epochs=300, learning_rate=0.3, l2=0.005)
    return DeltaGrad(learner, period=15), Retrain(learner)


def _descent(problem: Problem, forget: int) -> tuple[Method[Any], Method[Any]]:
    del forget
    method = DescentToDelete(loss=problem.loss, l2=0.05, noise_std=0.01, row_norm=problem.row_norm, radius=20.0)
    return method, method


def _deep(threshold: float) -> Callable[[Problem, int], tuple[Method[Any], Method[Any]]]:
    learner = Sgd(SmallConvNet((8, 16)), epochs=1, batch_size=32, learning_rate=0.02, momentum=0.9, l2=1e-4)
    method = DeepObliviate(learner, blocks=100, threshold=threshold, residuals="absolute")
    return lambda _problem, _forget: (method, DeepObliviate(learner, blocks=100, threshold=0.0))


def _tabular(problem: Problem) -> bool:
    return problem.name not in IMAGES


def _drawn(problem: Problem) -> bool:
    return problem.name in IMAGES


def _short(problem: Problem) -> bool:
    return problem.row_norm <= 12  # passes grow as its square: one-hot rows of rare levels make a hundred thousand


def _small(problem: Problem) -> bool:
    return problem.parameters < 1000  # eight factors of a Hessian a request


METHODS: Mapping[str, Entry] = {
    "SISA": Entry(_sisa, ("exact, weak", "exact", "1.36 / 2.49 / 4.63", "< 2 (18.76)", "exact")),
    "DaRE, greedy": Entry(
        _forest(0), ("exact", "exact", "10 / 366 / 9735", "<= 0.5", "exact"), _tabular, _columns
    ),
    "DaRE, random top": Entry(
        _forest(4), ("exact", "exact", "145 / 1272 / 35856", "<= 2.5", "exact"), _tabular, _columns
    ),
    "Fisher, m'=m/8": Entry(
        _convex(Fisher, 8), ("approximate", "3.3 kNATs", "1.0 / 3.3 / 36.8", "0.0", "-"), _small
    ),
    "Fisher, m'=m": Entry(_convex(Fisher), ("approximate", "33.4 kNATs", "1.5 / 13.0 / 282.4", "< 0.2", "-")),
    "Influence, m'=m/8": Entry(
        _convex(Influence, 8), ("approximate", "(eps, delta)", "0.3 / 5.9 / 75.7", "< 0.55", "-"), _small
    ),
    "Influence, m'=m": Entry(
        _convex(Influence), ("approximate", "(eps, delta)", "2.5 / 38.2 / 215.1", "< 0.57", "-")
    ),
    "DeltaGrad": Entry(
        _delta, ("approximate, strong", "none", "1.6 / 2.7 / 6.5", "0.0", "1.7e-6 / 1.1e-5 / 1.4e-4 (theta)")
    ),
    "Descent-to-Delete": Entry(
        _descent, ("approximate, strong", "(eps, delta)", "1 + log(eps n/sqrt p)/I", "-", "-"), _short, most=4000,
    ),
    "DeepObliviate, .01": Entry(
        _deep(0.01), ("approximate, strong", "none", "6.17 / 13.97 / 45.45", "< 0.18", "97.25 / 98.82 / 99.95 % (y)"),
        _drawn, pictures=True,
    ),
    "DeepObliviate, .1": Entry(
        _deep(0.1), ("approximate, strong", "none", "9.26 / 22.81 / 66.67", "< 0.35", "95.78 / 97.61 / 99.85 % (y)"),
        _drawn, pictures=True,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Result:
    """One method on one data set and one number of rows. `theta`: share of doing nothing's distance, or None.

    `equal`: share of equal predictions, after forgetting and after doing nothing. Accuracies are in points.
    """

    problem: str
    method: str
    forget: int
    efficiency: float
    preparation: float
    effectiveness: float
    effectiveness_nothing: float
    theta: float | None
    equal: tuple[float, float]
    certifiability: tuple[float, float]
    certificate: str


def timed(work: Callable[[], Any], repeats: int) -> tuple[Any, float]:
    """What a call gives, and its median CPU seconds."""
    taken, given = [], None
    for _ in range(repeats):
        start = time.process_time()
        given = work()
        taken.append(time.process_time() - start)
    return given, statistics.median(taken)


def measured(name: str, problem: Problem, sizes: Sequence[int]) -> list[Result]:
    """One method on one data set; each number of rows is a request of its own to the same record."""
    entry, found = METHODS[name], []
    rows, test = entry.convert(problem.rows), entry.convert(problem.test)
    if entry.most is not None and len(rows) > entry.most:
        rows = rows.select(np.arange(len(rows)) < entry.most)
    for forget in sizes:
        method, plain = entry.make(problem, forget)
        record, learned = timed(lambda: method.learn(rows, seed=0, noise=NoiseKey.fresh(1)), 1)  # noqa: B023
        ids = rows.ids[np.random.default_rng(forget).permutation(len(rows))[:forget]]
        retained, gone = rows.without(ids), rows.only(ids)

        def step(record: Any = record, retained: Rows = retained, gone: Rows = gone, method: Any = method) -> Any:
            try:
                done = method.forget(record, retained, gone, noise=NoiseKey.fresh(2))
            except MustRetrain:
                return method.learn(retained, seed=0, noise=NoiseKey.fresh(2)), None
            return done.record, done.certificate

        (after, certificate), seconds = timed(step, 3)
        again = method.learn(retained, seed=0, noise=NoiseKey.fresh(2))
        _, naive = timed(lambda: plain.learn(retained, seed=0, noise=NoiseKey.fresh(2)), 1)  # noqa: B023
        before, unlearned, best = (released(method, method.release(r)) for r in (record, after, again))
        on_test = [model.scores(test) for model in (before, unlearned, best)]
        on_gone = [100 * performance.accuracy(model.scores(gone), gone.y) for model in (before, unlearned, best)]
        accuracy = [100 * performance.accuracy(outputs, test.y) for outputs in on_test]
        equal = [equal_predictions(outputs, on_test[2]) for outputs in on_test]
        nothing, left = (weight_distance(model.tensors, best.tensors) for model in (before, unlearned))
        found.append(
            Result(
                problem.name, name, forget, naive / seconds, learned / naive,
                effectiveness(accuracy[1], accuracy[2]), effectiveness(accuracy[0], accuracy[2]),
                None if left is None or nothing is None else share_of_nothing(left, nothing), (equal[1], equal[0]),
                (certifiability(on_gone[1], on_gone[2]), certifiability(on_gone[0], on_gone[2])),
                told(certificate),
            )
        )  # fmt: skip
        print(line(found[-1]), flush=True)
    return found


def told(certificate: Any) -> str:
    """The certificate in a word."""
    match certificate:
        case None:
            return "learned again"
        case Exact():
            return "exact"
        case Certified():
            return f"epsilon {certificate.epsilon:.2g} ({certificate.basis.value})"
        case _:
            return "none"


HEADS = (
    "data", "rows", "method", "efficiency", "learn / plain", "effectiveness (nothing)", "theta", "y (nothing)",
    "certifiability (nothing)", "certificate",
)  # fmt: skip


SUMMARY = (
    "method", "type", "certificate: theirs / ours", "efficiency, theirs", "ours: least / mean / most",
    "effectiveness: theirs / ours (nothing)", "consistency: theirs / ours",
)  # fmt: skip


def line(r: Result) -> str:
    """A setting as a line of the long table."""
    cells = (
        r.problem, str(r.forget), r.method, f"{r.efficiency:.3g}x", f"{r.preparation:.2g}",
        f"{r.effectiveness:.2f} ({r.effectiveness_nothing:.2f})", "-" if r.theta is None else f"{r.theta:.1e}",
        f"{r.equal[0]:.2%} ({r.equal[1]:.2%})", f"{r.certifiability[0]:.3f} ({r.certifiability[1]:.3f})",
        r.certificate,
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def summary(results: Sequence[Result]) -> list[str]:
    """The survey's table, ours beside theirs."""
    lines = [
        "| " + " | ".join(SUMMARY) + " |",
        "|" + "---|" * len(SUMMARY),
    ]
    for name in dict.fromkeys(r.method for r in results):
        own = [r for r in results if r.method == name]
        kind, certificate, efficiency, effectiveness, consistency = METHODS[name].published
        gains = [r.efficiency for r in own]
        thetas = [r.theta for r in own if r.theta is not None]
        ours = f"y {min(r.equal[0] for r in own):.1%} (nothing {min(r.equal[1] for r in own):.1%})"
        if thetas:
            ours += f", theta {max(thetas):.1e} of nothing"
        told_ours = ", ".join(dict.fromkeys(r.certificate for r in own))
        worst = f"{max(r.effectiveness for r in own):.2f} ({max(r.effectiveness_nothing for r in own):.2f})"
        lines.append(
            f"| {name} | {kind} | {certificate} / {told_ours} | {efficiency} "
            f"| {min(gains):.2g} / {statistics.geometric_mean(gains):.3g} / {max(gains):.3g} "
            f"| {effectiveness} / {worst} | {consistency} / {ours} |"
        )
    return lines


def main() -> None:
    """Run, print a line for each setting, and the table."""
    chosen = ["higgs", "adult", "bank", "mnist10", "fashion", "cifar10"]
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--quick", action="store_true", help="1,000 rows of Higgs and of MNIST")
    arguments.add_argument("--data", nargs="+", choices=chosen, default=None)
    arguments.add_argument("--method", nargs="+", choices=list(METHODS), default=list(METHODS))
    arguments.add_argument("--out", type=Path, default=None, help="write every figure there as JSON")
    arguments.add_argument("--combine", nargs="+", type=Path, default=None, help="only the table of such files")
    given = arguments.parse_args()
    if given.combine:
        read = [Result(**each) for file in given.combine for each in json.loads(file.read_text())]
        print("\n".join(summary(read)))
        return
    torch.set_num_threads(1)
    print(f"| {' | '.join(HEADS)} |\n|{'---|' * len(HEADS)}", flush=True)
    results: list[Result] = []
    for name in given.data or (["higgs", "mnist10"] if given.quick else chosen):
        file, make = data.PROBLEMS[name]
        if not (data.FOLDER / file).exists():
            print(f"{name} skipped: {file} is not here")
            continue
        limit = 1000 if given.quick else None
        problem, drawn = make(limit), data.pictures(name, limit)
        sizes = (1, len(problem.rows) // 100)
        for method in given.method:
            if METHODS[method].applies(problem):
                used = drawn if METHODS[method].pictures and drawn else problem
                try:
                    results += measured(method, used, sizes)
                except ExpungeError as refused:
                    print(f"{method} on {problem.name} skipped: {refused}", flush=True)
        if given.out:
            given.out.write_text(json.dumps([asdict(result) for result in results], indent=1) + "\n")
    print("\n" + "\n".join(summary(results)))


if __name__ == "__main__":
    main()
