"""Curves against scikit-learn, rates at a threshold by counting, shares against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import roc_curve

from expunge.audits.attacks import roc

SCORES = st.lists(st.integers(0, 9), min_size=1, max_size=25).map(lambda values: np.array(values, dtype=float))


@given(SCORES, SCORES)
def test_curve_equals_scikit_learn(members: np.ndarray, others: np.ndarray) -> None:
    labels = np.concatenate([np.ones(len(members)), np.zeros(len(others))])
    fpr, tpr, threshold = roc_curve(labels, np.concatenate([members, others]), drop_intermediate=False)
    found = roc.curve(members, others)
    assert found.fpr.tolist() == pytest.approx(fpr.tolist())
    assert found.tpr.tolist() == pytest.approx(tpr.tolist())
    assert found.threshold.tolist() == threshold.tolist()


@given(SCORES, SCORES, st.sampled_from([0.0, 0.04, 0.1, 0.25, 0.5, 1.0]))
def test_rate_found_is_the_best_point_left_of_it(members: np.ndarray, others: np.ndarray, fpr: float) -> None:
    points = roc.curve(members, others)
    assert roc.tpr_at(members, others, fpr) == pytest.approx(points.tpr[points.fpr <= fpr + 1e-12].max())


def test_a_hundred_others_resolve_one_per_cent_and_no_less() -> None:
    others = np.arange(100.0)
    members = np.array([98.5, 99.5])
    assert roc.tpr_at(members, others, 0.01) == 1.0
    assert roc.tpr_at(members, others, 0.001) == 0.5
    assert roc.tpr_at(members, np.full(100, 98.5), 0.5) == 0.5  # equal scores never help


@given(st.integers(0, 30), st.integers(1, 30))
def test_share_interval_is_clopper_and_pearsons(hits: int, of: int) -> None:
    hits = min(hits, of)
    expected = binomtest(hits, of).proportion_ci(0.95, method="exact")
    assert roc.share_interval(hits, of) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_separation_holds_the_figures() -> None:
    members, others = np.array([1.0, 2.0, 3.0]), np.array([0.0, 2.0])
    found = roc.Separation.of(members, others)
    assert found.auc == pytest.approx(4.5 / 6)
    assert found.tpr_at_1_percent == pytest.approx(1 / 3)
    assert (found.members, found.others) == (3, 2)
    assert found.interval[0] <= found.auc <= found.interval[1]
