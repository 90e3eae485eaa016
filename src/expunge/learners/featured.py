"""Features as a part of training: each training fits them on the first rows it sees, and keeps them.

Features of a `Pipeline` are fitted on all rows, so one row that leaves moves every mean and scale, and with them every
shard of SISA. Here each shard fits its own. Step r of a shard trains on slices 1..r from the weights of step r-1:

- fitted anew in every step, the statistics would change what those weights mean, and a level that appears their number;
- fitted on the whole shard, they would put rows of later slices into every checkpoint, and slices would save nothing;
- fitted on the first slice, they are of rows that every step sees anyway. A row of a later slice leaves them alone, and
  one of the first slice means training the shard from its start, which it means without features too.

So the last: statistics of about n/(SR) rows, exact (they are never subtracted from, only counted again), free to
forget. With slices=1 they are of the whole shard, and in `Retrain` of all rows.

What few rows say of a scale may be far too small for the others: numbers beyond `limit` are cut. A level that the first
slice lacks has no column, and counts as missing (`Categorical(other=True)` gives all such a column).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from expunge.errors import InputError
from expunge.features import Feature, Features, FrozenNetwork, Pipeline, fitting
from expunge.features.feature import Fitted
from expunge.keyed import Purpose
from expunge.learners.learner import Learner, Training, settings_of
from expunge.method import Method, Release
from expunge.rows import Rows, Table
from expunge.schema import Array, Column, Schema

FITTED = "features"  # a setting of a training: there once the features are fitted


@dataclass(frozen=True)
class Featured(Learner):
    """A learner on features of raw columns, fitted on the rows of its first call of `train`.

    For methods that train from the start on what stays: SISA, whose shards each fit their own, and retraining. A method
    that goes on from weights of before keeps their features too.

    Args:
        features: column transforms, for instance `tabular(rows)`; public or exact, not noised.
        learner: what learns from their column `x`. limit: numbers beyond it are cut; infinity cuts none.
    """

    features: Features
    learner: Learner
    limit: float = 10.0

    def __post_init__(self) -> None:
        if not self.features or not all(isinstance(feature, Feature) for feature in self.features):
            raise InputError(f"Featured needs a tuple of features, for instance tabular(rows); given: {self.features}.")
        if not isinstance(self.learner, Learner) or isinstance(self.learner, Featured):
            raise InputError(f"Featured needs a learner after its features, and not Featured again: {self.learner!r}.")
        if any(feature.statistics == "noised" for feature in self.features):
            raise InputError("A learner draws no secret noise: put noised features into a Pipeline(features, method).")
        if any(isinstance(feature, FrozenNetwork) and feature.origin == "private" for feature in self.features):
            raise InputError("A network trained on the rows is not fitted here: put it into a Pipeline, which counts.")
        if not self.limit > 0:
            raise InputError(f"limit={self.limit} was given, and a positive number was expected.")

    @property
    def epochs(self) -> int:
        """Those of the learner."""
        return self.learner.epochs

    def start(self, schema: Schema, seed: int, purpose: Purpose) -> Training:
        """Nothing fitted: how wide the features are is known with the first rows."""
        del seed, purpose
        return Training({}, settings_of(schema))

    def train(
        self, training: Training, rows: Rows, *, seed: int, purpose: Purpose, epochs: int | None = None
    ) -> Training:
        """Fit the features if this is the first call, and train on them.

        Raises:
            InputError: a column is absent or cannot be used, and see the learner. NotConverged: see the learner.
        """
        if FITTED in training.settings:
            forms, inner = self._parted(training.tensors, training.settings)
            mapped = self._mapped(forms, rows)
            before = replace(training, tensors=inner.tensors, settings=inner.settings)
        else:
            forms = fitting.fitted(self.features, fitting.accumulated(self.features, rows), None)
            mapped = self._mapped(forms, rows)
            before = self.learner.start(mapped.schema, seed, purpose)
        trained = self.learner.train(before, mapped, seed=seed, purpose=purpose, epochs=epochs)
        joined = self._joined(forms, Release(trained.tensors, trained.settings))
        return replace(trained, tensors=joined.tensors, settings=joined.settings)

    def adopt(self, schema: Schema, weights: Mapping[str, Tensor]) -> Training:
        """Refuses: weights alone do not tell the features they were trained on.

        Raises:
            InputError: always.
        """
        del schema, weights
        raise InputError("A model trained elsewhere brings no features: adopt it with Pipeline(features, method).")

    def release(self, training: Training) -> Release:
        """The learner's release, with the fitted statistics under `features/<place>/<name>`."""
        forms, inner = self._parted(training.tensors, training.settings)
        return self._joined(forms, self.learner.release(Training(inner.tensors, inner.settings)))

    def predict(self, release: Release, columns: Mapping[str, Array]) -> Tensor:
        """Scores (m, outputs) of raw columns."""
        forms, inner = self._parted(release.tensors, release.settings)
        return self.learner.predict(inner, {"x": self._x(forms, columns)})

    def _x(self, forms: tuple[Fitted, ...], columns: Mapping[str, Array]) -> Array:
        x = np.clip(fitting.transformed(self.features, forms, columns), -self.limit, self.limit)
        return x if x.shape[1:] != (0,) else np.zeros((len(x), 1))  # not one level in the first rows

    def _mapped(self, forms: tuple[Fitted, ...], rows: Rows) -> Rows:
        def transform(table: Table) -> Table:
            return replace(table, columns={"x": self._x(forms, table.columns)})

        none = {column.name: column.empty() for column in rows.schema.columns}
        shape = tuple(self._x(forms, none).shape[1:])
        return rows.map(transform, Schema((Column("x", "f", shape),), rows.schema.target, rows.schema.classes))

    def _joined(self, forms: tuple[Fitted, ...], inner: Release) -> Release:
        named = fitting.named(forms)
        tensors = {name: value for name, value in named.items() if isinstance(value, Tensor)}
        settings = {name: value for name, value in named.items() if name not in tensors}
        return Release({**inner.tensors, **tensors}, {**inner.settings, **settings, FITTED: len(forms)})

    def _parted(self, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> tuple[tuple[Fitted, ...], Release]:
        mine = fitting.forms_in({**tensors, **settings}, len(self.features))
        others = {name: value for name, value in settings.items() if name != FITTED and not fitting.is_form(name)}
        return mine, Release({n: t for n, t in tensors.items() if not fitting.is_form(n)}, others)


def features_of(method: Method[Any]) -> Features:
    """The features that a method stands on, in a `Pipeline`, in its learner, or both; () where it has none."""
    if isinstance(method, Pipeline):
        return (*method.features, *features_of(method.method))
    learner = vars(method).get("learner")
    return learner.features if isinstance(learner, Featured) else ()


def declared_by(method: Method[Any]) -> tuple[str, ...]:
    """What any certificate on a method's features assumes, in words."""
    return tuple(note for feature in features_of(method) for note in feature.assumptions())


def assumptions_of(learner: Learner) -> tuple[str, ...]:
    """What any certificate on a learner assumes of its features, in words; nothing where it has none."""
    if not isinstance(learner, Featured):
        return ()
    return tuple(note for feature in learner.features for note in feature.assumptions())
