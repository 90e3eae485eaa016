"""DaRE forests on synthetic tables: learning, forgetting and memory, beside scikit-learn's own refits in the same run.

    python benchmarks/forest.py            # 10,000 and 50,000 rows
    python benchmarks/forest.py growth     # 10,000, 100,000 and 1,000,000 rows, 10 trees
    python benchmarks/forest.py vault      # what a vault's durable work adds

CPU time of one thread. After the deletions the digest is compared with that of learning again without the rows.
"""

from __future__ import annotations

import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
from sklearn.datasets import make_classification
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier, RandomForestClassifier

from expunge import NoiseKey, Rows
from expunge.maths.forest import nodes
from expunge.methods import DareForest
from expunge.record import digest
from expunge.vault import Vault

KEY = NoiseKey.fresh(1)
DELETIONS = 100


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds, and what came back."""
    start = time.process_time()
    answer = call()
    return time.process_time() - start, answer


def synthetic(n: int) -> tuple[Any, Any, Any, Any]:
    """20 columns, 8 of them informative; 2,000 rows more to test on."""
    x, y = make_classification(n + 2000, 20, n_informative=8, random_state=0)
    return x[:n], y[:n], x[n:], y[n:]


def megabytes(record: Any, n: int, trees: int) -> tuple[float, float]:
    """Megabytes of the trees' words without and with the keys of the rows in leaves."""
    forest = record.forest
    size = forest.crowns.nbytes + sum(p.nbytes for tree in forest.parts for p in tree if p is not None)
    return (size - 8 * n * trees) / 1e6, size / 1e6


def one_by_one(method: DareForest, record: Any, rows: Rows, ids: list[int]) -> tuple[list[float], Any, Rows, Any]:
    """CPU seconds of each deletion, the record and the rows after them, and the sums of what was counted."""
    seconds, sums = [], {}
    for one in ids:
        retained, gone = rows.without([one]), rows.only([one])
        took, step = timed(lambda r=record, a=retained, g=gone: method.forget(r, a, g, noise=KEY))
        seconds.append(took)
        record, rows = step.record, retained
        sums = {name: sums.get(name, 0) + value for name, value in step.stats.items()}
    return seconds, record, rows, sums


def decisions(method: DareForest, record: Any) -> tuple[Any, Any, Any]:
    """Every node: feature, value, right child; its rows; where the trees begin."""
    table, totals, starts = nodes(record.forest, method._trees_of(record).growing())  # noqa: SLF001
    return table.tolist(), totals[:, 0].tolist(), starts.tolist()


def learned_below(table: Any, rows: Any, node: int) -> int:
    """Rows of all decisions of a subtree: what learning it has to look at, whoever does it."""
    if table[node][0] < 0:
        return 0
    return int(rows[node]) + learned_below(table, rows, node + 1) + learned_below(table, rows, table[node][2])


def learned_again(before: Any, i: int, after: Any, j: int) -> int:
    """Rows of the decisions below splits that differ: what the law of the forest makes any method learn again."""
    (old, old_rows), (new, new_rows) = before, after
    if new[j][0] < 0:
        return 0
    children = ((i + 1, j + 1), (old[i][2], new[j][2]))
    renamed = old[i][0] >= 0 and all(old_rows[a] - new_rows[b] in (0, 1) for a, b in children)
    if old[i][0] == new[j][0] and (old[i][1] == new[j][1] or renamed):
        return sum(learned_again(before, a, after, b) for a, b in children if old_rows[a] != new_rows[b])
    return sum(learned_below(new, new_rows, b) for _, b in children)


def floor(method: DareForest, record: Any, rows: Rows, ids: list[int], fit: float) -> tuple[float, float]:
    """Mean rows of decisions that one deletion makes any method learn again, and their seconds at learning's speed."""
    table, sizes, starts = decisions(method, record)
    whole = sum(learned_below(table, sizes, start) for start in starts[:-1])
    again = 0
    for one in ids:
        after = method.forget(record, rows.without([one]), rows.only([one]), noise=KEY).record
        new_table, new_sizes, new_starts = decisions(method, after)
        for i, j in zip(starts[:-1], new_starts[:-1], strict=True):
            again += learned_again((table, sizes), i, (new_table, new_sizes), j)
    return again / len(ids), fit * again / len(ids) / whole


def compare(n: int, candidates: int) -> None:
    """One size: ours beside scikit-learn's."""
    x, y, test_x, test_y = synthetic(n)
    rows = Rows.of(x, y)
    method = DareForest(trees=100, max_depth=10, candidates=candidates)
    method.learn(rows.only(list(range(100))), seed=0, noise=KEY)  # compiles
    fit, record = timed(lambda: method.learn(rows, seed=0, noise=KEY))
    scores = method.predict(method.release(record), {"x": test_x})
    accuracy = float((scores.argmax(1).numpy() == test_y).mean())
    first = rows.without([0])
    method.forget(record, first, rows.only([0]), noise=KEY)
    ids = np.random.default_rng(1).permutation(n).tolist()
    seconds, after, left, sums = one_by_one(method, record, rows, ids[:DELETIONS])
    assert digest(after) == digest(method.learn(left, seed=0, noise=KEY))
    assert digest(after) != digest(record)
    batch = ids[DELETIONS : DELETIONS + 1000]
    together, _ = timed(lambda: method.forget(after, left.without(batch), left.only(batch), noise=KEY))
    mean = statistics.mean(seconds)
    bare, whole = megabytes(record, n, 100)
    print(
        f"n={n:,} k={candidates}: learning {fit:.2f} s, accuracy {accuracy:.4f}; deletion mean {1e3 * mean:.2f} ms, "
        f"median {1e3 * statistics.median(seconds):.2f} ms; 1,000 at once {1e3 * together:.0f} ms = "
        f"{together / (1000 * mean):.2f} of one by one; statistics {bare:.1f} MB, with keys of rows {whole:.1f} MB; "
        "a deletion visits {:.0f} nodes, changes {:.1f} splits, rebuilds {:.0f} rows".format(
            *(sums[name] / DELETIONS for name in ("nodes_visited", "splits_changed", "rows_rebuilt"))
        )
    )
    options = {"n_jobs": 1, "random_state": 0}
    for name, other in (
        ("RandomForest", RandomForestClassifier(100, max_depth=10, bootstrap=False, **options)),
        ("ExtraTrees", ExtraTreesClassifier(100, max_depth=10, **options)),
        ("HistGradientBoosting", HistGradientBoostingClassifier(random_state=0)),
    ):
        refit, model = timed(lambda m=other: m.fit(x, y))
        print(
            f"    {name}: refit {refit:.2f} s, accuracy {model.score(test_x, test_y):.4f}; its refit / our learning "
            f"{refit / fit:.2f}, its refit / our deletion {refit / mean:.0f}"
        )
    again, least = floor(method, record, rows, ids[:20], fit)
    print(
        f"    own refit / deletion {fit / mean:.0f}; decisions below splits that differ look at {again:,.0f} rows, at "
        f"learning's speed {1e3 * least:.2f} ms",
        flush=True,
    )


def growth() -> None:
    """How cost grows with rows: 10 trees, k=5, depth 10."""
    for n, cut in ((10_000, 4), (100_000, 5), (1_000_000, 7)):
        x, y, *_ = synthetic(n)
        rows = Rows.of(x, y)
        method = DareForest(trees=10, max_depth=10, candidates=5, cut=cut)
        fit, record = timed(lambda m=method, r=rows: m.learn(r, seed=0, noise=KEY))
        seconds, *_ = one_by_one(method, record, rows, list(range(20)))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(
            f"n={n:,} cut={cut}: learning {fit:.1f} s, deletion mean {1e3 * statistics.mean(seconds):.2f} ms, median "
            f"{1e3 * statistics.median(seconds):.2f} ms; the process so far took {peak:.1f} GB at most",
            flush=True,
        )


def vault() -> None:
    """The durable work of one request: 10,000 rows, 100 trees."""
    x, y, *_ = synthetic(10_000)
    for candidates in (5, 25):
        method = DareForest(trees=100, max_depth=10, candidates=candidates)
        with (
            tempfile.TemporaryDirectory() as folder,
            Vault.create(Path(folder) / "v", Rows.of(x, y), method, seed=0) as v,
        ):
            v.request(ids=["0"])
            v.work()
            cpu, wall = [], []
            for one in range(1, 8):
                v.request(ids=[str(one)])
                began = time.perf_counter()
                cpu.append(timed(v.work)[0])
                wall.append(time.perf_counter() - began)
            print(
                f"vault, k={candidates}: work of one request, medians: {statistics.median(cpu):.2f} s CPU, "
                f"{statistics.median(wall):.2f} s on the clock (digests, files, fsync, ledger, receipt, purge)",
                flush=True,
            )


def main() -> None:
    """Run the part that is asked for."""
    parts = {"growth": growth, "vault": vault}
    if sys.argv[1:]:
        parts[sys.argv[1]]()
        return
    for n, candidates in ((10_000, 25), (10_000, 5), (50_000, 5)):
        compare(n, candidates)


if __name__ == "__main__":
    main()
