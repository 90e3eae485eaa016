"""Removals in sequence (the paper's figure 5): L-FOCI against the full step, random slices, top gradients, and nothing.

    python experiments/mehta2022/removals.py [logistic] [two-layer] [cifar] [--quick] [--keep]

logistic, two-layer: MNIST halved to 14 by 14, 3,000 and 2,000 rows of which 1,000 leave one by one, from models trained
to a minimum. cifar: three networks on 1,000 pictures of the CIFAR cut of which 30 leave, five in a request.

residual gradient: ||grad F(w; D')|| over the rows that stay. left: ||w - w_r|| / ||w_0 - w_r||, w_r the minimum on the
rows that stay which is reached from w_0: 0 is retrained, 1 doing nothing. sample gradient: the mean norm of the loss
gradient of the rows that left (the paper's figure). apart: mean total variation between the predictions on test rows
and those of models retrained from scratch under other seeds; the lines "retrained" are the band, each against the
others.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import networks
import numpy as np
import real_data
import removal_runs as runs
from removal_runs import Built, Figures, State
from torch import Tensor

from expunge import NoiseKey, Rows
from expunge.learners.convex import Convex
from expunge.learners.learner import Training
from expunge.learners.sgd import Sgd
from expunge.methods import LFoci
from expunge.methods.l_foci import LFociRecord
from expunge.models import Mlp
from expunge.objective.minimise import minimise
from expunge.objective.perturbation import Perturbation
from expunge.objective.selection import Selection
from expunge.objective.slice_block import BlockSolver

KEY = NoiseKey.fresh(1)
COLUMNS = (
    "slices",
    "refused",
    "residual gradient",
    "left",
    "sample gradient",
    "test accuracy",
    "accuracy on removed",
    "apart",
)
Arms = dict[str, tuple[LFoci, bool]]  # method, and whether it takes as many slices as L-FOCI took


@dataclass(frozen=True)
class Case:
    """A model, the rows that leave, and where it is measured.

    `seeds`: of retrainings from scratch at the last checkpoint. `tolerance`: of the gradient at w_r; 0 for models that
    are not trained to a minimum, whose distance in weights says nothing.
    """

    learner: Convex | Sgd
    parts: real_data.Parts
    record: LFociRecord
    requests: Sequence[Sequence[Any]]
    checkpoints: Sequence[int]
    tolerance: float
    seeds: int

    def target(self, left: Rows) -> Tensor | None:
        """The minimum on the rows that stay, from the weights before."""
        if not self.tolerance:
            return None
        objective = self.learner.objective(self.record.training)
        return minimise(objective, left, self.learner.flat(self.record.training), tol=self.tolerance, dense=False).x

    def retrained(self, left: Rows) -> list[Training]:
        """From scratch under other seeds."""
        return [LFoci(self.learner).learn(left, seed=seed, noise=KEY).training for seed in range(1, self.seeds + 1)]


def measured(case: Case, state: State, target: Tensor | None, again: Sequence[Training], own: int = -1) -> Figures:
    """The figures of one state."""
    learner, training = case.learner, state.training()
    found: Figures = {"slices": float(state.slices), "refused": float(state.refused)}
    found["residual gradient"] = runs.residual_gradient(learner, training, state.left)
    if target is not None:
        found["left"] = runs.share(learner.flat(training), learner.flat(case.record.training), target)
    found["sample gradient"] = runs.sample_gradient(learner, training, state.gone)
    found["test accuracy"] = runs.accuracy(learner, training, case.parts.test)
    found["accuracy on removed"] = runs.accuracy(learner, training, state.gone)
    others = [runs.outputs_of(learner, other, case.parts.test) for i, other in enumerate(again) if i != own]
    if others:
        mine = runs.outputs_of(learner, training, case.parts.test)
        found["apart"] = statistics.mean(runs.apart(mine, other) for other in others)
    return found


def nothing(case: Case) -> Iterator[State]:
    """The model before, held against the same requests."""
    gone: list[Any] = []
    for request in case.requests:
        gone += request
        leaving = runs.mask_of(case.parts.rows, gone)
        yield State(len(gone), case.record, case.parts.rows.select(~leaving), case.parts.rows.select(leaving))


def compared(title: str, case: Case, arms: Arms) -> dict[str, dict[int, Figures]]:
    """Run every arm and print the table."""
    table: dict[str, dict[int, Figures]] = {}
    kept = [state for state in nothing(case) if state.removed in case.checkpoints]
    targets = {state.removed: case.target(state.left) for state in kept}
    again = case.retrained(kept[-1].left)

    def note(arm: str, state: State, own: int = -1) -> None:
        last = state.removed == case.checkpoints[-1]
        table.setdefault(arm, {})[state.removed] = measured(
            case, state, targets[state.removed], again if last else [], own
        )

    for state in kept:
        note("doing nothing", state)
    counts: list[int] = []
    for name, (method, same) in arms.items():
        begun, refused = time.process_time(), 0
        sizes: list[int] = []
        for state in runs.stream(method, case.record, case.parts.rows, case.requests, counts=counts if same else None):
            sizes.append(state.slices)
            refused = state.refused
            if state.removed in case.checkpoints:
                note(name, state)
        counts = counts or sizes
        seconds = (time.process_time() - begun) / len(case.requests)
        table[name][case.checkpoints[-1]] |= {"slices": statistics.mean(sizes), "seconds": seconds}
        print(f"{title}, {name}: {seconds:.3f} s a request, {refused} refused", flush=True)
    for own, training in enumerate(again):
        state = replace(kept[-1], record=replace(case.record, training=training))
        note(f"retrained, seed {own + 1}", state, own)
    runs.show(title, table, COLUMNS)
    return table


def chosen(rows: Rows, count: int, size: int) -> list[list[Any]]:
    """`count` random rows in requests of `size`."""
    ids = rows.ids[np.random.default_rng(7).permutation(len(rows))[:count]].tolist()
    return [ids[start : start + size] for start in range(0, count, size)]


def logistic(quick: bool) -> dict[str, dict[int, Figures]]:
    """Softmax regression; exact curvature."""
    parts = real_data.mnist(*((1000, 500) if quick else (3000, 3000)))
    learner = Convex(l2=0.01, tol=1e-9)
    record = LFoci(learner).learn(parts.rows, seed=0, noise=KEY)
    case = Case(learner, parts, record, chosen(parts.rows, 30 if quick else 1000, 1),
                (1, 10, 30) if quick else (1, 10, 100, 300, 1000), 1e-7, 0)  # fmt: skip
    exact, m = BlockSolver("hessian", dense_limit=0, cg_tol=0.03), Perturbation(200)
    arms: Arms = {
        "l_foci": (LFoci(learner, Selection(), m, exact), False),
        "random, same count": (LFoci(learner, Selection("random"), m, exact), True),
        "gradient_norm, same count": (LFoci(learner, Selection("gradient_norm"), m, exact), True),
        "l_foci, full gradient": (LFoci(learner, Selection(), m, exact, gradient="full"), False),
        "all": (LFoci(learner, Selection("all"), m, exact), False),
        "all, full gradient": (LFoci(learner, Selection("all"), m, exact, gradient="full"), False),
    }
    return compared("MNIST, softmax regression", case, arms)


def two_layer(quick: bool) -> dict[str, dict[int, Figures]]:
    """A tanh network 196-16-10, at a minimum."""
    parts = real_data.mnist(*((600, 500) if quick else (2000, 3000)))
    learner = Sgd(Mlp((16,), activation="tanh"), l2=3e-3, epochs=20, batch_size=64, precision="float64")
    trained = LFoci(learner).learn(parts.rows, seed=0, noise=KEY).training
    found = minimise(learner.objective(trained), parts.rows, learner.flat(trained), tol=1e-5, dense=False)
    record = LFociRecord(learner.moved(trained, found.x), len(parts.rows), 0)
    case = Case(learner, parts, record, chosen(parts.rows, 20 if quick else 1000, 1),
                (1, 10, 20) if quick else (1, 10, 100, 300, 1000), 1e-5, 3)  # fmt: skip
    curved, m = BlockSolver("gauss_newton", damping=0.0, dense_limit=0, cg_tol=0.05), Perturbation(100)
    rows = {"curvature_rows": 200, "max_accuracy_drop": 0.05, "guard_rows": 300}
    arms: Arms = {
        "l_foci": (LFoci(learner, Selection(), m, curved, **rows), False),
        "random, same count": (LFoci(learner, Selection("random"), m, curved, **rows), True),
        "gradient_norm, same count": (LFoci(learner, Selection("gradient_norm"), m, curved, **rows), True),
        "l_foci_per_layer": (LFoci(learner, Selection("l_foci_per_layer"), m, curved, **rows), False),
        "all": (LFoci(learner, Selection("all"), m, curved, **rows), False),
        "all, full gradient": (
            LFoci(learner, Selection("all"), m, replace(curved, damping=0.01), gradient="full", **rows),
            False,
        ),
    }
    return compared("MNIST, two layers (196-16-10)", case, arms)


def cifar(quick: bool) -> dict[str, dict[str, dict[int, Figures]]]:
    """Networks of several sizes, trained by Adam as one trains them: not to a minimum."""
    parts = real_data.cifar(*((200, 100) if quick else (1000, 1000)))
    sizes: dict[str, Callable[[int], Any]] = {"small CNN": networks.small, "medium CNN": networks.medium,
                                              "ResNet": networks.resnet}  # fmt: skip
    found = {}
    for name, make in sizes.items():
        learner = Sgd(Built(make), optimiser="adam", learning_rate=2e-3, epochs=1 if quick else 6, l2=1e-4)
        record = LFoci(learner).learn(parts.rows, seed=0, noise=KEY)
        case = Case(learner, parts, record, chosen(parts.rows, 4 if quick else 30, 2 if quick else 5),
                    (2, 4) if quick else (5, 15, 30), 0.0, 1 if quick else 2)  # fmt: skip
        curved = BlockSolver("gauss_newton", damping=0.1, dense_limit=0, cg_tol=0.05)
        m, rows = (
            Perturbation(64 if quick else 100),
            {"curvature_rows": 16 if quick else 32, "max_accuracy_drop": 0.05, "guard_rows": 200},
        )
        arms: Arms = {
            "l_foci": (LFoci(learner, Selection(), m, curved, **rows), False),
            "random, same count": (LFoci(learner, Selection("random"), m, curved, **rows), True),
            "gradient_norm, same count": (LFoci(learner, Selection("gradient_norm"), m, curved, **rows), True),
        }
        size = len(learner.flat(record.training))
        found[name] = compared(f"CIFAR cut, {name}, {size} weights", case, arms)
    return found


PARTS: dict[str, tuple[str, Callable[[bool], Any]]] = {
    "logistic": ("mnist.npz", logistic),
    "two-layer": ("mnist.npz", two_layer),
    "cifar": ("cifar10_12k.npz", cifar),
}


def main() -> None:
    """Run the parts asked for."""
    given = runs.arguments(__doc__, *PARTS)
    for part in given.part:
        file, run = PARTS[part]
        if runs.have(file):
            figures = run(given.quick)
            if given.keep:
                runs.keep(f"removals, {part}", figures)


if __name__ == "__main__":
    main()
