"""Two releases: scores by hand, the attacker on planted changes, and exact retraining, which leaks."""

from __future__ import annotations

import numpy as np
import pytest
from audit_toys import rows_of

from expunge.audits.attacks import roc, two_model
from expunge.audits.candidates import outputs, released
from expunge.errors import InputError
from expunge.learners.convex import Convex
from expunge.methods.retrain import Retrain
from expunge.noise import NoiseKey


def test_scores_by_hand() -> None:
    before, after = np.log([[0.8, 0.1, 0.1]]), np.log([[0.5, 0.25, 0.25]])
    found = two_model.changes(before, after, np.array([0]))
    assert found[two_model.LOSS_RISE][0] == pytest.approx(np.log(0.8 / 0.5))
    assert found[two_model.MARGIN_DROP][0] == pytest.approx(np.log(0.8 / 0.2) - np.log(0.5 / 0.5))
    assert found[two_model.DISTANCE][0] == pytest.approx(np.sqrt(0.3**2 + 2 * 0.15**2))


def test_aggregations_by_hand() -> None:
    before, after = np.log([[0.2, 0.7, 0.1]]), np.log([[0.3, 0.3, 0.4]])
    expected = {
        "direct concatenation": [0.2, 0.7, 0.1, 0.3, 0.3, 0.4],
        "sorted concatenation": [0.7, 0.2, 0.1, 0.3, 0.3, 0.4],
        "direct difference": [-0.1, 0.4, -0.3],
        "sorted difference": [0.4, -0.1, -0.3],
    }
    for how, values in expected.items():
        assert two_model.aggregated(before, after, how)[0].tolist() == pytest.approx(values)  # type: ignore[arg-type]


def test_a_trained_attacker_finds_a_planted_change_and_the_old_answer_alone_does_not() -> None:
    generator = np.random.default_rng(0)
    fate = np.arange(400) % 2 == 0
    before = np.log(generator.dirichlet(np.ones(3), 400))
    after = before - 0.5 * fate[:, None] * np.array([1.0, 0.0, 0.0])
    after -= np.log(np.exp(after).sum(axis=1, keepdims=True))
    found = two_model.aggregated(before, after, "direct difference")
    known, asked = np.arange(400) < 200, np.arange(400) >= 200
    both = two_model.learned(found[known & fate], found[known & ~fate], found[asked])
    old = np.exp(before)
    one = two_model.learned(old[known & fate], old[known & ~fate], old[asked])
    assert roc.auc(both[fate[asked]], both[~fate[asked]]) > 0.95
    assert roc.auc(one[fate[asked]], one[~fate[asked]]) < 0.65
    worse = two_model.degradation(both[fate[asked]], one[fate[asked]])
    assert worse.count > 0.8
    assert worse.rate > 0.1


def test_degradation_of_no_difference_is_none() -> None:
    p = np.array([0.2, 0.9])
    assert two_model.degradation(p, p) == two_model.Degradation(0.5, 0.0)


def test_exact_retraining_is_recognised_by_whoever_has_both_releases() -> None:
    """One linear model, one row a deletion: the row that left changes most among all the others."""
    rows, method = rows_of(120, 1, mislabelled=10), Retrain(Convex(l2=1e-2))
    before = outputs(released(method, method.release(method.learn(rows, seed=0, noise=NoiseKey.fresh(1)))), rows)
    places = []
    for lost in range(0, 40, 4):
        again = method.learn(rows.without([lost]), seed=0, noise=NoiseKey.fresh(1))
        after = outputs(released(method, method.release(again)), rows)
        drop = two_model.changes(before.values, after.values, before.y)[two_model.MARGIN_DROP]
        places.append(roc.auc(drop[[lost]], np.delete(drop, lost)))
    assert np.mean(places) > 0.95
    one = outputs(released(method, method.release(method.learn(rows, seed=0, noise=NoiseKey.fresh(1)))), rows)
    assert np.array_equal(one.values, before.values)


def test_what_is_refused() -> None:
    with pytest.raises(InputError, match="give both as"):
        two_model.changes(np.zeros((2, 3)), np.zeros((2, 2)), np.zeros(2, dtype=int))
    with pytest.raises(InputError, match="at least one row of each fate"):
        two_model.learned(np.zeros((0, 3)), np.zeros((2, 3)), np.zeros((2, 3)))
