"""Poisoned rows: a backdoor (a patch means class 0) and targeted flips (class 1 called class 2), forgotten in part.

Whoever finds the poison seldom finds all of it. So each method forgets all of it, half of it, and what the search
finds from one bad example; what matters is how often the attack still succeeds, beside doing nothing, beside learning
without the forgotten rows, and beside a model that never saw poison.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import rows as data

from expunge import NoiseKey, Rows
from expunge.attribution import nearest_to
from expunge.errors import ExpungeError, MustRetrain
from expunge.learners.sgd import Sgd
from expunge.method import Method
from expunge.methods.fine_tune import FineTune
from expunge.methods.gradient_ascent import GradientAscent
from expunge.methods.influence import Influence
from expunge.methods.retrain import Retrain
from expunge.methods.sisa import Sisa
from expunge.models import Mlp

SHARE = 0.02
LEARNER = Sgd(Mlp((64,)), epochs=30, batch_size=32, learning_rate=0.05, l2=1e-4)
METHODS: dict[str, Method[Any]] = {
    "retrain": Retrain(LEARNER),
    "sisa": Sisa(shards=5, slices=1, learner=LEARNER),
    "fine_tune": FineTune(LEARNER, epochs=5),
    "gradient_ascent": GradientAscent(LEARNER, steps=40, learning_rate=0.05, batch_size=50),
    "influence": Influence(LEARNER, gradient="full"),
}


@dataclass(frozen=True)
class Poison:
    """`rows` to learn from with the ids `bad` among them; the attack succeeds where a `victims` row gets `aim`."""

    rows: Rows
    bad: Sequence[str]
    victims: Rows
    aim: int


def backdoor(split: data.Split, seed: int) -> Poison:
    """A bright patch in a corner of some pictures, called class 0."""
    places = data.chosen(seed, "backdoor", np.flatnonzero(split.y[0] != 0), int(SHARE * len(split.y[0])))
    x, y = split.x[0].copy(), split.y[0].copy()
    x[places], y[places] = patched(x[places]), 0
    others = np.flatnonzero(split.y[2] != 0)
    victims = Rows.of(
        {"x": patched(split.x[2][others])}, split.y[2][others], ids=[f"t{i}" for i in others], classes=split.classes
    )
    return Poison(split.rows(0, y, x), [f"r{i}" for i in places], victims, 0)


def flips(split: data.Split, seed: int) -> Poison:
    """Four in ten rows of class 1, called class 2."""
    ones = np.flatnonzero(split.y[0] == 1)
    places = data.chosen(seed, "flips", ones, int(0.4 * len(ones)))
    y = split.y[0].copy()
    y[places] = 2
    test = split.rows(2)
    return Poison(split.rows(0, y), [f"r{i}" for i in places], test.select(split.y[2] == 1), 2)


def patched(x: data.Floats) -> data.Floats:
    """Pictures with the lower right corner white, a sixth of their side."""
    side = int(np.sqrt(x.shape[1]))
    pictures = x.reshape(-1, side, side).copy()
    width = max(2, side // 7)
    pictures[:, -width:, -width:] = 1.0
    return pictures.reshape(len(x), -1)


def run(quick: bool, seeds: int) -> list[dict[str, Any]]:
    """A line for each data set, attack, method and share forgotten."""
    found = []
    for seed in range(seeds):
        splits = [data.digits(seed)] + ([] if quick else [s for s in (data.fashion(seed),) if s])
        for split in splits:
            small = data.quick(split, 400) if quick else split
            for attack in (backdoor, flips):
                found += one(
                    small, attack.__name__, attack(small, seed), seed, ("retrain",) if quick else tuple(METHODS)
                )
    return found


def one(split: data.Split, attack: str, poison: Poison, seed: int, methods: Sequence[str]) -> list[dict[str, Any]]:
    """How often the attack succeeds before and after, by method and by what was forgotten."""
    near = nearest_to(poison.rows, poison.bad[:1], same_target=True)
    searched = near.first(len(poison.bad))
    sets = {
        "all": tuple(poison.bad),
        "half": tuple(poison.bad[::2]),
        "what one example finds": searched,
    }
    clean = METHODS["retrain"].learn(split.rows(0), seed=seed, noise=NoiseKey.fresh(1))
    never = rates(METHODS["retrain"], clean, poison, split)
    lines = []
    for name in methods:
        method = METHODS[name]
        record = method.learn(poison.rows, seed=seed, noise=NoiseKey.fresh(1))
        before = rates(method, record, poison, split)
        for what, leaving in sets.items():
            retained, forgotten = poison.rows.without(leaving), poison.rows.only(leaving)
            how = "forgotten"
            try:
                after = method.forget(record, retained, forgotten, noise=NoiseKey.fresh(2)).record
            except (MustRetrain, ExpungeError) as error:
                if not isinstance(error, MustRetrain):
                    lines.append(
                        {
                            "data": split.name,
                            "attack": attack,
                            "method": name,
                            "forgotten": what,
                            "seed": seed,
                            "refused": str(error),
                        }
                    )
                    continue
                after, how = method.learn(retained, seed=seed, noise=NoiseKey.fresh(2)), "learned again"
            lines.append({
                "data": split.name, "attack": attack, "method": name, "forgotten": what, "seed": seed, "how": how,
                "found": len(set(leaving) & set(poison.bad)) / len(poison.bad),
                "before": before, "after": rates(method, after, poison, split), "never poisoned": never,
            })  # fmt: skip
    return lines


def rates(method: Method[Any], record: Any, poison: Poison, split: data.Split) -> dict[str, float]:
    """Success of the attack, and accuracy on clean test rows."""
    release = method.release(record)
    said = method.predict(release, poison.victims.columns).argmax(1).numpy()
    test = split.rows(2)
    right = method.predict(release, test.columns).argmax(1).numpy() == test.y
    return {"success": float(np.mean(said == poison.aim)), "accuracy": float(np.mean(right))}


def table(found: list[dict[str, Any]]) -> list[str]:
    """Lines of markdown, means over seeds."""
    lines = [
        "| data, attack | method | forgotten | of poison | success before | after | never poisoned | accuracy after |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for key in dict.fromkeys((f["data"], f["attack"], f["method"], f["forgotten"]) for f in found):
        those = [f for f in found if (f["data"], f["attack"], f["method"], f["forgotten"]) == key]
        if any("refused" in f for f in those):
            lines.append(
                f"| {key[0]}, {key[1]} | {key[2]} | {key[3]} | refused: {those[0].get('refused', '')} | | | | |"
            )
            continue
        picked = [
            (f["found"], f["before"]["success"], f["after"]["success"], f["never poisoned"]["success"],
             f["after"]["accuracy"])
            for f in those
        ]  # fmt: skip
        share, before, after, never, right = np.mean(picked, axis=0)
        lines.append(
            f"| {key[0]}, {key[1]} | {key[2]} | {key[3]} | {share:.0%} | {before:.0%} | {after:.0%} | {never:.0%} "
            f"| {right:.1%} |"
        )
    return lines
