"""L-FOCI on scikit-learn's digits: how much of the way to the retrained model one step goes, by selector.

    python benchmarks/l_foci_digits.py
    python benchmarks/l_foci_digits.py residuals    how the residual gradient falls with the number of rows

Softmax regression (1,000 rows, l2 = .01) and a tanh network 64-12-10 (600 rows, l2 = .003), both trained to a gradient
of 1e-9, so that what is measured is the step. One row leaves at a time: the ten of the highest loss, and ten others.
Figures are medians of ||w' - w_r|| / ||w - w_r||: 0 is the retrained model, 1 doing nothing.
"""

from __future__ import annotations

import math
import os
import statistics
import sys
import time
from dataclasses import dataclass, field

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from expunge import NoiseKey, Rows
from expunge.learners.convex import Convex
from expunge.learners.sgd import Sgd
from expunge.methods import LFoci
from expunge.methods.l_foci import LFociRecord
from expunge.models import Mlp
from expunge.objective.minimise import minimise
from expunge.objective.perturbation import Perturbation
from expunge.objective.selection import Selection, block_of
from expunge.objective.slice_block import BlockSolver
from expunge.objective.slices import slices_of

KEY = NoiseKey.fresh(1)
EACH = 10


def digits(n: int) -> Rows:
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))[:n]
    return Rows.of(data.data[order] / 16.0, data.target[order], classes=10)


def trained(method: LFoci, rows: Rows) -> LFociRecord:
    """The model at its minimum."""
    record = method.learn(rows, seed=0, noise=KEY)
    objective = method.learner.objective(record.training)
    found = minimise(objective, rows, method.learner.flat(record.training), tol=1e-9, dense=False)
    return LFociRecord(method.learner.moved(record.training, found.x), len(rows), 0)


def ratio(after: Tensor, before: Tensor, retrained: Tensor) -> float:
    return float((after - retrained).norm() / (before - retrained).norm())


def ascent(method: LFoci, record: LFociRecord, rows: Rows, row: int, count: int) -> Tensor:
    """What the published code does in numbers: w + g / (l2 (n - 1)) in the chosen slices."""
    objective, w = method.learner.objective(record.training), method.learner.flat(record.training)
    gradient = objective.gradient_sum(w, rows.only([row]))
    slices = slices_of(objective)
    P = block_of(slices, torch.topk(slices.norms(gradient), count).indices.tolist()).positions
    after = w.clone()
    after[P] += gradient[P] / (objective.l2 * (len(rows) - 1))
    return after


@dataclass
class Measured:
    """One model, and for each way of forgetting the figures of all rows."""

    learner: Convex | Sgd
    rows: Rows
    record: LFociRecord
    table: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def note(self, label: str, **figures: float) -> None:
        """Add one row's figures."""
        for key, value in figures.items():
            self.table.setdefault(label, {}).setdefault(key, []).append(value)

    def run(
        self,
        label: str,
        group: str,
        row: int,
        target: Tensor,
        selection: Selection,
        solver: BlockSolver,
        steps: int = 1,
    ) -> int:
        """One step without `row`; how many slices it changed."""
        method = LFoci(self.learner, selection, Perturbation(1000), solver, steps=steps, max_accuracy_drop=1.0)
        start = time.process_time()
        step = method.forget(self.record, self.rows.without([row]), self.rows.only([row]), noise=KEY)
        spent = time.process_time() - start
        before, after = (self.learner.flat(record.training) for record in (self.record, step.record))
        figures = {group: ratio(after, before, target), f"{group} slices": step.stats["slices"], "seconds": spent}
        self.note(label, **figures)
        return int(step.stats["slices"])

    def of_row(self, group: str, row: int) -> None:
        """Every way of forgetting one row."""
        before = self.learner.flat(self.record.training)
        objective = self.learner.objective(self.record.training)
        target = minimise(objective, self.rows.without([row]), before, tol=1e-9, dense=False).x
        case, exact = (group, row, target), BlockSolver("hessian", damping=0.0)
        count = self.run("l_foci", *case, Selection(), exact)
        self.run("random, same count", *case, Selection("random", count=count), exact)
        self.run("gradient_norm, same count", *case, Selection("gradient_norm", count=count), exact)
        several = self.run("l_foci_per_layer", *case, Selection("l_foci_per_layer"), exact)
        self.run(
            "l_foci_per_layer, gauss_newton",
            *case,
            Selection("l_foci_per_layer"),
            BlockSolver("gauss_newton", damping=0.0),
        )
        self.run("gradient_norm, count of per layer", *case, Selection("gradient_norm", count=several), exact)
        for form in ("slice_diagonal", "kronecker", "gauss_newton", "hessian"):
            self.run(f"all, {form}", *case, Selection("all"), BlockSolver(form, damping=0.0))
        self.run("all, hessian, two steps", *case, Selection("all"), exact, steps=2)
        self.run("l_foci_per_layer, two steps", *case, Selection("l_foci_per_layer"), exact, steps=2)
        secant = BlockSolver("secant", damping=0.0)
        self.run("l_foci_per_layer, secant", *case, Selection("l_foci_per_layer"), secant)
        ascended = ascent(LFoci(self.learner), self.record, self.rows, row, count)
        self.note("as released (gradient ascent)", **{group: ratio(ascended, before, target)})


def residuals() -> None:
    """The gradient over the retained rows that a step leaves: of order 1/n for a block, 1/n^2 for all slices."""
    learner = Convex(l2=0.01)
    for n in (200, 400, 800, 1600):
        rows = digits(n)
        record = trained(LFoci(learner), rows)
        objective = learner.objective(record.training)
        found: dict[str, list[float]] = {}
        for row in np.random.default_rng(1).permutation(n)[:15].tolist():
            left = rows.without([row])
            centres = {"nothing": learner.flat(record.training)}
            for selector in ("l_foci", "all"):
                method = LFoci(learner, Selection(selector), Perturbation(300))
                step = method.forget(record, left, rows.only([row]), noise=KEY)
                centres[selector] = learner.flat(step.record.training)
            for name, w in centres.items():
                found.setdefault(name, []).append(float(objective.gradient(w, left).norm()))
        print(n, {name: f"{statistics.median(values):.1e}" for name, values in found.items()}, flush=True)


def main() -> None:
    """Print one table for each model."""
    torch.set_num_threads(1)
    if "residuals" in sys.argv:
        residuals()
        return
    learners: dict[str, tuple[Convex | Sgd, Rows]] = {
        "softmax regression": (Convex(l2=0.01), digits(1000)),
        "tanh network": (Sgd(Mlp((12,), activation="tanh"), l2=3e-3, epochs=100, precision="float64"), digits(600)),
    }
    for name, (learner, rows) in learners.items():
        measured = Measured(learner, rows, trained(LFoci(learner), rows))
        objective = learner.objective(measured.record.training)
        w = learner.flat(measured.record.training)
        losses = objective.loss.values(objective.scores(w, rows.columns), torch.as_tensor(rows.y))
        order = torch.argsort(losses, descending=True).tolist()
        print(f"{name}: {len(w)} weights, {len(slices_of(objective))} slices; high loss | random rows", flush=True)
        for row in order[:EACH]:
            measured.of_row("high", row)
        for row in np.random.default_rng(1).permutation(order[EACH:])[:EACH].tolist():
            measured.of_row("random", row)
        for label, found in measured.table.items():
            middle = {key: statistics.median(values) for key, values in found.items()}
            counts = f"{middle.get('high slices', math.nan):3.0f} | {middle.get('random slices', math.nan):3.0f} slices"
            seconds = f"{middle.get('seconds', math.nan):.3f} s"
            print(f"  {label:36} {middle['high']:6.3f} | {middle['random']:6.3f}   {counts}   {seconds}", flush=True)


if __name__ == "__main__":
    main()
