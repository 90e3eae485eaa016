"""SISA's shards by themselves: features fitted in each, rows placed by mark or one by one, shards too small to vote."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
import torch

from expunge.certificate import Exact
from expunge.errors import InputError, MustRetrain
from expunge.features import Categorical, Numeric, Pipeline, tabular
from expunge.learners.convex import Convex
from expunge.learners.dealing import Dealing
from expunge.learners.featured import Featured
from expunge.learners.scikit_learn import ScikitLearn
from expunge.learners.sgd import Sgd
from expunge.maths.sharding import expected_cost
from expunge.method import Forgetting
from expunge.methods.sisa import Sisa, SisaRecord
from expunge.models import Mlp
from expunge.noise import NoiseKey
from expunge.record import digest
from expunge.rows import Rows

NOISE = NoiseKey(bytes(32), 1)
NETWORK = Sgd(Mlp(hidden=(3,)), epochs=2, batch_size=8)
SEED = 5
EXACT = (Numeric(("age", "pay")), Categorical(("job",)))


def people(n: int = 47, **options: Any) -> Rows:
    """Numbers with gaps, a text, a mark, and three classes."""
    generator = np.random.default_rng(0)
    age, pay = generator.normal(40, 12, n), generator.lognormal(10, 1, n)
    age[::7] = np.nan
    job = np.array(["clerk", "nurse", "cook"])[generator.integers(0, 3, n)]
    y = (pay > 2e4).astype(int) + (job == "cook")
    return Rows.of({"age": age, "pay": pay, "job": job, "prone": np.arange(n) % 4 == 1}, y, classes=3, **options)


def learned(method: Sisa, rows: Rows) -> SisaRecord:
    return method.learn(rows, seed=SEED, noise=NOISE)


def forgotten(method: Sisa, rows: Rows, ids: Any, record: SisaRecord | None = None) -> Forgetting[SisaRecord]:
    record = learned(method, rows) if record is None else record
    return method.forget(record, rows.without(ids), rows.only(ids), noise=NOISE)


def check_exact(method: Sisa, rows: Rows, ids: Any) -> Forgetting[SisaRecord]:
    """Digest equality, both ways, and that the substituted values leave no trace."""
    step, clean = forgotten(method, rows, ids), learned(method, rows.without(ids))
    assert isinstance(step.certificate, Exact)
    assert digest(step.record) == digest(clean)
    back = method.extend(clean, rows.without(ids), rows.only(ids), noise=NOISE)
    assert digest(back.record) == digest(learned(method, rows))
    return step


def placed(rows: Rows, shards: int, slices: int) -> list[str]:
    """Ids in the order of shard, slice, key: the first row, the last of a shard, the tail of all."""
    table, dealing = rows.table(), Dealing(SEED, shards, slices)
    order = np.lexsort((table.keys, dealing.slices_of(table.owners), dealing.shards_of(table.owners)))
    return [str(name) for name in table.ids[order]]


@pytest.mark.parametrize(("shards", "slices"), [(1, 1), (1, 3), (4, 1), (3, 2), (5, 4), (20, 3)])
@pytest.mark.parametrize("which", ["first", "last", "several", "most"])
def test_features_fitted_in_each_shard_forget_bit_for_bit(shards: int, slices: int, which: str) -> None:
    rows = people()
    order = placed(rows, shards, slices)
    ids = {"first": order[:1], "last": order[-1:], "several": order[::15], "most": order[3:]}[which]
    check_exact(Sisa(Featured(EXACT, NETWORK), shards, slices), rows, ids)


def test_a_class_a_shard_a_slice_and_a_level_leave_shards_with_their_own_features() -> None:
    rows, method = people(), Sisa(Featured(EXACT, NETWORK), 3, 3)
    table, dealing = rows.table(), Dealing(SEED, 3, 3)
    shard, piece = dealing.shards_of(table.owners), dealing.slices_of(table.owners)
    cook = table.columns["job"] == "cook"
    for mask in (rows.y == 2, shard == 1, (shard == 1) & (piece == 0), piece == 0, cook, cook & (shard == 2)):
        assert 0 < mask.sum() < len(rows)
        check_exact(method, rows, table.ids[mask])


@pytest.mark.parametrize("learner", [Convex(), ScikitLearn("GaussianNB")], ids=["convex", "bayes"])
def test_every_learner_takes_features_of_its_shard(learner: Any) -> None:
    check_exact(Sisa(Featured(EXACT, learner), 4, 2), people(), [3, 40])


def test_one_row_moves_the_features_of_its_shard_and_of_no_other() -> None:
    rows, method = people(), Sisa(Featured(EXACT, NETWORK), 3, 2)
    record, dealing = learned(method, rows), Dealing(SEED, 3, 2)
    table = rows.table()
    shard, piece = dealing.shards_of(table.owners), dealing.slices_of(table.owners)
    for s, r in itertools.product(range(3), range(2)):
        one = table.ids[(shard == s) & (piece == r)][:1]
        step = forgotten(method, rows, one, record)
        for t in range(3):
            kept = [a is b for a, b in zip(record.checkpoints[t], step.record.checkpoints[t], strict=True)]
            assert kept == [t != s or q < r for q in range(2)]
        before, after = (method.release(each).tensors[f"{s}/features/0/centre"] for each in (record, step.record))
        assert torch.equal(before, after) == (r > 0)  # fitted on the first slice
        assert step.stats["shards_retrained"] == 1


def test_a_pipeline_with_exact_features_must_retrain_where_shards_with_their_own_do_not() -> None:
    rows = people()
    whole = Pipeline(EXACT, Sisa(NETWORK, 3, 2))
    record = whole.learn(rows, seed=SEED, noise=NOISE)
    with pytest.raises(MustRetrain, match="Featured"):
        whole.forget(record, rows.without([3]), rows.only([3]), noise=NOISE)
    assert check_exact(Sisa(Featured(EXACT, NETWORK), 3, 2), rows, [3]).stats["shards_retrained"] == 1


def test_any_order_of_requests_ends_in_the_same_bits() -> None:
    rows, method = people(), Sisa(Featured(EXACT, NETWORK), 3, 2)
    ends = set()
    for order in itertools.permutations([[4, 9], [17], [22, 31, 40]]):
        record, left = learned(method, rows), rows
        for ids in order:
            record, left = forgotten(method, left, ids, record).record, left.without(ids)
        ends.add(digest(record))
    assert ends == {digest(learned(method, rows.without([4, 9, 17, 22, 31, 40])))}


def test_the_certificate_tells_what_features_and_marks_assume() -> None:
    public = Numeric(("age",), "public", (40.0,), (12.0,), from_rows=True)
    method = Sisa(Featured((public,), NETWORK), 3, 2, prone_column="prone", prone_shards=1)
    told = check_exact(method, people(), [3]).certificate
    assert isinstance(told, Exact)
    assert any("read once from the rows" in note for note in told.assumptions)
    assert any("'prone'" in note and "public" in note for note in told.assumptions)
    plain = check_exact(Sisa(Featured((Numeric(("age",)),), NETWORK), 3, 2), people(), [3]).certificate
    assert isinstance(plain, Exact)
    assert not any("prone" in note for note in plain.assumptions)


def features_and_marks(**settings: Any) -> Sisa:
    return Sisa(Featured(tabular(people(), statistics="public"), NETWORK), **settings)


@pytest.mark.parametrize("ids", [[1], [0], [1, 2], list(range(1, 46, 4)), list(range(2, 40))], ids=str)
def test_marked_rows_lie_in_their_own_shards_and_forget_bit_for_bit(ids: list[int]) -> None:
    rows, method = people(), features_and_marks(shards=4, slices=2, prone_column="prone", prone_shards=1)
    table = rows.table()
    shards, _ = Dealing(SEED, 4, 2, prone_column="prone", prone_shards=1).places(table)
    assert set(shards[table.columns["prone"]]) == {3}
    assert set(shards[~table.columns["prone"]]) == {0, 1, 2}
    step = check_exact(method, rows, ids)
    assert step.stats["shards_retrained"] == len({int(shards[i]) for i in ids})


def test_a_forgotten_rows_mark_leaves_no_trace() -> None:
    rows, method = people(), features_and_marks(shards=4, slices=2, prone_column="prone", prone_shards=1)
    table = rows.table()
    marks = table.columns["prone"].copy()
    marks[[5, 6]] = ~marks[[5, 6]]
    other = Rows.from_table(dataclasses.replace(table, columns={**table.columns, "prone": marks}), rows.schema.classes)
    assert digest(learned(method, other)) != digest(learned(method, rows))
    assert digest(forgotten(method, other, [5, 6]).record) == digest(forgotten(method, rows, [5, 6]).record)


def test_rows_dealt_one_by_one_spread_an_owner_and_forget_bit_for_bit() -> None:
    subjects = ["everyman"] * 20 + [f"p{i}" for i in range(27)]
    rows = people(subjects=subjects)
    together, apart = (features_and_marks(shards=4, slices=2, deal_by=by) for by in ("owner", "row"))
    ids = rows.of_subjects("everyman").ids
    assert check_exact(together, rows, ids).stats["shards_retrained"] == 1
    assert check_exact(apart, rows, ids).stats["shards_retrained"] == 4
    assert max(learned(together, rows).sizes) > max(learned(apart, rows).sizes)
    assert "One owner has 20 rows" in " ".join(together.balance(rows, seed=SEED).warnings)
    assert "owner" not in " ".join(apart.balance(rows, seed=SEED).warnings)


@pytest.mark.parametrize("ids", [[0], [1, 2, 3], list(range(1, 15)), list(range(40))], ids=str)
def test_small_shards_do_not_vote_and_steps_on_few_rows_train_nothing(ids: list[int]) -> None:
    rows, method = people(), features_and_marks(shards=6, slices=3, least_rows=7)
    record = learned(method, rows)
    small = [shard for shard, size in enumerate(record.sizes) if size < 7]
    assert small
    assert method.release(record).settings["shards"] == tuple(s for s in range(6) if s not in small)
    assert all(state.visits == 0 for shard in small for state in record.checkpoints[shard])
    if len(rows) - len(ids) > 10:
        check_exact(method, rows, ids)
    else:
        with pytest.raises(InputError, match="least_rows=7"):
            forgotten(method, rows, ids, record)


def test_batch_normalisation_meets_no_single_row_where_least_rows_is_two(tmp_path: Any) -> None:
    from expunge.models import ModuleFile

    file = tmp_path / "normed.py"
    file.write_text(
        "from torch import nn\n\ndef normed(schema):\n    return nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2))\n"
    )
    learner = Sgd(ModuleFile.read(f"{file}:normed"), epochs=1, batch_size=4)
    x = np.random.default_rng(0).normal(size=(14, 3))
    rows = Rows.of(x, np.arange(14) % 2)
    with pytest.raises(InputError, match="single row"):
        learned(Sisa(learner, 8, 2), rows)
    method = Sisa(learner, 8, 2, least_rows=2)
    for ids in ([0], [1, 5, 9], [13]):
        check_exact(method, rows, ids)
    release = method.release(learned(method, rows))
    assert torch.isfinite(method.predict(release, rows.columns)).all()


@pytest.mark.parametrize("aggregation", ["majority", "mean", "weighted"])
def test_no_answer_is_nan_where_shards_lack_classes_or_rows(aggregation: Any) -> None:
    rows = people(20)
    for learner in (NETWORK, Convex(), ScikitLearn("GaussianNB")):
        method = Sisa(Featured(EXACT, learner), 15, 3, aggregation)
        balance = method.balance(rows, seed=SEED)
        assert (balance.shards == 0).any()
        assert any(classes for classes in balance.missing)
        scores = method.predict(method.release(learned(method, rows)), rows.columns)
        assert torch.isfinite(scores).all()
        torch.testing.assert_close(scores.exp().sum(1), torch.ones(20).double())


def test_a_record_of_other_shards_or_slices_is_refused() -> None:
    rows = people()
    method = features_and_marks(shards=3, slices=2)
    record = learned(method, rows)
    for other in (features_and_marks(shards=4, slices=2), features_and_marks(shards=3, slices=3)):
        with pytest.raises(InputError, match=r"\(3, 2\)"):
            forgotten(other, rows, [3], record)


def test_expected_costs_are_those_of_the_shards_that_such_rows_lie_in() -> None:
    method = features_and_marks(shards=10, slices=4, prone_column="prone", prone_shards=2)
    assert method.expected_cost(1000, 5, batch=1) == expected_cost(1000, 5, 8, 4, 2, 1)
    assert method.expected_cost(100, 5, prone=True) == expected_cost(100, 5, 2, 4, 2)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"deal_by": "person"}, "deal_by='person'"),
        ({"prone_column": "prone"}, "give both or neither"),
        ({"prone_shards": 1}, "give both or neither"),
        ({"prone_column": "prone", "prone_shards": 3}, "must be left|leave some"),
        ({"least_rows": 0}, "least_rows=0"),
        ({"timeout": 0.0}, "timeout=0"),
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        Sisa(NETWORK, **({"shards": 3} | wrong))


@pytest.mark.parametrize(
    "marks", [None, np.array(["yes"] * 47), np.where(np.arange(47) == 3, np.nan, 0.0)], ids=["absent", "text", "nan"]
)
def test_marks_that_cannot_be_read_are_explained(marks: Any) -> None:
    columns = {"x": np.zeros((47, 2))} | ({} if marks is None else {"risk": marks})
    rows = Rows.of(columns, np.arange(47) % 2)
    with pytest.raises(InputError, match="'risk' marks rows"):
        learned(Sisa(NETWORK, 3, 2, prone_column="risk", prone_shards=1), rows)
