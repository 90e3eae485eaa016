"""Figure 4: spurious attributes, planted in pictures, unlearned by gradient reversal: of all of them, or of a blanket.

    python experiments/mehta2022/spurious.py [--quick] [--out FILE.json]

T-shirts against shirts of Fashion-MNIST (scikit-learn's digits, 0 to 4 against 5 to 9, where it is not here), with 20
binary attributes. Eleven are patches of a second colour: in training three of them agree with the label (90, 85 and
80 %), and eight are copies of these three with 5 to 15 % flipped. In the test all are independent of the label. Given
the three, the copies say nothing of it: the three are its Markov blanket among the patches. The other nine are

    coins      patches too, independent of everything
    content    thresholds of the first principal components of the picture: what a network ought to look at

A head of the network learns to tell the attributes of a set from its features, and the features learn against it
(gradient reversal, times a strength, summed over the set). Sets: none; all; of as many as FOCI chose random ones, and
the first by mutual information; FOCI's (calibrated stop, on the training attributes); the three, as one who knows would
name them. Each has its best strength of a grid, on 500 unbiased validation rows, without which there is no telling a
good strength. `label known` gives the head the label too, so that features may tell what the label tells (not the
paper's). `rows reweighted` reverses nothing: each row counts by the inverse of its label's probability given the set's
attributes, so that the two become independent (not the paper's, and without a strength). At the end, training on
unbiased rows.
"""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np
import torch
from figures import DATA, Figures, called, shown, spread
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.feature_selection import mutual_info_classif
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from expunge import foci, keyed

Ints = NDArray[np.int64]

ATTRIBUTES, PATCHES, BLANKET = 20, 11, [0, 1, 2]
AGREES = (0.9, 0.85, 0.8)
COPIES = ((3, 0, 0.05), (4, 0, 0.05), (5, 0, 0.1), (6, 1, 0.1), (7, 1, 0.15), (8, 1, 0.15), (9, 2, 0.15), (10, 2, 0.15))
STRENGTHS = (0.1, 0.3, 1.0)
PAPER = "paper, CelebA's No Beard: about .52 with all attributes, .56 with random ones, .90 with FOCI's"


def garments(seed: int, quick: bool) -> tuple[str, Tensor, Ints]:
    """What the pictures are, the pictures (n, 14, 14) and their labels 0 and 1, shuffled by the seed."""
    if quick or not (DATA / "fashion_mnist.npz").exists():
        data = load_digits()
        x, y = np.kron(data.images / 16.0, np.ones((2, 2)))[:, 1:15, 1:15], (data.target >= 5).astype(np.int64)
        name = "digits"
    else:
        with np.load(DATA / "fashion_mnist.npz", allow_pickle=False) as file:
            keep = np.flatnonzero(np.isin(file["y_train"], (0, 6)))
            small = file["X_train"][keep].reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4)) / 255.0
            x, y = small, (file["y_train"][keep] == 6).astype(np.int64)
        name = "Fashion-MNIST"
    order = keyed.permutation(seed, ("garments",), np.arange(len(y), dtype=np.uint64))
    return name, torch.as_tensor(x[order], dtype=torch.float32), y[order]


def attributes(y: Ints, seed: int, part: str, *, biased: bool) -> Ints:
    """The attributes (n, 20) of rows with these labels."""
    generator = np.random.default_rng(keyed.subseed(seed, "attributes", part))
    table = generator.integers(0, 2, (len(y), ATTRIBUTES))
    if biased:
        for j, share in enumerate(AGREES):
            table[:, j] = np.where(generator.random(len(y)) < share, y, 1 - y)
    for copy, of, flipped in COPIES:
        table[:, copy] = np.where(generator.random(len(y)) < flipped, 1 - table[:, of], table[:, of])
    return table


def content(pictures: Tensor, train: slice) -> Ints:
    """Nine attributes (n, 9) of what is to be seen: whether a principal component is above its median in training."""
    flat = pictures.flatten(1).double()
    centred = flat - flat[train].mean(0)
    along = centred @ torch.linalg.svd(centred[train], full_matrices=False).Vh[: ATTRIBUTES - PATCHES].T
    return (along > along[train].median(0).values).long().numpy()


def planted(pictures: Tensor, table: Ints) -> Tensor:
    """Two colours (n, 2, 14, 14): the picture, and a patch of four pixels for each attribute that is there."""
    plane = torch.zeros_like(pictures)
    cells = [(row, column) for row in range(0, 14, 2) for column in (0, 2, 12)]
    for (row, column), there in zip(cells, table.T, strict=False):
        patch = torch.as_tensor(there, dtype=torch.float32)
        plane[:, row : row + 2, column : column + 2] = patch[:, None, None]
    return torch.stack([pictures, plane], 1)


class Reversed(torch.autograd.Function):
    """The identity, whose gradient is turned round and scaled."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, features: Tensor, strength: float) -> Tensor:  # noqa: D102
        ctx.strength = strength  # type: ignore[attr-defined]
        return features.view_as(features)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> tuple[Tensor, None]:  # noqa: D102
        return -ctx.strength * gradient, None  # type: ignore[attr-defined]


class Network(nn.Module):
    """Features, a label's score from them, and scores of some attributes (which may know the label)."""

    def __init__(self, several: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(2, 12, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(12, 24, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(24 * 16, 48),
            nn.ReLU(),
        )
        self.label = nn.Linear(48, 1)
        self.head = nn.Sequential(nn.Linear(49, 48), nn.ReLU(), nn.Linear(48, max(1, several)))


def trained(
    x: Tensor,
    y: Ints,
    table: Ints,
    chosen: Sequence[int],
    strength: float,
    seed: int,
    epochs: int,
    *,
    known: bool = False,
    weights: NDArray[np.float64] | None = None,
) -> Network:
    """A network whose features unlearn the chosen attributes while they learn the label."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = Network(len(chosen))
        optimiser = torch.optim.Adam(net.parameters(), lr=2e-3)
        target, told = torch.as_tensor(y).float(), torch.as_tensor(table[:, list(chosen)]).float()
        cost = nn.functional.binary_cross_entropy_with_logits
        weight = torch.ones(len(y)) if weights is None else torch.as_tensor(weights, dtype=torch.float32)
        for epoch in range(epochs):
            ramp = strength * min(1.0, 2 * epoch / epochs)
            for some in torch.randperm(len(x)).split(100):
                features = net.features(x[some])
                loss = cost(net.label(features)[:, 0], target[some], weight[some])
                if len(chosen):
                    label = target[some, None] if known else torch.zeros(len(some), 1)
                    scores = net.head(torch.cat([Reversed.apply(features, ramp), label], 1))
                    loss = loss + len(chosen) * cost(scores, told[some])  # the sum of the attributes' terms
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
    return net.eval()


def balanced(y: Ints, table: Ints, chosen: Sequence[int]) -> NDArray[np.float64]:
    """Weights of rows under which the label is independent of the chosen attributes, by a logistic model of it."""
    x = table[:, list(chosen)]
    law = LogisticRegression(C=10.0).fit(x, y).predict_proba(x)[np.arange(len(y)), y]
    weights = np.minimum(0.5 / law, 10.0)
    return np.asarray(weights / weights.mean())


def right(net: Network, x: Tensor, y: Ints) -> NDArray[np.bool_]:
    with torch.no_grad():
        return (net.label(net.features(x))[:, 0] > 0).numpy() == (y > 0)


def measured(quick: bool) -> Figures:
    """Accuracies on the unbiased test, over seeds, with either kind of other attributes."""
    return {kind: _with(kind, quick) for kind in (("content",) if quick else ("coins", "content"))}


def _with(kind: str, quick: bool) -> Figures:
    notes: dict[str, dict[str, list[float]]] = {}
    found: list[list[int]] = []
    seeds, epochs, strengths = (1, 2, (0.3,)) if quick else (5, 10, STRENGTHS)
    for seed in range(seeds):
        name, pictures, y = garments(seed, quick)
        ends = (800, 1000, 1797) if name == "digits" else (3000, 3500, 6500)
        parts = [slice(start, stop) for start, stop in zip((0, *ends), ends, strict=False)]
        used = ATTRIBUTES if kind == "coins" else PATCHES
        seen = content(pictures, parts[0])
        tables = []
        for part, what in zip(parts, ("train", "validation", "test"), strict=True):
            table = attributes(y[part], seed, what, biased=what == "train")
            table[:, used:] = seen[part][:, : ATTRIBUTES - used]
            tables.append(table)
        x, xv, xt = (planted(pictures[part], each[:, :used]) for part, each in zip(parts, tables, strict=True))
        own, yv, yt = (y[part] for part in parts)
        picked = list(foci(own, tables[0], stop="calibrated").selected)
        found.append(sorted(picked))
        for way, chosen in _sets(own, tables[0], picked, seed).items():
            if "known" in way and kind == "content":
                continue
            best: tuple[float, float, Network] | None = None
            weighted = "reweighted" in way
            weights = balanced(own, tables[0], chosen) if weighted else None
            reversed_ = [] if weighted else chosen
            for strength in strengths if reversed_ else (0.0,):
                net = trained(
                    x, own, tables[0], reversed_, strength, seed, epochs, known="known" in way, weights=weights
                )
                valid = float(right(net, xv, yv).mean())
                if best is None or valid > best[0]:
                    best = valid, strength, net
            assert best is not None
            _noted(notes, way, best[1], right(best[2], xt, yt), tables[2][:, 0] == yt)
        free = attributes(own, seed, "unbiased training", biased=False)[:, :used]
        net = trained(planted(pictures[parts[0]], free), own, free, [], 0.0, seed, epochs)
        _noted(notes, "none, trained on unbiased rows", 0.0, right(net, xt, yt), tables[2][:, 0] == yt)
        print(f"{kind}, seed {seed}: {name}, FOCI chose {found[-1]}", flush=True)
    ways = {way: {key: spread(values) for key, values in note.items()} for way, note in notes.items()}
    for way, note in notes.items():
        ways[way]["accuracy"]["mean"] = statistics.fmean(note["accuracy"])
    return {"pictures": name, "seeds": seeds, "chosen by foci": found, "ways": ways}


def _sets(y: Ints, table: Ints, picked: list[int], seed: int) -> dict[str, list[int]]:
    ranked = np.argsort(-mutual_info_classif(table, y, discrete_features=True), kind="stable")
    every = np.arange(ATTRIBUTES, dtype=np.uint64)
    return {
        "none": [],
        "all": list(range(ATTRIBUTES)),
        "random": keyed.k_smallest(seed, ("random set",), every, len(picked)).tolist(),
        "mutual information": ranked[: len(picked)].tolist(),
        "foci": picked,
        "the planted three": BLANKET,
        "all, label known": list(range(ATTRIBUTES)),
        "foci, label known": picked,
        "all, rows reweighted": list(range(ATTRIBUTES)),
        "foci, rows reweighted": picked,
        "the planted three, rows reweighted": BLANKET,
    }


def _noted(
    notes: dict[str, dict[str, list[float]]],
    way: str,
    strength: float,
    hits: NDArray[np.bool_],
    agrees: NDArray[np.bool_],
) -> None:
    note = notes.setdefault(way, {"accuracy": [], "agreeing": [], "disagreeing": [], "strength": []})
    for key, value in (
        ("accuracy", hits.mean()),
        ("agreeing", hits[agrees].mean()),
        ("disagreeing", hits[~agrees].mean()),
        ("strength", strength),
    ):
        note[key].append(float(value))


def table(figures: Figures) -> list[str]:
    """Accuracies by set."""
    lines = [
        "| others | regularised | accuracy, unbiased test | first attribute agrees | disagrees | strength |",
        "|---|---|---|---|---|---|",
    ]
    kinds = [kind for kind in figures if kind != "cpu_seconds"]
    for kind in kinds:
        for way, of in figures[kind]["ways"].items():
            shares = [shown(of[key], 3) for key in ("accuracy", "agreeing", "disagreeing")]
            lines.append("| " + " | ".join([kind, way, *shares, f"{of['strength']['median']:g}"]) + " |")
    for kind in kinds:
        chose = "; ".join(str([j + 1 for j in each]) for each in figures[kind]["chosen by foci"])
        lines.append(f"{kind}: {figures[kind]['pictures']}; FOCI chose {chose} of 20 (blanket of the patches 1, 2, 3).")
    return [*lines, f"{PAPER}."]


if __name__ == "__main__":
    called("spurious", measured, table)
