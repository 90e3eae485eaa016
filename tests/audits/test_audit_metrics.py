"""Every measure against its formula, written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import r2_score

from expunge.audits import metrics
from expunge.audits.metrics import Band
from expunge.audits.scores import consistency
from expunge.audits.scores.certifiability import certifiability
from expunge.audits.scores.effectiveness import effectiveness


def some_log_p(seed: int, n: int = 20, classes: int = 4) -> np.ndarray:
    return np.log(np.random.default_rng(seed).dirichlet(np.ones(classes), n))


def test_accuracy_and_loss_are_their_formulas() -> None:
    log_p, y = some_log_p(0), np.random.default_rng(1).integers(0, 4, 20)
    assert metrics.accuracy(log_p, y) == sum(int(np.argmax(log_p[i])) == y[i] for i in range(20)) / 20
    assert metrics.mean_loss(log_p, y) == pytest.approx(-sum(log_p[i, y[i]] for i in range(20)) / 20)


def test_loss_of_an_impossible_class_is_finite() -> None:
    assert metrics.mean_loss(np.array([[0.0, -np.inf]]), np.array([1])) == pytest.approx(12 * math.log(10))


def test_kl_is_its_sum_and_zero_for_equal_models() -> None:
    log_p, log_q = some_log_p(0), some_log_p(1)
    by_hand = np.mean([stats.entropy(np.exp(p), np.exp(q)) for p, q in zip(log_p, log_q, strict=True)])
    assert consistency.kl(log_p, log_q) == pytest.approx(by_hand)
    assert consistency.kl(log_p, log_p) == 0.0
    assert consistency.kl(log_p, log_q) != pytest.approx(consistency.kl(log_q, log_p))


def test_kl_of_outvoted_classes_is_finite() -> None:
    votes = np.array([[0.0, -np.inf]])
    assert consistency.kl(votes, votes[:, ::-1]) == pytest.approx(12 * math.log(10))


def test_regression_measures_are_their_formulas(generator: np.random.Generator) -> None:
    y, values = generator.normal(size=(30, 1)), generator.normal(size=(30, 1))
    assert metrics.rmse(values, y) == pytest.approx(math.sqrt(sum((values - y) ** 2).item() / 30))
    assert metrics.r2(values, y) == pytest.approx(r2_score(y, values))
    assert metrics.r2(values, np.zeros((30, 1))) == 0.0


def test_share_of_equal_predictions_counts() -> None:
    first, second = np.log([[0.9, 0.1], [0.2, 0.8]]), np.log([[0.6, 0.4], [0.7, 0.3]])
    assert consistency.equal_predictions(first, second) == 0.5


def test_certifiability_and_effectiveness_of_the_survey() -> None:
    assert effectiveness(0.9, 0.85) == pytest.approx(0.05)
    assert certifiability(0.9, 0.6) == pytest.approx(0.2)
    assert certifiability(0.0, 0.0) == 0.0


def test_distance_is_euclidean_over_all_floating_tensors() -> None:
    first = {"a": torch.tensor([1.0, 2.0]), "b": torch.zeros(2, 2, dtype=torch.float64), "n": torch.tensor([1])}
    second = {"b": torch.full((2, 2), 2.0, dtype=torch.float64), "a": torch.tensor([1.0, 5.0]), "n": torch.tensor([9])}
    assert consistency.weight_distance(first, second) == pytest.approx(5.0)
    assert consistency.weight_distance(first, {"a": first["a"]}) is None
    assert consistency.weight_distance({}, {}) is None


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=9))
def test_band_holds_what_it_was_made_of(values: list[float]) -> None:
    band = Band.of(values)
    assert band is not None
    low, high = band.interval
    assert low <= band.low <= band.median <= band.high <= high
    assert band.count == len(values)


def test_interval_is_missed_by_one_honest_model_in_a_hundred(generator: np.random.Generator) -> None:
    draws = generator.normal(size=(4000, 6))
    missed = 0
    for *references, one in draws:
        low, high = Band.of(references).interval  # type: ignore[union-attr]
        missed += not low <= one <= high
    assert 15 <= missed <= 60  # 1 %, or a little less: the interval is never narrower than its references


def test_one_value_is_no_band() -> None:
    assert Band.of([0.5]) is None
