"""Figure 3: the Markov blanket of each of 40 binary attributes of 20,000 rows, and what else one would choose.

    python experiments/mehta2022/attributes.py [--quick] [--out FILE.json]

The paper takes CelebA's attributes, each as the target of the others, and gives seconds only. Two stand-ins:

    graph     a directed graph, whose blankets are known: up to three parents, half of them by a product of two
    factors   thresholds of six normal factors and noise: everything depends on everything, as with attributes of faces

Beside FOCI, with both stops, the same number of columns by mutual information with the target, and at random. What is
chosen is also judged by the accuracy of a tree that learns from it, on 5,000 other rows. L-FOCI (noise where rows are
equally near) is timed on the first target.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Mapping
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np
from figures import Figures, called, shown, spread
from numpy.typing import NDArray
from sklearn.feature_selection import mutual_info_classif
from sklearn.tree import DecisionTreeClassifier

from expunge import foci, keyed

Floats = NDArray[np.float64]
Blankets = list[set[int]]

ATTRIBUTES, TEST = 40, 5000
PAPER = "paper, on CelebA: 20 to 520 s a target with L-FOCI, 1,100 to 2,150 s with FOCI"


def graph(n: int, seed: int) -> tuple[Floats, Blankets]:
    """A table (n, 40) of -1 and 1, and the Markov blanket of each column."""
    generator = np.random.default_rng(keyed.subseed(seed, "attributes"))
    table = np.empty((n, ATTRIBUTES))
    parents: list[list[int]] = []
    for j in range(ATTRIBUTES):
        near = np.arange(max(0, j - 8), j)
        own = sorted(generator.choice(near, min(len(near), int(generator.integers(0, 4))), replace=False).tolist())
        logit = generator.normal(0, 0.3) + table[:, own] @ generator.choice([-1, 1], len(own))
        if len(own) > 1 and j % 2:
            logit += 1.5 * table[:, own[0]] * table[:, own[1]] - table[:, own[0]] * np.sign(generator.normal())
        table[:, j] = np.where(generator.random(n) < 1 / (1 + np.exp(-1.2 * logit)), 1.0, -1.0)
        parents.append(own)
    blankets: Blankets = [set(own) for own in parents]
    for child, own in enumerate(parents):
        for j in own:
            blankets[j] |= {child, *own} - {j}
    return table, blankets


def factors(n: int, seed: int) -> tuple[Floats, None]:
    """A table (n, 40) of -1 and 1 without sparse blankets."""
    generator = np.random.default_rng(keyed.subseed(seed, "factors"))
    loadings = generator.normal(size=(6, ATTRIBUTES))
    z = generator.normal(size=(n, 6)) @ loadings + 1.5 * generator.normal(size=(n, ATTRIBUTES))
    return np.where(z > generator.normal(size=ATTRIBUTES), 1.0, -1.0), None


def accuracy(table: Floats, target: int, columns: list[int]) -> float:
    """Of a tree on the last 5,000 rows, in points; of the commoner value where there are no columns."""
    y, test = table[:, target], slice(-TEST, None)
    if not columns:
        return 100 * float(max((y[test] > 0).mean(), (y[test] < 0).mean()))
    tree = DecisionTreeClassifier(min_samples_leaf=50, random_state=0).fit(table[:-TEST, columns], y[:-TEST])
    return 100 * float((tree.predict(table[test, columns]) == y[test]).mean())


def of_target(table: Floats, target: int, seed: int) -> Mapping[str, tuple[list[int], float]]:
    """For each way what is chosen and the CPU seconds."""
    y = table[:-TEST, target]
    others = [j for j in range(ATTRIBUTES) if j != target]
    x = table[:-TEST, others]
    found: dict[str, tuple[list[int], float]] = {}
    for name, options in (("foci", {}), ("calibrated", {"stop": "calibrated"})):
        start = time.process_time()
        picked = foci(y, x, **options).selected  # type: ignore[arg-type]
        found[name] = [others[j] for j in picked], time.process_time() - start
    count = len(found["calibrated"][0])
    start = time.process_time()
    ranked = [others[j] for j in np.argsort(-mutual_info_classif(x, y, discrete_features=True), kind="stable")]
    spent = time.process_time() - start
    found["mutual information, as many as foci"] = ranked[: len(found["foci"][0])], spent
    found["mutual information, as many as calibrated"] = ranked[:count], spent
    drawn = keyed.k_smallest(seed, ("random attributes", target), np.arange(len(others), dtype=np.uint64), count)
    found["random, as many as calibrated"] = [others[j] for j in drawn], 0.0
    found["all"] = others, 0.0
    found["none"] = [], 0.0
    return found


def measured(quick: bool) -> Figures:
    """Rates, seconds and accuracies over all targets of both tables."""
    n = 2000 if quick else 20_000
    small = graph(100, 1)[0]
    foci(small[:, 0], small[:, 1:], stop="never", max_features=3)  # compiles
    figures: Figures = {"rows": n}
    for name, made in (("graph", graph), ("factors", factors)):
        table, blankets = made(n + TEST, 0)
        targets = range(0, ATTRIBUTES, 8 if quick else 1 if name == "graph" else 4)
        notes: dict[str, dict[str, list[float]]] = {}
        for target in targets:
            for way, (columns, spent) in of_target(table, target, 0).items():
                note = notes.setdefault(way, {})
                note.setdefault("chosen", []).append(len(columns))
                note.setdefault("seconds", []).append(spent)
                note.setdefault("accuracy", []).append(accuracy(table, target, columns))
                if blankets is not None and blankets[target]:
                    blanket = blankets[target]
                    hits = len(blanket & set(columns))
                    note.setdefault("true", []).append(hits / len(blanket))
                    note.setdefault("false", []).append((len(columns) - hits) / (ATTRIBUTES - 1 - len(blanket)))
            if target == 0:
                others = [j for j in range(ATTRIBUTES) if j != target]
                start = time.process_time()
                foci(table[:n, target], table[:n, others], ties="noise", seed=0)
                notes.setdefault("l_foci", {}).setdefault("seconds", []).append(time.process_time() - start)
            print(f"{name}, attribute {target} done", flush=True)
        ways = {
            way: {key: spread(values) | {"mean": statistics.fmean(values)} for key, values in note.items()}
            for way, note in notes.items()
        }
        figures[name] = {"targets": len(targets), "ways": ways}
        if blankets is not None:
            figures[name]["blankets"] = spread([len(each) for each in blankets])
    return figures


def table(figures: Figures) -> list[str]:
    """One line for each way on each table."""
    lines = [
        "| table | way | columns chosen | true positives, mean | false positives, mean | accuracy, mean | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in ("graph", "factors"):
        for way, of in figures[name]["ways"].items():
            rates = [f"{of[rate]['mean']:.2f}" if rate in of else "-" for rate in ("true", "false")]
            cells = (
                name,
                way,
                shown(of["chosen"], 0) if "chosen" in of else "-",
                *rates,
                f"{of['accuracy']['mean']:.1f}" if "accuracy" in of else "-",
                shown(of["seconds"]),
            )
            lines.append("| " + " | ".join(cells) + " |")
    size = shown(figures["graph"]["blankets"], 0)
    return [*lines, f"{figures['rows']} rows; blankets of the graph have {size} attributes. {PAPER}."]


if __name__ == "__main__":
    called("attributes", measured, table)
