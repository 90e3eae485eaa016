"""Table 1: who finds the Markov blanket of the bullseye network, on radii, on raw vectors and on learned maps.

    python experiments/mehta2022/bullseye.py [--quick] [--out FILE.json]

Seven variables of a directed graph are radii; all but the target are seen as vectors of three numbers that point
anywhere. The blanket is {3, 4, 5, 6} (4 the other parent of a child); 1 and 2 are not in it. Maps are learned as the
paper's yardstick learns them: for each vector an encoder to one number, trained to predict the target from all codes,
some of which are dropped, and to keep codes as far apart as the predictions are that they lead to ("push-pull").

    foci, calibrated, l_foci     `expunge.foci`, published stop, calibrated stop, L-CODEC's noise; groups for vectors
    cmi                          grow and shrink by tests of conditional mutual information (k = 5, 100 permutations)
    ..., 5 neighbours            coefficients averaged over the five nearest rows
    codec + cmi                  what foci chose, shrunk by those tests
    codec tests                  grow and shrink with the coefficient in the place of the information
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np
import torch
from figures import Figures, called, shown, spread
from information import information, permutation_test
from numpy.typing import NDArray
from torch import Tensor, nn

from expunge import codec, foci, keyed
from expunge.maths.feature_ordering import threshold

Floats = NDArray[np.float64]
Found = set[int]

BLANKET, OTHERS = {2, 3, 4, 5}, {0, 1}  # columns: r3 to r6, and r1, r2
PAPER = {  # true positives, false positives, seconds, of its table 1
    "raw": {"cmi": (0.75, 0.5, 5124.22), "codec + cmi": (1.0, 0.5, 402.1)},
    "maps": {"cmi": (0.875, 0.0, 516.19), "codec + cmi": (0.75, 0.0, 117.29), "l_foci": (0.833, 0.5, 0.464)},
}
ALPHA, PERMUTATIONS = 0.05, 100
TEST_SEEDS = {"codec + cmi": 5, "cmi": 3}  # of ten: a quarter and half a minute each


def network(n: int, seed: int, width: float = 0.075) -> tuple[Floats, Floats, Floats]:
    """The target (n,), the radii (n, 6) and the vectors (n, 6, 3)."""
    generator = np.random.default_rng(keyed.subseed(seed, "bullseye"))

    def noise() -> Floats:
        return generator.uniform(-width, width, n)

    inner, outer = generator.uniform(0.25, 0.5, n), generator.uniform(0.75, 1, n)
    r1 = np.where(generator.random(n) < 0.5, inner, outer)
    r2, r3 = r1 + noise(), r1 + noise()
    r4 = r3 + noise()
    r5 = (r2 + r4) / 2 + noise()
    y = (r3 + r5) / 2 + noise()
    radii = np.column_stack([r1, r2, r3, r4, r5, (r4 + y) / 2 + noise()])
    vectors = generator.normal(size=(n, 6, 3))
    vectors *= (radii / np.linalg.norm(vectors, axis=2))[:, :, None]
    return y, radii, vectors


class Maps(nn.Module):
    """Six encoders of three numbers to one, side by side, and a decoder of codes to a normal law of the target."""

    def __init__(self, width: int = 40, decoder: int = 400) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.randn(6, 3, width) / 3**0.5)
        self.shift = nn.Parameter(torch.randn(6, width))
        self.second = nn.Parameter(torch.randn(6, width) / width**0.5)
        self.decoder = nn.Sequential(nn.Linear(6, decoder), nn.ReLU(), nn.Linear(decoder, 2))

    def codes(self, vectors: Tensor) -> Tensor:
        """One number (n, 6) for each vector (n, 6, 3)."""
        hidden = torch.relu(torch.einsum("nvd,vdw->nvw", vectors, self.first) + self.shift)
        return torch.einsum("nvw,vw->nv", hidden, self.second)


def learned(y: Floats, vectors: Floats, seed: int, epochs: int = 40, push: float = 1.0) -> Floats:
    """The codes (n, 6) after training on all rows."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        maps, n = Maps(), len(y)
        target = torch.as_tensor((y - y.mean()) / y.std(), dtype=torch.float32)
        x = torch.as_tensor(vectors, dtype=torch.float32)
        optimiser = torch.optim.Adam(maps.parameters(), lr=3e-3)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs * (n // 100))
        for _ in range(epochs):
            for some in torch.randperm(n).split(100)[: n // 100]:
                codes = maps.codes(x[some])
                kept = (torch.rand(len(some), 6) < 0.5) * codes  # of each row some codes only
                mean, log_variance = maps.decoder(kept).unbind(1)
                loss = ((target[some] - mean) ** 2 / log_variance.exp() + log_variance).mean() / 2
                j = int(torch.randint(6, ()))  # push and pull: one code is shuffled, and may change as the law does
                others = codes.index_copy(1, torch.tensor([j]), codes[torch.randperm(len(some)), j : j + 1])
                laws = maps.decoder(torch.stack([codes, others]))
                apart = (codes[:, j] - others[:, j]) ** 2
                loss = loss + push * (apart - _jeffreys(laws[0], laws[1])).abs().mean()
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
        with torch.no_grad():
            return maps.codes(x).double().numpy()


def _jeffreys(a: Tensor, b: Tensor) -> Tensor:
    """The symmetric divergence of two normal laws, given as mean and log variance (n, 2)."""
    va, vb, gap = a[:, 1].exp(), b[:, 1].exp(), (a[:, 0] - b[:, 0]) ** 2
    return ((va + gap) / vb + (vb + gap) / va) / 2 - 1


def chosen(y: Floats, x: Floats, **options: object) -> Found:
    """By `foci`: x (n, 6) of numbers or (n, 6, 3) of vectors."""
    if x.ndim == 2:
        return set(foci(y, x, **options).selected)  # type: ignore[arg-type]
    groups = [list(range(3 * j, 3 * j + 3)) for j in range(6)]
    return set(foci(y, x.reshape(len(x), 18), groups=groups, **options).selected)  # type: ignore[arg-type]


Independent = Callable[[int, list[int]], bool]
Strength = Callable[[int, list[int]], float]


def grown(independent: Independent, strength: Strength) -> Found:
    """The strongest feature given those that are in comes in, while the test says that it depends."""
    inside: list[int] = []
    while len(inside) < 6:
        best = max(set(range(6)) - set(inside), key=lambda j: strength(j, inside))
        if independent(best, inside):
            break
        inside.append(best)
    return set(inside)


def shrunk(inside: Found, independent: Independent) -> Found:
    """Without those that are independent of the target given the others, one after the other."""
    left = set(inside)
    for j in sorted(inside):
        if independent(j, sorted(left - {j})):
            left.discard(j)
    return left


def by_information(y: Floats, x: Floats, seed: int) -> tuple[Independent, Strength]:
    """The test and the estimate of conditional mutual information."""

    def independent(j: int, others: list[int]) -> bool:
        drawn = keyed.subseed(seed, j, *others)
        found = permutation_test(x[:, j], y, _of(x, others), seed=drawn, permutations=PERMUTATIONS, alpha=ALPHA)
        return found.p > ALPHA

    return independent, lambda j, others: information(x[:, j], y, _of(x, others))


def by_codec(y: Floats, x: Floats) -> tuple[Independent, Strength]:
    """The coefficient, and its threshold where nothing depends."""

    def strength(j: int, others: list[int]) -> float:
        given = _of(x, others)
        return codec(y, x[:, j], given, standardise="sd").statistic

    def independent(j: int, others: list[int]) -> bool:
        dimension = (1 if x.ndim == 2 else 3) * (len(others) + 1)
        return strength(j, others) <= threshold(len(y), 1, dimension, given=bool(others), alpha=ALPHA)

    return independent, strength


def _of(x: Floats, others: list[int]) -> Floats | None:
    return x[:, others].reshape(len(x), -1) if others else None


def ways(y: Floats, x: Floats, seed: int) -> Mapping[str, Callable[[], Found]]:
    """Every way to choose, by name."""
    independent, strength = by_information(y, x, seed)
    coefficient = by_codec(y, x)
    return {
        "foci": lambda: chosen(y, x),
        "calibrated": lambda: chosen(y, x, stop="calibrated"),
        "l_foci": lambda: chosen(y, x, ties="noise", seed=seed),
        "foci, 5 neighbours": lambda: chosen(y, x, n_neighbors=5),
        "calibrated, 5 neighbours": lambda: chosen(y, x, n_neighbors=5, stop="calibrated"),
        "codec tests": lambda: shrunk(grown(*coefficient), coefficient[0]),
        "codec + cmi": lambda: shrunk(chosen(y, x), independent),
        "cmi": lambda: shrunk(grown(independent, strength), independent),
    }


def measured(quick: bool) -> Figures:
    """Rates and seconds of every way on every input, over seeds."""
    n, seeds, epochs = (600, 2, 3) if quick else (5000, 10, 40)
    warm = network(60, 0)  # compiles
    for way in ways(warm[0], warm[1], 0).values():
        way()
    found: dict[str, dict[str, list[tuple[float, float, float]]]] = {}
    training = []
    for seed in range(seeds):
        y, radii, vectors = network(n, seed)
        start = time.process_time()
        maps = learned(y, vectors, seed, epochs)
        training.append(time.process_time() - start)
        for name, x in (("radii", radii), ("maps", maps), ("raw", vectors)):
            for way, choose in ways(y, x, seed).items():
                if seed >= TEST_SEEDS.get(way, seeds):
                    continue
                start = time.process_time()
                picked = choose()
                spent = time.process_time() - start
                rates = len(picked & BLANKET) / 4, len(picked & OTHERS) / 2, spent
                found.setdefault(name, {}).setdefault(way, []).append(rates)
                print(f"{name}, seed {seed}, {way}: {sorted(j + 1 for j in picked)}, {spent:.2f} s", flush=True)
    inputs = {name: {way: _summary(of_seeds) for way, of_seeds in by_way.items()} for name, by_way in found.items()}
    return {"rows": n, "seconds to learn maps": spread(training), "inputs": inputs}


def _summary(of_seeds: list[tuple[float, float, float]]) -> Figures:
    true, false, seconds = zip(*of_seeds, strict=True)
    return {
        "seeds": len(of_seeds),
        "true": float(np.mean(true)),
        "true, least and most": [min(true), max(true)],
        "false": float(np.mean(false)),
        "false, least and most": [min(false), max(false)],
        "seconds": spread(seconds),
    }


def table(figures: Figures) -> list[str]:
    """Ours beside the paper's."""
    lines = [
        "| input | way | seeds | true positives (least to most) | false positives | seconds | paper: true, false, s |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, by_way in figures["inputs"].items():
        for way, of in by_way.items():
            theirs = PAPER.get(name, {}).get(way)
            cells = (
                name,
                way,
                str(of["seeds"]),
                *(
                    f"{of[rate]:.2f} ({of[f'{rate}, least and most'][0]:.2f} to {of[f'{rate}, least and most'][1]:.2f})"
                    for rate in ("true", "false")
                ),
                shown(of["seconds"]),
                "-" if theirs is None else ", ".join(f"{each:g}" for each in theirs),
            )
            lines.append("| " + " | ".join(cells) + " |")
    return [*lines, f"Seconds to learn maps: {shown(figures['seconds to learn maps'], 1)}."]


if __name__ == "__main__":
    called("bullseye", measured, table)
