"""Nearest neighbours beside scikit-learn where it is right, and beside exact fractions where distances tie."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from expunge.maths.nearest import nearest
from expunge.methods import NearestNeighbours
from expunge.noise import NoiseKey
from expunge.rows import Rows

NOISE = NoiseKey(bytes(32), 1)


@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "cosine"])
@pytest.mark.parametrize("weights", ["uniform", "distance"])
def test_classes_and_values_equal_scikit_learns(metric: Any, weights: Any) -> None:
    generator = np.random.default_rng(0)
    x, queries = generator.normal(size=(300, 5)), generator.normal(size=(80, 5))
    y, values = generator.integers(0, 4, 300), generator.normal(size=300)
    k = 6
    method = NearestNeighbours(k, metric, weights, bucket_rows=32)
    settings: dict[str, Any] = {"n_neighbors": k, "metric": metric, "weights": weights, "algorithm": "brute"}

    def answers(target: Any) -> Any:
        rows = Rows.of(x, target)
        return method.predict(method.release(method.learn(rows, seed=0, noise=NOISE)), {"x": queries}).numpy()

    theirs = KNeighborsClassifier(**settings).fit(x, y).predict_proba(queries)
    assert np.allclose(np.exp(answers(y)), (k * theirs + 1 / 4) / (k + 1), atol=1e-9)
    theirs = KNeighborsRegressor(**settings).fit(x, values).predict(queries)
    assert np.allclose(answers(values).ravel(), theirs, atol=1e-9)


def test_with_ties_scikit_learn_agrees_wherever_the_last_neighbour_is_unambiguous() -> None:
    generator = np.random.default_rng(1)
    x, y = generator.integers(0, 6, size=(200, 2)).astype(float), generator.integers(0, 2, 200)
    queries = generator.integers(0, 6, size=(60, 2)) + 0.25
    k = 5
    distances = np.sort(((queries[:, None] - x) ** 2).sum(2), axis=1)
    clear = distances[:, k - 1] < distances[:, k]
    assert 10 <= clear.sum() < 60
    rows, method = Rows.of(x, y), NearestNeighbours(k)
    scores = method.predict(method.release(method.learn(rows, seed=0, noise=NOISE)), {"x": queries})
    theirs = KNeighborsClassifier(k, algorithm="brute").fit(x, y).predict_proba(queries)
    assert np.allclose(scores.exp().numpy()[clear], ((k * theirs + 0.5) / (k + 1))[clear])


@pytest.mark.parametrize("metric", ["euclidean", "manhattan"])
def test_neighbours_with_ties_are_those_of_exact_fractions(metric: Any) -> None:
    generator = np.random.default_rng(2)
    x, queries = generator.integers(-3, 4, size=(50, 3)) / 4, generator.integers(-3, 4, size=(20, 3)) / 8
    _, where = nearest(queries, [x[:20], x[20:21], x[21:]], 7, metric)
    power = 2 if metric == "euclidean" else 1
    for query, found in zip(queries.tolist(), where.tolist(), strict=True):
        exact = [
            sum(abs(Fraction(a) - Fraction(b)) ** power for a, b in zip(query, row, strict=True)) for row in x.tolist()
        ]
        assert found == sorted(range(50), key=lambda i: (exact[i], i))[:7]


def test_one_neighbour_at_a_row_is_that_row() -> None:
    x = np.random.default_rng(3).normal(size=(40, 4))
    rows, method = Rows.of(x, np.arange(40.0)), NearestNeighbours(1)
    assert torch.equal(
        method.predict(method.release(method.learn(rows, seed=0, noise=NOISE)), {"x": x}).ravel(),
        torch.arange(40.0).double(),
    )
