"""A person leaves an embedding network (the paper's section 7.4): mAP and rank-1 before and after, and activation maps.

    python experiments/mehta2022/reidentification.py [--quick] [--keep] [--pictures FOLDER]

Stand-in: Olivetti for Market-1501. The network of `faces.py`, trained to tell 40 persons on six pictures of each; every
one of the four others is a query against all the others, by the cosine of embeddings: mAP is the mean average
precision, rank-1 the share of queries whose nearest picture is of the same person. A person's six pictures leave one by
one. Noise is the paper's sigma for its own n = 29,419 (delta .01) at epsilon .1 and .0005, on the moved weights, and it
stays. change of map: 1 - correlation of the activation maps before and after, mean over the person's test pictures.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import faces
import numpy as np
import real_data
import removal_runs as runs
import torch
from faces import KEY, Model
from networks import Embedded
from numpy.typing import NDArray
from removal_runs import Figures

from expunge import Rows
from expunge.learners.learner import Training
from expunge.methods import GradientAscent, LFoci
from expunge.objective.perturbation import Perturbation
from expunge.objective.selection import Selection
from expunge.objective.slice_block import BlockSolver

LEARNED, TESTED = tuple(range(6)), tuple(range(6, 10))
THEIR_ROWS, L2, DELTA = 29_419, 0.01, 0.01
EPSILONS = (0.1, 0.0005)
COLUMNS = (
    "mAP removed",
    "rank-1 removed",
    "mAP kept",
    "rank-1 kept",
    "map change removed",
    "map change kept",
    "slices",
)


@dataclass(frozen=True)
class Seen:
    """Embeddings (n, 32) and activation maps (n, 8, 8) of pictures."""

    embeddings: NDArray[np.float64]
    maps: NDArray[np.float64]


def seen(model: Model, training: Training, rows: Rows) -> Seen:
    """What the network makes of pictures; a map is the norm over channels of the last convolution's output."""
    network = Embedded(rows.classes)
    network.load_state_dict(dict(model.learner.release(training).tensors))
    with torch.no_grad():
        x = torch.as_tensor(rows.columns["x"])
        return Seen(network.embed(x).double().numpy(), network.maps(x).norm(dim=1).double().numpy())


def retrieval(embeddings: NDArray[np.float64], y: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Average precision and whether the nearest is right (n,) of each picture as a query against all others."""
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    near = unit @ unit.T
    np.fill_diagonal(near, -np.inf)
    order = np.argsort(-near, axis=1, kind="stable")[:, :-1]
    right = y[order] == y[:, None]
    precision = right.cumsum(1) / np.arange(1, right.shape[1] + 1)
    return (precision * right).sum(1) / right.sum(1), right[:, 0].astype(np.float64)


def change(before: NDArray[np.float64], after: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 - correlation of each picture's maps."""
    a, b = (m.reshape(len(m), -1) - m.reshape(len(m), -1).mean(1, keepdims=True) for m in (before, after))
    return np.asarray(1 - (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)))


def measured(model: Model, training: Training, person: int) -> Figures:
    """The figures of one model."""
    now, was = seen(model, training, model.test), seen(model, model.record.training, model.test)
    y = np.asarray(model.test.y)
    precision, first = retrieval(now.embeddings, y)
    moved, its = change(was.maps, now.maps), y == person
    return {
        "mAP removed": float(precision[its].mean()), "rank-1 removed": float(first[its].mean()),
        "mAP kept": float(precision[~its].mean()), "rank-1 kept": float(first[~its].mean()),
        "map change removed": float(moved[its].mean()), "map change kept": float(moved[~its].mean()),
    }  # fmt: skip


def ends(model: Model, ids: Sequence[Any], *, quick: bool) -> dict[str, tuple[Training, int]]:
    """Every arm after the last request."""
    solver = BlockSolver("gauss_newton", damping=0.1, dense_limit=0, cg_tol=0.05)
    base = LFoci(model.learner, Selection(), Perturbation(64 if quick else 150), solver,
                 curvature_rows=24 if quick else 40, max_accuracy_drop=1.0)  # fmt: skip
    stream = partial(runs.stream, record=model.record, rows=model.rows, requests=[[i] for i in ids], noise_is_kept=True,
                     of_slices_only=True)  # fmt: skip
    methods = {
        "l_foci": base,
        "l_foci_per_layer": replace(base, selection=Selection("l_foci_per_layer", most=2)),
        "all, full gradient": replace(base, selection=Selection("all"), gradient="full"),
        "gradient_norm, 5 slices": replace(base, selection=Selection("gradient_norm", count=5)),
    }
    for epsilon in EPSILONS:
        std = runs.published_noise(THEIR_ROWS, L2, epsilon, DELTA)
        methods[f"l_foci, epsilon {epsilon}"] = replace(base, noise_std=std)
    found = {"doing nothing": (model.record.training, 0)}
    for name, method in methods.items():
        states = list(stream(method))
        found[name] = states[-1].training(), round(statistics.mean(s.slices for s in states))
    ascended = list(faces.ascent(model, list(ids), GradientAscent(model.learner, steps=20)))
    found["gradient ascent"] = ascended[-1].training(), 0
    left = model.rows.without(ids)
    found["retrained"] = LFoci(model.learner).learn(left, seed=1, noise=KEY).training, 0
    return found


def draw(model: Model, models: dict[str, tuple[Training, int]], person: int, folder: Path) -> Path:
    """Two pictures, of the person who left and of one who stays: the picture, and each model's map over it."""
    from matplotlib.figure import Figure

    y = np.asarray(model.test.y)
    other = next(p for p in range(model.test.classes) if p != person)
    places = [int(np.flatnonzero(y == who)[0]) for who in (person, other)]
    figure = Figure(figsize=(1.7 * (len(models) + 1), 3.9), layout="constrained")
    axes = figure.subplots(2, len(models) + 1)
    for row, (place, title) in enumerate(zip(places, ("removed person", "kept person"), strict=True)):
        picture = model.test.columns["x"][place, 0]
        axes[row, 0].imshow(picture, cmap="gray")
        axes[row, 0].set_title(title, fontsize=8)
        for column, (name, (training, _)) in enumerate(models.items(), start=1):
            heat = seen(model, training, model.test).maps[place]
            axes[row, column].imshow(picture, cmap="gray")
            axes[row, column].imshow(
                heat, cmap="jet", alpha=0.5, extent=(-0.5, 31.5, 31.5, -0.5), interpolation="bicubic"
            )
            axes[row, column].set_title(name, fontsize=8)
    for axis in axes.flat:
        axis.set_axis_off()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"activation_maps_person_{person}.png"
    figure.savefig(path, dpi=110)
    return path


def run(*, quick: bool, pictures: Path | None) -> dict[str, dict[int, Figures]]:
    """Every arm, averaged over persons."""
    data, people = real_data.faces(), 12 if quick else 40
    model = faces.trained(data.rows(LEARNED, people), data.rows(TESTED, people), 20 if quick else 40)
    collected: dict[str, list[Figures]] = {}
    for person in (3,) if quick else (3, 19):
        ids = model.rows.ids[model.rows.y == person].tolist()
        models = ends(model, ids, quick=quick)
        for name, (training, slices) in models.items():
            collected.setdefault(name, []).append(measured(model, training, person) | {"slices": float(slices)})
        if pictures:
            print(draw(model, models, person, pictures))
    table = {name: {6: {c: statistics.mean(f[c] for f in each) for c in each[0]}} for name, each in collected.items()}
    runs.show("A person's six pictures have left", table, COLUMNS)
    return table


def main() -> None:
    """Run."""
    given = runs.arguments(__doc__)
    if runs.have("olivetti_faces.npz"):
        figures = run(quick=given.quick, pictures=given.pictures)
        if given.keep:
            runs.keep("reidentification", figures)


if __name__ == "__main__":
    main()
