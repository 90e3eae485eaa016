"""k-means: what a deletion costs beside learning again, how often it has to run again, and what the lattice costs.

    python benchmarks/k_means.py [--largest 1000000]

CPU seconds of one thread. "refit" is this method learning again on the retained rows, "scikit-learn" its KMeans with as
many Lloyd steps, from a start of its own (it weighs several candidates for each initial centre, as no method can that
must not look at all rows again). Every measured kind of deletion is asserted to give the record learned without the
row. Real data (Adult's columns of numbers, MNIST under a public random projection) are read from the folder beside the
checkout, and left out where it is not there.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import KMeans as ScikitKMeans
from threadpoolctl import threadpool_limits

from expunge import NoiseKey, Rows
from expunge.methods import KMeans
from expunge.record import digest

Floats = NDArray[np.float64]
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SEED, KEY, STEPS = 1, NoiseKey(bytes(32), 1), 10
SIDES = (0.8, 0.4, 0.2, 0.1, 0.05, 0.025)


def blobs(n: int, p: int = 20, k: int = 10) -> Floats:
    """Clouds that overlap a little, each column of about unit variance within a cloud."""
    generator = np.random.default_rng(0)
    return 2.5 * generator.normal(size=(k, p))[generator.integers(0, k, n)] + generator.normal(size=(n, p))


def adult() -> Floats:
    with np.load(DATA / "adult.npz", allow_pickle=False) as held:
        x = held["X_num"].astype(np.float64)
    return np.asarray((x - x.mean(0)) / x.std(0))


def mnist(columns: int = 20) -> Floats:
    """60,000 digits under a random projection that is drawn from a public seed and sees no row."""
    with np.load(DATA / "mnist.npz", allow_pickle=False) as held:
        x = held["X_train"].reshape(60_000, -1) / 255.0
    projection = np.random.default_rng(0).normal(size=(x.shape[1], columns)) / np.sqrt(columns)
    return np.asarray(x @ projection)


def scikit(x: Floats, k: int, seed: int = 0) -> ScikitKMeans:
    with threadpool_limits(1):
        return ScikitKMeans(k, n_init=1, max_iter=STEPS, tol=0.0, random_state=seed).fit(x)


def deletions(name: str, x: Floats, method: KMeans, count: int, checks: int = 1) -> None:
    """`count` single deletions, each from the model of all rows; one line."""
    rows = Rows.of(x)
    record = method.learn(rows, seed=SEED, noise=KEY)
    costs, refits, again, visits = [], [], 0, 0.0
    for number, place in enumerate(np.random.default_rng(1).permutation(len(x))[:count].tolist()):
        retained, gone = rows.without([place]), rows.only([place])
        start = time.process_time()
        step = method.forget(record, retained, gone, noise=KEY)
        costs.append(time.process_time() - start)
        again += step.stats["steps_run_again"] > 0
        visits += step.stats["rows_visited"] / len(x)
        if number < checks:
            start = time.process_time()
            clean = method.learn(retained, seed=SEED, noise=KEY)
            refits.append(time.process_time() - start)
            assert digest(step.record) == digest(clean)
    start = time.process_time()
    scikit(x[1:], method.clusters)
    theirs = time.process_time() - start
    median, mean, refit = statistics.median(costs), statistics.mean(costs), statistics.median(refits)
    shown = [f"{value * 1e3:>8.1f}" for value in (median, mean, refit, theirs)]
    ratios = [f"{value:>8.1f}" for value in (refit / median, refit / mean, theirs / median, theirs / mean)]
    print(f"{name:<27}{len(x):>9,}", *shown, *ratios, f"{again / count:>6.0%}{visits / count:>8.2f}", flush=True)


def by_side(name: str, x: Floats, seeds: int = 3, each: int = 30) -> None:
    """How often one deletion runs steps again, and the inertia, for each side of the lattice."""
    rows = Rows.of(x)
    places = np.random.default_rng(2).permutation(len(x)).tolist()
    theirs = statistics.median(float(scikit(x, 10, seed).inertia_) for seed in range(5))
    for side in SIDES:
        method = KMeans(10, STEPS, lattice=side)
        shares, again = [], 0
        for seed in range(seeds):
            record = method.learn(rows, seed=seed, noise=KEY)
            shares.append(method.inertia(method.release(record), rows.columns) / theirs)
            for place in places[seed * each : seed * each + each]:
                step = method.forget(record, rows.without([place]), rows.only([place]), noise=KEY)
                again += step.stats["steps_run_again"] > 0
        share = again / (seeds * each)
        print(f"{name:<8}side {side:<7} run again {share:>6.1%}  inertia {statistics.median(shares):.3f}", flush=True)


def inertia(name: str, x: Floats, method: KMeans, seeds: int = 5) -> None:
    """Inertia on all rows over seeds, as a share of scikit-learn's median; one line."""
    rows = Rows.of(x)
    releases = [method.release(method.learn(rows, seed=seed, noise=KEY)) for seed in range(seeds)]
    theirs = statistics.median(float(scikit(x, method.clusters, seed).inertia_) for seed in range(5))
    own = [method.inertia(release, rows.columns) / theirs for release in releases]
    print(f"{name:<42}{statistics.median(own):>6.3f}  ({min(own):.3f} to {max(own):.3f})", flush=True)


def after_deletions(x: Floats, method: KMeans, share: float = 0.2) -> None:
    """A whole cloud's share of the rows leaves: the model that forgot, doing nothing, and scikit-learn's refit."""
    codes = scikit(x, method.clusters).labels_
    cloud = np.flatnonzero(codes == np.bincount(codes).argmax())
    gone = cloud[: int(share * len(x))].tolist()
    rows = Rows.of(x)
    record = method.learn(rows, seed=SEED, noise=KEY)
    retained = rows.without(gone)
    step = method.forget(record, retained, rows.only(gone), noise=KEY)
    assert digest(step.record) == digest(method.learn(retained, seed=SEED, noise=KEY))
    after, before = (method.inertia(method.release(r), retained.columns) for r in (step.record, record))
    theirs = statistics.median(float(scikit(retained.columns["x"], method.clusters, s).inertia_) for s in range(5))
    print(
        f"{len(gone):,} of {len(x):,} rows, all in the largest cluster, leave; inertia of those left, as a share "
        f"of scikit-learn's refit: forgotten {after / theirs:.3f}, doing nothing {before / theirs:.3f}",
        flush=True,
    )


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--largest", type=int, default=1_000_000)
    largest = parser.parse_args().largest
    torch.set_num_threads(1)
    plain, quantised = KMeans(10, STEPS, None, 0.0), KMeans(10, STEPS, lattice=0.2)
    divided, both = KMeans(10, STEPS, None, width=64), KMeans(10, STEPS, lattice=0.2, width=16)
    quantised.forget(
        quantised.learn(Rows.of(blobs(99)), seed=0, noise=KEY),
        Rows.of(blobs(99)).without([0]),
        Rows.of(blobs(99)).only([0]),
        noise=KEY,
    )  # kernels are compiled once
    real = {"adult": adult(), "mnist": mnist()} if DATA.is_dir() else {}
    print("single deletions, ms of CPU: median, mean, refit, scikit-learn; ratios refit/median, refit/mean,")
    print("scikit-learn/median, scikit-learn/mean; share of deletions that ran steps again; visits of rows / n")
    for n in (size for size in (1_000, 10_000, 100_000, 1_000_000) if size <= largest):
        x, few = blobs(n), n == 1_000_000
        deletions("quantised", x, quantised, 12 if few else 60)
        deletions("divided, 64 leaves", x, divided, 4 if few else 20)
        deletions("both, 16 leaves", x, both, 12 if few else 40)
    for name, x in real.items():
        deletions(f"quantised, {name}", x, quantised, 60)
        deletions(f"divided, 64 leaves, {name}", x, divided, 20)
        deletions(f"both, 16 leaves, {name}", x, both, 40)
    data = {"blobs": blobs(min(100_000, largest)), **real}
    print("\nby the lattice's side: deletions that ran steps again, and inertia as a share of scikit-learn's")
    for name, x in data.items():
        by_side(name, x)
    print("\ninertia on all rows, as a share of scikit-learn's (median of 5 seeds, least to most)")
    for name, x in data.items():
        inertia(f"{name}: plain (no lattice, no correction)", x, plain)
        inertia(f"{name}: quantised, side .2", x, quantised)
        inertia(f"{name}: divided, 64 leaves", x, divided)
        inertia(f"{name}: both, 16 leaves, side .2", x, both)
        after_deletions(x, quantised)


if __name__ == "__main__":
    main()
