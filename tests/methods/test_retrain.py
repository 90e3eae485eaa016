"""Retraining: the yardstick."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from expunge.certificate import Exact
from expunge.errors import DuplicateRows, InputError, MustRetrain
from expunge.learners.convex import Convex
from expunge.learners.learner import Learner
from expunge.learners.scikit_learn import ScikitLearn
from expunge.learners.sgd import Sgd
from expunge.method import Adopts, Extends
from expunge.methods.retrain import Retrain
from expunge.models import Mlp
from expunge.noise import NoiseKey
from expunge.record import digest
from expunge.rows import Rows

NOISE = NoiseKey(bytes(32), 1)
LEARNERS = [Sgd(Mlp(hidden=(4,)), epochs=2), Convex(), ScikitLearn("GaussianNB")]


def some_rows(n: int = 30) -> Rows:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(n, 3))
    return Rows.of(x, (x[:, 0] > 0).astype(int))


@pytest.mark.parametrize("learner", LEARNERS, ids=lambda learner: type(learner).__name__)
def test_forgetting_equals_learning_without_and_extending_learning_with(learner: Learner) -> None:
    rows, method = some_rows(), Retrain(learner)
    record = method.learn(rows, seed=1, noise=NOISE)
    step = method.forget(record, rows.without([2, 7]), rows.only([2, 7]), noise=NOISE)
    clean = method.learn(rows.without([2, 7]), seed=1, noise=NOISE)
    assert isinstance(step.certificate, Exact)
    assert digest(step.record) == digest(clean) != digest(record)
    back = method.extend(clean, rows.without([2, 7]), rows.only([2, 7]), noise=NOISE)
    assert digest(back.record) == digest(record)


def test_visits_are_counted() -> None:
    rows, method = some_rows(), Retrain(Sgd(epochs=4))
    record = method.learn(rows, seed=1, noise=NOISE)
    assert method.forget(record, rows.without([2]), rows.only([2]), noise=NOISE).stats == {"rows_visited": 29 * 4}


def test_forgetting_or_adding_nothing_trains_nothing() -> None:
    rows, method = some_rows(), Retrain(Convex())
    none = rows.select(np.zeros(len(rows), dtype=bool))
    record = method.learn(rows, seed=1, noise=NOISE)
    for step in (method.forget(record, rows, none, noise=NOISE), method.extend(record, rows, none, noise=NOISE)):
        assert step.record is record
        assert step.stats == {"rows_visited": 0}


def test_a_model_trained_elsewhere_is_released_until_the_first_request() -> None:
    rows, method = some_rows(), Retrain(Convex())
    weights = {"weight": torch.ones(2, 3), "bias": torch.zeros(2)}
    record = method.adopt(weights, rows, seed=1, noise=NOISE)
    assert torch.equal(method.release(record).tensors["weight"], torch.ones(2, 3).double())
    step = method.forget(record, rows.without([0]), rows.only([0]), noise=NOISE)
    assert digest(step.record) == digest(method.learn(rows.without([0]), seed=1, noise=NOISE))


def test_it_offers_what_it_says() -> None:
    assert isinstance(Retrain(), Adopts)
    assert isinstance(Retrain(), Extends)


def test_wrong_requests_are_refused() -> None:
    rows, method = some_rows(), Retrain(Convex())
    record = method.learn(rows, seed=1, noise=NOISE)
    none = rows.select(np.zeros(len(rows), dtype=bool))
    with pytest.raises(MustRetrain):
        method.forget(record, none, rows, noise=NOISE)
    with pytest.raises(InputError, match="still among"):
        method.forget(record, rows, rows.only([1]), noise=NOISE)
    after = method.forget(record, rows.without([1]), rows.only([1]), noise=NOISE).record
    with pytest.raises(InputError, match=r"29 rows.*28 \+ 2"):
        method.forget(after, rows.without([1, 2]), rows.only([1, 2]), noise=NOISE)
    with pytest.raises(InputError, match="30 rows"):
        method.extend(record, rows.without([1]), rows.only([1]), noise=NOISE)
    with pytest.raises(DuplicateRows):
        method.extend(record, rows, rows.only([1]), noise=NOISE)


@pytest.mark.parametrize(
    ("y", "classes", "match"), [([], 2, "no row"), (None, None, "no target"), ([0, 0], 1, "one class only")]
)
def test_rows_that_teach_nothing_are_refused(y: Any, classes: Any, match: str) -> None:
    x = np.zeros((0 if y == [] else 2, 3))
    rows = Rows.of(x, np.array(y, dtype=int) if y is not None else None, classes=classes)
    with pytest.raises(InputError, match=match):
        Retrain(Convex()).learn(rows, seed=1, noise=NOISE)
