"""DeepObliviate on MNIST and Fashion-MNIST: what a stop saves, and what stitching is worth beside doing nothing.

    python benchmarks/deep_obliviate.py [--data mnist fashion_mnist] [--rows 30000] [--blocks 150] [--model conv linear]

A convolutional network of 20,490 weights (two layers of 3x3, mean pooling, one linear layer) or a softmax regression of
7,850 is trained on the rows, block after block, one epoch each. One row, then one person's thirty rows, are forgotten
from a block early, in the middle and late. `distance` is Euclidean, from the model trained again on the other rows,
block after block and under the same seed, which a threshold of 0 gives; it stands beside that of the untouched model.
`agree` is the share of test rows with the same prediction as that model, in percent. `x rows` and `x CPU` compare with
training everything again: row visits, and CPU seconds of one thread. The guard's forecast of the ratio of the two
distances (`guess`) is held against the true one at the stop, and for every block from the tenth on, as if training had
stopped there. It calls a ratio above 0.9 no better.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from torch import Tensor

from expunge import NoiseKey, Rows
from expunge.certificate import Exact
from expunge.learners.dealing import Dealing
from expunge.learners.sgd import Sgd
from expunge.maths.fluctuation import SHORTEST
from expunge.maths.survival import distance_ratio, growth_to, survival, survival_to
from expunge.methods.deep_obliviate import NEAR, DeepObliviate, DeepObliviateRecord
from expunge.models import Linear, SmallConvNet

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
PIXELS = {"mnist": (0.1307, 0.3081), "fashion_mnist": (0.2860, 0.3530)}  # mean and deviation, public
LEARNERS = {
    "conv": Sgd(SmallConvNet((16, 32)), epochs=1, batch_size=32, learning_rate=0.02, momentum=0.9, l2=1e-4),
    "linear": Sgd(Linear(), epochs=1, batch_size=32, learning_rate=0.02, momentum=0.0, l2=0.05),
}
RULES = (("normalised", 1e-3), ("normalised", 1e-4), ("absolute", 0.1), ("absolute", 0.01))
PLACES = (("early", 0.05), ("middle", 0.5), ("late", 0.85))
PERSON = 30  # rows
SEED = 0
NOISE = NoiseKey.fresh(1)


@dataclass
class Tally:
    """What a table ends with."""

    visits: dict[str, list[float]] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    agreement: dict[str, list[float]] = field(default_factory=dict)
    at_stops: list[tuple[float, float]] = field(default_factory=list)  # ratio of the distances: forecast, true
    anywhere: list[tuple[float, float]] = field(default_factory=list)


def timed(function: Callable[[], Any]) -> tuple[Any, float]:
    """What it gives, and the CPU seconds it took."""
    start = time.process_time()
    made = function()
    return made, time.process_time() - start


def rows_of(name: str, n: int, blocks: int) -> tuple[Rows, Rows]:
    """Training rows, of which thirty in a block at each of the places belong to one person; and test rows."""
    with np.load(DATA / f"{name}.npz") as file:
        x, y, test_x, test_y = (file[part] for part in ("X_train", "y_train", "X_test", "y_test"))
    mean, deviation = PIXELS[name]
    scaled = [((part / np.float32(255) - mean) / deviation).astype(np.float32) for part in (x[:n], test_x)]
    test = Rows.of(scaled[1], test_y, classes=10)
    subjects = np.array([f"row {i}" for i in range(n)], dtype=object)
    for place, share in PLACES:
        block = math.ceil(share * blocks)
        names = [f"{place} person {k}" for k in range(50 * blocks)]
        probe = Rows.of(np.zeros((len(names), 1)), ids=names).table().keys
        person = names[int(np.flatnonzero(Dealing(SEED, blocks, 1).shards_of(probe) == block - 1)[0])]
        free = np.flatnonzero([str(s).startswith("row") for s in subjects])
        subjects[free[:: len(free) // PERSON][:PERSON]] = person
    return Rows.of(scaled[0], y[:n], subjects=subjects.tolist(), classes=10), test


def requests(rows: Rows, blocks: int) -> list[tuple[str, list[str]]]:
    """What is forgotten: a row of the block at each place, and the person there."""
    table = rows.table()
    subjects = np.array([str(s) for s in table.subjects], dtype=object)  # type: ignore[union-attr]
    block_of = Dealing(SEED, blocks, 1).shards_of(table.owners) + 1
    found = []
    for place, share in PLACES:
        block = math.ceil(share * blocks)
        alone = table.ids[(block_of == block) & np.array([s.startswith("row") for s in subjects])]
        found.append((f"{place}, one row", [str(alone[0])]))
        person = [str(i) for i, s in zip(table.ids, subjects, strict=True) if s.startswith(place)]
        found.append((f"{place}, a person", person))
    return found


def weights(method: DeepObliviate, record: DeepObliviateRecord) -> list[Tensor]:
    """The weights of all checkpoints."""
    return [method.learner.flat(state) for state in record.checkpoints]


def run(name: str, n: int, blocks: int, model: str) -> None:
    """Learn, forget, and print one table."""
    rows, test = rows_of(name, n, blocks)
    method = DeepObliviate(LEARNERS[model], blocks, 0.0)

    def predicted(record: DeepObliviateRecord) -> Tensor:
        return method.predict(method.release(record), test.columns).argmax(1)

    def accuracy(labels: Tensor) -> float:
        return float((labels.numpy() == test.y).mean())

    record = method.learn(rows, seed=SEED, noise=NOISE)
    other, learning = timed(lambda: method.learn(rows, seed=SEED + 1, noise=NOISE))  # the first one warmed up
    before, untouched = weights(method, record), predicted(record)
    agreed = 100 * float((predicted(other) == untouched).double().mean())
    print(
        f"\n{name}, {model}, {n} rows in {blocks} blocks, {len(before[0])} weights, learned in {learning:.1f} CPU s;"
        f"\naccuracy {accuracy(untouched):.4f}; another seed's model agrees on {agreed:.2f} % of {len(test)} rows\n"
        f"{'forgotten':<18} {'rule':<17} {'blocks':>7} {'x rows':>7} {'x CPU':>6} {'distance':>9} {'nothing':>8} "
        f"{'ratio':>6} {'guess':>6} {'agree':>6} {'nothing':>7} guard",
        flush=True,
    )
    tally = Tally()
    for what, ids in requests(rows, blocks):
        retained, forgotten = rows.without(ids), rows.only(ids)
        whole, sequential = timed(lambda: method.forget(record, retained, forgotten, noise=NOISE))  # noqa: B023
        assert isinstance(whole.certificate, Exact)
        first = int(whole.stats["first_block"])
        clean, truth = weights(method, whole.record), predicted(whole.record)
        changes = [now - then for now, then in zip(clean[first:], before[first:], strict=True)]
        nothing = float(changes[-1].norm())
        same = 100 * float((untouched == truth).double().mean())
        print(
            f"{what:<18} {'no stop: exact':<17} {blocks - first + 1:>7} {n / whole.stats['rows_visited']:>7.1f} "
            f"{learning / sequential:>6.1f} {0:>9} {nothing:>8.3g} {0:>6} {'':>6} {100:>6} {same:>7.2f}",
            flush=True,
        )
        lengths = [float(change.norm()) for change in changes]
        for end in range(SHORTEST, len(changes)):
            known = [survival(change, changes[end - 1]) for change in changes[:end]]
            forecasts = survival_to(len(changes), known), growth_to(len(changes), lengths[:end])
            true = float((changes[end - 1] - changes[-1]).norm()) / nothing
            tally.anywhere.append((distance_ratio(*forecasts), true))
        for residuals, threshold in RULES:
            rule = replace(method, threshold=threshold, residuals=residuals)  # type: ignore[arg-type]
            step, seconds = timed(lambda: rule.forget(record, retained, forgotten, noise=NOISE))  # noqa: B023
            trained = int(step.stats["last_block"]) - first + 1
            labels = predicted(step.record)
            gap = float((method.learner.flat(step.record.checkpoints[-1]) - clean[-1]).norm())
            agree = 100 * float((labels == truth).double().mean())
            key = f"{residuals} {threshold:g}"
            tally.visits.setdefault(key, []).append(n / step.stats["rows_visited"])
            tally.seconds.setdefault(key, []).append(learning / seconds)
            tally.agreement.setdefault(key, []).append(agree)
            guess, verdict = step.stats.get("distance_ratio", math.nan), "no stop"
            if trained < len(changes):
                tally.at_stops.append((guess, gap / nothing))
                verdict = "nearer" if guess <= NEAR else "no better"
                verdict += "" if (guess <= NEAR) == (gap <= NEAR * nothing) else ", wrongly"
            print(
                f"{what:<18} {key:<17} {trained:>7} {n / step.stats['rows_visited']:>7.1f} {learning / seconds:>6.1f} "
                f"{gap:>9.3g} {nothing:>8.3g} {gap / nothing:>6.2f} {guess:>6.2f} {agree:>6.2f} {same:>7.2f} {verdict}",
                flush=True,
            )
    for key, visits in tally.visits.items():
        means = [math.exp(np.log(values).mean()) for values in (visits, tally.seconds[key])]
        print(
            f"{key:<17} geometric mean {means[0]:.1f}x rows, {means[1]:.1f}x CPU (least {min(visits):.1f}x, most "
            f"{max(visits):.1f}x rows); agreement {min(tally.agreement[key]):.2f} to {max(tally.agreement[key]):.2f} %"
        )
    for where, pairs in (("stops", tally.at_stops), ("blocks where a stop could have come", tally.anywhere)):
        guesses, truths = np.array(pairs).T
        worse = truths > NEAR
        print(
            f"{len(pairs)} {where}: nearer than doing nothing in {(truths < 1).sum()}, by a tenth in {(~worse).sum()}; "
            f"guard right in {((guesses <= NEAR) == ~worse).sum()}, and in {(guesses[worse] > NEAR).sum()} of the "
            f"{worse.sum()} that are no better; median error {np.median(np.abs(guesses - truths)):.3f}",
            flush=True,
        )


def main() -> None:
    """Run and print a table for each data set and model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=list(PIXELS), choices=PIXELS)
    parser.add_argument("--model", nargs="+", default=list(LEARNERS), choices=LEARNERS)
    parser.add_argument("--rows", type=int, default=30_000)
    parser.add_argument("--blocks", type=int, default=150)
    given = parser.parse_args()
    if not DATA.is_dir():
        raise SystemExit(f"{DATA} is not here: it holds mnist.npz and fashion_mnist.npz.")
    torch.set_num_threads(1)
    for name in given.data:
        for model in given.model:
            run(name, given.rows, given.blocks, model)


if __name__ == "__main__":
    main()
