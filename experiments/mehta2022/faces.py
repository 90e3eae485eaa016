"""One person leaves a face recogniser, picture by picture (the paper's figure 7, left).

    python experiments/mehta2022/faces.py [--quick] [--keep]

Stand-in: Olivetti, 40 persons, for VGGFace; a network of three convolutions and an embedding, trained from scratch on
seven pictures of each person, tested on three. Means over several persons, each leaving a model of its own. `cheapest`
is what the paper ran; its noise is sigma for its own n = 982,803 at epsilon 1e-5, and it stays in the weights.
apart: mean total variation between the predictions on the test pictures of those who stay, and a retrained model's.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import networks
import real_data
import removal_runs as runs
from removal_runs import Built, Figures, State

from expunge import NoiseKey, Rows
from expunge.learners.learner import Training
from expunge.learners.sgd import Sgd
from expunge.methods import GradientAscent, LFoci
from expunge.methods.gradient_ascent import GradientAscentRecord
from expunge.methods.l_foci import LFociRecord
from expunge.objective.perturbation import Perturbation
from expunge.objective.selection import Selection
from expunge.objective.slice_block import BlockSolver

KEY = NoiseKey.fresh(1)
LEARNED, TESTED = tuple(range(7)), tuple(range(7, 10))
THEIR_ROWS, L2, EPSILON, DELTA = 982_803, 0.01, 1e-5, 0.01
COLUMNS = (
    "slices",
    "refused",
    "removed person, learned pictures",
    "removed person, test",
    "others, test",
    "apart",
    "seconds",
)
Walk = Callable[[list[Any]], Iterator[State]]


@dataclass(frozen=True)
class Model:
    """A trained recogniser."""

    learner: Sgd
    record: LFociRecord
    rows: Rows
    test: Rows


def trained(rows: Rows, test: Rows, epochs: int) -> Model:
    """From scratch."""
    learner = Sgd(Built(networks.Embedded), optimiser="adam", learning_rate=2e-3, epochs=epochs, l2=1e-4)
    return Model(learner, LFoci(learner).learn(rows, seed=0, noise=KEY), rows, test)


def of_person(rows: Rows, person: int, *, its: bool) -> Rows:
    """One person's rows, or those of all others."""
    return rows.select((rows.y == person) == its)


def measured(model: Model, state: State, person: int, again: Training) -> Figures:
    """The figures of one state."""
    others, learner = of_person(model.test, person, its=False), model.learner
    training = state.training()
    return {
        "slices": float(state.slices),
        "refused": float(state.refused),
        "removed person, learned pictures": runs.accuracy(learner, training, of_person(model.rows, person, its=True)),
        "removed person, test": runs.accuracy(learner, training, of_person(model.test, person, its=True)),
        "others, test": runs.accuracy(learner, training, others),
        "apart": runs.apart(runs.outputs_of(learner, training, others), runs.outputs_of(learner, again, others)),
    }


def nothing(model: Model, ids: list[Any]) -> Iterator[State]:
    """The model as it was."""
    for count in range(1, len(ids) + 1):
        leaving = runs.mask_of(model.rows, ids[:count])
        yield State(count, model.record, model.rows.select(~leaving), model.rows.select(leaving))


def ascent(model: Model, ids: list[Any], method: GradientAscent) -> Iterator[State]:
    """The product's gradient ascent, one request after another."""
    record = GradientAscentRecord(0, len(model.rows), 0, model.record.training)
    for state in nothing(model, ids):
        forgotten = model.rows.only(ids[state.removed - 1 : state.removed])
        record = method.forget(record, state.left, forgotten, noise=KEY).record
        yield replace(state, record=replace(model.record, training=record.training, size=len(state.left)))


def arms(model: Model, *, quick: bool) -> dict[str, Walk]:
    """What is compared."""
    solver = BlockSolver("gauss_newton", damping=0.1, dense_limit=0, cg_tol=0.05)
    m, rows = Perturbation(64 if quick else 200), {"curvature_rows": 24 if quick else 64}
    std = runs.published_noise(THEIR_ROWS, L2, EPSILON, DELTA)

    def walk(selection: Selection, **settings: Any) -> Walk:
        method = LFoci(model.learner, selection, m, **{"solver": solver, "max_accuracy_drop": 1.0, **rows, **settings})
        kept = bool(method.noise_std)
        return lambda ids: runs.stream(
            method, model.record, model.rows, [[i] for i in ids], noise_is_kept=kept, of_slices_only=kept
        )

    found: dict[str, Walk] = {
        "doing nothing": lambda ids: nothing(model, ids),
        "cheapest": walk(Selection("cheapest")),
        "cheapest, noise on its slice": walk(Selection("cheapest"), noise_std=std),
        "l_foci": walk(Selection()),
        "l_foci, damping .01": walk(Selection(), solver=replace(solver, damping=0.01)),
        "l_foci, damping .01, guarded": walk(Selection(), solver=replace(solver, damping=0.01), max_accuracy_drop=0.05),
        "gradient_norm, 5 slices": walk(Selection("gradient_norm", count=5)),
    }
    if not quick:
        found |= {
            "l_foci, full gradient": walk(Selection(), gradient="full"),
            "l_foci_per_layer": walk(Selection("l_foci_per_layer")),
            "all, full gradient": walk(Selection("all"), gradient="full"),
        }
    found["gradient ascent"] = lambda ids: ascent(model, ids, GradientAscent(model.learner, steps=20))
    return found


def run(*, quick: bool) -> dict[str, dict[int, Figures]]:
    """Every arm, averaged over persons."""
    faces = real_data.faces()
    people = 12 if quick else 40
    model = trained(faces.rows(LEARNED, people), faces.rows(TESTED, people), 20 if quick else 40)
    whole = runs.accuracy(model.learner, model.record.training, model.test)
    print(
        f"{len(model.learner.flat(model.record.training))} weights, accuracy {whole:.3f} on test pictures", flush=True
    )
    marks, collected = (1, 3, 7), dict[str, dict[int, list[Figures]]]()
    for person in (3,) if quick else (3, 11, 19, 27):
        ids = model.rows.ids[model.rows.y == person].tolist()
        left = model.rows.without(ids)
        again = [
            LFoci(model.learner).learn(left, seed=seed, noise=KEY).training for seed in ((1,) if quick else (1, 2))
        ]
        for name, walk in arms(model, quick=quick).items():
            begun = time.process_time()
            for state in walk(ids):
                if state.removed in marks:
                    seconds = (time.process_time() - begun) / state.removed
                    figures = measured(model, state, person, again[0]) | {"seconds": seconds}
                    collected.setdefault(name, {}).setdefault(state.removed, []).append(figures)
        for other in again[-1:]:
            state = State(7, replace(model.record, training=other), left, model.rows.only(ids))
            figures = measured(model, state, person, again[0])
            collected.setdefault("retrained", {}).setdefault(7, []).append(figures)
    table = {
        name: {k: {c: statistics.mean(f[c] for f in each) for c in each[0]} for k, each in found.items()}
        for name, found in collected.items()
    }
    runs.show("A person's seven pictures leave one by one", table, COLUMNS)
    return table


def main() -> None:
    """Run."""
    given = runs.arguments(__doc__)
    if runs.have("olivetti_faces.npz"):
        figures = run(quick=given.quick)
        if given.keep:
            runs.keep("faces", figures)


if __name__ == "__main__":
    main()
