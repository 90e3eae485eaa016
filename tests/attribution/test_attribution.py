"""Influence against leaving rows out for real."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from expunge import NoiseKey, Rows
from expunge.attribution import (
    Ranking,
    influence,
    nearest_to,
    performance,
    predicted_removal,
    row_loss,
    self_influence,
    trained_model,
    try_removals,
)
from expunge.attribution.curvature import Curvature
from expunge.errors import InputError
from expunge.features import Pipeline, tabular
from expunge.learners.convex import Convex
from expunge.learners.sgd import Sgd
from expunge.method import Method
from expunge.methods.certified_newton import CertifiedNewton
from expunge.methods.dare_forest import DareForest
from expunge.methods.retrain import Retrain
from expunge.methods.sisa import Sisa
from expunge.models import Mlp

KEY = NoiseKey.fresh


def problem(n: int = 120, p: int = 4, seed: int = 0, flips: int = 0, spread: float = 1.0) -> tuple[Rows, Rows]:
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(n + 60, p))
    y = (x @ np.arange(1, p + 1) + spread * draw.normal(size=len(x)) > 0).astype(np.int64)
    y[:flips] = 1 - y[:flips]
    names = [f"r{i}" for i in range(len(x))]
    both = Rows.of({"x": x}, y, ids=names, classes=2)
    return both.only(names[:n]), both.only(names[n:])


def learned(method: Method, rows: Rows):
    record = method.learn(rows, seed=1, noise=KEY(1))
    release = method.release(record)
    return record, release, trained_model(method, release, rows.schema)


LOGISTIC = Retrain(Convex("cross_entropy", l2=0.01, tol=1e-10))


def error_of_influence(n: int) -> float:
    """Of 30 rows left out for real, relative to what that does."""
    rows, validation = problem(n=n, spread=5.0)
    _, release, model = learned(LOGISTIC, rows)
    scores = influence(model, rows, validation).scores[:30]
    now, left_out = performance(LOGISTIC, release, validation).loss, []
    for name in rows.ids[:30]:
        without = LOGISTIC.learn(rows.without([name]), seed=1, noise=KEY(1))
        left_out.append(now - performance(LOGISTIC, LOGISTIC.release(without), validation).loss)
    return float(np.linalg.norm(scores - left_out) / np.linalg.norm(left_out))


def test_influence_is_what_leaving_a_row_out_does_and_the_rest_falls_as_one_over_n():
    few, many = error_of_influence(100), error_of_influence(800)
    assert many < 0.04
    assert few / many > 4


def test_a_gap_between_groups_is_the_difference_of_two_influences():
    rows, validation = problem()
    _, _, model = learned(LOGISTIC, rows)
    one, other = validation.only(validation.ids[:25]), validation.only(validation.ids[25:])
    gap = influence(model, rows, one, against=other).scores
    np.testing.assert_allclose(
        gap, influence(model, rows, one).scores - influence(model, rows, other).scores, atol=1e-14
    )


def test_the_sum_of_all_influences_is_the_gradient_of_the_objective_at_w_and_so_nothing_at_the_minimum():
    rows, validation = problem()
    _, _, model = learned(LOGISTIC, rows)
    assert abs(influence(model, rows, validation).scores.sum()) < 1e-8


def test_a_removal_of_a_quadratic_model_is_predicted_exactly():
    draw = np.random.default_rng(3)
    x = draw.normal(size=(90, 5))
    y = x @ draw.normal(size=5) + draw.normal(size=90)
    whole = Rows.of({"x": x}, y, ids=[f"r{i}" for i in range(90)])
    rows, validation = whole.only(whole.ids[:70]), whole.only(whole.ids[70:])
    method = Retrain(Convex("squared", l2=0.1, tol=1e-11))
    _, _, model = learned(method, rows)
    names = list(rows.ids[:30])
    without = method.release(method.learn(rows.without(names), seed=1, noise=KEY(1)))
    expected = performance(method, without, validation)
    predicted = predicted_removal(model, rows, names, validation)
    assert predicted.rmse == pytest.approx(expected.rmse, abs=1e-8)
    assert predicted.accuracy is None
    assert expected.loss == pytest.approx(expected.rmse**2 / 2)


def test_self_influence_estimates_the_closed_form():
    rows, _ = problem()
    _, _, model = learned(LOGISTIC, rows)
    gradients = model.objective.row_gradients(model.w, rows)
    H = model.objective.hessian(model.w, rows)
    exact = (gradients * torch.linalg.solve(H, gradients.T).T).sum(1).numpy() / (len(rows) - 1)
    estimated = self_influence(model, rows, probes=2000, seed=5).scores
    np.testing.assert_allclose(estimated, exact, rtol=0.2)
    assert np.median(np.abs(estimated / exact - 1)) < 0.05


def test_factors_and_products_give_the_same_scores():
    rows, validation = problem()
    _, _, model = learned(LOGISTIC, rows)
    by_products = Curvature(dense_limit=0, tol=1e-10)
    for rank in (
        lambda curvature: influence(model, rows, validation, curvature=curvature),
        lambda curvature: predicted_removal(model, rows, rows.ids[:9], validation, curvature=curvature),
    ):
        one, other = rank(Curvature()), rank(by_products)
        if isinstance(one, Ranking):
            np.testing.assert_allclose(one.scores, other.scores, atol=1e-9)
        else:
            assert one.loss == pytest.approx(other.loss, abs=1e-9)
    dense, sparse = (self_influence(model, rows, probes=3000, curvature=c).scores for c in (Curvature(), by_products))
    np.testing.assert_allclose(dense, sparse, rtol=0.25)  # other draws of one covariance


def test_a_pipeline_is_ranked_through_its_features_and_a_noisy_release_as_it_is():
    draw = np.random.default_rng(4)
    raw = {"a": draw.normal(3, 2, 100), "b": draw.choice(["u", "v"], 100)}
    y = ((raw["a"] > 3) ^ (draw.random(100) < 0.1)).astype(np.int64)
    rows = Rows.of(raw, y, ids=list(range(100)), classes=2)
    pipeline = Pipeline(tabular(rows), CertifiedNewton(noise_std=1e-4, l2=0.01))
    _record, release, model = learned(pipeline, rows)
    scores = influence(model, rows, rows).scores
    seen = pipeline.mapped(release, rows)
    inner = trained_model(pipeline.method, pipeline.inside(release), seen.schema)
    np.testing.assert_array_equal(scores, influence(inner, seen, seen).scores)
    assert model.w.shape == (inner.objective.dimension,)


def test_mislabelled_rows_come_first_and_forgetting_them_helps_as_predicted():
    rows, validation = problem(n=200, seed=7, flips=20)
    bad = [f"r{i}" for i in range(20)]
    record, release, model = learned(LOGISTIC, rows)
    chance = 20 / 200
    by_influence = influence(model, rows, validation)
    assert by_influence.average_precision(bad) > 5 * chance
    assert self_influence(model, rows, probes=200).average_precision(bad) > 5 * chance
    assert row_loss(LOGISTIC, release, rows).average_precision(bad) > 5 * chance
    (trial,) = try_removals(LOGISTIC, record, rows, validation, by_influence, [20], seed=1, model=model)
    assert trial.forgotten.loss < trial.before.loss - 0.02
    assert trial.random.loss > trial.forgotten.loss + 0.02
    assert trial.forgotten.loss == pytest.approx(trial.retrained.loss, abs=1e-12)
    assert trial.predicted is not None
    predicted, measured = trial.before.loss - trial.predicted.loss, trial.before.loss - trial.forgotten.loss
    assert 0.5 * measured < predicted < 1.2 * measured


def test_a_network_is_ranked_by_gauss_newton_products():
    rows, validation = problem(n=150, seed=9, flips=15)
    method = Retrain(Sgd(Mlp((8,)), epochs=20, batch_size=16, learning_rate=0.1))
    _, _, model = learned(method, rows)
    bad = [f"r{i}" for i in range(15)]
    assert influence(model, rows, validation).average_precision(bad) > 0.3


def test_any_method_is_ranked_by_loss_and_by_nearest_rows():
    rows, _ = problem(n=80)
    forest = DareForest(trees=5, max_depth=4)
    release = forest.release(forest.learn(rows, seed=1, noise=KEY(1)))
    assert len(row_loss(forest, release, rows).first(5)) == 5
    near = nearest_to(rows, ["r3"])
    assert near.first(1) == ("r3",)
    distance = np.linalg.norm((rows.columns["x"] - rows.only(["r3"]).columns["x"]) / rows.columns["x"].std(0), axis=1)
    np.testing.assert_allclose(-near.scores, distance, atol=1e-12)
    same = nearest_to(rows, ["r3"], same_target=True)
    others = rows.y != rows.only(["r3"]).y[0]
    assert (same.scores[others] == same.scores.min()).all()


@pytest.mark.parametrize(
    "method", [DareForest(trees=2, max_depth=2), Sisa(shards=2, slices=1, learner=Convex("cross_entropy"))]
)
def test_a_release_that_is_no_point_of_an_objective_is_refused_with_what_to_do(method):
    rows, _ = problem(n=60)
    release = method.release(method.learn(rows, seed=1, noise=KEY(1)))
    with pytest.raises(InputError, match=r"no gradient to rank rows by.*nearest rows"):
        trained_model(method, release, rows.schema)


def test_recall_and_average_precision_are_those_of_the_definition():
    ranking = Ranking("loss", np.array(["a", "b", "c", "d"]), np.array([1.0, 4.0, 2.0, 3.0]))
    assert ranking.first(4) == ("b", "d", "c", "a")
    np.testing.assert_allclose(ranking.found(["b", "c"]), [0.5, 0.5, 1, 1])
    assert ranking.average_precision(["b", "c"]) == pytest.approx((1 + 2 / 3) / 2)
    assert ranking.average_precision(["a"]) == pytest.approx(1 / 4)


def test_equal_scores_are_ordered_by_key_whatever_the_order_of_rows():
    ids = np.array([f"r{i}" for i in range(50)])
    one, other = Ranking("loss", ids, np.zeros(50)), Ranking("loss", ids[::-1], np.zeros(50))
    assert one.first(50) == other.first(50) != tuple(ids)


def test_bad_input_says_what_is_wrong():
    rows, validation = problem(n=30)
    record, _, model = learned(LOGISTIC, rows)
    ranking = influence(model, rows, validation)
    none = validation.select(np.zeros(len(validation), dtype=bool))
    with pytest.raises(InputError, match="30 rows and 0 for validation"):
        influence(model, rows, none)
    with pytest.raises(InputError, match="no row in this group"):
        influence(model, rows, validation, against=none)
    with pytest.raises(InputError, match="31 rows were asked for, and 30 are ranked"):
        ranking.first(31)
    with pytest.raises(InputError, match="1 rows are said to be known, and 0"):
        ranking.found(["nobody"])
    with pytest.raises(InputError, match="No bad row"):
        nearest_to(rows, [])
    with pytest.raises(InputError, match="No row would stay"):
        predicted_removal(model, rows, rows.ids, validation)
    with pytest.raises(InputError, match="1 to 29 rows can leave"):
        try_removals(LOGISTIC, record, rows, validation, ranking, [30], seed=1)
    with pytest.raises(InputError, match="at least 2 and 1"):
        self_influence(model, rows, probes=0)
    with pytest.raises(InputError, match="max_iterations"):
        Curvature(tol=2.0)
    with pytest.raises(InputError, match="not finite"):
        Ranking.of("loss", rows, np.full(30, np.nan))
