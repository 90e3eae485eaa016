"""FOCI beside a straightforward one on scikit-learn's nearest neighbours: the same features, and how much faster.

    python benchmarks/feature_ordering.py          CPU seconds, one thread, ratios within one run
    python benchmarks/feature_ordering.py quick    the smaller tables only

The yardstick calls a conditional coefficient for each candidate, as the published code does (two searches), and is also
given with the search in what was chosen before kept from candidate to candidate (one).
"""

from __future__ import annotations

import os
import sys
import time

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
from sklearn.neighbors import NearestNeighbors

from expunge import codec, foci
from expunge.maths.feature_ordering import FociResult

Floats = np.ndarray
Ints = np.ndarray


def neighbours(x: Floats) -> Ints:
    """The nearest other row of each row (no ties)."""
    return np.asarray(NearestNeighbors(n_neighbors=2).fit(x).kneighbors(x, return_distance=False)[:, 1])


def plain_foci(y: Floats, x: Floats, *, keep: bool) -> list[int]:
    """FOCI as one writes it down: a search for every candidate, and one more in the chosen ones unless kept."""
    n, p = x.shape
    x = (x - x.mean(0)) / x.std(0, ddof=1)
    up = np.argsort(np.argsort(y)) + 1
    down = n + 1 - up
    chosen: list[int] = []
    base = up
    while True:
        values = {}
        for j in set(range(p)) - set(chosen):
            minima = np.minimum(up, up[neighbours(x[:, [*chosen, j]])])
            if not chosen:
                values[j] = (n * minima - down**2).sum() / (down * (n - down)).sum()
                continue
            if not keep:
                base = np.minimum(up, up[neighbours(x[:, chosen])])
            values[j] = (minima - base).sum() / (up - base).sum()
        best = max(sorted(values), key=values.__getitem__)
        if values[best] <= 0:
            return chosen
        chosen.append(best)
        base = np.minimum(up, up[neighbours(x[:, chosen])])


def continuous(n: int, p: int) -> tuple[Floats, Floats]:
    x = np.random.default_rng(0).normal(size=(n, p))
    return x[:, 0] * x[:, 1] + x[:, 2] ** 2, x


def binary(n: int, p: int) -> tuple[Floats, Floats]:
    """A table of attributes: p + 1 thresholds of six normal factors and noise."""
    generator = np.random.default_rng(0)
    z = generator.normal(size=(n, 6)) @ generator.normal(size=(6, p + 1)) + 1.5 * generator.normal(size=(n, p + 1))
    table = np.where(z > generator.normal(size=p + 1), 1.0, -1.0)
    return table[:, p], table[:, :p]


def bullseye(n: int, seed: int) -> tuple[Floats, Floats]:
    """The radii of the network of the paper's table 1: its target's Markov blanket is columns 2 to 5."""
    generator = np.random.default_rng(seed)

    def noise() -> Floats:
        return generator.uniform(-0.075, 0.075, n)

    r1 = np.where(generator.random(n) < 0.5, generator.uniform(0.25, 0.5, n), generator.uniform(0.75, 1, n))
    r2, r3 = r1 + noise(), r1 + noise()
    r4 = r3 + noise()
    r5 = (r2 + r4) / 2 + noise()
    y = (r3 + r5) / 2 + noise()
    return y, np.column_stack([r1, r2, r3, r4, r5, (r4 + y) / 2 + noise()])


def timed(y: Floats, x: Floats, **options: object) -> tuple[float, FociResult]:
    start = time.process_time()
    found = foci(y, x, **options)  # type: ignore[arg-type]
    return time.process_time() - start, found


def rates(**options: object) -> tuple[float, float, float]:
    """True and false positive rates over 50 seeds, and the median seconds."""
    hits, misses, seconds = [], [], []
    for seed in range(50):
        spent, found = timed(*bullseye(5000, seed), **options)
        hits.append(len({2, 3, 4, 5} & set(found.selected)) / 4)
        misses.append(len({0, 1} & set(found.selected)) / 2)
        seconds.append(spent)
    return float(np.mean(hits)), float(np.mean(misses)), float(np.median(seconds))


def main() -> None:
    for table in (continuous, binary):
        foci(*table(60, 5))  # compiles
    print("rows x columns, continuous   chosen         s      published way   one search kept")
    for n, p in ((1000, 20), (1000, 100), *(() if "quick" in sys.argv else ((1000, 1000), (20_000, 39)))):
        y, x = continuous(n, p)
        spent, found = min((timed(y, x) for _ in range(3)), key=lambda pair: pair[0])
        ratios = []
        for keep in (False, True):
            start = time.process_time()
            assert plain_foci(y, x, keep=keep) == list(found.selected)
            ratios.append((time.process_time() - start) / spent)
        print(f"{n} x {p}   {found.selected}   {spent:.3f}   {ratios[0]:.0f} x   {ratios[1]:.0f} x", flush=True)
    y, x = binary(20_000, 39)
    for name, options in (("exact", {}), ("exact, calibrated", {"stop": "calibrated"})):
        spent, found = timed(y, x, **options)
        print(f"20000 x 39 binary, {name}: {len(found.selected)} chosen, {spent:.2f} s", flush=True)
    if "quick" not in sys.argv:
        spent, found = timed(y, x, ties="noise", seed=0)
        print(f"20000 x 39 binary, L-FOCI: {len(found.selected)} chosen, {spent:.2f} s", flush=True)
    y, z = np.random.default_rng(0).integers(0, 2, (2, 10_000))
    start = time.process_time()
    value = codec(y, z).statistic
    spent = time.process_time() - start
    print(f"codec of an independent binary pair, 10,000 rows: {value:.5f}, {1000 * spent:.1f} ms")
    for name, options in (("positive", {}), ("calibrated", {"stop": "calibrated"})):
        hit, miss, spent = rates(**options)
        print(f"bullseye radii, 5000 rows, stop {name}: true {hit:.3f}, false {miss:.3f}, {spent:.3f} s", flush=True)


if __name__ == "__main__":
    main()
