"""DaRE forests: equality with learning again bit for bit, what a step reads and rebuilds, weights, missing values."""

from __future__ import annotations

import dataclasses
from typing import Any

import joblib
import numpy as np
import pytest
import torch
from forest_problems import NOISE, forgotten, is_category, learned, problem, trees_of
from sklearn.ensemble import RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from expunge.certificate import Exact
from expunge.errors import DuplicateRows, InputError, MustRetrain, SchemaError, UnknownRows
from expunge.learners.coded_columns import coded, number_of
from expunge.method import Extends
from expunge.methods.dare_forest import DareForest
from expunge.noise import NoiseKey
from expunge.record import digest
from expunge.rows import Block, Rows


def table(n: int = 60, seed: int = 0, classes: int = 3) -> Rows:
    g = np.random.default_rng(seed)
    job = np.array(["nurse", "smith", "cook", ""], dtype=np.dtypes.StringDType())[g.integers(0, 4, n)]
    age = np.where(g.random(n) < 0.1, np.nan, np.round(g.normal(40, 10, n)))
    x = g.normal(size=(n, 2))
    y = ((x[:, 0] > 0).astype(int) + (job == "cook")) % classes
    return Rows.of({"age": age, "job": job, "x": x}, y, ids=[f"r{i}" for i in range(n)], classes=classes)


SMALL = DareForest(trees=4, max_depth=5, candidates=4, cut=2)


@pytest.mark.parametrize("seed", range(60))
def test_any_order_of_requests_equals_learning_without_the_rows(seed: int) -> None:
    method, rows = problem(seed)
    g = np.random.default_rng(seed)
    record, remaining = learned(method, rows), rows
    ids = g.permutation(rows.ids.tolist()).tolist()
    while len(ids) > 1:
        batch = [ids.pop() for _ in range(min(int(g.choice([1, 1, 1, 2, 9])), len(ids) - 1))]
        before, record = record, forgotten(method, record, remaining, batch)
        left, remaining = remaining.only(batch), remaining.without(batch)
        assert digest(record) == digest(learned(method, remaining))
        if g.random() < 0.3:
            back = method.extend(record, remaining, left, noise=NOISE)
            assert isinstance(back.certificate, Exact)
            assert digest(back.record) == digest(before)


def test_a_thousand_deletions_one_by_one_equal_one_batch_and_learning_again() -> None:
    g = np.random.default_rng(1)
    x = np.column_stack([g.normal(size=(1400, 2)), g.integers(0, 5, (1400, 2))])
    rows = Rows.of(x, (x[:, 0] + x[:, 2] > 1).astype(int), classes=2)
    method = DareForest(trees=3, max_depth=8, candidates=5)
    start = learned(method, rows)
    record, remaining = start, rows
    order = g.permutation(1400)[:1000].tolist()
    for one in order:
        record, remaining = forgotten(method, record, remaining, [one]), remaining.without([one])
    assert digest(record) == digest(forgotten(method, start, rows, order)) == digest(learned(method, remaining))


def test_a_deleted_value_leaves_no_threshold_and_the_scan_finds_one_that_was_planted() -> None:
    def orphans(record: Any, method: DareForest, rows: Rows) -> int:
        codes = coded(rows.columns, record.columns)
        known = [set(column.tolist()) for column in codes.T]
        nodes = [node for tree in trees_of(method, record) for node in tree.all_nodes() if node.feature >= 0]
        kept = [(f, value) for node in nodes for f, values, *_ in node.features for value in values]
        used = [(node.feature, node.value) for node in nodes]
        return sum(value not in known[f] for f, value in [*kept, *used])

    rows, method = table(300), dataclasses.replace(SMALL, trees=10, max_depth=8)
    record, remaining = learned(method, rows), rows
    for i in range(100):
        record, remaining = forgotten(method, record, remaining, [f"r{i}"]), remaining.without([f"r{i}"])
        assert orphans(record, method, remaining) == 0
    assert orphans(learned(method, rows), method, remaining) > 0  # doing nothing: the values of the hundred stay


@pytest.mark.parametrize("seed", range(0, 40, 2))
def test_every_count_of_a_node_is_recomputed_from_the_rows_in_its_leaves(seed: int) -> None:
    method, rows = problem(seed, 60 + seed)
    ids = rows.ids.tolist()
    record, rows = forgotten(method, learned(method, rows), rows, ids[:20]), rows.without(ids[:20])
    whole = rows.table()
    codes, place = coded(whole.columns, record.columns), {int(key): i for i, key in enumerate(whole.keys)}
    weights = whole.columns[method.weight_column] if method.weight_column else np.ones(len(rows), int)
    assert whole.y is not None
    targets = whole.y if rows.classes else np.rint(whole.y / method.resolution).astype(np.int64)
    for tree in trees_of(method, record):
        assert sorted(tree.all_keys()) == sorted(place)
        for node in tree.all_nodes():
            inside = np.array([place[key] for key in node.all_keys()])
            w, t = weights[inside], targets[inside]
            assert node.keys == sorted(node.keys)
            assert (node.members, node.weight) == (len(inside), w.sum())
            if rows.classes:
                assert node.totals == [w[t == c].sum() for c in range(1, rows.classes)]
            else:
                assert node.totals[0] == (w * t).sum()
            for f, values, _, equal, left, channels in node.features:
                x = codes[inside, f]
                assert values == sorted(set(values))
                for i, value in enumerate(values):
                    side = x == value if is_category(record, f) else x <= value
                    assert (equal[i], left[i]) == (w[x == value].sum(), w[side].sum())
                    if rows.classes:
                        assert [c[i] for c in channels] == [w[side & (t == c)].sum() for c in range(1, rows.classes)]
                    else:
                        assert channels[0][i] == (w * t)[side].sum()
            if node.feature >= 0:
                x = codes[inside, node.feature]
                side = x == node.value if is_category(record, node.feature) else x <= node.value
                assert sorted(node.children[0].all_keys()) == sorted(whole.keys[inside[side]].tolist())
                assert min(side.sum(), (~side).sum()) >= 1
                assert min(child.weight for child in node.children) >= method.min_leaf
                assert node.weight >= method.min_split
                assert node.depth < method.max_depth


def test_forgetting_reads_no_retained_row_and_extending_reads_only_the_new_ones() -> None:
    def unreadable() -> Any:
        raise AssertionError("a retained row was read")

    rows = table()
    record = learned(SMALL, rows)
    kept = rows.without(["r7"])
    hidden = Rows([Block(block.keys, unreadable) for block in kept.blocks], kept.schema)
    step = SMALL.forget(record, hidden, rows.only(["r7"]), noise=NOISE)
    assert step.stats["rows_visited"] == 0
    assert digest(step.record) == digest(learned(SMALL, kept))
    assert digest(SMALL.extend(step.record, hidden, rows.only(["r7"]), noise=NOISE).record) == digest(record)


def test_only_touched_parts_and_buckets_are_new_objects() -> None:
    rows = table(200)
    method = dataclasses.replace(SMALL, cut=3)
    record = learned(method, rows)
    after = forgotten(method, record, rows, ["r3"])
    before = record.forest
    new_buckets = [a is not b for a, b in zip(after.forest.store, before.store, strict=True)]
    assert sum(new_buckets) == 1
    new_parts = [
        sum(a is not b for a, b in zip(one, other, strict=True))
        for one, other in zip(after.forest.parts, before.parts, strict=True)
    ]
    assert max(new_parts) <= 8
    assert min(new_parts) <= 1
    assert digest(record) == digest(learned(method, rows))


@pytest.mark.parametrize("jobs", [2, 3])
def test_threads_change_no_bit(jobs: int) -> None:
    rows = table(100)
    record = learned(SMALL, rows)
    with joblib.parallel_config(backend="threading", n_jobs=jobs):
        assert digest(learned(SMALL, rows)) == digest(record)
        after = forgotten(SMALL, record, rows, ["r3", "r50"])
    assert digest(after) == digest(forgotten(SMALL, record, rows, ["r3", "r50"]))


def test_a_class_a_leaf_and_the_rows_that_made_a_column_vary_leave() -> None:
    rows = table(80)
    whole = rows.table()
    assert whole.y is not None
    leaf = trees_of(SMALL, learned(SMALL, rows))[0].all_nodes()[-1]
    odd = whole.columns["age"] != np.nanmedian(whole.columns["age"])
    for where in (whole.y == 2, np.isin(whole.keys, np.array(leaf.keys, np.uint64)), odd, np.arange(80) > 0):
        ids = whole.ids[where]
        assert 0 < len(ids) < 80
        assert digest(forgotten(SMALL, learned(SMALL, rows), rows, ids)) == digest(learned(SMALL, rows.without(ids)))
    with pytest.raises(MustRetrain):
        SMALL.forget(learned(SMALL, rows), rows.select(np.zeros(80, bool)), rows, noise=NOISE)


def test_a_weight_counts_as_so_many_equal_rows() -> None:
    rows, times = table(50), np.arange(50) % 3 + 1
    whole = rows.table()
    assert whole.y is not None
    heavy = Rows.of({**whole.columns, "w": times}, whole.y, classes=3)
    copies = Rows.of(
        {name: np.repeat(c, times, 0) for name, c in whole.columns.items()}, whole.y.repeat(times), classes=3
    )
    weighted = dataclasses.replace(SMALL, weight_column="w")
    one, other = weighted.release(learned(weighted, heavy)), SMALL.release(learned(SMALL, copies))
    assert all(torch.equal(one.tensors[name], other.tensors[name]) for name in other.tensors)


def test_missing_values_have_a_side_and_a_split_of_their_own() -> None:
    x = np.array([np.nan] * 20 + list(range(40)))
    rows = Rows.of({"x": x}, np.isnan(x).astype(int), classes=2)
    method = DareForest(trees=3, max_depth=1, candidates=100)
    release = method.release(learned(method, rows))
    (step,) = method.path(release, {"x": np.array([np.nan])})
    assert np.isnan(step.value)
    assert step.went_left
    assert method.predict(release, {"x": np.array([np.nan, -1e9, 3.0])}).argmax(1).tolist() == [1, 0, 0]


def test_a_category_never_seen_is_none_of_those_that_were() -> None:
    job = np.array(["a", "b"] * 30, dtype=np.dtypes.StringDType())
    rows = Rows.of({"job": job}, (job == "a").astype(int), classes=2)
    method = DareForest(trees=5, max_depth=2)
    record = learned(method, rows)
    scores = method.predict(method.release(record), {"job": np.array(["a", "b", "never"], dtype=job.dtype)})
    assert scores.argmax(1)[:2].tolist() == [1, 0]
    assert torch.isfinite(scores).all()
    new = Rows.of({"job": np.array(["new"], dtype=job.dtype)}, [1], ids=["n"], classes=2)
    both = rows.and_rows(new)
    assert digest(method.extend(record, rows, new, noise=NOISE).record) == digest(learned(method, both))


def test_all_candidates_of_all_features_make_scikit_learns_trees() -> None:
    g = np.random.default_rng(3)
    x, many = g.normal(size=(400, 4)).astype(np.float32), {"trees": 1, "candidates": 1000, "max_features": 4}
    y = (x[:, 0] + x[:, 1] ** 2 + g.normal(size=400) > 0.7).astype(int)
    method = DareForest(max_depth=4, **many)
    scores = method.predict(method.release(learned(method, Rows.of(x, y))), {"x": x})
    theirs = DecisionTreeClassifier(max_depth=4, random_state=0).fit(x, y).predict_proba(x)
    np.testing.assert_allclose(2 * scores.exp().numpy() - 0.5, theirs, atol=1e-12)  # one even vote added to one tree's
    target = x[:, 0] * x[:, 1] + x[:, 2]
    values = method.predict(method.release(learned(method, Rows.of(x, target))), {"x": x})[:, 0]
    want = DecisionTreeRegressor(max_depth=4, random_state=0).fit(x, target).predict(x)
    np.testing.assert_allclose(values.numpy(), want, atol=1e-5)


def test_it_predicts_as_well_as_scikit_learns_forest() -> None:
    g = np.random.default_rng(4)
    x = g.normal(size=(1500, 6))
    y = (x[:, 0] * x[:, 1] > 0).astype(int) + (x[:, 2] > 1)
    method = DareForest(trees=30, max_depth=8)
    scores = method.predict(method.release(learned(method, Rows.of(x[:1000], y[:1000], classes=3))), {"x": x[1000:]})
    ours = float((scores.argmax(1).numpy() == y[1000:]).mean())
    theirs = RandomForestClassifier(30, max_depth=8, bootstrap=False, random_state=0).fit(x[:1000], y[:1000])
    assert ours > theirs.score(x[1000:], y[1000:]) - 0.03


def test_the_preview_counts_what_forgetting_then_does_and_changes_nothing() -> None:
    rows = table(200)
    record = learned(SMALL, rows)
    before = digest(record)
    for ids in (["r1"], [f"r{i}" for i in range(40)]):
        told = SMALL.preview(record, rows.only(ids))
        done = SMALL.forget(record, rows.without(ids), rows.only(ids), noise=NOISE).stats
        same = ("nodes_visited", "splits_changed", "rows_rebuilt", "nodes_collapsed")
        assert {name: told[name] for name in same} == {name: done[name] for name in same}
    assert digest(record) == before


def test_importances_name_the_column_that_matters_and_sum_to_one() -> None:
    g = np.random.default_rng(5)
    x = g.normal(size=(300, 3))
    for y in ((x[:, 1] > 0).astype(int), 3.0 * x[:, 1]):
        found = SMALL.importances(learned(SMALL, Rows.of(x, y)))
        assert list(found) == ["x[0]", "x[1]", "x[2]"]
        assert max(found, key=lambda name: found[name]) == "x[1]"
        assert sum(found.values()) == pytest.approx(1)


def test_a_path_leads_to_the_leaf_that_predicts() -> None:
    rows = table(120)
    method = dataclasses.replace(SMALL, trees=1)
    record = learned(method, rows)
    release, first = method.release(record), {name: c[:1] for name, c in rows.columns.items()}
    node = trees_of(method, record)[0]
    for step in method.path(release, first):
        node_value = node.value if is_category(record, node.feature) else number_of(node.value)
        assert step.value == node_value or np.isnan(step.value)
        node = node.children[0 if step.went_left else 1]
    assert not node.children
    shares = np.array([node.weight - sum(node.totals), *node.totals]) / node.weight
    np.testing.assert_allclose(method.predict(release, first).exp()[0], (shares + 1 / 3) / 2)


def test_a_release_holds_no_key_and_no_row() -> None:
    rows = table(100)
    release = SMALL.release(learned(SMALL, rows))
    keys = set(rows.keys.astype(np.int64).tolist()) | set(rows.keys.tolist())
    assert not keys & {
        int(v) for t in release.tensors.values() if not t.is_floating_point() for v in t.ravel().tolist()
    }
    assert set(release.tensors) == {"features", "values", "rights", "starts", "leaves"}
    assert isinstance(SMALL, Extends)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("trees", 0),
        ("max_depth", 0),
        ("max_depth", 65),
        ("candidates", 0),
        ("min_split", 1),
        ("min_leaf", 0),
        ("cut", 11),
        ("criterion", "mse"),
        ("resolution", 0.0),
        ("max_features", -1),
        ("random_depth", -1),
        ("candidates", 1001),
    ],
)
def test_a_setting_out_of_range_is_told(field: str, value: Any) -> None:
    with pytest.raises(InputError, match=field):
        DareForest(**{field: value})


def test_bad_rows_are_told() -> None:
    rows = table()
    record = learned(SMALL, rows)
    one = rows.only(["r1"])
    after = forgotten(SMALL, record, rows, ["r1"])
    kept = rows.without(["r1"])
    with pytest.raises(UnknownRows):
        kept.only(["r1"])
    with pytest.raises(InputError, match=r"learned from 59 rows, and 59 [+] 1"):
        SMALL.forget(after, kept, one, noise=NOISE)
    with pytest.raises(InputError, match="never learned, or forgotten before"):
        SMALL.forget(after, kept.without(["r2"]), one, noise=NOISE)
    with pytest.raises(InputError, match="still among the retained"):
        SMALL.forget(record, rows, one, noise=NOISE)
    with pytest.raises(DuplicateRows):
        SMALL.extend(record, rows, one, noise=NOISE)
    with pytest.raises(SchemaError, match="Column"):
        SMALL.predict(SMALL.release(record), {"x": np.zeros((2, 2))})
    with pytest.raises(SchemaError, match="text"):
        SMALL.predict(SMALL.release(record), {**rows.columns, "job": np.zeros(60)})
    assert digest(record) == digest(learned(SMALL, rows))


@pytest.mark.parametrize("bad", [np.inf, -np.inf, 1e39])
def test_infinity_is_refused_and_a_missing_number_is_not(bad: float) -> None:
    x = np.zeros((20, 2))
    x[3, 1] = np.nan
    learned(SMALL, Rows.of(x, np.arange(20) % 2))
    x[4, 1] = bad
    with pytest.raises(InputError, match="infinity or a number too large"):
        learned(SMALL, Rows.of(x, np.arange(20) % 2))


def test_more_classes_than_were_declared_are_refused_and_a_declared_one_may_come_late() -> None:
    g = np.random.default_rng(6)
    x = g.normal(size=(40, 2))
    rows = Rows.of(x, np.arange(40) % 2, classes=3)
    late = Rows.of(x[:2] + 1, [2, 2], ids=["late", "later"], classes=3)
    grown = SMALL.extend(learned(SMALL, rows), rows, late, noise=NOISE).record
    assert digest(grown) == digest(learned(SMALL, rows.and_rows(late)))
    with pytest.raises(SchemaError):
        SMALL.extend(grown, rows.and_rows(late), Rows.of(x[:1], [3], ids=["z"], classes=4), noise=NOISE)


def test_targets_and_weights_out_of_range_are_refused() -> None:
    x = np.zeros((4, 1))
    with pytest.raises(InputError, match="resolution"):
        learned(SMALL, Rows.of(x, [0.0, 1.0, 2.0, 1e7]))
    learned(dataclasses.replace(SMALL, resolution=1.0), Rows.of(x, [0.0, 1.0, 2.0, 1e7]))
    with pytest.raises(InputError, match="shape"):
        learned(SMALL, Rows.of(x, np.zeros((4, 2))))
    weighted = dataclasses.replace(SMALL, weight_column="w")
    with pytest.raises(InputError, match="no such column"):
        learned(weighted, Rows.of(x, [0, 1, 0, 1]))
    for weight in (0.5, 0, -1, np.nan, 2**17):
        with pytest.raises(InputError, match="weight"):
            learned(weighted, Rows.of({"x": x, "w": np.array([1, 1, 1, weight])}, [0, 1, 0, 1]))
    with pytest.raises(InputError, match="no column"):
        learned(weighted, Rows.of({"w": np.ones(4)}, [0, 1, 0, 1]))
    with pytest.raises(InputError, match="tree=4"):
        SMALL.path(SMALL.release(learned(SMALL, table())), table().columns, 4)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_very_few_rows_are_a_leaf_or_two(n: int) -> None:
    rows = Rows.of(np.arange(n, dtype=float)[:, None], np.arange(n) % 2, classes=2)
    record = learned(SMALL, rows)
    assert torch.isfinite(SMALL.predict(SMALL.release(record), {"x": np.zeros((1, 1))})).all()
    if n > 1:
        assert digest(forgotten(SMALL, record, rows, [0])) == digest(learned(SMALL, rows.without([0])))


def test_noise_and_order_of_rows_do_not_matter_and_the_seed_does() -> None:
    rows = table()
    whole = rows.table()
    shuffled = Rows.from_table(whole.take(np.random.default_rng(1).permutation(60)), rows.schema.classes)
    record = SMALL.learn(rows, seed=5, noise=NoiseKey.fresh(9))
    assert digest(record) == digest(learned(SMALL, shuffled))
    assert digest(record) != digest(learned(SMALL, rows, seed=6))
