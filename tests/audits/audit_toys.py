"""Toy methods whose forgetting, and failing to forget, is known in closed form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from expunge import keyed
from expunge.audits.step import Step
from expunge.certificate import Basis, Certificate, Certified, Exact, Uncertified, View
from expunge.method import Forgetting, Method, Release
from expunge.noise import NoiseKey, add_noise
from expunge.rows import Rows
from expunge.schema import Array


@dataclass(frozen=True, eq=False)
class Weights:
    weights: Tensor
    seed: int


@dataclass(frozen=True)
class LeastSquares(Method[Weights]):
    """Ridge regression on one-hot classes: a convex certified method with a closed form; `fault` plants a failure."""

    l2: float = 0.1
    noise_std: float = 0.01
    epsilon: float = 1.0
    fault: Literal["", "nothing", "half way", "no noise", "learn sloppy"] = ""

    def minimiser(self, rows: Rows, *, tol: float = 1e-12) -> Tensor:
        x, y = self._arrays(rows)
        gram = x.T @ x / len(x) + self.l2 * torch.eye(x.shape[1], dtype=torch.float64)
        return torch.linalg.solve(gram, x.T @ y / len(x)).reshape(-1)

    def centre(self, release: Release, noise: NoiseKey) -> Tensor:
        w = release.tensors["w"].reshape(-1)
        return w - self.noise_std * torch.from_numpy(noise.normals("release", tuple(w.shape)))

    def learn(self, rows: Rows, *, seed: int, noise: NoiseKey) -> Weights:
        w = self.minimiser(rows)
        w = w + 0.1 * self.noise_std if self.fault == "learn sloppy" else w
        return Weights(add_noise(w, self.noise_std, noise), seed)

    def forget(self, record: Weights, retained: Rows, forgotten: Rows, *, noise: NoiseKey) -> Forgetting[Weights]:
        goal = self.minimiser(retained)
        match self.fault:
            case "nothing":
                return Forgetting(record, self.certificate(), {"seconds": 1e-4})
            case "half way":
                goal = (goal + self.minimiser(retained.and_rows(forgotten))) / 2
            case "no noise":
                return Forgetting(Weights(goal, record.seed), self.certificate(), {"seconds": 1e-4})
            case _:
                pass
        noised = add_noise(goal, self.noise_std, noise)
        return Forgetting(Weights(noised, record.seed), self.certificate(), {"seconds": 1e-4})

    def certificate(self) -> Certificate:
        return Certified(
            epsilon=self.epsilon,
            delta=1e-5,
            mu=0.25,
            distance=0.25 * self.noise_std,
            noise_std=self.noise_std,
            basis=Basis.MEASURED,
            view=View.TRANSCRIPT,
            reference="the minimiser on the retained rows with the same noise",
            assumptions=("the key stays secret",),
        )

    def release(self, record: Weights) -> Release:
        return Release({"w": record.weights})

    def predict(self, release: Release, columns: Mapping[str, Array]) -> Tensor:
        x = torch.from_numpy(np.asarray(columns["x"], dtype=np.float64))
        return torch.log_softmax(8 * x @ release.tensors["w"].reshape(x.shape[1], -1), dim=1)

    def _arrays(self, rows: Rows) -> tuple[Tensor, Tensor]:
        x = torch.from_numpy(np.asarray(rows.columns["x"], dtype=np.float64))
        y = torch.nn.functional.one_hot(torch.from_numpy(rows.y.astype(np.int64)), rows.classes).double()
        return x, y


@dataclass(frozen=True)
class Overfit(Method[Weights]):
    """Random features (drawn from the seed) fitted until every training label is known: remembers what it was shown.

    `fault`: "nothing" returns the old model; "invert" teaches their wrong labels.
    """

    width: int = 400
    fault: Literal["", "nothing", "invert", "honest"] = ""

    def learn(self, rows: Rows, *, seed: int, noise: NoiseKey) -> Weights:
        return Weights(self._fit(rows, seed), seed)

    def forget(self, record: Weights, retained: Rows, forgotten: Rows, *, noise: NoiseKey) -> Forgetting[Weights]:
        certificate: Certificate = Exact(("same seed",))
        if self.fault == "nothing":
            return Forgetting(record, certificate, {"seconds": 1e-3})
        if self.fault == "invert":
            table = forgotten.table()
            wrong = Rows.of(table.columns, (forgotten.y + 1) % 3, ids=table.ids, classes=3)
            learned = self._fit(retained.and_rows(wrong), record.seed)
            return Forgetting(Weights(learned, record.seed), Uncertified("relabelling"), {"seconds": 1e-3})
        return Forgetting(Weights(self._fit(retained, record.seed), record.seed), certificate, {"seconds": 0.01})

    def release(self, record: Weights) -> Release:
        return Release({"w": record.weights}, {"seed": record.seed})

    def predict(self, release: Release, columns: Mapping[str, Array]) -> Tensor:
        features = self._features(np.asarray(columns["x"], dtype=np.float64), release.settings["seed"])
        return torch.log_softmax(4 * features @ release.tensors["w"], dim=1)

    def _fit(self, rows: Rows, seed: int) -> Tensor:
        features = self._features(np.asarray(rows.columns["x"], dtype=np.float64), seed)
        y = torch.nn.functional.one_hot(torch.from_numpy(rows.y.astype(np.int64)), rows.classes).double() - 0.5
        gram = features @ features.T + 1e-3 * torch.eye(len(features), dtype=torch.float64)
        return features.T @ torch.linalg.solve(gram, y)

    def _features(self, x: Array, seed: int) -> Tensor:
        directions = 3 * keyed.normals(seed, ("directions",), (x.shape[1], self.width))
        phases = 2 * np.pi * keyed.uniforms(seed, ("phases",), np.arange(self.width, dtype=np.uint64))
        return torch.from_numpy(np.cos(x @ directions + phases) * np.sqrt(2 / self.width))


def rows_of(n: int, seed: int, first: int = 0, mislabelled: int = 0) -> Rows:
    """Three noisy classes in four dimensions; the first `mislabelled` rows carry a wrong label."""
    generator = np.random.default_rng(seed)
    y = generator.integers(0, 3, n)
    x = generator.normal(size=(n, 4)) * 0.6
    x[np.arange(n), y] += 2.0
    y[:mislabelled] = (y[:mislabelled] + 1) % 3
    return Rows.of(x, y, ids=range(first, first + n), classes=3)


def step_of(method: Method[Any], rows: Rows, gone: int, seed: int = 3) -> Step:
    """Learn all rows, forget the first `gone` of them."""
    noise = NoiseKey.fresh(2)
    record = method.learn(rows, seed=seed, noise=NoiseKey.fresh(1))
    forgotten, retained = rows.only(rows.ids[:gone]), rows.without(rows.ids[:gone])
    done = method.forget(record, retained, forgotten, noise=noise)
    before, after = method.release(record), method.release(done.record)
    return Step(method, seed, before, after, done.certificate, retained, forgotten, noise, done.stats)
