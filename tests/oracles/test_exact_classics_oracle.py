"""Naive Bayes, ridge and discriminant analysis predict what scikit-learn's estimators do where both define the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn import linear_model
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.naive_bayes import BernoulliNB, CategoricalNB, GaussianNB, MultinomialNB

from expunge.methods import DiscriminantAnalysis, NaiveBayes, Ridge
from expunge.noise import NoiseKey
from expunge.rows import Rows

RNG = np.random.default_rng(0)
N, GONE = 240, tuple(range(0, 240, 3))
Y = RNG.integers(0, 3, N)
X = RNG.normal(size=(N, 4)) @ RNG.normal(size=(4, 4)) + np.eye(3, 4)[Y]
COUNTS = RNG.poisson(1 + np.eye(3, 4)[Y])
CODES = np.concatenate([RNG.integers(0, 4, (N, 3)), np.arange(N)[:, None] % 5], axis=1)
TARGETS = X @ RNG.normal(size=(4, 2)) + RNG.normal(size=(N, 2)) + 3

CLASSIFIERS = {
    "gaussian": (NaiveBayes("gaussian"), GaussianNB(), X),
    "gaussian, smoothed": (NaiveBayes("gaussian", variance_smoothing=0.1), GaussianNB(var_smoothing=0.1), X),
    "multinomial": (NaiveBayes("multinomial", smoothing=0.5), MultinomialNB(alpha=0.5), COUNTS),
    "multinomial, shares": (NaiveBayes("multinomial"), MultinomialNB(), np.abs(X)),
    "bernoulli": (
        NaiveBayes("bernoulli", threshold=0.3, prior="uniform"),
        BernoulliNB(binarize=0.3, fit_prior=False),
        X,
    ),
    "categorical": (NaiveBayes("categorical", smoothing=2.0), CategoricalNB(alpha=2.0), CODES),
    "linear": (DiscriminantAnalysis(), LinearDiscriminantAnalysis(solver="lsqr"), X),
    "linear, shrunk": (DiscriminantAnalysis(shrinkage=0.2), LinearDiscriminantAnalysis("lsqr", shrinkage=0.2), X),
    "quadratic": (DiscriminantAnalysis("each"), QuadraticDiscriminantAnalysis(), X),
    "quadratic, shrunk": (
        DiscriminantAnalysis("each", 0.3, "identity"),
        QuadraticDiscriminantAnalysis(reg_param=0.3),
        X,
    ),
}


def forgotten(method: Any, rows: Rows) -> Any:
    """The release after GONE were learned and forgotten."""
    noise = NoiseKey(bytes(32), 1)
    record = method.learn(rows, seed=0, noise=noise)
    return method.release(method.forget(record, rows.without(GONE), rows.only(GONE), noise=noise).record)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_probabilities_after_forgetting_are_those_of_scikit_learn_on_the_retained_rows(name: str) -> None:
    method, estimator, x = CLASSIFIERS[name]
    kept = np.setdiff1d(np.arange(N), GONE)
    found = method.predict(forgotten(method, Rows.of(x, Y, classes=3)), {"x": x}).exp().numpy()
    expected = estimator.fit(x[kept], Y[kept]).predict_proba(x)
    assert np.abs(found - expected).max() < 1e-10
    before = estimator.fit(x, Y).predict_proba(x)
    assert np.abs(before - expected).max() > 1e-4  # doing nothing


@pytest.mark.parametrize("l2", [1e-2, 1.0])
def test_ridge_predicts_what_scikit_learns_does_with_alpha_n_l2(l2: float) -> None:
    kept = np.setdiff1d(np.arange(N), GONE)
    estimator = linear_model.Ridge(alpha=l2 * len(kept), solver="cholesky").fit(X[kept], TARGETS[kept])
    release = forgotten(Ridge(l2), Rows.of(X, TARGETS))
    assert np.abs(Ridge(l2).predict(release, {"x": X}).numpy() - estimator.predict(X)).max() < 1e-10
    assert np.abs(release.tensors["weights"][:, :-1].numpy() - estimator.coef_).max() < 1e-10


def test_least_squares_and_the_squared_classifier() -> None:
    kept = np.setdiff1d(np.arange(N), GONE)
    plain = linear_model.LinearRegression().fit(X[kept], TARGETS[kept])
    release = forgotten(Ridge(0.0), Rows.of(X, TARGETS))
    assert np.abs(Ridge(0.0).predict(release, {"x": X}).numpy() - plain.predict(X)).max() < 1e-10
    classifier = linear_model.RidgeClassifier(alpha=0.1 * len(kept)).fit(X[kept], Y[kept])
    found = Ridge(0.1).predict(forgotten(Ridge(0.1), Rows.of(X, Y, classes=3)), {"x": X}).argmax(1).numpy()
    assert (found == classifier.predict(X)).all()
