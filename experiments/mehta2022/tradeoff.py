"""How many rows can leave before one has to retrain (the paper's figure 6), at epsilon .1 and delta .01.

    python experiments/mehta2022/tradeoff.py [--quick] [--keep]

MNIST halved to 14 by 14, 4,000 rows, a network of two layers; 400 rows leave, forty in a request, in eight runs with
seeds of their own (the paper: 10,000 rows, one by one). One has to retrain when accuracy on 2,000 other rows is more
than three points below that of retrained models, which are learned half way and at the end.

The formula's sigma for one row is .97 at 4,000 rows (.155 at the paper's 10,000), and stays in the weights from
request to request; for forty rows at once it would be 1,600 times that. The published code takes n = 50,000 (.0062) and
noises only the weights it moved. "noise alone" forgets nothing.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import real_data
import removal_runs as runs
import torch
from removal_runs import Figures, State

from expunge import NoiseKey
from expunge.learners.sgd import Sgd
from expunge.methods import LFoci
from expunge.methods.l_foci import LFociRecord
from expunge.models import Mlp
from expunge.objective.perturbation import Perturbation
from expunge.objective.selection import Selection
from expunge.objective.slice_block import BlockSolver

KEY = NoiseKey.fresh(1)
L2, EPSILON, DELTA = 0.01, 0.1, 0.01
THEIR_ROWS = 50_000  # in the code, whatever was learned from
DROP = 0.03
COLUMNS = ("accuracy", "least accuracy", "accuracy on removed", "residual gradient")


@dataclass(frozen=True)
class Case:
    """One run's model and requests."""

    learner: Sgd
    record: LFociRecord
    parts: real_data.Parts
    requests: list[list[Any]]

    def stays(self, count: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which rows stay after so many requests."""
        return ~runs.mask_of(self.parts.rows, [row for request in self.requests[:count] for row in request])


def noise_alone(case: Case, std: float) -> Iterator[State]:
    """Nothing is forgotten, and every request noises all weights."""
    record, generator = case.record, torch.Generator().manual_seed(case.record.seed)
    for number in range(1, len(case.requests) + 1):
        record = runs.noised(case.learner, record, std, generator)
        stays = case.stays(number)
        removed = int((~stays).sum())
        yield State(removed, record, case.parts.rows.select(stays), case.parts.rows.select(~stays))


def arms(case: Case) -> dict[str, Callable[[], Iterator[State]]]:
    """What is compared."""
    curved = BlockSolver("gauss_newton", damping=L2, dense_limit=0, cg_tol=0.05)
    base = LFoci(case.learner, Selection(), Perturbation(64), curved, curvature_rows=100,
                 max_accuracy_drop=1.0)  # fmt: skip
    n = len(case.parts.rows)
    theirs, ours = (runs.published_noise(rows, L2, EPSILON, DELTA) for rows in (THEIR_ROWS, n))

    def walk(method: LFoci, *, kept: bool = True, some: bool = False) -> Callable[[], Iterator[State]]:
        return lambda: runs.stream(method, case.record, case.parts.rows, case.requests, noise_is_kept=kept,
                                   of_slices_only=some)  # fmt: skip

    return {
        "doing nothing": lambda: noise_alone(case, 0.0),
        "l_foci, no noise": walk(base),
        "l_foci, no noise, full gradient": walk(replace(base, gradient="full")),
        "gradient_norm, no noise": walk(replace(base, selection=Selection("gradient_norm", count=3))),
        "l_foci, noise as in the code": walk(replace(base, noise_std=theirs), some=True),
        "l_foci, the formula's noise": walk(replace(base, noise_std=ours)),
        "noise of the code, alone, on all": lambda: noise_alone(case, theirs),
        "the formula's noise alone": lambda: noise_alone(case, ours),
        "the formula's noise, on releases only": walk(replace(base, noise_std=ours), kept=False),
    }


def run(*, quick: bool) -> Any:
    """Every arm in every run."""
    n, gone, size = (600, 40, 10) if quick else (4000, 400, 40)
    whole = real_data.mnist(n, 500 if quick else 2000, dtype=np.float32)
    collected: dict[str, dict[int, list[Figures]]] = {}
    supported: dict[str, list[int]] = {}
    for seed in range(1 if quick else 8):
        learner = Sgd(Mlp((16,), activation="tanh"), l2=1e-4, epochs=6, batch_size=64)
        record = LFoci(learner).learn(whole.rows, seed=seed, noise=KEY)
        ids = whole.rows.ids[np.random.default_rng(seed).permutation(n)[:gone]].tolist()
        case = Case(learner, record, whole, [ids[start : start + size] for start in range(0, gone, size)])
        quarters = [len(case.requests) * part // 2 for part in (1, 2)]
        again = {}
        for count in quarters:
            left = whole.rows.select(case.stays(count))
            training = LFoci(learner).learn(left, seed=100 + seed, noise=KEY).training
            again[count * size] = State(count * size, replace(record, training=training), left,
                                        whole.rows.select(~case.stays(count)))  # fmt: skip
        level = statistics.mean(runs.accuracy(learner, state.training(), whole.test) for state in again.values())
        for name, walk in {**arms(case), "retrained": lambda: iter(again.values())}.items():  # noqa: B023
            last, found = 0, collected.setdefault(name, {})
            for state in walk():
                reached = runs.accuracy(learner, state.training(), whole.test)
                if not last and level - reached > DROP:
                    last = state.removed
                if state.removed in again:
                    found.setdefault(state.removed, []).append({
                        "accuracy": reached,
                        "accuracy on removed": runs.accuracy(learner, state.training(), state.gone),
                        "residual gradient": runs.residual_gradient(learner, state.training(), state.left),
                    })  # fmt: skip
                elif last and state.removed > last + gone // 4:
                    break
            supported.setdefault(name, []).append(last - size if last else gone)
        print(f"run {seed}: { {name: counts[-1] for name, counts in supported.items()} }", flush=True)
    table = {
        name: {
            k: {c: statistics.mean(f[c] for f in each) for c in each[0]}
            | {"least accuracy": min(f["accuracy"] for f in each)}
            for k, each in found.items()
        }
        for name, found in collected.items()
    }
    runs.show("Mean of the runs", table, COLUMNS)
    for name, counts in supported.items():
        print(
            f"{name}: retrain after {min(counts)} / {statistics.median(counts):.0f} / {max(counts)} removals of {gone}"
        )
    return {"table": table, "supported": supported}


def main() -> None:
    """Run."""
    given = runs.arguments(__doc__)
    if runs.have("mnist.npz"):
        figures = run(quick=given.quick)
        if given.keep:
            runs.keep("tradeoff", figures)


if __name__ == "__main__":
    main()
