"""SISA on Adult's raw columns: features fitted in each shard beside those of all rows; costs told beside costs met.

    python benchmarks/adult_shard_features.py [--rows 38842] [--requests 10]

Visits of rows are counted, as a share of learning one network; seconds are CPU seconds of one thread in this run. A
Pipeline with exact statistics must learn again at every request; `declared public` reads its statistics once from all
rows, forgotten ones among them, and assumes them public. After as many requests as --digests says, the digest is
compared with that of learning without the row; doing nothing would have left the old one.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from expunge import NoiseKey, Pipeline, Rows
from expunge.errors import MustRetrain
from expunge.features import Features, tabular
from expunge.learners.featured import Featured
from expunge.learners.learner import Learner
from expunge.learners.sgd import Sgd
from expunge.maths.sharding import plan, slice_epochs
from expunge.method import Method
from expunge.methods import Retrain, Sisa
from expunge.models import Mlp
from expunge.record import digest

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "adult.npz"
HELD_OUT = 10_000
EPOCHS = 5
KEY = NoiseKey(bytes(32), 1)  # nothing here is noised


@dataclass(frozen=True)
class Measured:
    """Accuracy on test; of single requests: how many had to learn again, their mean visits, and CPU seconds."""

    accuracy: float
    again: int
    visits: float
    seconds: float
    learned: float


def adult(rows: int) -> tuple[Rows, Rows]:
    """Raw rows to learn (ids from the file) and 10,000 to test, cut by a fixed permutation."""
    with np.load(DATA, allow_pickle=False) as held:
        columns = {str(name): held["X_num"][:, j].astype(float) for j, name in enumerate(held["num_names"])}
        for j, name in enumerate(held["cat_names"]):
            columns[str(name)] = held[f"cat_levels_{j}"][held["X_cat"][:, j]].astype(np.dtypes.StringDType())
        y = held["y"].astype(np.int64)
    order = np.random.default_rng(0).permutation(len(y))

    def cut(where: Any) -> Rows:
        return Rows.of({name: c[where] for name, c in columns.items()}, y[where], ids=where.tolist(), classes=2)

    return cut(order[HELD_OUT : HELD_OUT + rows]), cut(order[:HELD_OUT])


def measured(method: Method[Any], rows: Rows, test: Rows, requests: int, digests: int, whole: float) -> Measured:
    """Learn, forget single rows from the start each, and count."""
    start = time.process_time()
    record = method.learn(rows, seed=0, noise=KEY)
    learned = time.process_time() - start
    scores = method.predict(method.release(record), test.columns)
    accuracy = float((scores.argmax(1).numpy() == test.y).mean())
    visits, seconds, again = [], [], 0
    for number, name in enumerate(rows.ids[:requests]):
        retained, forgotten = rows.without([name]), rows.only([name])
        start = time.process_time()
        try:
            step = method.forget(record, retained, forgotten, noise=KEY)
        except MustRetrain:
            after: Any = method.learn(retained, seed=0, noise=KEY)
            visits.append(whole)
            again += 1
        else:
            after = step.record
            visits.append(step.stats["rows_visited"])
        seconds.append(time.process_time() - start)
        if number < digests:
            assert digest(after) == digest(method.learn(retained, seed=0, noise=KEY))
            assert digest(after) != digest(record)
    return Measured(accuracy, again, statistics.mean(visits) / whole, statistics.median(seconds), learned)


def told_and_met(method: Sisa, rows: Rows, batch: int, seeds: int) -> tuple[float, float, float, float, float, float]:
    """Shards touched, rows read and visits of a batch: expected, and the mean over dealings of as many seeds."""
    told = method.expected_cost(len(rows), batch)
    met = []
    epochs = method.learner.epochs
    for seed in range(seeds):
        dealing, table = method._dealing(seed), rows.table()  # noqa: SLF001 (places are counted, nothing is trained)
        shards, slices = dealing.places(table)
        leaves = np.arange(len(rows)) < batch
        touched = read = visits = 0
        steps = slice_epochs(epochs, method.slices)
        for shard in np.unique(shards[leaves]):
            first = int(slices[leaves & (shards == shard)].min())
            sizes = np.bincount(slices[~leaves & (shards == shard)], minlength=method.slices).cumsum()
            touched, read = touched + 1, read + int(sizes[-1])
            visits += sum(e * int(n) for e, n in list(zip(steps, sizes, strict=True))[first:])
        met.append((touched, read, visits))
    touched_met, read_met, visits_met = (statistics.mean(column) for column in zip(*met, strict=True))
    error = statistics.stdev(v for _, _, v in met) / math.sqrt(seeds)
    assert abs(visits_met - told.visits) < 5 * error, (visits_met, told.visits, error)
    return told.shards, touched_met, told.rows, read_met, told.visits, visits_met


def main() -> None:
    """Run and print."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rows", type=int, default=38_842)
    arguments.add_argument("--requests", type=int, default=10)
    arguments.add_argument("--digests", type=int, default=1)
    given = arguments.parse_args()
    if not DATA.exists():
        print(f"skipped: {DATA.name} is not here")
        return
    torch.set_num_threads(1)
    rows, test = adult(given.rows)
    exact: Features = tabular(rows)
    network: Learner = Sgd(Mlp((32,)), epochs=EPOCHS)
    public = tabular(rows, statistics="public")
    methods: dict[str, Callable[[], Method[Any]]] = {
        "one network, features of all rows": lambda: Pipeline(exact, Retrain(network)),
        "10 x 5, declared public": lambda: Pipeline(public, Sisa(network, 10, 5)),
        "10 x 5, exact, of all rows": lambda: Pipeline(exact, Sisa(network, 10, 5)),
        "10 x 5, of each first slice": lambda: Sisa(Featured(exact, network), 10, 5),
        "10 x 1, of each shard": lambda: Sisa(Featured(exact, network), 10, 1),
        "50 x 5, of each first slice": lambda: Sisa(Featured(exact, network), 50, 5),
    }
    print(f"Adult, {len(rows)} rows learned, {len(test)} held out, a network of 32, {EPOCHS} epochs, seed 0")
    print("method                               accuracy  learned again  visits  forget s  learn s  learn / forget")
    for name, make in methods.items():
        method = make()
        shards = method if isinstance(method, Sisa) else method.method  # type: ignore[attr-defined]
        steps = (shards.slices + 1) / 2 if isinstance(shards, Sisa) else EPOCHS
        whole = max(EPOCHS, steps) * len(rows)
        requests = given.requests if "all rows" not in name else min(2, given.requests)
        m = measured(method, rows, test, requests, given.digests, whole)
        print(
            f"{name:<36} {m.accuracy:.4f}    {m.again:>2} of {requests:<2}       {m.visits:.3f}   {m.seconds:6.2f}   "
            f"{m.learned:6.2f}   {m.learned / m.seconds:6.1f}"
        )
    print("\nbatch  shards told, met   rows told, met       visits told, met     share of learning again")
    method = Sisa(network, 10, 5)
    for batch in (1, 3, 10, 30, 100):
        a, b, c, d, e, f = told_and_met(method, rows, batch, 200)
        share = method.expected_cost(len(rows), batch).share
        print(f"{batch:>5}  {a:6.2f} {b:6.2f}     {c:9.0f} {d:9.0f}   {e:10.0f} {f:10.0f}     {share:.3f}")
    chosen = plan(len(rows), 100, epochs=EPOCHS, share=0.05, least_rows=500, batch=1)
    print(
        f"100 requests one at a time for at most 0.05 of learning each, shards of 500 rows or more: {chosen.shards} x "
        f"{chosen.slices}, {chosen.cost.share:.4f} expected, {chosen.cost.checkpoints} checkpoints"
    )


if __name__ == "__main__":
    main()
