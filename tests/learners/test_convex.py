"""Penalised linear models: against closed forms, scikit-learn, and themselves in another order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from expunge.errors import InputError, NotConverged
from expunge.learners.convex import Convex
from expunge.learners.learner import Training
from expunge.record import digest
from expunge.rows import Rows

PURPOSE = ("test",)


def data(n: int = 60) -> tuple[Any, Any]:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(n, 3))
    return x, (x[:, 0] + generator.normal(size=n) > 0).astype(int)


def trained(learner: Convex, rows: Rows) -> Training:
    return learner.train(learner.start(rows.schema, 1, PURPOSE), rows, seed=1, purpose=PURPOSE)


def test_ridge_equals_its_closed_form() -> None:
    x, _ = data()
    y = x @ [1.0, 2.0, 3.0] + 0.5
    training = trained(Convex("squared", l2=0.1, tol=1e-12), Rows.of(x, y))
    ones = np.c_[x, np.ones(len(x))]
    w = np.linalg.solve(ones.T @ ones / len(x) + 0.1 * np.eye(4), ones.T @ y / len(x))
    np.testing.assert_allclose(training.tensors["weight"].numpy()[0], w[:3], atol=1e-10)
    np.testing.assert_allclose(training.tensors["bias"].numpy()[0], w[3], atol=1e-10)


def test_logistic_regression_equals_that_of_scikit_learn() -> None:
    x, y = data()
    ones = np.c_[x, np.ones(len(x))]
    training = trained(Convex("logistic", l2=0.05, tol=1e-10), Rows.of(x, y))
    theirs = LogisticRegression(C=1 / (0.05 * len(x)), fit_intercept=False, tol=1e-12, max_iter=1000).fit(ones, y)
    ours = torch.cat([training.tensors["weight"][0], training.tensors["bias"]]).numpy()
    np.testing.assert_allclose(ours, theirs.coef_[0], atol=1e-6)


@pytest.mark.parametrize("loss", ["cross_entropy", "logistic"])
def test_predictions_are_log_probabilities_over_the_classes(loss: str) -> None:
    x, y = data()
    learner = Convex(loss)
    scores = learner.predict(learner.release(trained(learner, Rows.of(x, y))), {"x": x})
    torch.testing.assert_close(scores.exp().sum(1), torch.ones(len(x)).double())
    assert (scores.argmax(1).numpy() == y).mean() > 0.7


def test_the_order_and_type_of_the_rows_do_not_matter() -> None:
    x, y = data()
    where = np.random.default_rng(3).permutation(len(x))
    rows, shuffled = Rows.of(x, y), Rows.of(x[where], y[where], ids=where)
    assert digest(trained(Convex(), shuffled)) == digest(trained(Convex(), rows))


def test_memory_that_is_not_aligned_gives_the_same_bits() -> None:
    x, y = data()
    room = np.empty(x.size + 1)
    unaligned = room[1:].reshape(x.shape)
    unaligned[:] = x
    assert digest(trained(Convex(), Rows.of(unaligned, y))) == digest(trained(Convex(), Rows.of(x, y)))


def test_classes_that_are_absent_and_images_are_learned() -> None:
    x, y = data()
    rows = Rows.of(x.reshape(-1, 1, 3), y, classes=4)
    learner = Convex()
    scores = learner.predict(learner.release(trained(learner, rows)), rows.columns)
    assert scores.shape == (60, 4)
    only = trained(learner, rows.select(y == 0))
    assert (learner.predict(learner.release(only), rows.columns).argmax(1) == 0).all()


def test_a_warm_start_saves_visits_and_ends_within_tol() -> None:
    x, y = data()
    rows, learner = Rows.of(x, y), Convex(tol=1e-8)
    cold = trained(learner, rows)
    warm = learner.train(cold, rows, seed=1, purpose=PURPOSE)
    assert warm.visits - cold.visits == len(x)
    assert torch.equal(warm.tensors["weight"], cold.tensors["weight"])


def test_a_solve_that_stops_early_is_an_error() -> None:
    x, y = data()
    with pytest.raises(NotConverged, match="max_iterations"):
        trained(Convex(max_iterations=1), Rows.of(x, y))


@pytest.mark.parametrize("wrong", [{"l2": 0.0}, {"tol": 0.0}, {"max_iterations": 0}, {"loss": "hinge"}])
def test_wrong_hyperparameters_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        Convex(**wrong)


def test_adoption_checks_names_and_shapes() -> None:
    x, y = data()
    rows, learner = Rows.of(x, y), Convex("logistic")
    weights = {"weight": torch.ones(1, 3), "bias": torch.zeros(1)}
    assert torch.equal(
        learner.release(learner.adopt(rows.schema, weights)).tensors["weight"], weights["weight"].double()
    )
    with pytest.raises(InputError, match="expected"):
        learner.adopt(rows.schema, {"weight": torch.ones(2, 3), "bias": torch.zeros(2)})


def test_raw_columns_are_refused_with_the_remedy() -> None:
    with pytest.raises(InputError, match="Pipeline"):
        Convex().start(Rows.of({"age": [1.0, 2.0]}, [0, 1]).schema, 1, PURPOSE)
