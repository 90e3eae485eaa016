"""A model under audit, whatever it is made of: how it scores rows, and its weights where it has any."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.special import log_softmax
from torch import Tensor, nn

from expunge.audits.metrics import Floats
from expunge.errors import InputError
from expunge.features.fitting import PREFIX
from expunge.features.pipeline import needs_target
from expunge.learners.featured import features_of
from expunge.method import Method, Release
from expunge.objective.module import ModuleObjective
from expunge.rows import Rows
from expunge.schema import Array

BATCH = 4096


@dataclass(frozen=True, eq=False)
class Candidate:
    """A model: rows -> scores (n, outputs), and its tensors by name (empty where only scores are known).

    `clusters` says that the scores are minus squared distances to centroids, and that a target is not looked at.
    """

    scores: Callable[[Rows], Floats]
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    clusters: bool = False


@dataclass(frozen=True, eq=False)
class Outputs:
    """What a model says about rows: log-probabilities (n, classes) beside codes, or values beside numbers, both 2-D.

    Of a clustering: the distance to the nearest centroid (n, 1) beside 0, which a centroid of one's own would give, and
    that centroid's number (n,) in `clusters`. Its root mean square is the root of inertia per row.
    """

    values: Floats
    y: Array
    classes: int
    clusters: Array | None = None


def released(method: Method[Any], release: Release) -> Candidate:
    """The model that a release is; fitted features (a mean, a scale) are no weights and are left out of them."""
    fitted = bool(features_of(method))  # named features/..., or 3/features/... in a shard
    weights = {name: t for name, t in release.tensors.items() if not (fitted and f"/{PREFIX}" in f"/{name}")}
    return predictor(lambda columns: method.predict(release, columns), weights, clusters=not needs_target(method))


def predictor(
    predict: Callable[[Mapping[str, Array]], Tensor],
    tensors: Mapping[str, Tensor] | None = None,
    *,
    clusters: bool = False,
) -> Candidate:
    """The model that a function of columns is: it returns scores (m, outputs) as `Method.predict` does."""

    def scores(rows: Rows) -> Floats:
        parts = [_array(predict(table.columns)) for table in rows.batches(BATCH)]
        return np.concatenate(parts)

    return Candidate(scores, dict(tensors or {}), clusters)


def module_candidate(module: nn.Module, tensors: Mapping[str, Tensor]) -> Candidate:
    """The model that a module is, with the weights it holds; it reads columns as `ModuleObjective` says.

    Raises:
        InputError: the module has no trainable parameter.
    """
    objective = ModuleObjective(module, "squared", 0.0)  # for its scores, which no loss enters
    weights = objective.flat(dict(module.named_parameters()))
    return predictor(lambda columns: objective.scores(weights, columns), tensors)


def scored(ids: Array, scores: Array) -> Candidate:
    """The model that is known by its scores (n, outputs) of the rows `ids` (n,) alone."""
    places = {str(name): place for place, name in enumerate(ids)}
    table = np.asarray(scores, dtype=np.float64)

    def look_up(rows: Rows) -> Floats:
        missing = [str(name) for name in rows.ids if str(name) not in places]
        if missing:
            raise InputError(
                f"{len(missing)} rows have no score, {missing[0]!r} among them: score every retained, forgotten "
                "and test row, and store them under the ids of those rows."
            )
        return np.asarray(table[[places[str(name)] for name in rows.ids]].reshape(len(rows), -1), dtype=np.float64)

    return Candidate(look_up)


def outputs(candidate: Candidate, rows: Rows) -> Outputs:
    """What the model says about rows; scores of a classification are normalised to log-probabilities.

    A single score where two classes are declared is the logit of the second.
    """
    values, classes = candidate.scores(rows), rows.classes
    if candidate.clusters:
        nearest = np.sqrt(np.maximum(-values.max(axis=1, keepdims=True), 0.0))
        return Outputs(nearest, np.zeros_like(nearest), 0, values.argmax(axis=1))
    if classes == 2 and values.shape[1] == 1:
        values = np.concatenate([np.zeros_like(values), values], axis=1)
    y = rows.y
    if classes == 0 or y.ndim > 1:
        return Outputs(values, np.asarray(y, dtype=np.float64).reshape(len(rows), -1), 0)
    if values.shape[1] != classes:
        raise InputError(f"The model gives {values.shape[1]} scores a row; the rows declare {classes} classes.")
    return Outputs(np.asarray(log_softmax(values, axis=1)), y.astype(np.int64), classes)


def _array(scores: Tensor) -> Floats:
    values = scores.detach().cpu().double().numpy()
    return np.asarray(values.reshape(len(values), -1), dtype=np.float64)
