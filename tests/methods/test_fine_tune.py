"""Fine-tuning: training goes on, for so many epochs, on the retained rows and on nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from expunge.certificate import Uncertified
from expunge.errors import InputError, MustRetrain
from expunge.learners.convex import Convex
from expunge.learners.learner import Learner
from expunge.learners.sgd import Sgd
from expunge.method import Adopts, Extends
from expunge.methods.fine_tune import PURPOSE, FineTune
from expunge.models import Mlp
from expunge.noise import NoiseKey
from expunge.record import digest
from expunge.rows import Rows

NOISE = NoiseKey(bytes(32), 1)
SGD = Sgd(Mlp(hidden=(4,)), epochs=3, batch_size=8)


def some_rows(n: int = 30) -> Rows:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(n, 3))
    return Rows.of(x, (x[:, 0] > 0).astype(int))


@pytest.mark.parametrize("learner", [SGD, Convex()], ids=["sgd", "convex"])
def test_a_step_is_the_training_gone_on_with(learner: Learner) -> None:
    rows, method = some_rows(), FineTune(learner, epochs=2)
    retained = rows.without([2, 7])
    record = method.learn(rows, seed=1, noise=NOISE)
    step = method.forget(record, retained, rows.only([2, 7]), noise=NOISE)
    on = learner.train(record.training, retained, seed=1, purpose=PURPOSE, epochs=2)
    assert isinstance(step.certificate, Uncertified)
    assert digest(step.record.training) == digest(on)
    assert step.record.size == 28
    assert step.stats["rows_visited"] == on.visits - record.training.visits


def test_epochs_are_counted_as_passes() -> None:
    rows, method = some_rows(), FineTune(SGD, epochs=5)
    record = method.learn(rows, seed=1, noise=NOISE)
    step = method.forget(record, rows.without([2]), rows.only([2]), noise=NOISE)
    assert step.stats == {"rows_visited": 29 * 5, "passes": 5}
    assert step.record.training.epochs == 8


def test_a_convex_learner_ends_where_retraining_ends() -> None:
    rows, method = some_rows(), FineTune(Convex(l2=1e-2))
    record = method.learn(rows, seed=1, noise=NOISE)
    step = method.forget(record, rows.without([2]), rows.only([2]), noise=NOISE)
    clean = method.learn(rows.without([2]), seed=1, noise=NOISE)
    for name, tensor in clean.training.tensors.items():
        assert torch.allclose(step.record.training.tensors[name], tensor, atol=2 * 1e-8 / 1e-2)
        assert not torch.allclose(record.training.tensors[name], tensor, atol=1e-5)


def test_the_order_of_the_retained_rows_does_not_matter() -> None:
    rows, method = some_rows(), FineTune(SGD)
    x, y = rows.columns["x"][::-1].copy(), rows.y[::-1].copy()
    mirrored = Rows.of(x, y, ids=[str(i) for i in range(29, -1, -1)])
    record = method.learn(rows, seed=1, noise=NOISE)
    steps = [method.forget(record, r.without([2]), r.only([2]), noise=NOISE) for r in (rows, mirrored)]
    assert digest(steps[0].record) == digest(steps[1].record)


def test_nothing_everything_and_rows_of_another_record() -> None:
    rows, method = some_rows(), FineTune(SGD)
    none = rows.select(np.zeros(len(rows), dtype=bool))
    record = method.learn(rows, seed=1, noise=NOISE)
    assert method.forget(record, rows, none, noise=NOISE).record is record
    assert method.extend(record, rows, none, noise=NOISE).record is record
    with pytest.raises(MustRetrain, match="No row is left"):
        method.forget(record, none, rows, noise=NOISE)
    with pytest.raises(InputError, match="learned from 30 rows"):
        method.forget(record, rows.without([1, 2]), rows.only([1]), noise=NOISE)
    with pytest.raises(InputError, match="learned from 30 rows"):
        method.extend(record, rows.without([1]), rows.only([1]), noise=NOISE)
    with pytest.raises(InputError, match="epochs is 0"):
        FineTune(SGD, epochs=0)


def test_it_extends_and_adopts() -> None:
    rows, method = some_rows(), FineTune(SGD, epochs=2)
    assert isinstance(method, Extends)
    assert isinstance(method, Adopts)
    part, added = rows.without([4]), rows.only([4])
    record = method.learn(part, seed=1, noise=NOISE)
    both = method.extend(record, part, added, noise=NOISE).record
    assert both.size == 30
    adopted = method.adopt(method.release(both).tensors, rows, seed=1, noise=NOISE)
    scores = [method.predict(method.release(r), rows.columns) for r in (both, adopted)]
    assert torch.equal(*scores)
