"""Features that are fitted in a training: on its first rows, for good, and to the same bits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from expunge.errors import InputError, SchemaError
from expunge.features import Categorical, FrozenNetwork, Numeric, Pipeline, tabular
from expunge.learners.convex import Convex
from expunge.learners.featured import FITTED, Featured, assumptions_of, declared_by, features_of
from expunge.learners.learner import Training
from expunge.learners.scikit_learn import ScikitLearn
from expunge.learners.sgd import Sgd
from expunge.methods import CertifiedNewton, Retrain, Sisa
from expunge.models import Mlp
from expunge.record import decode, digest, encode
from expunge.rows import Rows

PURPOSE = ("test",)
LEARNERS = [
    Convex(),
    Sgd(Mlp((3,)), epochs=2, batch_size=8),
    Sgd(Mlp((3,)), epochs=2, optimiser="adam"),
    ScikitLearn("GaussianNB"),
]


def people(n: int = 60, seed: int = 0, **columns: Any) -> Rows:
    generator = np.random.default_rng(seed)
    age = generator.normal(40, 12, n)
    age[::7] = np.nan
    job = np.array(["clerk", "nurse", "cook"])[generator.integers(0, 3, n)]
    y = ((np.nan_to_num(age, nan=40) > 40) ^ (job == "cook")).astype(int)
    return Rows.of({"age": age, "job": job, **columns}, y, ids=[f"p{i}" for i in range(n)], classes=2)


def trained(featured: Featured, rows: Rows, before: Training | None = None) -> Training:
    start = featured.start(rows.schema, 1, PURPOSE) if before is None else before
    return featured.train(start, rows, seed=1, purpose=PURPOSE)


@pytest.mark.parametrize("learner", LEARNERS, ids=lambda learner: type(learner).__name__)
def test_it_is_the_learner_on_features_fitted_by_hand(learner: Any) -> None:
    rows = people()
    age, job = rows.columns["age"], rows.columns["job"]
    scaled = np.nan_to_num((age - np.nanmean(age)) / np.nanstd(age))[:, None]
    hot = np.stack([job == level for level in ("clerk", "cook", "nurse")], axis=1)
    by_hand = Rows.of(np.concatenate([scaled, hot], axis=1), rows.y, ids=rows.ids, classes=2)
    plain = learner.train(learner.start(by_hand.schema, 1, PURPOSE), by_hand, seed=1, purpose=PURPOSE)
    featured = Featured(tabular(rows), learner)
    ours = featured.predict(featured.release(trained(featured, rows)), rows.columns)
    theirs = learner.predict(learner.release(plain), by_hand.columns)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("learner", LEARNERS, ids=lambda learner: type(learner).__name__)
def test_features_stay_those_of_the_first_rows(learner: Any) -> None:
    first, all_rows = people(30), people(60)
    featured = Featured(tabular(first), learner)
    before = trained(featured, first)
    after = trained(featured, all_rows, before)
    for name in ("features/0/centre", "features/0/scale"):
        assert torch.equal(before.tensors[name], after.tensors[name])
    assert before.settings["features/1/levels"] == after.settings["features/1/levels"]
    assert after.visits > before.visits
    assert digest(trained(featured, all_rows)) != digest(after)


def test_the_order_of_the_first_rows_does_not_matter() -> None:
    rows, featured = people(), Featured(tabular(people()), Convex())
    table = rows.table()
    shuffled = Rows.from_table(table.take(np.random.default_rng(1).permutation(len(table))), rows.schema.classes)
    assert digest(trained(featured, shuffled)) == digest(trained(featured, rows))


def test_a_training_survives_storage_and_goes_on_to_the_same_bits() -> None:
    featured = Featured(tabular(people()), LEARNERS[1])
    before = trained(featured, people(30))
    tree, tensors = encode(before)
    stored = decode(tree, {name: tensor.clone() for name, tensor in tensors.items()})
    assert digest(trained(featured, people(), stored)) == digest(trained(featured, people(), before))


def test_a_level_that_the_first_rows_lack_counts_as_missing() -> None:
    first = people(40).select(people(40).columns["job"] != "cook")
    featured = Featured(tabular(first), Convex())
    state = trained(featured, people(), trained(featured, first))
    assert state.settings["features/1/levels"] == (("clerk", "nurse"),)
    release = featured.release(state)
    columns = {"age": np.array([40.0, 40.0]), "job": np.array(["cook", ""], dtype=np.dtypes.StringDType())}
    scores = featured.predict(release, columns)
    assert torch.equal(scores[0], scores[1])


def test_numbers_far_beyond_the_first_rows_are_cut() -> None:
    narrow = Rows.of({"z": np.array([0.0, 1e-9, 2e-9, 0.0])}, [0, 1, 1, 0], classes=2)
    wide = Rows.of({"z": np.array([0.0, 1.0, -1.0, 0.5])}, [0, 1, 1, 0], classes=2)
    featured = Featured((Numeric(("z",)),), Sgd(Mlp((3,)), epochs=3))
    state = trained(featured, wide, trained(featured, narrow))
    scores = featured.predict(featured.release(state), wide.columns)
    assert torch.isfinite(scores).all()
    beyond = featured.predict(featured.release(state), {"z": np.array([1e-7, 1e300])})
    assert torch.equal(beyond[0], beyond[1])
    free = replace(featured, limit=np.inf)
    assert not torch.equal(*free.predict(free.release(state), {"z": np.array([1e-8, 1e-7])}))


def test_first_rows_without_any_level_leave_one_column_of_zeros() -> None:
    empty = Rows.of({"job": np.array(["", "", ""])}, [0, 1, 1], classes=2)
    featured = Featured((Categorical(("job",)),), Sgd(Mlp((3,)), epochs=1))
    state = trained(featured, people(), trained(featured, empty))
    assert state.settings["columns"] == (("x", "f", (1,)),)
    assert torch.isfinite(featured.predict(featured.release(state), people().columns)).all()


def test_images_keep_their_shape() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, size=(12, 4, 4)).astype(np.uint8)
    rows = Rows.of({"image": pixels}, np.arange(12) % 2, classes=2)
    featured = Featured(tabular(rows), Sgd(Mlp((3,)), epochs=1))
    state = trained(featured, rows)
    assert state.settings["columns"] == (("x", "f", (4, 4)),)
    assert len(featured.predict(featured.release(state), rows.columns)) == 12


def test_what_cannot_be_fitted_here_is_refused() -> None:
    noised = Numeric(("age",), "noised", bounds=((0, 100),), mu=0.1)
    private = FrozenNetwork(Mlp((6,)), weights={"w": torch.zeros(1)}, origin="private", mu=0.1, max_forgotten=3)
    with pytest.raises(InputError, match="tuple of features"):
        Featured((), Convex())
    with pytest.raises(InputError, match="not Featured again"):
        Featured((Numeric(("age",)),), Featured((Numeric(("age",)),), Convex()))
    with pytest.raises(InputError, match="noise"):
        Featured((noised,), Convex())
    with pytest.raises(InputError, match="Pipeline"):
        Featured((private,), Convex())
    with pytest.raises(InputError, match="limit=0"):
        Featured((Numeric(("age",)),), Convex(), limit=0)
    with pytest.raises(InputError, match="Pipeline"):
        Featured((Numeric(("age",)),), Convex()).adopt(people().schema, {})


def test_an_absent_column_and_an_infinite_number_are_explained() -> None:
    with pytest.raises(SchemaError, match="Did you mean 'age'"):
        trained(Featured((Numeric(("agee",)),), Convex()), people())
    with pytest.raises(InputError, match="infinite"):
        trained(Featured((Numeric(("pay",)),), Convex()), people(pay=np.array([np.inf] + [0.0] * 59)))


def test_what_features_assume_is_told_wherever_they_stand() -> None:
    exact, public = Numeric(("age",)), Numeric(("age",), "public", (40.0,), (12.0,))
    assert assumptions_of(Convex()) == ()
    assert declared_by(CertifiedNewton()) == ()
    inside = Sisa(Featured((public,), Convex()))
    assert features_of(Pipeline((exact,), inside)) == (exact, public)
    assert declared_by(Pipeline((exact,), inside)) == exact.assumptions() + public.assumptions()
    assert declared_by(Retrain(Featured((exact,), Convex()))) == exact.assumptions()


def test_nothing_is_known_before_the_first_rows() -> None:
    featured = Featured(tabular(people()), Convex())
    start = featured.start(people().schema, 1, PURPOSE)
    assert start.tensors == {}
    assert FITTED not in start.settings
    assert start.settings["classes"] == 2
    assert featured.epochs == 1
