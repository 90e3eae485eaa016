"""scikit-learn's estimators, taken apart into arrays and put together again."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning

from expunge import keyed
from expunge.errors import InputError
from expunge.learners.learner import Training
from expunge.learners.scikit_learn import ABSENT, CLASSIFIERS, ESTIMATORS, REGRESSORS, ScikitLearn
from expunge.record import decode, digest, encode
from expunge.rows import Rows

PURPOSE = ("test",)
PARAMS: dict[str, dict[str, Any]] = {
    "SGDClassifier": {"loss": "log_loss"},
    "MLPClassifier": {"hidden_layer_sizes": (4, 3), "max_iter": 5},
    "MLPRegressor": {"hidden_layer_sizes": (4,), "max_iter": 5},
    "Lasso": {"alpha": 0.01},
}


def rows_for(name: str, classes: int = 3) -> Rows:
    generator = np.random.default_rng(0)
    x = np.abs(generator.normal(size=(80, 4)))
    if name in REGRESSORS:
        return Rows.of(x, x @ [1.0, 2.0, 0.0, -1.0])
    return Rows.of(x, (x[:, 0] > 0.7).astype(int) + (x[:, 1] > 1) * (classes > 2), classes=classes)


def trained(learner: ScikitLearn, rows: Rows) -> Training:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return learner.train(learner.start(rows.schema, 1, PURPOSE), rows, seed=1, purpose=PURPOSE)


def learner_for(name: str) -> ScikitLearn:
    return ScikitLearn(name, PARAMS.get(name, {}))


def fitted(name: str, rows: Rows) -> Any:
    """scikit-learn's own estimator, on the same rows in the same order."""
    order = np.argsort(rows.keys)
    drawn = {"random_state": keyed.subseed(1, *PURPOSE, "fit") % 2**32}
    kind = ESTIMATORS[name][0]
    known = kind().get_params()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        estimator = kind(**PARAMS.get(name, {}), **(drawn if "random_state" in known else {}))
        return estimator.fit(rows.columns["x"][order], rows.y[order])


@pytest.mark.parametrize("name", sorted(CLASSIFIERS))
@pytest.mark.parametrize("classes", [2, 3])
def test_a_classifier_put_together_again_predicts_as_before(name: str, classes: int) -> None:
    rows, learner = rows_for(name, classes), learner_for(name)
    release = learner.release(trained(learner, rows))
    tree, tensors = encode(release)
    stored = decode(tree, tensors)
    ours = learner.predict(stored, rows.columns).exp().numpy()
    np.testing.assert_allclose(ours, fitted(name, rows).predict_proba(rows.columns["x"]), atol=1e-9)


@pytest.mark.parametrize("name", sorted(REGRESSORS))
def test_a_regressor_put_together_again_predicts_as_before(name: str) -> None:
    rows, learner = rows_for(name), learner_for(name)
    ours = learner.predict(learner.release(trained(learner, rows)), rows.columns)
    assert ours.shape == (80, 1)
    np.testing.assert_allclose(ours[:, 0].numpy(), fitted(name, rows).predict(rows.columns["x"]), atol=1e-9)


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_the_order_of_the_rows_does_not_matter(name: str) -> None:
    rows, learner = rows_for(name), learner_for(name)
    table = rows.table()
    shuffled = Rows.from_table(table.take(np.random.default_rng(1).permutation(80)), rows.schema.classes)
    assert digest(trained(learner, shuffled)) == digest(trained(learner, rows))


@pytest.mark.parametrize("name", sorted(CLASSIFIERS))
def test_an_absent_class_gets_next_to_nothing(name: str) -> None:
    rows, learner = rows_for(name), learner_for(name)
    training = trained(learner, rows.select(rows.y != 1))
    scores = learner.predict(learner.release(training), rows.columns)
    assert scores.shape == (80, 3)
    torch.testing.assert_close(scores[:, 1].exp(), torch.full((80,), ABSENT).double(), rtol=1e-6, atol=0.0)
    torch.testing.assert_close(scores.exp().sum(1), torch.ones(80).double())


@pytest.mark.parametrize("name", sorted(CLASSIFIERS))
def test_one_class_is_answered_by_itself(name: str) -> None:
    rows, learner = rows_for(name), learner_for(name)
    training = trained(learner, rows.select(rows.y == 2))
    assert training.tensors == {}
    scores = learner.predict(learner.release(training), rows.columns)
    assert (scores.argmax(1) == 2).all()
    assert torch.isfinite(scores).all()


def test_the_list_is_closed_and_says_so() -> None:
    with pytest.raises(InputError, match=r"KNeighborsClassifier.*expected one of"):
        ScikitLearn("KNeighborsClassifier")
    with pytest.raises(InputError, match="random_state"):
        ScikitLearn("Ridge", {"random_state": 3})
    with pytest.raises(InputError, match="log_loss"):
        ScikitLearn("SGDClassifier")


def test_the_target_must_fit_the_estimator() -> None:
    with pytest.raises(InputError, match="classifier"):
        ScikitLearn("Ridge").start(rows_for("GaussianNB").schema, 1, PURPOSE)
    with pytest.raises(InputError, match="regressor"):
        ScikitLearn("GaussianNB").start(rows_for("Ridge").schema, 1, PURPOSE)


def test_nothing_is_adopted() -> None:
    with pytest.raises(InputError, match="cannot be adopted"):
        ScikitLearn().adopt(rows_for("GaussianNB").schema, {})
