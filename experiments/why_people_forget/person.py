"""One person's rows: what a model knows of one person, before, after, and in models that never met them.

Olivetti faces: forty people, ten pictures each. Seven pictures of each are learned (who is it?), three kept apart. Then
one person asks to be forgotten: how sure is the model of the pictures it learned, and of the three it never saw?
"""

from __future__ import annotations

from typing import Any

import numpy as np
import rows as data

from expunge import NoiseKey, Rows
from expunge.methods.certified_newton import CertifiedNewton

METHOD = CertifiedNewton(loss="cross_entropy", noise_std=1e-2, l2=1e-4, max_epsilon=10.0)
REFERENCES = 5


def run(quick: bool, seeds: int) -> list[dict[str, Any]]:
    """A line for each person."""
    path = data.FOLDER / "olivetti_faces.npz"
    if not path.exists():
        print(f"{path.name} is not there: the experiment on one person is left out.")
        return []
    with np.load(path, allow_pickle=False) as file:
        faces, who = file["X"].astype(np.float64) / 255.0, file["y"].astype(np.int64)
    small = faces.reshape(-1, 16, 4, 16, 4).mean((2, 4)).reshape(len(faces), -1)
    small = (small - small.mean()) / small.std() / np.sqrt(small.shape[1])
    held = np.arange(len(who)) % 10 >= 7
    ids = [f"face{i}" for i in range(len(who))]
    every = Rows.of({"x": small}, who, ids=ids, subjects=[f"person{w}" for w in who], classes=40)
    learned, apart = every.select(~held), every.select(held)
    record = METHOD.learn(learned, seed=0, noise=NoiseKey.fresh(1))
    found = []
    for person in range(2 if quick else 4 * seeds):
        mine, theirs = learned.select(who[~held] == person), apart.select(who[held] == person)
        retained = learned.select(who[~held] != person)
        step = METHOD.forget(record, retained, mine, noise=NoiseKey.fresh(2))
        models = {"before": METHOD.release(record), "after": METHOD.release(step.record)}
        models |= {
            f"never {k}": METHOD.release(METHOD.learn(retained, seed=k, noise=NoiseKey.fresh(2)))
            for k in range(REFERENCES)
        }
        sure = {name: (_sure(release, mine), _sure(release, theirs)) for name, release in models.items()}
        others = apart.select(who[held] != person)
        right = [
            float(np.mean(METHOD.predict(models[m], others.columns).argmax(1).numpy() == others.y))
            for m in ("before", "after")
        ]
        found.append(
            {"person": person, "probability": sure, "others": right, "certificate": type(step.certificate).__name__}
        )
    return found


def _sure(release: Any, rows: Rows) -> float:
    log_p = METHOD.predict(release, rows.columns).numpy()
    return float(np.exp(log_p[np.arange(len(rows)), rows.y]).mean())


def table(found: list[dict[str, Any]]) -> list[str]:
    """Lines of markdown."""
    lines = [
        "| person | pictures learned: before / after / never met | kept apart | others right: before / after |",
        "|---|---|---|---|",
    ]
    for f in found:
        never = [value for name, value in f["probability"].items() if name.startswith("never")]
        cells = [
            " / ".join(
                [
                    *(f"{f['probability'][m][which]:.3f}" for m in ("before", "after")),
                    f"{min(v[which] for v in never):.3f}-{max(v[which] for v in never):.3f}",
                ]
            )
            for which in (0, 1)
        ]
        lines.append(f"| {f['person']} | {cells[0]} | {cells[1]} | {f['others'][0]:.1%} / {f['others'][1]:.1%} |")
    return lines
