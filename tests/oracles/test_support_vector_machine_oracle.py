"""Support vector machine beside scikit-learn's SVC at a tight tolerance, before and after forgetting.

LIBSVM keeps its kernel matrix in float32, so the rows here are quarters: then what it keeps of a linear or quadratic
kernel is exact.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.svm import SVC

from expunge.learners.class_pairs import decisions
from expunge.methods import SupportVectorMachine
from expunge.noise import NoiseKey
from expunge.rows import Rows

NOISE = NoiseKey(bytes(32), 1)
KERNELS = {"rbf": "rbf", "linear": "linear", "polynomial": "poly"}


def theirs(kernel: str, cost: float, rows: Rows) -> Any:
    x = rows.columns["x"]
    settings: dict[str, Any] = {"kernel": KERNELS[kernel], "gamma": 1 / x.shape[1], "coef0": 1.0, "degree": 2}
    return SVC(C=cost, tol=1e-10, decision_function_shape="ovo", **settings).fit(x, rows.y)


def check(method: SupportVectorMachine, record: Any, rows: Rows, queries: Any) -> None:
    mine = decisions(method.release(record), {"x": queries}).numpy()
    other = theirs(method.kernel, method.cost, rows).decision_function(queries)
    if rows.classes == 2:
        assert np.abs(mine[:, 0] - other).max() < 1e-6
    else:  # theirs is positive for the earlier class of a pair
        assert np.abs(mine + other).max() < 1e-6


@pytest.mark.parametrize("kernel", list(KERNELS))
@pytest.mark.parametrize(("classes", "cost"), [(2, 0.3), (2, 5.0), (3, 1.0)])
def test_decisions_are_scikit_learns_to_1e_6_before_and_after_forgetting(
    kernel: Any, classes: int, cost: float
) -> None:
    generator = np.random.default_rng(classes)
    y = np.arange(90) % classes
    x = generator.normal(size=(90, 4)) + 1.2 * np.eye(classes, 4)[y]
    rows, queries = Rows.of(np.round(4 * x) / 4, y, classes=classes), generator.normal(size=(40, 4))
    method = SupportVectorMachine(kernel, cost, degree=2)
    record = method.learn(rows, seed=0, noise=NOISE)
    check(method, record, rows, queries)
    for ids in ([3], [7, 20, 33, 50]):
        record = method.forget(record, rows.without(ids), rows.only(ids), noise=NOISE).record
        rows = rows.without(ids)
        check(method, record, rows, queries)


def test_copies_count_as_often_as_they_stand() -> None:
    generator = np.random.default_rng(5)
    x = generator.integers(0, 5, size=(80, 2)).astype(float)
    y = (x.sum(1) + 2 * generator.normal(size=80) > 4).astype(int)
    rows, method = Rows.of(x, y, classes=2), SupportVectorMachine("rbf", 0.7)
    record = method.learn(rows, seed=0, noise=NOISE)
    assert len(record.machines[0].keys) < 50
    check(method, record, rows, x)
    gone = list(range(25))
    record = method.forget(record, rows.without(gone), rows.only(gone), noise=NOISE).record
    check(method, record, rows.without(gone), x)


def test_classes_are_those_of_scikit_learn() -> None:
    generator = np.random.default_rng(6)
    y = np.arange(120) % 4
    rows = Rows.of(generator.normal(size=(120, 4)) + 1.5 * np.eye(4)[y], y, classes=4)
    method, queries = SupportVectorMachine("rbf", 1.0), generator.normal(size=(300, 4))
    scores = method.predict(method.release(method.learn(rows, seed=0, noise=NOISE)), {"x": queries})
    again = theirs("rbf", 1.0, rows).set_params(decision_function_shape="ovr", break_ties=True)
    assert (scores.argmax(1).numpy() == again.predict(queries)).all()
    assert np.allclose(scores.exp().sum(1), 1)
