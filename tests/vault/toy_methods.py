"""Small methods for tests of the vault: instant, and with everything in their records that a vault must handle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from expunge.certificate import Basis, Certified, Exact, Uncertified, View
from expunge.errors import MustRetrain
from expunge.maths.privacy import epsilon_of
from expunge.method import Forgetting, Method, Release
from expunge.noise import NoiseKey, add_noise
from expunge.rows import Rows
from expunge.schema import Array

GRID = 2**40


@dataclass(frozen=True, eq=False)
class TotalsRecord:
    """Exact integer sums by column and class; `parts`: one tensor a class, so that a step touches few."""

    count: int
    sums: tuple[int, ...]
    parts: tuple[Tensor, ...]


@dataclass(frozen=True)
class Totals(Method[TotalsRecord]):
    """Column means in exact integers: forgetting subtracts, and equals learning again bit for bit.

    `stubborn`: forget and extend always raise MustRetrain.
    """

    stubborn: bool = False

    def learn(self, rows: Rows, *, seed: int, noise: NoiseKey) -> TotalsRecord:
        counts = torch.zeros(rows.classes, dtype=torch.int64)
        return self._moved(TotalsRecord(0, (0,) * width(rows), tuple(counts[:, None])), rows, 1)

    def forget(
        self, record: TotalsRecord, retained: Rows, forgotten: Rows, *, noise: NoiseKey
    ) -> Forgetting[TotalsRecord]:
        if self.stubborn:
            raise MustRetrain("stubborn")
        return Forgetting(self._moved(record, forgotten, -1), Exact(("integers",)), {"passes": 0.0})

    def extend(self, record: TotalsRecord, retained: Rows, added: Rows, *, noise: NoiseKey) -> Forgetting[TotalsRecord]:
        if self.stubborn:
            raise MustRetrain("stubborn")
        return Forgetting(self._moved(record, added, 1), Exact(("integers",)), {})

    def release(self, record: TotalsRecord) -> Release:
        means = torch.tensor([total / record.count / GRID for total in record.sums], dtype=torch.float64)
        return Release({"means": means, "counts": torch.cat(record.parts)}, {"count": record.count})

    def predict(self, release: Release, columns: Mapping[str, Array]) -> Tensor:
        return release.tensors["means"].sum() * torch.ones(len(columns["x"]), 1)

    def _moved(self, record: TotalsRecord, rows: Rows, sign: int) -> TotalsRecord:
        sums, counts = list(record.sums), np.zeros(len(record.parts), dtype=np.int64)
        for table in rows.tables():
            for column, values in enumerate(table.columns["x"].T):
                sums[column] += sign * sum(round(float(value) * GRID) for value in values)
            counts += np.bincount(table.y, minlength=len(counts))
        parts = tuple(
            part + sign * int(n) if n else part for part, n in zip(record.parts, counts.tolist(), strict=True)
        )
        return TotalsRecord(record.count + sign * len(rows), tuple(sums), parts)


@dataclass(frozen=True, eq=False)
class NoisyRecord:
    """`weights` carry noise; `anchor` is where the cached `spread` was taken: the release, once settled."""

    weights: Tensor
    anchor: Tensor
    spread: Tensor


@dataclass(frozen=True)
class Noisy(Method[NoisyRecord]):
    """Column means with noise, and a cache that holds the old model until it is settled."""

    noise_std: float = 0.5

    def learn(self, rows: Rows, *, seed: int, noise: NoiseKey) -> NoisyRecord:
        weights = add_noise(means(rows), self.noise_std, noise)
        return NoisyRecord(weights, weights, spread(rows, weights))

    def forget(
        self, record: NoisyRecord, retained: Rows, forgotten: Rows, *, noise: NoiseKey
    ) -> Forgetting[NoisyRecord]:
        weights = add_noise(means(retained), self.noise_std, noise)
        return Forgetting(replace(record, weights=weights), certified(self.noise_std), {"passes": 1.0})

    def settle(self, record: NoisyRecord, retained: Rows) -> NoisyRecord:
        return NoisyRecord(record.weights, record.weights, spread(retained, record.weights))

    def release(self, record: NoisyRecord) -> Release:
        return Release({"weights": record.weights})

    def predict(self, release: Release, columns: Mapping[str, Array]) -> Tensor:
        return torch.from_numpy(columns["x"]) @ release.tensors["weights"]


@dataclass(frozen=True)
class Idle(Method[TotalsRecord]):
    """Does nothing when asked to forget, and claims nothing."""

    def learn(self, rows: Rows, *, seed: int, noise: NoiseKey) -> TotalsRecord:
        return Totals().learn(rows, seed=seed, noise=noise)

    def forget(
        self, record: TotalsRecord, retained: Rows, forgotten: Rows, *, noise: NoiseKey
    ) -> Forgetting[TotalsRecord]:
        return Forgetting(record, Uncertified("nothing was done"), {})

    def release(self, record: TotalsRecord) -> Release:
        return Totals().release(record)

    def predict(self, release: Release, columns: Mapping[str, Array]) -> Tensor:
        return Totals().predict(release, columns)


def certified(noise_std: float) -> Certified:
    """A certificate whose figures agree with each other."""
    return Certified(
        epsilon=epsilon_of(0.5, 1e-5),
        delta=1e-5,
        mu=0.5,
        distance=0.5 * noise_std,
        noise_std=noise_std,
        basis=Basis.ASSUMED,
        view=View.TRANSCRIPT,
        reference="means of the retained rows with noise",
        assumptions=("for tests",),
    )


def width(rows: Rows) -> int:
    return next(column.shape[0] for column in rows.schema.columns if column.name == "x")


def means(rows: Rows) -> Tensor:
    return torch.from_numpy(np.mean(rows.columns["x"], axis=0, dtype=np.float64))


def spread(rows: Rows, around: Tensor) -> Tensor:
    return ((torch.from_numpy(rows.columns["x"]) - around) ** 2).mean(dim=0)


@dataclass(frozen=True)
class Sums(Method[NoisyRecord]):
    """Column sums, read block by block. Forgetting subtracts, or with `reads` sums the retained rows again."""

    reads: bool = False

    def learn(self, rows: Rows, *, seed: int, noise: NoiseKey) -> NoisyRecord:
        return NoisyRecord(self._sum(rows), torch.zeros(1), torch.ones(1))

    def forget(
        self, record: NoisyRecord, retained: Rows, forgotten: Rows, *, noise: NoiseKey
    ) -> Forgetting[NoisyRecord]:
        weights = self._sum(retained) if self.reads else record.weights - self._sum(forgotten)
        return Forgetting(replace(record, weights=weights), Uncertified("sums are rounded"), {})

    def release(self, record: NoisyRecord) -> Release:
        return Release({"weights": record.weights})

    def predict(self, release: Release, columns: Mapping[str, Array]) -> Tensor:
        return torch.from_numpy(columns["x"]) @ release.tensors["weights"]

    def _sum(self, rows: Rows) -> Tensor:
        total = torch.zeros(width(rows), dtype=torch.float64)
        for table in rows.tables():
            total = total + torch.from_numpy(table.columns["x"].sum(axis=0))
        return total
