"""Remark 2: which pixels a network's answer depends on, by the rank coefficient; a picture for each image.

    python experiments/mehta2022/sensitivity.py [--quick] [--out FILE.json]

A small CNN on scikit-learn's digits, on MNIST and on Fashion-MNIST. Sensitive is what the logarithm of the predicted
class's probability depends on. `expunge.feature_sensitivity` shifts squares of pixels by noise (sigma .3), or replaces
them by the mean picture, and the maps of all shifted grids are averaged. Beside it the gradient, times what a pixel
differs from the mean by, averaged over noise (SmoothGrad), and the mean score where a square is kept less where it is
replaced, from as many draws. All but the last two of the list see only the size of an effect, not its sign.

Faithful is a map whose most sensitive pixels, replaced first, bring the probability down first: the mean probability
over the first half of the pixels, 0 to 1, less is better (deletion curve). By the mean picture, and by black, which
no map was made with. Pictures go to `out/`; no data set but the digits is part of the project.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np
import torch
from figures import DATA, HERE, Figures, called, shown, spread
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch import Tensor, nn

from expunge import feature_sensitivity, keyed

Floats = NDArray[np.float64]
Score = Callable[[Floats], Floats]

OUT = HERE / "out"
SIGMA, PIXELS = 0.3, np.linspace(0, 0.5, 26)
PICTURES = 4  # of each data set
SHOWN = ("gradient", "rank coefficient, noise", "rank coefficient, replaced")


def pictures(name: str) -> tuple[Tensor, Tensor, Tensor, Tensor] | None:
    """Train and test pictures (n, 1, side, side) in [0, 1] with their classes; None where they are not here."""
    if name == "digits":
        data = load_digits()
        order = keyed.permutation(0, ("pictures",), np.arange(len(data.target), dtype=np.uint64))
        x, y = data.images[order] / 16.0, data.target[order]
        parts = x[:1400], y[:1400], x[1400:], y[1400:]
    elif not (DATA / f"{name}.npz").exists():
        return None
    else:
        with np.load(DATA / f"{name}.npz", allow_pickle=False) as file:
            x, y, xt, yt = (file[part] for part in ("X_train", "y_train", "X_test", "y_test"))
        parts = x[:8000] / 255.0, y[:8000], xt[:2000] / 255.0, yt[:2000]
    x, y, xt, yt = (torch.as_tensor(part) for part in parts)
    return x.float()[:, None], y.long(), xt.float()[:, None], yt.long()


def trained(x: Tensor, y: Tensor, epochs: int) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        side = -(-x.shape[-1] // 4)
        net = nn.Sequential(
            nn.Conv2d(1, 12, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(12, 24, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(24 * side * side, 10),
        )
        optimiser = torch.optim.Adam(net.parameters(), lr=2e-3)
        for _ in range(epochs):
            for some in torch.randperm(len(x)).split(64):
                optimiser.zero_grad()
                nn.functional.cross_entropy(net(x[some]), y[some]).backward()
                optimiser.step()
    return net.eval()


def grids(side: int, square: int) -> list[NDArray[np.int64]]:
    """Each pixel's square, for every way to shift a grid of squares over the picture."""
    found = []
    for down in range(square):
        for right in range(square):
            rows, columns = (np.arange(side) + down) // square, (np.arange(side) + right) // square
            labels = np.unique(rows[:, None] * (columns[-1] + 1) + columns, return_inverse=True)[1]
            found.append(labels.reshape(side, side))
    return found


def maps(net: nn.Module, picture: Tensor, mean: Floats, seed: int, times: int) -> tuple[dict[str, Floats], float]:
    """What each way makes of one picture (1, side, side), and the seconds of one map by the coefficient."""
    x, side = picture[0].double().numpy(), picture.shape[-1]
    kind = int(net(picture[None]).argmax())

    def score(rows: Floats) -> Floats:
        with torch.no_grad():
            return net(torch.as_tensor(rows, dtype=torch.float32)[:, None]).log_softmax(1)[:, kind].double().numpy()

    def gradients(rows: Tensor) -> Floats:
        at = rows.clone().requires_grad_()
        net(at).log_softmax(1)[:, kind].sum().backward()
        assert at.grad is not None
        return at.grad[:, 0].double().numpy()

    own = gradients(picture[None])[0]
    generator = np.random.default_rng(seed)
    noise = torch.as_tensor(generator.normal(size=(50, 1, side, side)), dtype=torch.float32)
    smooth = np.abs(gradients(picture + SIGMA / 2 * noise)).mean(0)
    found = {
        "random": generator.random((side, side)),
        "gradient": np.abs(own),
        "gradient x (pixel - mean)": np.abs(own * (x - mean)),
        "SmoothGrad": smooth,
    }
    every, seconds = grids(side, 4 if side > 8 else 2), 0.0
    for name, baseline in (("rank coefficient, noise", None), ("rank coefficient, replaced", mean)):
        start = time.process_time()
        parts = []
        for number, groups in enumerate(every):
            drawn = keyed.subseed(seed, number)
            by = feature_sensitivity(
                score, x, groups=groups, baseline=baseline, noise_scale=SIGMA, times=times, seed=drawn
            )
            parts.append(by.coefficients[groups])
        found[name], seconds = np.mean(parts, axis=0), time.process_time() - start
    total = np.zeros((side, side))
    for groups in every:
        kept = generator.random((times, groups.max() + 1)) < 0.5
        values = score(np.where(kept[:, groups], x, mean))
        effect = (kept * values[:, None]).sum(0) / kept.sum(0) - (~kept * values[:, None]).sum(0) / (~kept).sum(0)
        total += effect[groups]
    found["mean kept - mean replaced"] = total
    return found, seconds


def deletion(net: nn.Module, picture: Tensor, order: Floats, instead: Floats) -> Floats:
    """The predicted class's probability after each share of pixels was replaced, the largest of `order` first."""
    flat, into = picture.flatten().double().numpy(), instead.ravel()
    places = np.argsort(-order.ravel(), kind="stable")
    rows = []
    for share in PIXELS:
        row, gone = flat.copy(), places[: round(share * len(flat))]
        row[gone] = into[gone]
        rows.append(row)
    with torch.no_grad():
        laws = net(torch.as_tensor(np.array(rows), dtype=torch.float32).view(-1, *picture.shape)).softmax(1)
    return laws[:, int(laws[0].argmax())].double().numpy()


def drawn(path: Path, picture: Tensor, found: dict[str, Floats], curves: dict[str, Floats]) -> None:
    """One image: the picture, three maps, and the deletion curves."""
    figure = Figure(figsize=(12, 2.6), layout="constrained")
    axes = figure.subplots(1, 5, width_ratios=(1, 1, 1, 1, 1.5))
    axes[0].imshow(picture[0].numpy(), cmap="gray")
    axes[0].set_title("picture")
    for axis, name in zip(axes[1:4], SHOWN, strict=True):
        axis.imshow(picture[0].numpy(), cmap="gray", alpha=0.35)
        axis.imshow(np.maximum(found[name], 0), cmap="inferno", alpha=0.75)
        axis.set_title(name, fontsize=9)
    for axis in axes[:4]:
        axis.set_axis_off()
    for name in ("random", *SHOWN):
        axes[4].plot(100 * PIXELS, curves[name], label=name)
    axes[4].set_xlabel("% of pixels replaced by the mean")
    axes[4].set_ylabel("probability")
    axes[4].legend(fontsize=7)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=70)


def measured(quick: bool) -> Figures:
    """Deletion figures over pictures of each data set."""
    figures: Figures = {"data": {}}
    for name in ("digits",) if quick else ("digits", "mnist", "fashion_mnist"):
        parts = pictures(name)
        if parts is None:
            print(f"{name} skipped: {name}.npz is not here")
            continue
        x, y, test, classes = parts
        net = trained(x, y, 3 if quick else 8)
        with torch.no_grad():
            accuracy = float((net(test).argmax(1) == classes).double().mean())
        mean = x.mean(0)[0].double().numpy()
        notes: dict[str, dict[str, list[float]]] = {}
        seconds = []
        for number in range(3 if quick else 60):
            found, spent = maps(net, test[number], mean, number, 200 if quick else 400)
            seconds.append(spent)
            curves = {way: deletion(net, test[number], order, mean) for way, order in found.items()}
            for way, order in found.items():
                note = notes.setdefault(way, {"mean": [], "black": []})
                note["mean"].append(float(curves[way].mean()))
                note["black"].append(float(deletion(net, test[number], order, np.zeros_like(mean)).mean()))
            if number < (1 if quick else PICTURES):
                drawn(OUT / f"sensitivity_{name}_{number}.png", test[number], found, curves)
        ways = {
            way: {by: spread(values) | {"average": statistics.fmean(values)} for by, values in note.items()}
            for way, note in notes.items()
        }
        figures["data"][name] = {"accuracy": accuracy, "seconds a map": spread(seconds), "ways": ways}
    return figures


def table(figures: Figures) -> list[str]:
    """Deletion figures by way."""
    names = list(figures["data"])
    lines = [
        "| probability while pixels go, mean (median) | " + " | ".join(f"{n}, to mean / black" for n in names) + " |"
    ]
    lines.append("|---|" + "---|" * len(names))
    for way in figures["data"][names[0]]["ways"]:
        cells = []
        for name in names:
            of = figures["data"][name]["ways"][way]
            cells.append(" / ".join(f"{of[by]['average']:.2f} ({of[by]['median']:.2f})" for by in ("mean", "black")))
        lines.append(f"| {way} | " + " | ".join(cells) + " |")
    for name in names:
        of = figures["data"][name]
        lines.append(f"{name}: accuracy {of['accuracy']:.3f}, seconds a map {shown(of['seconds a map'], 3)}.")
    return lines


if __name__ == "__main__":
    called("sensitivity", measured, table)
