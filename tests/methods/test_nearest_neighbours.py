"""Nearest neighbours: erased rows, ties by key, answers of a fresh learning, bad input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
import pytest
import torch

from expunge.certificate import Exact
from expunge.errors import DuplicateRows, InputError, MustRetrain
from expunge.features import Pipeline, tabular
from expunge.method import Extends
from expunge.methods import NearestNeighbours
from expunge.methods.nearest_neighbours import ROWS_RELEASED
from expunge.noise import NoiseKey
from expunge.record import digest
from expunge.rows import Block, Rows

NOISE = NoiseKey(bytes(32), 1)


def grid(n: int = 120, classes: int = 3, seed: int = 0) -> Rows:
    """Few distinct places: many ties and duplicates."""
    generator = np.random.default_rng(seed)
    return Rows.of(
        generator.integers(0, 4, size=(n, 2)).astype(float), generator.integers(0, classes, n), classes=classes
    )


def learned(method: NearestNeighbours, rows: Rows) -> Any:
    return method.learn(rows, seed=1, noise=NOISE)


def unread(rows: Rows) -> Rows:
    def never() -> NoReturn:
        raise AssertionError("a row was read")

    return Rows([Block(block.keys, never) for block in rows.blocks], rows.schema)


@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "cosine"])
@pytest.mark.parametrize("weights", ["uniform", "distance"])
def test_answers_after_forgetting_are_those_of_a_fresh_learning_on_all_queries_with_ties(
    metric: Any, weights: Any
) -> None:
    rows, method = grid(), NearestNeighbours(7, metric, weights, bucket_rows=16)
    step = method.forget(learned(method, rows), rows.without([3, 50, 51]), rows.only([3, 50, 51]), noise=NOISE)
    fresh = learned(method, rows.without([3, 50, 51]))
    assert digest(step.record) == digest(fresh)
    queries = {"x": np.array([[a, b] for a in np.arange(-1, 5, 0.5) for b in np.arange(-1, 5, 0.5)])}
    answers = [method.predict(method.release(record), queries) for record in (step.record, fresh)]
    assert torch.equal(*answers)
    assert torch.isfinite(answers[0]).all()
    assert torch.allclose(answers[0].exp().sum(1), torch.ones(len(answers[0]), dtype=torch.float64))


def test_forgetting_reads_no_row_and_touches_few_buckets() -> None:
    rows, method = grid(2000), NearestNeighbours(bucket_rows=64)
    step = method.forget(learned(method, rows), unread(rows.without([8])), unread(rows.only([8])), noise=NOISE)
    assert isinstance(step.certificate, Exact)
    assert ROWS_RELEASED in step.certificate.assumptions
    assert step.stats["buckets_written"] == 1
    assert step.stats["rows_written"] <= 64
    assert step.stats["rows_visited"] == 0
    assert digest(step.record) == digest(learned(method, rows.without([8])))


def test_of_equally_near_rows_the_one_with_the_smaller_key_is_nearer() -> None:
    rows, method = Rows.of(np.zeros((9, 1)), np.arange(9.0), ids=[f"r{i}" for i in range(9)]), NearestNeighbours(2)
    nearest = np.argsort(rows.keys)[:2]
    for order in (slice(None), slice(None, None, -1)):
        shuffled = Rows.from_table(rows.table().take(order))
        values = method.predict(method.release(learned(method, shuffled)), {"x": np.zeros((1, 1))})
        assert float(values) == nearest.mean()


def test_worked_example() -> None:
    rows = Rows.of([[0.0], [1.0], [3.0], [7.0]], [0, 0, 1, 1], classes=2)
    method = NearestNeighbours(3)
    release = method.release(learned(method, rows))
    # nearest to 2 are 1, 3 and 0: two votes of three, and a vote shared out
    expected = torch.tensor([[(2 + 0.5) / 4, (1 + 0.5) / 4]], dtype=torch.float64).log()
    assert torch.allclose(method.predict(release, {"x": np.array([[2.0]])}), expected, atol=1e-15)
    values = Rows.of([[0.0], [1.0], [3.0], [7.0]], [1.0, 2.0, 4.0, 8.0])
    weighted = NearestNeighbours(2, weights="distance")
    release = weighted.release(learned(weighted, values))
    # distances 0.75 and 1.25: weights 4/3 and 4/5; at a row, that row alone
    answers = weighted.predict(release, {"x": np.array([[1.75], [1.0]])})
    expected = torch.tensor([(2 * 4 / 3 + 4 * 4 / 5) / (4 / 3 + 4 / 5), 2.0], dtype=torch.float64)
    assert torch.allclose(answers.ravel(), expected)


def test_fewer_rows_than_neighbours_are_all_neighbours() -> None:
    rows, method = grid(6), NearestNeighbours(5)
    step = method.forget(learned(method, rows), rows.without([0, 1, 2, 3]), rows.only([0, 1, 2, 3]), noise=NOISE)
    scores = method.predict(method.release(step.record), {"x": np.zeros((1, 2))})
    share = np.bincount(rows.y[4:], minlength=3)
    assert torch.allclose(scores.exp(), torch.tensor((share + 1 / 3) / 3)[None])


def test_the_last_row_of_a_class_can_leave_and_the_class_keeps_a_probability() -> None:
    rows = Rows.of(np.arange(5.0)[:, None], [0, 0, 1, 1, 2], classes=3)
    method = NearestNeighbours(2)
    step = method.forget(learned(method, rows), rows.without([4]), rows.only([4]), noise=NOISE)
    scores = method.predict(method.release(step.record), {"x": np.array([[4.0]])})
    assert scores.shape == (1, 3)
    assert torch.isfinite(scores).all()
    with pytest.raises(MustRetrain, match="No row is left"):
        method.forget(step.record, rows.only([0]).select(np.zeros(1, dtype=bool)), rows.without([4]), noise=NOISE)


def test_several_targets_and_extending() -> None:
    generator = np.random.default_rng(2)
    rows = Rows.of(generator.normal(size=(30, 3)), generator.normal(size=(30, 2)))
    method = NearestNeighbours(4, bucket_rows=8)
    assert isinstance(method, Extends)
    half = learned(method, rows.without(range(15)))
    step = method.extend(half, unread(rows.without(range(15))), rows.only(range(15)), noise=NOISE)
    assert digest(step.record) == digest(learned(method, rows))
    assert method.predict(method.release(step.record), rows.columns).shape == (30, 2)
    with pytest.raises(DuplicateRows):
        method.extend(half, rows.without(range(15)), rows.only([20]), noise=NOISE)


def test_through_a_pipeline_with_public_statistics() -> None:
    age = np.arange(40.0)
    age[3] = np.nan
    rows = Rows.of({"age": age, "job": np.array(["cook", "smith"] * 20)}, (np.arange(40) > 20).astype(int), classes=2)
    method = Pipeline(tabular(rows, statistics="public"), NearestNeighbours(3))
    step = method.forget(method.learn(rows, seed=0, noise=NOISE), rows.without([3]), rows.only([3]), noise=NOISE)
    assert digest(step.record) == digest(method.learn(rows.without([3]), seed=0, noise=NOISE))
    exact = Pipeline(tabular(rows), NearestNeighbours(3))
    with pytest.raises(MustRetrain, match="needs features that stay as they were"):
        exact.forget(exact.learn(rows, seed=0, noise=NOISE), rows.without([30]), rows.only([30]), noise=NOISE)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Rows.of({"x": np.array(["a", "b"])}, [0, 1]), "holds text.*Pipeline"),
        (lambda: Rows.of([[np.nan], [1.0]], [0, 1]), "holds NaN.*Pipeline"),
        (lambda: Rows.of([[1e200], [1.0]], [0, 1]), "scale the columns"),
        (lambda: Rows.of({"age": [1.0, 2.0]}, [0, 1]), "reads the column 'x'.*Pipeline"),
        (lambda: Rows.of([[1.0], [1.0]]), "no target"),
        (lambda: Rows.of([[1.0], [1.0]], [0, 0], classes=1), "one class only"),
        (lambda: Rows.of(np.zeros((0, 1)), np.zeros(0)), "no row to learn from"),
    ],
)
def test_rows_that_cannot_be_learned_are_refused(make: Callable[[], Rows], told: str) -> None:
    with pytest.raises(InputError, match=told):
        learned(NearestNeighbours(), make())


def test_settings_and_queries_that_cannot_be_are_refused() -> None:
    for wrong in ({"neighbours": 0}, {"bucket_rows": 0}, {"metric": "l3"}, {"weights": "rank"}):
        with pytest.raises(InputError, match="was given"):
            NearestNeighbours(**wrong)  # type: ignore[arg-type]
    rows, method = grid(), NearestNeighbours()
    record = learned(method, rows)
    with pytest.raises(InputError, match="have 3 columns; those learned from have 2"):
        method.predict(method.release(record), {"x": np.zeros((1, 3))})
    with pytest.raises(InputError, match="give all the rows it was learned from"):
        method.forget(record, rows.without([1, 2]), rows.only([1]), noise=NOISE)
    stranger = Rows.of(np.zeros((1, 2)), [0], ids=["stranger"], classes=3)
    with pytest.raises(InputError, match="never learned, or is gone"):
        method.forget(record, rows.without([1]), stranger, noise=NOISE)
