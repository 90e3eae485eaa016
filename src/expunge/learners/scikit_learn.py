"""A closed list of scikit-learn estimators whose fitted state is a few arrays; no pickle.

An estimator is fitted from scratch on the rows in the order of their keys, under a `random_state` that is a function of
(seed, purpose), and taken apart into arrays; to predict, one is put together again from them. Classes that the rows at
hand lack get the probability `ABSENT`; rows of one class only are answered by that class, without a fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import (
    ElasticNet,
    Lasso,
    LinearRegression,
    LogisticRegression,
    Ridge,
    SGDClassifier,
    SGDRegressor,
)
from sklearn.naive_bayes import BernoulliNB, GaussianNB, MultinomialNB
from sklearn.neural_network import MLPClassifier, MLPRegressor
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from torch import Tensor

from expunge import keyed
from expunge.errors import InputError
from expunge.keyed import Purpose
from expunge.learners.inputs import in_key_order, inputs_and_outputs, matrix, numbers, target
from expunge.learners.learner import Learner, Training, settings_of
from expunge.method import Release
from expunge.rows import Rows
from expunge.schema import Array, Schema

ABSENT = 1e-12  # the probability of a class that training did not see, and the least of any

LINEAR = ("coef_", "intercept_")
COUNTS = ("feature_log_prob_", "class_log_prior_")
NETWORK = ("coefs_", "intercepts_")

CLASSIFIERS: Mapping[str, tuple[type[Any], tuple[str, ...]]] = {
    "BernoulliNB": (BernoulliNB, COUNTS),
    "GaussianNB": (GaussianNB, ("theta_", "var_", "class_prior_")),
    "LogisticRegression": (LogisticRegression, LINEAR),
    "MLPClassifier": (MLPClassifier, NETWORK),
    "MultinomialNB": (MultinomialNB, COUNTS),
    "SGDClassifier": (SGDClassifier, LINEAR),
}
REGRESSORS: Mapping[str, tuple[type[Any], tuple[str, ...]]] = {
    "ElasticNet": (ElasticNet, LINEAR),
    "Lasso": (Lasso, LINEAR),
    "LinearRegression": (LinearRegression, LINEAR),
    "MLPRegressor": (MLPRegressor, NETWORK),
    "Ridge": (Ridge, LINEAR),
    "SGDRegressor": (SGDRegressor, LINEAR),
}
ESTIMATORS = {**CLASSIFIERS, **REGRESSORS}


@dataclass(frozen=True)
class ScikitLearn(Learner):
    """One of `ESTIMATORS` on the column `x`, float64.

    Args:
        estimator: its name. params: its parameters; `random_state` is not among them, the seed sets it.
    """

    estimator: str = "LogisticRegression"
    params: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.estimator not in ESTIMATORS:
            raise InputError(f"estimator={self.estimator!r} was given; expected one of {sorted(ESTIMATORS)}.")
        known = set(ESTIMATORS[self.estimator][0]().get_params()) - {"random_state", "warm_start", "n_jobs", "verbose"}
        if unknown := sorted(set(self.params) - known):
            raise InputError(f"{self.estimator} takes no parameter {unknown} here; it takes {sorted(known)}.")
        if self.estimator == "SGDClassifier" and self.params.get("loss") != "log_loss":
            raise InputError("SGDClassifier gives probabilities with params={'loss': 'log_loss'} only; set it.")

    @property
    def epochs(self) -> int:
        """1: an estimator decides itself when it is done."""
        return 1

    def start(self, schema: Schema, seed: int, purpose: Purpose) -> Training:
        """Nothing fitted.

        Raises:
            InputError: the estimator and the target do not go together.
        """
        del seed, purpose
        inputs_and_outputs(schema)
        if bool(schema.classes) != (self.estimator in CLASSIFIERS):
            wanted, names = ("classifier", CLASSIFIERS) if schema.classes else ("regressor", REGRESSORS)
            raise InputError(f"{self.estimator} does not fit this target: name a {wanted}, one of {sorted(names)}.")
        return Training({}, settings_of(schema) | {"present": ()})

    def train(
        self, training: Training, rows: Rows, *, seed: int, purpose: Purpose, epochs: int | None = None
    ) -> Training:
        """Fit from scratch on these rows; what the state held is replaced."""
        del epochs
        table = in_key_order(rows)
        x = matrix(table.columns, torch.float64).numpy()
        y = numbers("y", target(table), torch.int64 if rows.classes else torch.float64).numpy()
        present = tuple(int(code) for code in np.unique(y)) if rows.classes else ()
        tensors: dict[str, Tensor] = {}
        if len(present) != 1:
            estimator = self._fresh(keyed.subseed(seed, *purpose, "fit"))
            with threadpool_limits(limits=1):
                estimator.fit(x, y)
            tensors = _taken_apart(estimator, self._names())
        return replace(
            training,
            tensors=tensors,
            settings={**training.settings, "present": present},
            steps=training.steps + 1,
            epochs=training.epochs + 1,
            visits=training.visits + len(x),
        )

    def adopt(self, schema: Schema, weights: Mapping[str, Tensor]) -> Training:
        """Refuses: the state of an estimator is not its weights alone.

        Raises:
            InputError: always.
        """
        del schema, weights
        raise InputError("A scikit-learn estimator cannot be adopted: learn it here, or adopt with Convex or Sgd.")

    def release(self, training: Training) -> Release:
        """The fitted arrays."""
        return Release(training.tensors, training.settings)

    def predict(self, release: Release, columns: Mapping[str, Array]) -> Tensor:
        """Scores (m, outputs): log-probabilities over the declared classes, or values for a regression."""
        x, present, classes = (
            matrix(columns, torch.float64).numpy(),
            release.settings["present"],
            release.settings["classes"],
        )
        if not classes:
            values = torch.tensor(self._restored(release, x.shape[1]).predict(x), dtype=torch.float64)
            return values[:, None] if values.ndim == 1 else values
        probabilities = torch.full((len(x), classes), ABSENT, dtype=torch.float64)
        if len(present) > 1:
            with threadpool_limits(limits=1):
                seen = self._restored(release, x.shape[1]).predict_proba(x)
            probabilities[:, list(present)] = torch.tensor(seen, dtype=torch.float64).clamp(min=ABSENT)
        else:
            probabilities[:, list(present)] = 1.0
        return torch.log(probabilities / probabilities.sum(1, keepdim=True))

    def _names(self) -> tuple[str, ...]:
        return ESTIMATORS[self.estimator][1]

    def _fresh(self, seed: int) -> Any:
        kind = ESTIMATORS[self.estimator][0]
        drawn = {"random_state": seed % 2**32} if "random_state" in kind().get_params() else {}
        return kind(**self.params, **drawn)

    def _restored(self, release: Release, inputs: int) -> Any:
        estimator = self._fresh(0)
        for name in self._names():
            parts = [release.tensors[key].numpy() for key in _parts(name, release.tensors)]
            setattr(estimator, name, parts if name in NETWORK else parts[0])
        estimator.n_features_in_ = inputs
        present = release.settings["present"]
        if present:
            estimator.classes_ = np.array(present)
        if self._names() == NETWORK:
            estimator.n_layers_ = len(estimator.coefs_) + 1
            estimator.n_outputs_ = len(estimator.intercepts_[-1])
            estimator.out_activation_ = "identity" if not present else "softmax" if len(present) > 2 else "logistic"
        return estimator


def _taken_apart(estimator: Any, names: tuple[str, ...]) -> dict[str, Tensor]:
    """By name: the array, or name.0, name.1, ... for a list of arrays."""
    tensors: dict[str, Tensor] = {}
    for name in names:
        value = getattr(estimator, name)
        parts = {f"{name}.{i}": part for i, part in enumerate(value)} if isinstance(value, list) else {name: value}
        tensors |= {key: torch.tensor(np.ascontiguousarray(part)) for key, part in parts.items()}
    return tensors


def _parts(name: str, tensors: Mapping[str, Tensor]) -> list[str]:
    """The keys under which `_taken_apart` put this attribute, in order."""
    return [name] if name in tensors else [f"{name}.{i}" for i in range(len(tensors)) if f"{name}.{i}" in tensors]
