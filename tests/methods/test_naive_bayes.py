"""Naive Bayes: any history of requests ends at the bytes of learning anew, and no retained row is read on the way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from expunge.certificate import Exact
from expunge.errors import DuplicateRows, InputError, MustRetrain, SchemaError
from expunge.learners.summation import TWO_RELEASES
from expunge.method import Adopts, Extends
from expunge.methods import NaiveBayes
from expunge.noise import NoiseKey
from expunge.record import digest
from expunge.rows import Rows, Table

NOISE = NoiseKey(bytes(32), 1)
MODELS = ("gaussian", "multinomial", "bernoulli", "categorical", "mixed")


def some_rows(n: int, model: str, seed: int = 0, classes: int = 3) -> Rows:
    """Rows of every size of numbers, with ties and duplicates, that the model can read."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    numbers = np.round(rng.normal(size=(n, 2)) * 10.0 ** rng.integers(-9, 9, size=(n, 2)), 7)
    job = np.array(["nurse", "smith", "cook", ""])[rng.integers(0, 4, n)]
    columns: dict[str, Any] = {
        "gaussian": {"x": numbers},
        "multinomial": {"x": np.abs(numbers)},
        "bernoulli": {"x": numbers},
        "categorical": {"job": job, "rooms": rng.integers(0, 5, (n, 2))},
        "mixed": {"job": job, "x": numbers.astype(np.float32)},
    }[model]
    return Rows.of(columns, y, classes=classes)


def learned(method: NaiveBayes, rows: Rows) -> Any:
    return method.learn(rows, seed=0, noise=NOISE)


def unreadable(table: Table) -> Table:
    raise AssertionError("A retained row was read.")


def forgotten(method: NaiveBayes, record: Any, rows: Rows, ids: Any) -> tuple[Any, Rows]:
    """The record and the rows without these ids; every retained row refuses to be read."""
    retained = rows.without(ids)
    hidden = retained.map(unreadable, rows.schema, keep=False)
    step = method.forget(record, hidden, rows.only(ids), noise=NOISE)
    assert isinstance(step.certificate, Exact)
    assert step.stats == {"rows_visited": len(rows) - len(retained)}
    return step.record, retained


@pytest.mark.parametrize("model", MODELS)
def test_a_thousand_deletions_in_any_order_end_at_the_bytes_of_learning_anew(model: str) -> None:
    method, rows = NaiveBayes(model), some_rows(1100, model)
    order = np.random.default_rng(1).permutation(1100)
    sizes = {"mixed": 3, "gaussian": 25}.get(model, 40)
    record, left = learned(method, rows), rows
    for start in range(0, 1000, sizes):
        record, left = forgotten(method, record, left, order[start : min(start + sizes, 1000)].tolist())
    assert len(left) == 100
    clean = learned(method, left)
    assert digest(record) == digest(clean)
    assert digest(method.release(record)) == digest(method.release(clean))
    everything_at_once, _ = forgotten(method, learned(method, rows), rows, order[:1000].tolist())
    assert digest(everything_at_once) == digest(clean)
    assert digest(learned(method, rows)) != digest(clean)


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(MODELS), st.integers(0, 10_000), st.integers(3, 12), st.data())
def test_deleting_and_adding_back_leaves_no_trace(model: str, seed: int, n: int, data: Any) -> None:
    method, rows = NaiveBayes(model), some_rows(n, model, seed)
    ids = data.draw(st.sets(st.integers(0, n - 1), min_size=1, max_size=n - 1))
    record = learned(method, rows)
    without, left = forgotten(method, record, rows, sorted(ids))
    assert digest(without) == digest(learned(method, left))
    back = method.extend(without, left, rows.only(sorted(ids)), noise=NOISE)
    assert digest(back.record) == digest(record)
    assert isinstance(back.certificate, Exact)


def test_order_of_rows_their_ids_and_their_blocks_do_not_matter() -> None:
    method, rows = NaiveBayes(), some_rows(300, "mixed")
    table, order = rows.table(), np.random.default_rng(2).permutation(300)
    other = Rows.of(
        {name: column[order] for name, column in table.columns.items()}, table.y[order], ids=range(1000, 1300)
    )
    pieces = Rows([block for start in range(0, 300, 7) for block in other.select(_run(start, 7)).blocks], other.schema)
    assert digest(learned(method, rows)) == digest(learned(method, other)) == digest(learned(method, pieces))


def _run(start: int, length: int) -> np.ndarray:
    return np.isin(np.arange(300), np.arange(start, start + length))


def test_the_certificate_says_that_two_releases_give_the_row_away_and_they_do() -> None:
    method, rows = NaiveBayes("gaussian"), some_rows(9, "gaussian")
    record = learned(method, rows)
    step = method.forget(record, rows.without([4]), rows.only([4]), noise=NOISE)
    assert isinstance(step.certificate, Exact)
    assert TWO_RELEASES in step.certificate.conditions
    before, after = record.statistics, step.record.statistics
    label = int(rows.y[4])
    stolen = (before.sums - after.sums).rounded()
    assert stolen[label].tolist() == rows.columns["x"][4].tolist()
    published = [method.release(r).tensors["mean"][label].numpy() for r in (record, step.record)]
    n = int(before.counts[label])
    assert np.allclose(published[0] * n - published[1] * (n - 1), rows.columns["x"][4])


@pytest.mark.parametrize("model", MODELS)
def test_a_class_whose_last_row_leaves_is_as_one_that_never_was(model: str) -> None:
    method, rows = NaiveBayes(model), some_rows(40, model)
    last = np.flatnonzero(rows.y == 1).tolist()
    record, left = forgotten(method, learned(method, rows), rows, last)
    assert digest(record) == digest(learned(method, left))
    scores = method.predict(method.release(record), rows.columns)
    assert torch.isfinite(scores).all()
    assert torch.allclose(scores[:, 1].exp(), torch.full((40,), 1e-12, dtype=torch.float64), rtol=1e-9)
    two = Rows.of(left.columns, np.where(left.y == 2, 1, 0), ids=left.ids.tolist(), classes=2)
    plain = method.predict(method.release(learned(method, two)), rows.columns)
    assert torch.allclose(scores[:, [0, 2]], plain, atol=1e-12)


def test_down_to_one_row_and_not_below() -> None:
    for model in MODELS:
        method, rows = NaiveBayes(model), some_rows(6, model)
        record, left = forgotten(method, learned(method, rows), rows, [0, 1, 2, 3, 4])
        assert digest(record) == digest(learned(method, left))
        scores = method.predict(method.release(record), rows.columns)
        assert (scores.argmax(1) == int(left.y[0])).all()
        with pytest.raises(MustRetrain, match="No row is left"):
            method.forget(record, left.select(np.array([False])), left, noise=NOISE)


def test_columns_that_do_not_vary_any_more_say_nothing() -> None:
    x = np.array([[1.0, 5.0], [2.0, 5.0], [1.5, 5.0], [7.0, 6.0]])
    rows = Rows.of(x, np.array([0, 0, 1, 1]))
    method = NaiveBayes("gaussian")
    record, left = forgotten(method, learned(method, rows), rows, [3])
    release = method.release(record)
    assert release.tensors["variance"][:, 1].tolist() == [release.tensors["variance"][1, 1].item()] * 2
    assert digest(record) == digest(learned(method, left))
    constant = Rows.of(np.full((4, 2), 0.1), np.array([0, 0, 0, 1]))
    record = learned(method, constant)
    assert (method.release(record).tensors["variance"] == 1.0).all()
    scores = method.predict(method.release(record), constant.columns).exp()
    assert torch.allclose(scores, torch.tensor([[0.75, 0.25]] * 4, dtype=torch.float64))


def test_a_missing_number_is_not_counted_and_says_nothing() -> None:
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(60, 2)), np.arange(60) % 3
    x[:, 0] += y
    gaps = x.copy()
    gaps[::5, 0] = gaps[y == 2, 1] = np.nan  # class 2 lacks every number of the second column
    rows, method = Rows.of(gaps, y, classes=3), NaiveBayes(variance_smoothing=0, least_variance=1e-12)
    release = method.release(learned(method, rows))
    seen = ~np.isnan(gaps)
    expected = [[gaps[(y == c) & seen[:, j], j].mean() for j in range(2)] for c in range(2)]
    assert np.allclose(release.tensors["mean"][:2].numpy(), expected)
    assert np.allclose(release.tensors["mean"][2, 1].item(), np.nanmean(gaps[:, 1]))
    one = Rows.of(x[seen[:, 0]][:, :1], y[seen[:, 0]], classes=3)
    alone = method.predict(method.release(learned(method, one)), {"x": x[:, :1]})
    both = method.predict(release, {"x": np.concatenate([x[:, :1], np.full((60, 1), np.nan)], axis=1)})
    counts = release.tensors["log_prior"] - method.release(learned(method, one)).tensors["log_prior"]
    assert torch.allclose(both, torch.log_softmax(alone + counts, 1))
    record, left = forgotten(method, learned(method, rows), rows, [0, 1, 5, 10])
    assert digest(record) == digest(learned(method, left))


def test_the_variance_does_not_cancel() -> None:
    x = 2.0**40 + np.array([[0.0], [1.0], [2.0], [3.0]])
    rows, method = (
        Rows.of(x, np.array([0, 0, 1, 1])),
        NaiveBayes("gaussian", variance_smoothing=0, least_variance=1e-30),
    )
    assert method.release(learned(method, rows)).tensors["variance"].tolist() == [[0.25], [0.25]]
    assert (x[:2] ** 2).mean() - x[:2].mean() ** 2 != 0.25


def test_a_level_without_rows_is_gone_unless_it_was_declared() -> None:
    job = ["cook", "nurse", "cook", "", "smith"]
    rows = Rows.of({"job": np.array(job)}, np.array([0, 1, 0, 1, 1]))
    seen = NaiveBayes("categorical")
    record, left = forgotten(seen, learned(seen, rows), rows, [4])
    assert record.statistics.levels["job"].levels == ("cook", "nurse")
    assert digest(record) == digest(learned(seen, left))
    release = seen.release(record)
    assert release.settings["levels"]["job"] == ("cook", "nurse")
    told = seen.predict(release, {"job": np.array(["smith", ""])})
    assert torch.allclose(told, torch.tensor([[0.5, 0.5]] * 2, dtype=torch.float64).log())  # the priors, nothing more
    declared = NaiveBayes("categorical", levels={"job": ("smith", "nurse", "cook", "judge")})
    record, _ = forgotten(declared, learned(declared, rows), rows, [4])
    release = declared.release(record)
    assert release.settings["levels"]["job"] == ("smith", "nurse", "cook", "judge")
    assert torch.allclose(release.tensors["levels/job"].exp().sum(0), torch.ones(2, dtype=torch.float64))
    assert record.statistics.levels["job"].levels == ("cook", "nurse")


def test_the_example_of_counts_by_hand() -> None:
    """Cao & Yang 2015, section 4: a model is made of sums, and unlearning updates them: P = count / count."""
    spam = np.array(["yes", "yes", "no", "yes", "no", "no"])
    rows = Rows.of({"offer": spam}, np.array([1, 1, 1, 0, 0, 0]))
    method = NaiveBayes("categorical", smoothing=1e-9)
    shares = method.release(learned(method, rows)).tensors["levels/offer"].exp()  # levels "no", "yes"
    assert torch.allclose(shares, torch.tensor([[2 / 3, 1 / 3], [1 / 3, 2 / 3]], dtype=torch.float64))
    record, _ = forgotten(method, learned(method, rows), rows, [0])
    release = method.release(record)
    expected = torch.tensor([[2 / 3, 1 / 2], [1 / 3, 1 / 2]], dtype=torch.float64)
    assert torch.allclose(release.tensors["levels/offer"].exp(), expected)
    assert torch.allclose(release.tensors["log_prior"].exp(), torch.tensor([3 / 5, 2 / 5], dtype=torch.float64))


def test_mixed_is_gaussian_of_numbers_and_categorical_of_text() -> None:
    rows = some_rows(80, "mixed")
    x, job, y = rows.columns["x"], rows.columns["job"], rows.y
    methods = NaiveBayes("mixed"), NaiveBayes("gaussian"), NaiveBayes("categorical")
    parts = rows, Rows.of(x, y, classes=3), Rows.of({"job": job}, y, classes=3)
    both, numbers, levels = (
        method.predict(method.release(learned(method, part)), part.columns)
        for method, part in zip(methods, parts, strict=True)
    )
    log_prior = methods[0].release(learned(methods[0], rows)).tensors["log_prior"]
    assert torch.allclose(both, torch.log_softmax(numbers + levels - log_prior, 1))


def test_whole_numbers_are_levels_by_their_digits_and_nan_is_missing() -> None:
    method = NaiveBayes("categorical")
    y = np.array([0, 1, 1, 0])
    as_text = Rows.of({"a": np.array(["3", "-1", "", "3"])}, y)
    for values in ([3.0, -1.0, np.nan, 3.0], [3, -1, 7, 3]):
        record = learned(method, Rows.of({"a": np.array(values)}, y))
        if 7 not in values:
            assert digest(record.statistics) == digest(learned(method, as_text).statistics)
    assert record.statistics.levels["a"].levels == ("-1", "3", "7")


def test_what_cannot_be_read_is_told() -> None:
    y = np.array([0, 1])
    cases = [
        ("gaussian", {"job": np.array(["a", "b"])}, "holds text"),
        ("gaussian", {"x": np.array([1.0, np.nan])}, "NaN, infinity"),
        ("mixed", {"x": np.array([1.0, np.inf])}, "NaN, infinity"),
        ("gaussian", {"x": np.array([1.0, 1e200])}, "above 1e\\+140"),
        ("multinomial", {"x": np.array([1.0, -1.0])}, "may be negative"),
        ("categorical", {"x": np.array([1.0, 1.5])}, "whole numbers"),
        ("categorical", {"x": np.array([1.0, np.inf])}, "whole numbers"),
    ]
    for model, columns, told in cases:
        with pytest.raises(InputError, match=told):
            learned(NaiveBayes(model), Rows.of(columns, y))
    with pytest.raises(InputError, match="declare its classes"):
        learned(NaiveBayes(), Rows.of(np.ones((2, 1)), np.array([0.5, 1.5])))
    with pytest.raises(InputError, match="declared levels are"):
        learned(NaiveBayes(levels={"job": ("a",)}), Rows.of({"job": np.array(["a", "b"])}, y))
    with pytest.raises(InputError, match="levels are declared for"):
        learned(NaiveBayes(levels={"jobs": ("a",)}), Rows.of({"job": np.array(["a", "b"])}, y))
    method, rows = NaiveBayes(), Rows.of({"a": np.ones(3), "b": np.zeros((3, 2))}, np.array([0, 1, 1]))
    record = learned(method, rows)
    release = method.release(record)
    with pytest.raises(SchemaError, match="'b' is absent"):
        method.predict(release, {"a": np.ones(3)})
    with pytest.raises(SchemaError, match="3 value"):
        method.predict(release, {"a": np.ones(3), "b": np.zeros((3, 3))})
    with pytest.raises(DuplicateRows):
        method.extend(record, rows, rows.only([1]), noise=NOISE)
    with pytest.raises(InputError, match="3 rows"):
        method.forget(record, rows.without([0, 1]), rows.only([1]), noise=NOISE)


@pytest.mark.parametrize(
    "wrong",
    [
        {"model": "poisson"},
        {"prior": "flat"},
        {"smoothing": 0.0},
        {"smoothing": float("nan")},
        {"variance_smoothing": -1.0},
        {"variance_smoothing": 0.0},
        {"least_variance": float("inf")},
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        NaiveBayes(**wrong)


def test_it_extends_and_does_not_adopt() -> None:
    assert issubclass(NaiveBayes, Extends)
    assert not issubclass(NaiveBayes, Adopts)
