"""Methods whose forgetting fails in a known way, under the certificate that honest forgetting would carry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from expunge.method import Checkable, Forgetting, Method, Release
from expunge.methods import Sisa
from expunge.methods.sisa import SisaRecord
from expunge.noise import NoiseKey
from expunge.rows import Rows
from expunge.schema import Array


@dataclass(frozen=True)
class Planted(Method[Any]):
    """All of `inner` but its forgetting, of which only the certificate is kept."""

    inner: Any

    def learn(self, rows: Rows, *, seed: int, noise: NoiseKey) -> Any:
        return self.inner.learn(rows, seed=seed, noise=noise)

    def forget(self, record: Any, retained: Rows, forgotten: Rows, *, noise: NoiseKey) -> Forgetting[Any]:
        honest = self.inner.forget(record, retained, forgotten, noise=noise)
        return replace(honest, record=self.faulty(record, retained, forgotten, noise))

    def faulty(self, record: Any, retained: Rows, forgotten: Rows, noise: NoiseKey) -> Any:
        raise NotImplementedError

    def release(self, record: Any) -> Release:
        return self.inner.release(record)

    def predict(self, release: Release, columns: Mapping[str, Array]) -> Tensor:
        return self.inner.predict(release, columns)

    def minimiser(self, rows: Rows, *, tol: float = 1e-12) -> Tensor:
        assert isinstance(self.inner, Checkable)
        return self.inner.minimiser(rows, tol=tol)

    def centre(self, release: Release, noise: NoiseKey) -> Tensor:
        assert isinstance(self.inner, Checkable)
        return self.inner.centre(release, noise)


@dataclass(frozen=True)
class NoOp(Planted):
    """Signs, and does nothing."""

    def faulty(self, record: Any, retained: Rows, forgotten: Rows, noise: NoiseKey) -> Any:
        return record


@dataclass(frozen=True)
class NoiseLeftOut(Planted):
    """Solves as it should and publishes the centre."""

    def faulty(self, record: Any, retained: Rows, forgotten: Rows, noise: NoiseKey) -> Any:
        done = self.inner.forget(record, retained, forgotten, noise=noise).record
        centre = self.inner.centre(self.inner.release(done), noise)
        return replace(done, weights=torch.as_tensor(centre).reshape(done.weights.shape))


@dataclass(frozen=True)
class CacheKeepsARow(Planted):
    """Learns again from a cache of rows in which one of the forgotten ones is left."""

    def faulty(self, record: Any, retained: Rows, forgotten: Rows, noise: NoiseKey) -> Any:
        cache = retained.and_rows(forgotten.only(forgotten.ids[:1]))
        return self.inner.learn(cache, seed=getattr(record, "seed", 0), noise=noise)


@dataclass(frozen=True)
class SkipsTheTail(Planted):
    """SISA that never looks into the last slice of a shard for rows to forget: their shards are not trained again."""

    def faulty(self, record: SisaRecord, retained: Rows, forgotten: Rows, noise: NoiseKey) -> SisaRecord:
        assert isinstance(self.inner, Sisa)
        slices = self.inner._dealing(record.seed).places(forgotten.table())[1]
        tail = slices == self.inner.slices - 1
        if tail.all():
            return record
        seen, left = forgotten.select(~tail), forgotten.select(tail)
        return self.inner.forget(record, retained.and_rows(left), seen, noise=noise).record


def tail_of(method: Sisa, rows: Rows, seed: int) -> np.ndarray:
    """Ids of the rows in the last slice of their shard."""
    return rows.ids[method._dealing(seed).places(rows.table())[1] == method.slices - 1]
