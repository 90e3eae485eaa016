"""SISA: bitwise equality with retraining, what is touched and what is not, and the order it trains in."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any

import joblib
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from expunge.certificate import Exact
from expunge.errors import DuplicateRows, InputError, MustRetrain
from expunge.keyed import Purpose
from expunge.learners.convex import Convex
from expunge.learners.dealing import Dealing
from expunge.learners.learner import Learner, Training, settings_of
from expunge.learners.scikit_learn import ScikitLearn
from expunge.learners.sgd import Sgd
from expunge.method import Adopts, Extends, Release
from expunge.methods.sisa import Sisa, SisaRecord, slice_epochs
from expunge.models import Mlp
from expunge.noise import NoiseKey
from expunge.record import decode, digest, encode
from expunge.rows import Rows
from expunge.schema import Array, Schema

NOISE = NoiseKey(bytes(32), 1)
NETWORK = Sgd(Mlp(hidden=(3,)), epochs=3, batch_size=4)
SEED = 5


def some_rows(n: int = 47, **options: Any) -> Rows:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(n, 3))
    return Rows.of(x, (x[:, 0] > 0).astype(int) + (x[:, 1] > 0.5), classes=3, **options)


def learned(method: Sisa, rows: Rows) -> SisaRecord:
    return method.learn(rows, seed=SEED, noise=NOISE)


def forgotten(method: Sisa, record: SisaRecord, rows: Rows, ids: Any) -> Any:
    return method.forget(record, rows.without(ids), rows.only(ids), noise=NOISE)


def check_exact(method: Sisa, rows: Rows, ids: Any) -> None:
    step = forgotten(method, learned(method, rows), rows, ids)
    assert isinstance(step.certificate, Exact)
    assert digest(step.record) == digest(learned(method, rows.without(ids)))


@pytest.mark.parametrize(("shards", "slices"), [(1, 1), (1, 4), (5, 1), (3, 2), (7, 4), (30, 3)])
@pytest.mark.parametrize("ids", [[0], [23], [46], [0, 22, 46], list(range(1, 40))], ids=str)
def test_forgetting_equals_learning_without(shards: int, slices: int, ids: list[int]) -> None:
    check_exact(Sisa(NETWORK, shards, slices), some_rows(), ids)


@pytest.mark.parametrize(
    "learner",
    [dataclasses.replace(NETWORK, optimiser="adam"), Convex(), ScikitLearn("GaussianNB"), ScikitLearn()],
    ids=["adam", "convex", "bayes", "logistic"],
)
def test_every_learner_is_exact(learner: Learner) -> None:
    rows = some_rows()
    check_exact(Sisa(learner, 4, 2), rows, [3, 40])
    check_exact(Sisa(learner, 4, 2), rows, [i for i in range(46) if rows.y[i] == 1])


@settings(max_examples=15)
@given(
    ids=st.sets(st.integers(0, 23), min_size=1, max_size=23),
    shards=st.integers(1, 4),
    slices=st.integers(1, 4),
    cut=st.integers(0, 23),
)
def test_any_requests_in_any_order_end_in_the_same_record(ids: set[int], shards: int, slices: int, cut: int) -> None:
    rows = some_rows(24)
    method = Sisa(dataclasses.replace(NETWORK, epochs=1), shards, slices)
    record, remaining = learned(method, rows), rows
    for batch in (sorted(ids)[cut:], sorted(ids)[:cut]):
        if batch:
            record, remaining = forgotten(method, record, remaining, batch).record, remaining.without(batch)
    clean = learned(method, rows.without(ids))
    assert digest(record) == digest(clean)
    assert digest(method.extend(clean, rows.without(ids), rows.only(ids), noise=NOISE).record) == digest(
        learned(method, rows)
    )


def test_a_whole_shard_a_whole_slice_and_a_whole_class_leave() -> None:
    rows, method = some_rows(), Sisa(NETWORK, 3, 3)
    dealing, table = Dealing(SEED, 3, 3), rows.table()
    shard, piece = dealing.shards_of(table.owners), dealing.slices_of(table.owners)
    for mask in (shard == 1, (shard == 1) & (piece == 0), piece == 2, rows.y == 2):
        assert 0 < mask.sum() < len(rows)
        check_exact(method, rows, table.ids[mask])
    without = forgotten(method, learned(method, rows), rows, table.ids[shard == 1]).record
    assert without.sizes[1] == 0
    release = method.release(without)
    assert release.settings["shards"] == (0, 2)
    assert not [name for name in release.tensors if name.startswith("1/")]


def test_untouched_shards_and_earlier_checkpoints_are_the_identical_objects() -> None:
    rows, method = some_rows(), Sisa(NETWORK, 4, 3)
    record = learned(method, rows)
    owner = rows.only([9]).table().owners
    shard, piece = (int(f(owner)[0]) for f in (Dealing(SEED, 4, 3).shards_of, Dealing(SEED, 4, 3).slices_of))
    step = forgotten(method, record, rows, [9])
    for s, r in itertools.product(range(4), range(3)):
        touched = s == shard and r >= piece
        assert (step.record.checkpoints[s][r] is record.checkpoints[s][r]) != touched
    assert step.stats["shards_retrained"] == 1
    assert step.stats["slices_retrained"] == 3 - piece


def test_no_old_checkpoint_of_a_touched_slice_is_kept() -> None:
    rows, method = some_rows(), Sisa(NETWORK, 1, 1)
    record = learned(method, rows)
    after = encode(forgotten(method, record, rows, [9]).record)[1]
    old = encode(record)[1]
    assert old
    assert not set(old) & set(after)


def test_the_forgotten_values_leave_no_trace() -> None:
    rows, method = some_rows(), Sisa(NETWORK, 3, 2)
    table = rows.table()
    columns = {"x": table.columns["x"].copy()}
    columns["x"][[4, 30]] = 1e3
    y = table.y.copy() if table.y is not None else np.empty(0)
    y[[4, 30]] = (y[[4, 30]] + 1) % 3
    other = Rows.from_table(dataclasses.replace(table, columns=columns, y=y), rows.schema.classes)
    assert digest(learned(method, other)) != digest(learned(method, rows))
    mine, theirs = (forgotten(method, learned(method, r), r, [4, 30]).record for r in (rows, other))
    assert digest(mine) == digest(theirs)


def test_the_order_of_the_rows_does_not_matter() -> None:
    rows, method = some_rows(), Sisa(NETWORK, 3, 2)
    table = rows.table()
    shuffled = Rows.from_table(table.take(np.random.default_rng(1).permutation(len(table))), rows.schema.classes)
    record = learned(method, rows)
    assert digest(learned(method, shuffled)) == digest(record)
    assert digest(forgotten(method, record, shuffled, [8]).record) == digest(learned(method, rows.without([8])))


def test_a_subject_is_forgotten_in_one_shard() -> None:
    rows = some_rows(subjects=[i % 12 for i in range(47)])
    method = Sisa(NETWORK, 4, 3)
    ids = rows.of_subjects([5]).ids
    step = forgotten(method, learned(method, rows), rows, ids)
    assert len(ids) == 4
    assert step.stats["shards_retrained"] == 1
    assert digest(step.record) == digest(learned(method, rows.without(ids)))


def test_a_record_from_storage_forgets_to_the_same_bits() -> None:
    rows, method = some_rows(), Sisa(NETWORK, 3, 2)
    tree, tensors = encode(learned(method, rows))
    stored = decode(tree, {name: tensor.clone() for name, tensor in tensors.items()})
    assert digest(forgotten(method, stored, rows, [8]).record) == digest(learned(method, rows.without([8])))


def test_one_shard_and_one_slice_is_plain_training() -> None:
    rows = some_rows()
    purpose = ("sisa", "shard", 0)
    plain = NETWORK.train(NETWORK.start(rows.schema, SEED, purpose), rows, seed=SEED, purpose=purpose)
    record = learned(Sisa(NETWORK, 1, 1), rows)
    assert digest(record.checkpoints[0][0]) == digest(plain)
    scores = Sisa(NETWORK, 1, 1, "mean").predict(Sisa(NETWORK, 1, 1, "mean").release(record), rows.columns)
    torch.testing.assert_close(scores, NETWORK.predict(NETWORK.release(plain), rows.columns).double())


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_parallel_training_changes_no_bit(backend: str) -> None:
    rows, method = some_rows(), Sisa(NETWORK, 3, 2)
    record = learned(method, rows)
    with joblib.parallel_config(backend=backend, n_jobs=2):
        assert digest(learned(method, rows)) == digest(record)
        step = forgotten(method, record, rows, [1, 2, 3, 4])
    assert step.stats["shards_retrained"] > 1
    assert digest(step.record) == digest(learned(method, rows.without([1, 2, 3, 4])))


@dataclasses.dataclass(frozen=True)
class Spy(Learner):
    """Writes down what it is asked to train on; its only weight is a digest of that history."""

    calls: list[tuple[int, int, tuple[str, ...]]]  # shard, epochs, ids
    epochs: int = 9

    def start(self, schema: Schema, seed: int, purpose: Purpose) -> Training:
        return Training({"w": torch.zeros(1)}, settings_of(schema))

    def train(
        self, training: Training, rows: Rows, *, seed: int, purpose: Purpose, epochs: int | None = None
    ) -> Training:
        ids = tuple(sorted(str(i) for i in rows.ids))
        self.calls.append((int(purpose[-1]), epochs or 0, ids))
        moved = training.tensors["w"] * 0.5 + sum(hash(int(i)) for i in ids)
        return dataclasses.replace(training, tensors={"w": moved}, visits=training.visits + len(ids) * (epochs or 0))

    def adopt(self, schema: Schema, weights: Mapping[str, Tensor]) -> Training:
        raise NotImplementedError

    def release(self, training: Training) -> Release:
        return Release(training.tensors, training.settings)

    def predict(self, release: Release, columns: Mapping[str, Array]) -> Tensor:
        return torch.zeros((len(columns["x"]), 3))


def test_step_r_trains_on_slices_one_to_r_for_its_epochs() -> None:
    spy = Spy([])
    rows, method = some_rows(), Sisa(spy, 2, 3)
    record = learned(method, rows)
    dealing, table = Dealing(SEED, 2, 3), rows.table()
    shard, piece = dealing.shards_of(table.owners), dealing.slices_of(table.owners)

    def nested(s: int, r: int, without: tuple[str, ...] = ()) -> tuple[str, ...]:
        return tuple(sorted(str(i) for i in table.ids[(shard == s) & (piece <= r)] if i not in without))

    epochs = (4, 5, 4)
    assert slice_epochs(9, 3) == epochs
    assert spy.calls == [(s, epochs[r], nested(s, r)) for s in range(2) for r in range(3)]
    middle = str(table.ids[(shard == 1) & (piece == 1)][0])
    spy.calls.clear()
    step = forgotten(method, record, rows, [middle])
    assert spy.calls == [(1, epochs[r], nested(1, r, (middle,))) for r in (1, 2)]
    assert step.stats["rows_visited"] == sum(len(ids) * e for _, e, ids in spy.calls)


def test_new_rows_retrain_from_the_first_slice_they_enter() -> None:
    spy = Spy([])
    rows, method = some_rows(), Sisa(spy, 2, 3)
    dealing, table = Dealing(SEED, 2, 3), rows.table()
    last = str(table.ids[(dealing.shards_of(table.owners) == 0) & (dealing.slices_of(table.owners) == 2)][0])
    record = learned(method, rows.without([last]))
    spy.calls.clear()
    step = method.extend(record, rows.without([last]), rows.only([last]), noise=NOISE)
    assert [(s, len(ids)) for s, _, ids in spy.calls] == [(0, step.record.sizes[0])]
    assert digest(step.record) == digest(learned(method, rows))


def test_forgetting_or_adding_nothing_trains_nothing() -> None:
    spy = Spy([])
    rows, method = some_rows(), Sisa(spy, 2, 3)
    none = rows.select(np.zeros(len(rows), dtype=bool))
    record = learned(method, rows)
    spy.calls.clear()
    for step in (method.forget(record, rows, none, noise=NOISE), method.extend(record, rows, none, noise=NOISE)):
        assert digest(step.record) == digest(record)
        assert step.stats == {"rows_visited": 0, "shards_retrained": 0, "slices_retrained": 0}
    assert spy.calls == []


@given(epochs=st.integers(1, 100), slices=st.integers(1, 40))
def test_every_slice_is_trained_and_visits_are_about_the_epochs(epochs: int, slices: int) -> None:
    shares = slice_epochs(epochs, slices)
    assert len(shares) == slices
    assert min(shares) >= 1
    visits = sum(share * (r + 1) / slices for r, share in enumerate(shares))
    if 2 * epochs >= slices + 1:  # no share was raised to 1
        assert epochs - 1 < visits <= epochs + 1
    else:
        assert visits == (slices + 1) / 2


@pytest.mark.parametrize("aggregation", ["majority", "mean", "weighted"])
def test_aggregation_is_that_of_the_shards_models(aggregation: Any) -> None:
    rows, method = some_rows(), Sisa(NETWORK, 3, 2, aggregation)
    record = learned(method, rows)
    models = [
        NETWORK.predict(NETWORK.release(states[-1]), rows.columns).double().exp() for states in record.checkpoints
    ]
    p = torch.stack(models)
    sizes = torch.tensor(record.sizes).double()
    expected = {
        "mean": p.mean(0),
        "weighted": (p * sizes[:, None, None]).sum(0) / sizes.sum(),
        "majority": (torch.nn.functional.one_hot(p.argmax(2), 3).sum(0) + p.mean(0)) / 4,
    }[aggregation]
    release = method.release(record)
    torch.testing.assert_close(method.predict(release, rows.columns).exp(), expected)
    assert ("sizes" in release.settings) == (aggregation == "weighted")
    assert sum(record.sizes) == len(rows)


def test_a_release_survives_storage_and_names_no_row() -> None:
    rows, method = some_rows(ids=[f"person-{i}" for i in range(47)]), Sisa(NETWORK, 3, 2)
    release = method.release(learned(method, rows))
    tree, tensors = encode(release)
    stored = decode(tree, tensors)
    assert torch.equal(method.predict(stored, rows.columns), method.predict(release, rows.columns))
    assert "person" not in str(tree)


def test_a_regression_is_averaged_and_has_no_majority() -> None:
    x = np.random.default_rng(0).normal(size=(60, 2))
    rows = Rows.of(x, x @ [1.0, 2.0])
    method = Sisa(Convex("squared", l2=1e-6), 3, 2, "mean")
    check_exact(method, rows, [5])
    scores = method.predict(method.release(learned(method, rows)), rows.columns)
    np.testing.assert_allclose(scores[:, 0].numpy(), rows.y, atol=1e-3)
    with pytest.raises(InputError, match="no majority"):
        learned(Sisa(Convex("squared")), rows)


def test_wrong_requests_are_refused() -> None:
    rows, method = some_rows(), Sisa(NETWORK, 3, 2)
    record = learned(method, rows)
    none = rows.select(np.zeros(len(rows), dtype=bool))
    with pytest.raises(MustRetrain):
        method.forget(record, none, rows, noise=NOISE)
    after = forgotten(method, record, rows, [1]).record
    with pytest.raises(InputError, match="46 rows"):
        forgotten(method, after, rows, [1])
    with pytest.raises(DuplicateRows):
        method.extend(record, rows, rows.only([1]), noise=NOISE)
    with pytest.raises(InputError, match="46 rows"):
        method.extend(after, rows, rows.only([1]), noise=NOISE)


@pytest.mark.parametrize("wrong", [{"shards": 0}, {"slices": 0}, {"aggregation": "median"}])
def test_wrong_hyperparameters_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        Sisa(NETWORK, **wrong)


def test_it_extends_and_does_not_adopt() -> None:
    assert isinstance(Sisa(), Extends)
    assert not isinstance(Sisa(), Adopts)
    assert "cannot adopt" in (__import__("expunge.methods.sisa", fromlist=["sisa"]).__doc__ or "")
