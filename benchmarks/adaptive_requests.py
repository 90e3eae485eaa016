"""A thousand requests, each chosen by looking at the last release, every step held against a reference solved to 1e-12.

    python benchmarks/adaptive_requests.py [--requests 1000] [--data digits odd-even mnist] [--method certified_newton]

The adversary asks for the retained row of which the last release is least sure, most sure, or the two in turn. After
every step the noiseless centre must lie within half the certificate's distance of the minimiser on the retained rows
(a chord Newton of this file, warm-started, not the product's solver). After each tenth, the step is taken again from a
life in which the forgotten row had other values: under one noise key the releases may differ by at most twice the
distance, and every cache of the settled record must come out the same when it is computed again from the newest release
and the retained rows. Prints the largest share of the budget seen, passes, seconds and accuracy.
"""

from __future__ import annotations

import argparse
import importlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from expunge import NoiseKey, Rows
from expunge.certificate import Certified, View
from expunge.errors import ExpungeError, MustRetrain
from expunge.features import offers
from expunge.learners.sgd import Sgd
from expunge.method import Adopts, Method, Settles
from expunge.models import Mlp
from expunge.record import digest
from expunge.rows import Table
from expunge.testing import flat_weights, substituted

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "mnist.npz"
L2 = 1e-3
STRATEGIES = ("least sure", "most sure", "in turn")

# name -> (module, class, settings). All but mixed_linear minimise mean loss + l2/2 ||w||^2.
METHODS: Mapping[str, tuple[str, str, dict[str, Any]]] = {
    "certified_newton": ("certified_newton", "CertifiedNewton", {}),
    "sekhari": ("sekhari", "Sekhari", {}),
    "descent_to_delete": ("descent_to_delete", "DescentToDelete", {"l2": 0.1, "row_norm": 8.0, "radius": 20.0}),
    "certified_removal": ("certified_removal", "CertifiedRemoval", {}),
    "mixed_linear": (
        "mixed_linear",
        "MixedLinear",
        {"core": Sgd(model=Mlp((4,)), epochs=10, batch_size=32, learning_rate=0.1), "l2": 0.1},
    ),
}


@dataclass
class Seen:
    """What a sequence showed; ratios are shares of what the certificate allows."""

    steps: int = 0
    certified: int = 0
    relearned: int = 0
    centre: float = 0.0
    substitution: float = 0.0
    substituted: int = 0
    passes: list[float] = field(default_factory=list)
    forget: float = 0.0
    settle: float = 0.0
    accuracy: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __str__(self) -> str:
        most = f"{max(self.passes):.0f}" if self.passes else "-"
        return (
            f"{self.steps} requests, {self.certified} certified, {self.relearned} learned again; largest share of the "
            f"budget: centre {self.centre:.2f}, substitution {self.substitution:.2f} ({self.substituted} checks); "
            f"passes at most {most}; forget {1e3 * self.forget / self.steps:.1f} ms, settle "
            f"{1e3 * self.settle / self.steps:.1f} ms a request; accuracy {self.accuracy[0]:.4f} before, "
            f"{self.accuracy[1]:.4f} after, {self.accuracy[2]:.4f} retrained without noise"
        )


class Reference:
    """Minimisers of the mean loss plus l2/2 ||W||^2 over the rows of a mask, each warm-started from the last."""

    def __init__(self, rows: Rows, loss: str, l2: float) -> None:
        table = rows.table()
        x = np.asarray(table.columns["x"], dtype=np.float64).reshape(len(table), -1)
        self.x, self.y, self.l2 = np.c_[x, np.ones(len(x))], np.asarray(table.y), l2
        self.softmax = loss == "cross_entropy"
        self.w = np.zeros((rows.classes if self.softmax else 1, self.x.shape[1]))
        self.inverse: np.ndarray | None = None

    def solve(self, kept: np.ndarray, tol: float = 1e-12) -> Tensor:
        """Chord Newton: the factor stays until it needs more than six steps."""
        for _ in range(20):
            for _ in range(6 if self.inverse is not None else 0):
                gradient = self._gradient(kept)
                if np.linalg.norm(gradient) <= tol:
                    return torch.from_numpy(self.w.reshape(-1).copy())
                self.w = self.w - (self.inverse @ gradient.reshape(-1)).reshape(self.w.shape)
            self.inverse = np.linalg.inv(self._hessian(kept))
        raise AssertionError("the reference did not converge")

    def classes(self, x: np.ndarray, kept: np.ndarray) -> np.ndarray:
        """What the minimiser on the rows of the mask says of other rows."""
        self.solve(kept)
        scores = np.c_[x, np.ones(len(x))] @ self.w.T
        return scores.argmax(1) if self.softmax else (scores[:, 0] > 0).astype(np.int64)

    def _probabilities(self) -> np.ndarray:
        s = self.x @ self.w.T
        if not self.softmax:
            return 1 / (1 + np.exp(-s))
        e = np.exp(s - s.max(1, keepdims=True))
        return e / e.sum(1, keepdims=True)

    def _gradient(self, kept: np.ndarray) -> np.ndarray:
        slope = self._probabilities()
        if self.softmax:
            slope[np.arange(len(slope)), self.y] -= 1
        else:
            slope = slope - self.y[:, None]
        return (slope * kept[:, None]).T @ self.x / kept.sum() + self.l2 * self.w

    def _hessian(self, kept: np.ndarray) -> np.ndarray:
        p, (k, q) = self._probabilities(), self.w.shape
        blocks = np.zeros((k, q, k, q))
        for a in range(k):
            for b in range(a, k):
                c = p[:, a] * ((a == b) - p[:, b]) if self.softmax else p[:, 0] * (1 - p[:, 0])
                blocks[a, :, b, :] = (self.x * (c * kept)[:, None]).T @ self.x / kept.sum()
                blocks[b, :, a, :] = blocks[a, :, b, :]
        return blocks.reshape(k * q, k * q) + self.l2 * np.eye(k * q)


def chosen(method: Method[Any], record: Any, retained: Rows, strategy: str, number: int) -> str:
    """The id that the adversary asks for next, from the last release alone."""
    table = retained.table()
    scores = method.predict(method.release(record), table.columns).numpy().copy()
    where = np.arange(len(table))
    own = scores[where, table.y].copy()
    scores[where, table.y] = -np.inf
    margin = own - scores.max(axis=1)
    margin[user_rows(table) == 0] = np.nan  # what cannot be forgotten is not asked for
    least = strategy == "least sure" or (strategy == "in turn" and number % 2)
    return str(table.ids[np.nanargmin(margin) if least else np.nanargmax(margin)])


def user_rows(table: Table) -> np.ndarray:
    """1 for rows that may be forgotten, 0 for core rows of a mixed-linear model."""
    return 1 - np.asarray(table.columns.get("core", np.zeros(len(table))))


def with_core(rows: Rows) -> Rows:
    """The same rows, every fifth of them marked core."""
    table = rows.table()
    columns = {**table.columns, "core": (np.arange(len(table)) % 5 == 0).astype(np.float64)}
    return Rows.of(columns, table.y, ids=table.ids.tolist(), classes=rows.classes)


def settled(method: Any, record: Any, retained: Rows) -> Any:
    return method.settle(record, retained) if offers(method, Settles) else record


def other_life(method: Any, record: Any, rows: Rows, key: NoiseKey) -> Any:
    """A record of `rows` at release `key`: warm from the release where the method adopts, else learned."""
    if offers(method, Adopts) and "weights" in (release := method.release(record)).tensors:
        weights = release.tensors["weights"]
        return method.adopt({"weight": weights[:, :-1], "bias": weights[:, -1]}, rows, seed=0, noise=key)
    return method.learn(rows, seed=0, noise=key)


def substitution_gap(
    method: Any, record: Any, retained: Rows, one: str, keys: tuple[NoiseKey, NoiseKey], purged: Any
) -> float:
    """How far the release moves when row `one` had other values before it was forgotten; same keys in both lives."""
    other = substituted(retained, (one,))
    life = other_life(method, record, other, keys[0])
    try:
        after = method.forget(life, other.without([one]), other.only([one]), noise=keys[1]).record
    except MustRetrain:
        after = method.learn(other.without([one]), seed=0, noise=keys[1])
    releases = [flat_weights(method.release(r)) for r in (purged, settled(method, after, retained.without([one])))]
    return float(torch.linalg.vector_norm(releases[0] - releases[1]))


def accuracy(method: Method[Any], record: Any, test: Rows) -> float:
    scores = method.predict(method.release(record), test.columns)
    return float((scores.argmax(1).numpy() == test.y).mean())


def run(
    method: Any, rows: Rows, test: Rows, requests: int, strategy: str,
    key: Callable[[int], NoiseKey] = NoiseKey.fresh, every: int = 10,
) -> Seen:  # fmt: skip
    """The sequence; raises AssertionError where a step breaks its certificate."""
    own = "core_column" in vars(method)  # another model: its own minimiser is the reference, at each tenth step
    rows = with_core(rows) if own else rows
    seen, reference = Seen(), None if own else Reference(rows, method.loss, method.l2)
    record, retained, kept = method.learn(rows, seed=0, noise=key(1)), rows, np.ones(len(rows))
    place = {name: i for i, name in enumerate(rows.ids.tolist())}
    before, previous = accuracy(method, record, test), key(1)
    for number in range(2, requests + 2):
        ids = [chosen(method, record, retained, strategy, number)]
        left, gone, noise = retained.without(ids), retained.only(ids), key(number)
        start = time.perf_counter()
        try:
            step = method.forget(record, left, gone, noise=noise)
            after, promise = step.record, step.certificate
            seen.passes += [step.stats["passes"]] if "passes" in step.stats else []
        except MustRetrain:
            after, promise = method.learn(left, seed=0, noise=noise), None
            seen.relearned += 1
        done = time.perf_counter()
        purged = settled(method, after, left)
        seen.forget, seen.settle = seen.forget + done - start, seen.settle + time.perf_counter() - done
        kept[place[ids[0]]], seen.steps = 0.0, seen.steps + 1
        if isinstance(promise, Certified):
            seen.certified += 1
            if own and seen.steps % every:
                record, retained, previous = purged, left, noise
                continue
            centre = method.centre(method.release(after), noise)
            clean = method.minimiser(left, tol=1e-10) if reference is None else reference.solve(kept)
            off = float(torch.linalg.vector_norm(centre - clean)) / (promise.distance / 2)
            assert off <= 1 + 1e-6, f"request {number - 1}: the centre is {off:.3f} of what is allowed"
            seen.centre = max(seen.centre, off)
            if seen.steps % every == 0 and not own:
                gap = substitution_gap(method, record, retained, ids[0], (previous, noise), purged)
                seen.substitution = max(seen.substitution, gap / (2 * promise.distance))
                seen.substituted += 1
                assert seen.substitution <= 1, f"request {number - 1}: the forgotten values move the release by {gap}"
                if promise.view is View.STATE:
                    assert digest(settled(method, purged, left)) == digest(purged), "a cache is not recomputable"
        record, retained, previous = purged, left, noise
    x = np.asarray(test.columns["x"], dtype=np.float64).reshape(len(test), -1)
    retrained = float((reference.classes(x, kept) == test.y).mean()) if reference else float("nan")
    seen.accuracy = before, accuracy(method, record, test), retrained
    return seen


def problems(wanted: list[str]) -> dict[str, tuple[Rows, Rows, str, float]]:
    """Training rows, test rows, loss and noise_std of each wanted data set."""
    found: dict[str, tuple[Rows, Rows, str, float]] = {}
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    x, y = data.data[order] / 16, data.target[order]
    for name, target, classes, loss in (("digits", y, 10, "cross_entropy"), ("odd-even", y % 2, 2, "logistic")):
        if name in wanted:
            parts = [Rows.of(x[s], target[s], classes=classes) for s in (slice(1437), slice(1437, None))]
            found[name] = (parts[0], parts[1], loss, 0.01)
    if "mnist" in wanted and DATA.exists():
        with np.load(DATA, allow_pickle=False) as file:
            sets = [(file[f"X_{part}"], file[f"y_{part}"]) for part in ("train", "test")]
        parts = [
            Rows.of(images[keep].reshape(-1, 784) / 255.0, (labels[keep] == 8).astype(np.int64), classes=2)
            for images, labels in sets
            for keep in [(labels == 3) | (labels == 8)]
        ]
        found["mnist"] = (parts[0], parts[1], "logistic", 0.003)
    elif "mnist" in wanted:
        print("mnist skipped: mnist.npz is not here")
    return found


def main() -> None:
    """Run and print one line for each data set, method and strategy."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--requests", type=int, default=1000)
    arguments.add_argument("--data", nargs="+", default=["digits", "odd-even", "mnist"])
    arguments.add_argument("--method", nargs="+", default=list(METHODS))
    arguments.add_argument("--strategy", nargs="+", default=["least sure", "most sure"], choices=STRATEGIES)
    given = arguments.parse_args()
    torch.set_num_threads(1)
    for name in given.method:
        module, kind, settings = METHODS[name]
        try:
            made = getattr(importlib.import_module(f"expunge.methods.{module}"), kind)
        except (ImportError, AttributeError):
            print(f"{name} skipped: this version does not have it")
            continue
        for problem, (rows, test, loss, noise_std) in problems(given.data).items():
            for strategy in given.strategy:
                start = time.perf_counter()
                try:
                    shared = {"l2": L2, "noise_std": noise_std} | ({} if "core" in settings else {"loss": loss})
                    method = made(**(shared | settings))
                    seen = run(method, rows, test, given.requests, strategy)
                except ExpungeError as refused:
                    print(f"{problem}, {name} skipped: {refused}")
                    break
                print(f"{problem}, {name}, {strategy}: {seen}; {time.perf_counter() - start:.0f} s in all", flush=True)


if __name__ == "__main__":
    main()
