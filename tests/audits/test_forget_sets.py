"""The grammar of forget sets, each kind against what it promises, and each refusal."""

from __future__ import annotations

import numpy as np
import pytest
from audit_toys import Overfit, rows_of

from expunge.audits.forget_sets import Chooser, forget_set, parse
from expunge.audits.row_scores import highest, memorisation, outlierness
from expunge.errors import DuplicateRows, InputError, UnknownRows
from expunge.features import Pipeline, tabular
from expunge.learners.convex import Convex
from expunge.methods.retrain import Retrain
from expunge.methods.sisa import Sisa
from expunge.rows import Rows

ROWS = rows_of(200, 1)
LINEAR = Retrain(Convex(l2=1e-2))


@pytest.mark.parametrize(
    ("text", "kind", "count", "share", "name"),
    [
        ("10", "random", 10, None, ""),
        (" 1% ", "random", None, 0.01, ""),
        ("2.5 %", "random", None, 0.025, ""),
        ("random:3", "random", 3, None, ""),
        ("mislabelled:50", "mislabelled", 50, None, ""),
        ("canary:5%", "canary", None, 0.05, ""),
        ("subject:ann", "subject", None, None, "ann"),
        ("subject", "subject", None, None, ""),
        ("class:a:b", "class", None, None, "a:b"),
    ],
)
def test_grammar(text: str, kind: str, count: int | None, share: float | None, name: str) -> None:
    found = parse(text)
    assert (found.kind, found.count, found.share, found.name) == (kind, count, share, name)


@pytest.mark.parametrize("text", ["", "ten", "-1", "mislabeled:5", "outliers", "outliers:", "outliers:x", "1%%", "1e3"])
def test_what_is_no_forget_set_is_told_what_would_be(text: str) -> None:
    with pytest.raises(InputError, match=r"names no forget set; give a number of rows \(10\)"):
        parse(text)


@pytest.mark.parametrize("text", ["0", "0%", "100%", "200", "outliers:1000"])
def test_no_row_and_all_rows_are_refused(text: str) -> None:
    with pytest.raises(InputError, match=f"{text!r} asks for"):
        forget_set(text, ROWS)


def test_random_rows_are_nested_keyed_and_no_matter_of_order() -> None:
    ten = forget_set("10", ROWS, seed=3).ids.tolist()
    assert forget_set("5%", ROWS, seed=3).ids.tolist() == ten
    assert forget_set("1", ROWS, seed=3).ids.tolist() == ten[:1]
    assert forget_set("10", ROWS, seed=4).ids.tolist() != ten
    turned = Rows.from_table(ROWS.table().take(np.arange(200)[::-1]), ROWS.schema.classes)
    for text in ("10", "outliers:10", "mislabelled:10", "canary:10"):
        first, second = forget_set(text, ROWS, seed=3), forget_set(text, turned, seed=3)
        assert sorted(first.ids.tolist()) == sorted(second.ids.tolist())
        ours, theirs = (s.rows.only(first.ids) for s in (first, second))
        where = [theirs.ids.tolist().index(name) for name in ours.ids.tolist()]
        assert (ours.y == theirs.y[where]).all()
        assert (ours.columns["x"] == theirs.columns["x"][where]).all()


def test_mislabelled_rows_all_have_another_label_and_the_rest_is_untouched() -> None:
    found = forget_set("mislabelled:40", ROWS)
    gone = np.isin(found.rows.ids, found.ids)
    assert gone.sum() == 40
    assert (found.rows.y[gone] != ROWS.y[gone]).all()
    assert (found.rows.y[~gone] == ROWS.y[~gone]).all()
    assert set(found.rows.y[gone].tolist()) == {0, 1, 2}
    assert (found.rows.columns["x"] == ROWS.columns["x"]).all()
    assert found.words == "40 mislabelled rows"


def test_a_regressions_wrong_targets_are_those_of_other_rows() -> None:
    rows = Rows.of(ROWS.columns["x"], np.arange(200.0))
    found = forget_set("mislabelled:50", rows)
    gone = np.isin(found.rows.ids, found.ids)
    assert (found.rows.y[gone] != rows.y[gone]).mean() > 0.9
    assert set(found.rows.y.tolist()) <= set(rows.y.tolist())
    assert forget_set("canary:3", rows).rows.y.shape == (203,)


def test_canaries_are_new_rows_of_known_values_that_do_not_go_together() -> None:
    text = np.array(["a", "b", "c", "d"] * 50)
    rows = Rows.of({"x": ROWS.columns["x"], "word": text}, ROWS.y, classes=3, subjects=[f"s{i}" for i in range(200)])
    found = forget_set("canary:30", rows)
    assert found.ids.tolist() == [f"canary-{k}" for k in range(30)]
    planted = found.rows.only(found.ids)
    assert (len(found.rows), len(planted)) == (230, 30)
    for column in range(4):
        assert np.isin(planted.columns["x"][:, column], ROWS.columns["x"][:, column]).all()
    whole = {row.tobytes() for row in ROWS.columns["x"]}
    assert not any(row.tobytes() in whole for row in planted.columns["x"])
    assert set(planted.columns["word"].tolist()) == {"a", "b", "c", "d"}
    assert set(planted.y.tolist()) == {0, 1, 2}
    with pytest.raises(DuplicateRows):
        forget_set("canary:1", found.rows)


def test_outliers_are_the_planted_ones() -> None:
    table = ROWS.table()
    x = table.columns["x"].copy()
    x[[5, 50, 150]] += np.array([8.0, -8.0, 8.0, -8.0])
    rows = Rows.of({"x": x, "rare": np.array(["usual"] * 200)}, ROWS.y, classes=3)
    assert sorted(forget_set("outliers:3", rows).ids.tolist()) == ["150", "5", "50"]
    word = np.array(["usual"] * 200)
    word[77] = "unheard of"
    assert forget_set("outliers:1", Rows.of({"word": word}, ROWS.y, classes=3)).ids.tolist() == ["77"]


def test_outlierness_is_mahalanobis_distance_with_a_shrunk_covariance(generator: np.random.Generator) -> None:
    x = generator.normal(size=(500, 3)) @ np.array([[1, 0.5, 0], [0, 1, 0], [0, 0, 1]])
    found = outlierness(Rows.of(x, np.zeros(500)))
    scaled = (x - x.mean(axis=0)) / x.std(axis=0)
    covariance = scaled.T @ scaled / 500
    covariance = 0.9 * covariance + 0.1 * np.trace(covariance) / 3 * np.eye(3)
    expected = np.sqrt([row @ np.linalg.inv(covariance) @ row for row in scaled])
    assert found.tolist() == pytest.approx(expected.tolist())


def test_outlierness_takes_missing_constant_and_wide_columns(generator: np.random.Generator) -> None:
    x = generator.normal(size=(20, 3))
    x[3, 0], x[:, 1], x[:, 2] = np.nan, 7.0, np.nan
    assert np.isfinite(outlierness(Rows.of(x, np.arange(20) % 2, classes=2))).all()
    assert outlierness(Rows.of(np.ones((5, 2)), np.zeros(5))).tolist() == [0.0] * 5
    wide = generator.normal(size=(30, 2001))
    wide[4] *= 3
    assert outlierness(Rows.of(wide, np.zeros(30))).argmax() == 4


def test_most_memorised_rows_are_mostly_the_mislabelled_ones() -> None:
    rows = rows_of(120, 1, mislabelled=12)
    found = Chooser(seed=1, method=Overfit(), shadows=16).choose("memorised:12", rows)
    assert len(set(found.ids.tolist()) & {str(i) for i in range(12)}) >= 7  # 1 of 12 by chance


def test_memorisation_by_hand() -> None:
    log_p = np.log([[0.9, 0.5], [0.1, 0.5], [0.7, 0.5], [0.3, 0.5]])
    inside = np.array([[1, 0], [0, 1], [1, 0], [0, 1]], dtype=bool)
    assert memorisation(log_p, inside).tolist() == pytest.approx([0.6, 0.0])
    with pytest.raises(InputError, match="in every shadow model or in none"):
        memorisation(log_p[:1], inside[:1])


def test_the_rows_of_highest_influence_are_those_that_leaving_out_moves_the_test_loss_by_most() -> None:
    rows, test = rows_of(80, 1, mislabelled=8), rows_of(200, 9, first=10_000)
    chosen = Chooser(method=LINEAR, test=test).choose("influence:8", rows)
    assert len(set(chosen.ids.tolist()) & {str(i) for i in range(8)}) >= 5
    raw = Rows.of({f"c{k}": ROWS.columns["x"][:, k] * 10.0**k for k in range(4)}, ROWS.y, classes=3)
    method = Pipeline(tabular(raw, statistics="exact"), LINEAR)
    assert len(Chooser(method=method, test=raw).choose("influence:5", raw).ids) == 5


def test_ties_go_by_key() -> None:
    keys = np.array([5, 2, 9, 1], dtype=np.uint64)
    assert highest(np.array([1.0, 1.0, 3.0, 1.0]), keys, 3).tolist() == [2, 3, 1]


def test_subjects_by_name_by_chance_and_by_a_column() -> None:
    rows = Rows.of(
        {"x": np.zeros((6, 1)), "town": np.array(["ulm", "bonn", "ulm", "bonn", "kiel", "ulm"])},
        np.arange(6) % 2,
        subjects=["ann", "bob", "ann", "cem", "cem", "cem"],
    )
    assert forget_set("subject:ann", rows).ids.tolist() == ["0", "2"]
    by_chance = {tuple(forget_set("subject", rows, seed=s).ids.tolist()) for s in range(30)}
    assert by_chance == {("0", "2"), ("1",), ("3", "4", "5")}
    by_town = {tuple(forget_set("subject:town", rows, seed=s).ids.tolist()) for s in range(30)}
    assert by_town == {("0", "2", "5"), ("1", "3"), ("4",)}
    with pytest.raises(UnknownRows):
        forget_set("subject:nobody", rows)
    with pytest.raises(InputError, match="several numbers a row"):
        forget_set("subject:x", rows)
    with pytest.raises(InputError, match="name no subjects"):
        forget_set("subject", ROWS)


def test_whole_classes_by_name_and_by_chance() -> None:
    rows = Rows.of(ROWS.columns["x"], ROWS.y, classes=["cat", "dog", "emu"])
    found = forget_set("class:dog", rows)
    assert (rows.only(found.ids).y == 1).all()
    assert len(found.ids) == (rows.y == 1).sum()
    assert {forget_set("class", rows, seed=s).words for s in range(30)} == {
        f"the whole class {c}" for c in ("cat", "dog", "emu")
    }
    with pytest.raises(UnknownRows, match="the classes are cat, dog, emu"):
        forget_set("class:fox", rows)
    with pytest.raises(InputError, match="no classes"):
        forget_set("class", Rows.of(np.zeros((3, 1)), np.zeros(3)))
    with pytest.raises(InputError, match="some must stay"):
        forget_set("class", Rows.of(np.zeros((3, 1)), np.zeros(3, dtype=int), classes=2))


def test_what_needs_a_model_or_test_rows_says_so() -> None:
    with pytest.raises(InputError, match="depends on a method"):
        forget_set("memorised:5", ROWS)
    with pytest.raises(InputError, match="none were given"):
        Chooser(method=LINEAR).choose("influence:5", ROWS)
    with pytest.raises(InputError, match="depends on a method"):
        Chooser(test=ROWS).choose("influence:5", ROWS)
    with pytest.raises(InputError, match="not one model with derivatives"):
        Chooser(method=Sisa(Convex(), shards=2), test=ROWS).choose("influence:5", ROWS)
    with pytest.raises(InputError, match="no loss that has a gradient"):
        Chooser(method=Overfit(), test=ROWS).choose("influence:5", ROWS)
    with pytest.raises(InputError, match="no target"):
        forget_set("mislabelled:1", Rows.of(np.zeros((3, 1))))
    with pytest.raises(InputError, match="one class only"):
        forget_set("mislabelled:1", Rows.of(np.zeros((3, 1)), np.zeros(3, dtype=int), classes=1))
