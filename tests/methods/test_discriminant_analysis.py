"""Discriminant analysis: any history of requests ends at the bytes of learning anew; small classes and flat columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from expunge.certificate import Exact
from expunge.errors import InputError, MustRetrain
from expunge.learners.summation import TWO_RELEASES
from expunge.maths import discriminants, exact_sums
from expunge.method import Adopts, Extends
from expunge.methods import DiscriminantAnalysis
from expunge.noise import NoiseKey
from expunge.record import digest
from expunge.rows import Rows, Table

NOISE = NoiseKey(bytes(32), 1)
FORMS = ("pooled", "each")


def some_rows(n: int, p: int = 3, seed: int = 0, classes: int = 3) -> Rows:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    x = rng.normal(size=(n, p)) @ rng.normal(size=(p, p)) + 1.5 * np.eye(classes, p)[y]
    return Rows.of(x * 10.0 ** np.arange(p), y, classes=classes)


def learned(method: DiscriminantAnalysis, rows: Rows) -> Any:
    return method.learn(rows, seed=0, noise=NOISE)


def predicted(method: DiscriminantAnalysis, rows: Rows, x: Any) -> torch.Tensor:
    return method.predict(method.release(learned(method, rows)), {"x": x})


def unreadable(table: Table) -> Table:
    raise AssertionError("A retained row was read.")


def forgotten(method: DiscriminantAnalysis, record: Any, rows: Rows, ids: Any) -> tuple[Any, Rows]:
    """The record and the rows without these ids; every retained row refuses to be read."""
    retained = rows.without(ids)
    step = method.forget(record, retained.map(unreadable, rows.schema, keep=False), rows.only(ids), noise=NOISE)
    assert isinstance(step.certificate, Exact)
    assert TWO_RELEASES in step.certificate.conditions
    assert step.stats == {"rows_visited": len(rows) - len(retained)}
    return step.record, retained


@pytest.mark.parametrize("covariance", FORMS)
def test_a_thousand_deletions_in_any_order_end_at_the_bytes_of_learning_anew(covariance: Any) -> None:
    method, rows = DiscriminantAnalysis(covariance), some_rows(1100)
    order = np.random.default_rng(1).permutation(1100)
    record, left, size = learned(method, rows), rows, 8
    for start in range(0, 1000, size):
        record, left = forgotten(method, record, left, order[start : start + size].tolist())
    clean = learned(method, left)
    assert digest(record) == digest(clean) != digest(learned(method, rows))
    assert digest(method.release(record)) == digest(method.release(clean))


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(FORMS), st.integers(0, 10_000), st.integers(2, 10), st.data())
def test_deleting_and_adding_back_leaves_no_trace(covariance: Any, seed: int, n: int, data: Any) -> None:
    method, rows = DiscriminantAnalysis(covariance), some_rows(n, 2, seed)
    ids = sorted(data.draw(st.sets(st.integers(0, n - 1), min_size=1, max_size=n - 1)))
    record = learned(method, rows)
    without, left = forgotten(method, record, rows, ids)
    assert digest(without) == digest(learned(method, left))
    assert digest(method.extend(without, left, rows.only(ids), noise=NOISE).record) == digest(record)
    assert torch.isfinite(method.predict(method.release(without), rows.columns)).all()


@pytest.mark.parametrize("covariance", FORMS)
def test_a_class_whose_last_row_leaves_is_as_one_that_never_was(covariance: Any) -> None:
    method, rows = DiscriminantAnalysis(covariance), some_rows(60)
    last = np.flatnonzero(rows.y == 1).tolist()
    one_left, left = forgotten(method, learned(method, rows), rows, last[:-1])
    assert torch.isfinite(method.predict(method.release(one_left), rows.columns)).all()
    record, left = forgotten(method, one_left, left, last[-1:])
    assert digest(record) == digest(learned(method, left))
    scores = method.predict(method.release(record), rows.columns)
    assert torch.allclose(scores[:, 1].exp(), torch.full((60,), 1e-12, dtype=torch.float64), rtol=1e-9)
    two = Rows.of(left.columns["x"], left.y // 2, classes=2)
    assert torch.allclose(scores[:, [0, 2]], predicted(method, two, rows.columns["x"]), atol=1e-9)


@pytest.mark.parametrize("covariance", FORMS)
def test_down_to_one_row_and_not_below(covariance: Any) -> None:
    method, rows = DiscriminantAnalysis(covariance), some_rows(5)
    record, left = forgotten(method, learned(method, rows), rows, [0, 1, 2, 3])
    assert digest(record) == digest(learned(method, left))
    assert (method.predict(method.release(record), rows.columns).argmax(1) == int(left.y[0])).all()
    with pytest.raises(MustRetrain):
        method.forget(record, left.select(np.array([False])), left, noise=NOISE)


@pytest.mark.parametrize("covariance", FORMS)
def test_a_column_that_does_not_vary_any_more_says_nothing(covariance: Any) -> None:
    rows = some_rows(40, 2)
    flat = np.full((40, 1), 0.1)
    flat[7] = 3.0
    method, both = DiscriminantAnalysis(covariance), Rows.of(np.hstack([rows.columns["x"], flat]), rows.y, classes=3)
    record, left = forgotten(method, learned(method, both), both, [7])
    scores = method.predict(method.release(record), left.columns)
    assert torch.allclose(scores, predicted(method, rows.without([7]), left.columns["x"][:, :2]), atol=1e-8)


@pytest.mark.parametrize("covariance", FORMS)
def test_columns_far_from_zero_lose_no_digit(covariance: Any) -> None:
    rows, method = some_rows(200), DiscriminantAnalysis(covariance)
    x = np.round(rows.columns["x"] * 2**10) / 2**10
    near = predicted(method, Rows.of(x, rows.y), x)
    far = predicted(method, Rows.of(x + 2.0**36, rows.y), x + 2.0**36)
    assert torch.allclose(near, far, atol=1e-3)  # the differences from rounded means cost what is left
    shifted = learned(method, Rows.of(x + 2.0**36, rows.y))
    plain = learned(method, Rows.of(x, rows.y))
    found, expected = (discriminants.covariances(r.counts.numpy(), r.sums, r.products) for r in (shifted, plain))
    assert torch.allclose(found, expected, rtol=1e-13, atol=0)


def test_full_shrinkage_chooses_the_nearest_class_mean_but_for_the_prior() -> None:
    rows = some_rows(90, 2)
    means = np.array([rows.columns["x"][rows.y == label].mean(0) for label in range(3)])
    method = DiscriminantAnalysis(shrinkage=1.0, towards="identity")
    scores = predicted(method, rows, rows.columns["x"])
    distances = ((rows.columns["x"][:, None] - means) ** 2).sum(2)
    prior = np.log(np.bincount(rows.y) / 90)
    expected = torch.log_softmax(torch.from_numpy(prior - distances / 2), 1)
    assert torch.allclose(scores, expected)


def test_the_pooled_covariance_is_the_mean_of_those_of_the_classes() -> None:
    rows = some_rows(50)
    x, y = rows.columns["x"], rows.y
    counts, sums = np.bincount(y), exact_sums.sums(x, y, 3)
    pooled = discriminants.covariances(counts, sums, exact_sums.gram(x, y * 0, 1))
    each = discriminants.covariances(counts, sums, exact_sums.gram(x, y, 3))
    assert torch.allclose(pooled[0], (torch.from_numpy(counts / 50)[:, None, None] * each).sum(0), rtol=1e-13)


def test_what_cannot_be_read_is_told() -> None:
    for settings_, told in (
        ({"covariance": "tied"}, "'pooled' or 'each'"),
        ({"towards": "zero"}, "'identity'"),
        ({"shrinkage": 1.5}, "in \\[0, 1\\]"),
        ({"floor": 0.0}, "above 0"),
    ):
        with pytest.raises(InputError, match=told):
            DiscriminantAnalysis(**settings_)  # type: ignore[arg-type]
    method = DiscriminantAnalysis()
    with pytest.raises(InputError, match="declare its classes"):
        learned(method, Rows.of(np.ones((2, 1)), np.array([0.5, 1.5])))
    with pytest.raises(InputError, match="NaN"):
        learned(method, Rows.of(np.array([[np.nan], [1.0]]), np.array([0, 1])))
    with pytest.raises(InputError, match="2 numbers a row; 3 were"):
        predicted(method, some_rows(9), np.ones((1, 2)))


def test_it_extends_and_does_not_adopt() -> None:
    assert issubclass(DiscriminantAnalysis, Extends)
    assert not issubclass(DiscriminantAnalysis, Adopts)
