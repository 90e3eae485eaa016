"""DaRE forests on real tables of numbers and text, beside scikit-learn's refits on one-hot columns in the same run.

    python benchmarks/forest_tables.py [published] [adult bank_marketing higgs_7500 diabetes130 no_show]

The data are looked for in ../shared/data; where they are absent it says so. CPU time of one thread. Where one person
owns several rows a deletion takes all of them.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier

from expunge import NoiseKey, Rows
from expunge.methods import DareForest
from expunge.record import digest

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
KEY = NoiseKey.fresh(1)
DELETIONS = 60
# Trees, depth and k as published for these tables (topd = 0); Higgs is a cut of 7,000 rows, diabetes and no-show have
# 50 of their 250 trees, and all of them where `published` is asked for.
SHAPES = {
    "adult": (50, 20, 5),
    "bank_marketing": (100, 20, 25),
    "higgs_7500": (50, 20, 10),
    "diabetes130": (50, 20, 5),
    "no_show": (50, 20, 10),
}
PUBLISHED = {"diabetes130": (250, 20, 5), "no_show": (250, 20, 10)}


def read(name: str) -> tuple[dict[str, Any], Any, Any, Any, Any]:
    """Raw columns, one-hot matrix, target, owners (or None), and which rows are for testing."""
    with np.load(DATA / f"{name}.npz", allow_pickle=False) as data:
        if "X" in data.files:
            x, y, test = data["X"], data["y"], data["is_test"] if "is_test" in data.files else None
            return {"x": x}, x, y, None, _held_out(test, len(y))
        columns = {str(n): data["X_num"][:, i] for i, n in enumerate(data["num_names"])}
        blocks = [data["X_num"]]
        for i, n in enumerate(data["cat_names"]):
            levels = data[f"cat_levels_{i}"]
            columns[str(n)] = levels[data["X_cat"][:, i]].astype(np.dtypes.StringDType())
            if len(levels) < 200:
                blocks.append(np.eye(len(levels), dtype=np.float32)[data["X_cat"][:, i]])
        y = (data["y"] != list(data["y_names"]).index("NO")) if name == "diabetes130" else data["y"]
        test = data["is_test"] if "is_test" in data.files else None
        owners = data["group"] if "group" in data.files else None
        return columns, np.concatenate(blocks, 1), y.astype(int), owners, _held_out(test, len(y))


def _held_out(test: Any, n: int) -> Any:
    return np.random.default_rng(0).random(n) < 0.2 if test is None else test.astype(bool)


def run(name: str, shape: tuple[int, int, int]) -> None:
    """One table: ours, and scikit-learn's forest of the same shape and gradient boosting."""
    columns, wide, y, owners, test = read(name)
    train = ~test
    trees, depth, candidates = shape
    subjects = None if owners is None else owners[train]
    rows = Rows.of({n: c[train] for n, c in columns.items()}, y[train], classes=2, subjects=subjects)
    method = DareForest(trees=trees, max_depth=depth, candidates=candidates)
    method.learn(rows.only(list(range(100))), seed=0, noise=KEY)  # compiles
    start = time.process_time()
    record = method.learn(rows, seed=0, noise=KEY)
    fit = time.process_time() - start
    scores = method.predict(method.release(record), {n: c[test] for n, c in columns.items()})
    accuracy = float((scores.argmax(1).numpy() == y[test]).mean())
    asked = np.random.default_rng(1).permutation(np.unique(subjects) if subjects is not None else len(rows))
    seconds, gone = [], 0
    for one in asked[: DELETIONS + 1].tolist():
        leaving = rows.of_subjects([one]) if subjects is not None else rows.only([one])
        retained = rows.select(~np.isin(rows.keys, leaving.keys))
        start = time.process_time()
        record = method.forget(record, retained, leaving, noise=KEY).record
        seconds.append(time.process_time() - start)
        rows, gone = retained, gone + len(leaving)
    assert digest(record) == digest(method.learn(rows, seed=0, noise=KEY))
    mean = statistics.mean(seconds[1:])
    words = record.forest.crowns.nbytes + sum(p.nbytes for tree in record.forest.parts for p in tree if p is not None)
    print(
        f"{name}: {train.sum():,} rows, {trees} trees, depth {depth}, k={candidates}: learning {fit:.2f} s, accuracy "
        f"{accuracy:.4f}; deletion mean {1e3 * mean:.2f} ms, median {1e3 * statistics.median(seconds[1:]):.2f} ms "
        f"({gone / len(seconds):.2f} rows each); own refit {fit / mean:.0f}x; trees {words / 1e6:.0f} MB",
        flush=True,
    )
    for label, other in (
        ("RandomForest", RandomForestClassifier(trees, max_depth=depth, bootstrap=False, n_jobs=1, random_state=0)),
        ("HistGradientBoosting", HistGradientBoostingClassifier(random_state=0)),
    ):
        start = time.process_time()
        other.fit(wide[train], y[train])
        took = time.process_time() - start
        print(
            f"    {label}: refit {took:.2f} s, accuracy {other.score(wide[test], y[test]):.4f}, refit / our deletion "
            f"{took / mean:.0f}",
            flush=True,
        )


def main() -> None:
    """Run the tables named, or all."""
    if not DATA.is_dir():
        print(f"The folder of real data sets ({DATA.name}) is not beside the checkout: nothing was run.")
        return
    names = [name for name in sys.argv[1:] if name != "published"]
    shapes = SHAPES | PUBLISHED if "published" in sys.argv else SHAPES
    for name in names or SHAPES:
        run(name, shapes[name])


if __name__ == "__main__":
    main()
