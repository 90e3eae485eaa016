"""An unfair effect: a model is worse for one group. Which rows make it so, and does forgetting them help?

Adult, women against men: the gap between the mean losses of high earners of both (so the model misses more of the women
who earn much). Rows are ranked by their influence on that gap over validation rows; gap and accuracy are measured on
test rows, beside random removals of the same size.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import rows as data

from expunge import NoiseKey, Rows
from expunge.attribution import Ranking, influence, trained_model
from expunge.learners.convex import Convex
from expunge.method import Release
from expunge.methods.retrain import Retrain

METHOD = Retrain(Convex("cross_entropy", l2=1e-3))
SHARES = (0.003, 0.01, 0.03)
SIZES = (8000, 4000, 8000)


def run(quick: bool, seeds: int) -> list[dict[str, Any]]:
    """A line for each seed, share and ranking; none where the file is not there."""
    path = data.FOLDER / "adult.npz"
    if not path.exists():
        print(f"{path.name} is not there: the experiment on subgroups is left out.")
        return []
    found = []
    for seed in range(seeds):
        found += one(path, seed, tuple(size // 8 for size in SIZES) if quick else SIZES)
    return found


def one(path: Any, seed: int, sizes: tuple[int, ...]) -> list[dict[str, Any]]:
    """The gap before and after, for rows ranked by the gap and for random ones."""
    with np.load(path, allow_pickle=False) as file:
        codes, number, y = file["X_cat"], file["X_num"], file["y"].astype(np.int64)
        sexes = list(file["cat_levels_6"])
        levels = [len(file[f"cat_levels_{j}"]) for j in range(codes.shape[1])]
    woman = codes[:, 6] == sexes.index("Female")
    x = np.c_[number, *(np.eye(k)[codes[:, j]] for j, k in enumerate(levels))].astype(np.float64)
    x = (x - x.mean(0)) / np.where(x.std(0) > 0, x.std(0), 1.0)
    order = np.random.default_rng(seed).permutation(len(y))[: sum(sizes)]
    parts = np.split(order, np.cumsum(sizes)[:-1])
    learned, held, test = (Rows.of({"x": x[p]}, y[p], ids=[str(i) for i in p], classes=2) for p in parts)
    record = METHOD.learn(learned, seed=seed, noise=NoiseKey.fresh(1))
    release = METHOD.release(record)
    model = trained_model(METHOD, release, learned.schema)
    high = [(woman[p] & (y[p] == 1), ~woman[p] & (y[p] == 1)) for p in parts]
    by_gap = influence(model, learned, held.select(high[1][0]), against=held.select(high[1][1]))
    shuffled = Ranking.of("random", learned, np.random.default_rng(seed + 1000).random(len(learned)))
    before, lines = measures(release, test, high[2]), []
    for share in SHARES:
        count = int(share * len(learned))
        for ranking in (by_gap, shuffled):
            leaving = ranking.first(count)
            after = METHOD.release(METHOD.learn(learned.without(leaving), seed=seed, noise=NoiseKey.fresh(2)))
            predicted = -float(np.sort(by_gap.scores)[::-1][:count].sum()) if ranking is by_gap else None
            lines.append({
                "seed": seed, "share": share, "by": ranking.by, "before": before,
                "after": measures(after, test, high[2]),
                "validation": [measures(r, held, high[1])["gap"] for r in (release, after)],
                "predicted change": predicted,
                "women among them": float(np.mean(woman[[int(name) for name in leaving]])),
            })  # fmt: skip
    return lines


def measures(release: Release, rows: Rows, groups: tuple[Any, Any]) -> dict[str, float]:
    """The gap of losses, the gap of recall, and accuracy."""
    log_p = METHOD.predict(release, rows.columns).numpy()
    losses, said = -log_p[np.arange(len(rows)), rows.y], log_p.argmax(1)
    women, men = groups
    return {
        "gap": float(losses[women].mean() - losses[men].mean()),
        "recall gap": float((said[men] == 1).mean() - (said[women] == 1).mean()),
        "accuracy": float((said == rows.y).mean()),
    }


def table(found: list[dict[str, Any]]) -> list[str]:
    """Lines of markdown, means over seeds."""
    lines = [
        "| forgotten | by | gap of losses, before | after | gap of recall, before | after | accuracy, before | after |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for key in dict.fromkeys((f["share"], f["by"]) for f in found):
        those = [f for f in found if (f["share"], f["by"]) == key]
        cells = [
            np.mean([f[when][what] for f in those])
            for what in ("gap", "recall gap", "accuracy")
            for when in ("before", "after")
        ]
        lines.append(
            f"| {key[0]:.1%} | {key[1]} | {cells[0]:.3f} | {cells[1]:.3f} | {cells[2]:.1%} | {cells[3]:.1%} "
            f"| {cells[4]:.1%} | {cells[5]:.1%} |"
        )
    ranked = [f for f in found if f["predicted change"] is not None]
    pairs = [f"{f['predicted change']:+.3f} / {f['validation'][1] - f['validation'][0]:+.3f}" for f in ranked]
    text = "Change of the validation gap, predicted (sum of influences) / measured"
    return [*lines, "", f"{text}: {', '.join(pairs)}."]
