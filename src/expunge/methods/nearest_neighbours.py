r"""Nearest neighbours: a query is answered by the k rows nearest to it (Fix & Hodges 1951, Cover & Hart 1967).

    classes     q_c = sum_{i in N_k(x)} v_i [y_i = c] / sum_i v_i,    p_c = (k q_c + 1/K) / (k + 1)
    values      sum_{i in N_k(x)} v_i y_i / sum_i v_i
    weights     v_i = 1 ("uniform"), or 1 / d(x, x_i) ("distance"; rows at distance 0, where there are some, alone)

Nothing is fitted, so to forget a row is to erase it, and what is left is what learning without it would have kept. That
holds for the exact search only: centroids of an inverted file, codebooks of product quantisation, links of a
navigable graph are all made of the rows, and erasing a row does not take it out of them. No index is kept here.

Differs from the papers and from scikit-learn's KNeighborsClassifier and KNeighborsRegressor in:
1. Rows are erased, not marked as gone; they are kept in buckets by key that do not depend on the order of requests.
2. Of equally near rows the one with the smaller key is nearer, so that neighbours do not depend on an order of rows or
   on rows that left. Distances are sums of the differences, feature by feature: a pair's distance depends on the pair
   alone (scikit-learn's |x|^2 - 2 xy + |y|^2 from a matrix product depends on the block, in its last bits).
3. One more vote, shared out evenly among the declared classes, keeps log-probabilities finite.
4. Where fewer than k rows are left, all are neighbours.

Guarantee: exact, bit for bit; the release holds the rows themselves
Models: k nearest neighbours, for classes and for values
Strong: no retained row is read, and one request writes one bucket of rows anew
Weak: whoever holds an old release holds the rows in it; answers cost a pass over all rows
Paper: Fix & Hodges 1951, Cover & Hart 1967
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from expunge.errors import InputError
from expunge.learners.inputs import inputs_and_outputs
from expunge.learners.kept_rows import Buckets, bucketed, measurable, size, with_rows, without
from expunge.maths.nearest import METRICS, nearest
from expunge.method import Forgetting, Method, Release, check_learnable, check_size, check_step
from expunge.methods.retrain import EXACT
from expunge.noise import NoiseKey
from expunge.rows import Rows
from expunge.schema import Array

ROWS_RELEASED = "The release holds the rows themselves: an earlier release, wherever it went, still holds what left."
CERTIFICATE = replace(EXACT, assumptions=(*EXACT.assumptions, ROWS_RELEASED))


@dataclass(frozen=True, eq=False)
class NearestNeighboursRecord:
    """`buckets`: the rows, by the first bits of their keys. `columns`: numbers in a row. `classes`: 0 for values."""

    buckets: Buckets
    columns: int
    classes: int


@dataclass(frozen=True)
class NearestNeighbours(Method[NearestNeighboursRecord]):
    """Exact forgetting for k nearest neighbours: the row is erased, and nothing else ever knew it.

    Args:
        neighbours: k. metric: "euclidean", "manhattan" or "cosine" (1 - cosine of the angle).
        weights: of the neighbours: "uniform", or "distance" for 1 / distance.
        bucket_rows: the most rows that one tensor of the record holds; a request writes one such tensor.
    """

    neighbours: int = 5
    metric: Literal["euclidean", "manhattan", "cosine"] = "euclidean"
    weights: Literal["uniform", "distance"] = "uniform"
    bucket_rows: int = 1024

    def __post_init__(self) -> None:
        for name, value in (("neighbours", self.neighbours), ("bucket_rows", self.bucket_rows)):
            if value < 1:
                raise InputError(f"{name}={value} was given, and at least 1 was expected.")
        if self.metric not in METRICS:
            raise InputError(f"metric={self.metric!r} was given; expected one of {METRICS}.")
        if self.weights not in ("uniform", "distance"):
            raise InputError(f"weights={self.weights!r} was given; expected 'uniform' or 'distance'.")

    def learn(self, rows: Rows, *, seed: int, noise: NoiseKey) -> NearestNeighboursRecord:
        """Keep the rows. Nothing is drawn.

        Raises:
            InputError: no row, no target, one class only, or a column that is not finite numbers.
        """
        del seed, noise
        check_learnable(rows)
        columns, _ = inputs_and_outputs(rows.schema)
        return NearestNeighboursRecord(bucketed(rows, self.bucket_rows), columns, rows.classes)

    def forget(
        self, record: NearestNeighboursRecord, retained: Rows, forgotten: Rows, *, noise: NoiseKey
    ) -> Forgetting[NearestNeighboursRecord]:
        """Erase the rows. No row is read, neither a retained nor a forgotten one: the record knows them by their keys.

        Raises:
            MustRetrain: no row is left. InputError: these are not the record's rows.
        """
        del noise
        check_step(retained, forgotten)
        check_size(size(record.buckets), retained, forgotten)
        return self._step(record, without(record.buckets, forgotten.keys, self.bucket_rows))

    def extend(
        self, record: NearestNeighboursRecord, retained: Rows, added: Rows, *, noise: NoiseKey
    ) -> Forgetting[NearestNeighboursRecord]:
        """Keep these rows too.

        Raises:
            InputError: these are not the record's rows, an id is among them already, or see `learn`.
        """
        del noise
        check_size(size(record.buckets), retained)
        if not len(added):
            return self._step(record, record.buckets)
        retained.and_rows(added)  # refuses another schema, and ids that are there
        return self._step(record, with_rows(record.buckets, added, self.bucket_rows))

    def release(self, record: NearestNeighboursRecord) -> Release:
        """The rows by key, without the keys: "x/BITS" and "y/BITS" for each bucket."""
        tensors = {f"x/{name}": bucket.x for name, bucket in record.buckets.items()}
        tensors |= {f"y/{name}": bucket.y for name, bucket in record.buckets.items()}
        settings = {"neighbours": self.neighbours, "metric": self.metric, "weights": self.weights}
        return Release(tensors, settings | {"columns": record.columns, "classes": record.classes})

    def predict(self, release: Release, columns: Mapping[str, Array]) -> Tensor:
        """Scores (m, outputs): log-probabilities for classes, values for a regression.

        Raises:
            InputError: the column `x` is absent, not finite, or not as wide as the rows.
        """
        queries, wide = measurable(columns), release.settings["columns"]
        if queries.shape[1] != wide:
            raise InputError(f"The rows to predict have {queries.shape[1]} columns; those learned from have {wide}.")
        names = sorted(name.removeprefix("x/") for name in release.tensors if name.startswith("x/"))
        blocks = [release.tensors[f"x/{name}"].numpy() for name in names]
        y = torch.cat([release.tensors[f"y/{name}"] for name in names])
        k = min(release.settings["neighbours"], len(y))
        distances, where = nearest(queries.numpy(), blocks, k, release.settings["metric"])
        shares = torch.from_numpy(_shares(distances, release.settings["weights"]))
        near, classes = y[torch.from_numpy(where)], release.settings["classes"]
        if not classes:
            return _mixed(shares, near.reshape(len(near), k, -1).double())
        share = _mixed(shares, torch.nn.functional.one_hot(near, classes).double())
        return torch.log((k * share + 1 / classes) / (k + 1))

    def _step(self, before: NearestNeighboursRecord, buckets: Buckets) -> Forgetting[NearestNeighboursRecord]:
        kept = {id(bucket) for bucket in before.buckets.values()}
        written = [bucket for bucket in buckets.values() if id(bucket) not in kept]
        stats = {"rows_visited": 0, "buckets_written": len(written), "rows_written": sum(map(len, written))}
        return Forgetting(replace(before, buckets=buckets), CERTIFICATE, stats)


def _shares(distances: Array, weights: str) -> Array:
    """The neighbours' shares of the answer, (m, k); each row adds up to 1."""
    if weights == "uniform":
        return np.full_like(distances, 1 / distances.shape[1])
    exact = distances == 0
    with np.errstate(divide="ignore", over="ignore"):
        nearness = np.where(exact.any(1, keepdims=True), exact, np.minimum(1 / distances, np.finfo(float).max / 2**20))
    return np.asarray(nearness / nearness.sum(1, keepdims=True))


def _mixed(shares: Tensor, of: Tensor) -> Tensor:
    """sum_k share_k of_k, nearest first: (m, k) and (m, k, outputs) to (m, outputs)."""
    total = torch.zeros_like(of[:, 0])
    for neighbour in range(of.shape[1]):
        total += shares[:, neighbour, None] * of[:, neighbour]
    return total
