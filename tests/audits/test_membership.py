"""Features by brute force, areas against scikit-learn, intervals by their coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from expunge.audits.attacks import membership, roc


def test_features_are_their_formulas() -> None:
    generator = np.random.default_rng(0)
    p = generator.dirichlet(np.ones(3), 12)
    y = generator.integers(0, 3, 12)
    found = membership.features(np.log(p), y)
    for i in range(12):
        of_y, rest = p[i, y[i]], [p[i, j] for j in range(3) if j != y[i]]
        entropy = -sum(q * math.log(q) for q in p[i])
        modified = -(1 - of_y) * math.log(of_y) - sum(q * math.log(1 - q) for q in rest)
        assert found["loss"][i] == pytest.approx(math.log(of_y))
        assert found["confidence"][i] == pytest.approx(of_y)
        assert found["entropy"][i] == pytest.approx(-entropy)
        assert found["modified entropy"][i] == pytest.approx(-modified)
        assert found["margin"][i] == pytest.approx(math.log(of_y) - math.log(sum(rest)))


def test_features_of_certain_models_are_no_nan_and_ordered() -> None:
    log_p = np.array([[0.0, -np.inf, -np.inf], [-np.inf, 0.0, -np.inf], [-1e-20, -46.0, -np.inf]])
    found = membership.features(log_p, np.array([0, 0, 0]))
    for name, values in found.items():
        assert not np.isnan(values).any(), name
        if name != "entropy":
            assert values[1] < values[0], name
    assert found["margin"][2] == pytest.approx(46.0)


def test_every_feature_is_higher_for_a_surer_row() -> None:
    log_p = np.log([[0.98, 0.01, 0.01], [0.4, 0.3, 0.3]])
    for name, (sure, unsure) in membership.features(log_p, np.array([0, 0])).items():
        assert sure > unsure, name


@given(st.lists(st.integers(0, 6), min_size=1, max_size=20), st.lists(st.integers(0, 6), min_size=1, max_size=20))
def test_area_equals_scikit_learn_with_ties(members: list[int], others: list[int]) -> None:
    scores = np.array(members + others, dtype=float)
    labels = np.array([1] * len(members) + [0] * len(others))
    ours = roc.auc(scores[: len(members)], scores[len(members) :])
    assert ours == pytest.approx(roc_auc_score(labels, scores))


def test_interval_covers_the_true_area(generator: np.random.Generator) -> None:
    truth = 0.7602499389  # Phi(1 / sqrt 2)
    covered = 0
    for _ in range(400):
        low, high = roc.auc_interval(generator.normal(1, 1, 40), generator.normal(0, 1, 120))
        covered += low <= truth <= high
    assert 365 <= covered <= 394


def test_interval_is_never_certain() -> None:
    assert roc.auc_interval(np.array([1.0]), np.arange(9.0)) == (0.0, 1.0)
    low, high = roc.auc_interval(np.arange(10.0, 20.0), np.arange(9.0))
    assert low < 1.0
    assert high == 1.0


def test_interval_equals_delong_written_out(generator: np.random.Generator) -> None:
    x, y = generator.normal(0.3, 1, 9), generator.normal(0, 1, 7)
    above = np.array([[float(a > b) + 0.5 * (a == b) for b in y] for a in x])
    variance = np.var(above.mean(axis=1), ddof=1) / 9 + np.var(above.mean(axis=0), ddof=1) / 7
    low, high = roc.auc_interval(x, y)
    assert 0 < low < high
    assert low == pytest.approx(max(0.0, above.mean() - 1.959964 * math.sqrt(variance)), abs=1e-6)
    assert high == pytest.approx(min(1.0, above.mean() + 1.959964 * math.sqrt(variance)), abs=1e-6)


def test_smallest_detectable_effect_is_found_with_power_of_80_per_cent(generator: np.random.Generator) -> None:
    m, n = 200, 300
    shift = roc.smallest_detectable(m, n)
    limit = 0.5 + 1.644854 * math.sqrt((m + n + 1) / (12 * m * n))
    distance = math.sqrt(2) * 0.178  # Phi^-1(0.5 + shift) for this shift, checked below
    areas = [roc.auc(generator.normal(distance, 1, m), generator.normal(0, 1, n)) for _ in range(400)]
    assert np.mean(areas) == pytest.approx(0.5 + shift, abs=0.008)
    assert 0.72 <= np.mean(np.array(areas) > limit) <= 0.88


def test_one_row_can_show_nothing() -> None:
    assert roc.smallest_detectable(1, 10_000) > 0.5
    assert roc.smallest_detectable(50, 500) < 0.12


def test_rank_is_the_share_of_less_sure_references() -> None:
    references = np.array([[0.0, 1.0], [1.0, 1.0], [2.0, 3.0], [3.0, 4.0]])
    assert membership.exposure_rank(np.array([2.5, 1.0]), references).tolist() == [0.75, 0.25]


def test_calibration_takes_the_difficulty_of_rows_away(generator: np.random.Generator) -> None:
    hard, easy = generator.normal(-6, 2, 80), generator.normal(4, 2, 200)  # mislabelled rows and clean ones
    draw = lambda rows, k: rows + 0.5 * generator.normal(size=(k, len(rows)))  # noqa: E731
    references = (draw(hard, 5), draw(easy, 5))
    honest, keeper = draw(hard, 1)[0], draw(hard + 2, 1)[0]
    others = draw(easy, 1)[0]
    assert roc.auc(keeper, others) < 0.05
    assert 0.35 < membership.calibrated_auc(honest, others, references, 0.01) < 0.65
    assert membership.calibrated_auc(keeper, others, references, 0.01) > 0.9


def test_calibrated_area_leaves_the_reference_itself_out(generator: np.random.Generator) -> None:
    references = generator.normal(size=(3, 8)), generator.normal(size=(3, 9))
    rest = [side[[0, 2]].mean(axis=0) for side in references]
    scores = [np.round((side[1] - mean) / 0.01) for side, mean in zip(references, rest, strict=True)]
    ours = membership.calibrated_auc(references[0][1], references[1][1], references, 0.01, 1)
    assert ours == roc.auc(scores[0], scores[1])


def test_changes_below_the_resolution_are_ties() -> None:
    references = np.zeros((3, 5)), np.zeros((3, 7))
    assert membership.calibrated_auc(np.full(5, 1e-3), np.zeros(7), references, 0.01) == 0.5
    assert membership.calibrated_auc(np.full(5, 1e-1), np.zeros(7), references, 0.01) == 1.0
