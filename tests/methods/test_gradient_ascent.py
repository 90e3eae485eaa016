"""Gradient ascent: a step against plain torch, the rule that stops it, and what it leaves alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from expunge import keyed
from expunge.certificate import Uncertified
from expunge.errors import InputError, MustRetrain
from expunge.learners.convex import Convex
from expunge.learners.differentiable import Differentiable
from expunge.learners.sgd import Sgd
from expunge.methods.gradient_ascent import PURPOSE, GradientAscent, mean_loss
from expunge.models import Mlp
from expunge.noise import NoiseKey
from expunge.record import digest
from expunge.rows import Rows

NOISE = NoiseKey(bytes(32), 1)
CONVEX = Convex(loss="cross_entropy", l2=1e-2)


def some_rows(n: int = 40) -> Rows:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(n, 3))
    return Rows.of(x, (x[:, 0] > 0).astype(int), classes=2)


def ascent(learner: Differentiable = CONVEX, **settings: Any) -> GradientAscent:
    return GradientAscent(learner, **({"steps": 1, "learning_rate": 0.1, "batch_size": 64} | settings))


def by_torch(weights: torch.Tensor, rows: Rows) -> torch.Tensor:
    """The gradient of the rows' mean cross-entropy at linear weights (2, 4), by autograd."""
    W = weights.clone().requires_grad_()
    x, y = torch.tensor(rows.columns["x"]), torch.tensor(rows.y)
    torch.nn.functional.cross_entropy(x @ W[:, :-1].T + W[:, -1], y).backward()  # type: ignore[no-untyped-call]
    assert W.grad is not None
    return W.grad


@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_one_step_is_the_formula(weight: float) -> None:
    rows, method = some_rows(), ascent(retain_weight=weight)
    retained, forgotten = rows.without([2, 7]), rows.only([2, 7])
    record = method.learn(rows, seed=1, noise=NOISE)
    step = method.forget(record, retained, forgotten, noise=NOISE)
    before = CONVEX.flat(record.training).view(2, 4)
    descent = by_torch(before, retained) + 1e-2 * before
    expected = before + 0.1 * ((1 - weight) * by_torch(before, forgotten) - weight * descent)
    assert torch.allclose(CONVEX.flat(step.record.training).view(2, 4), expected, atol=1e-12)
    assert isinstance(step.certificate, Uncertified)
    assert step.stats["steps"] == 1
    assert step.stats["rows_visited"] == 2 + 2 + (38 if weight else 0)


def test_batches_are_keyed_and_differ_between_passes_and_requests() -> None:
    rows, method = some_rows(), ascent(batch_size=3)
    batches = method._batches(rows, 5, (*PURPOSE, 0, "forgotten"))
    first = [next(batches) for _ in range(14)]  # 13 of three rows, one of one
    second = [next(batches) for _ in range(14)]
    assert [len(batch) for batch in first] == [3] * 13 + [1]
    order = keyed.permutation(5, (*PURPOSE, 0, "forgotten", 0), rows.keys)
    assert np.concatenate([batch.ids for batch in first]).tolist() == rows.ids[order].tolist()
    assert sorted(np.concatenate([batch.ids for batch in second])) == sorted(rows.ids)
    assert [b.ids.tolist() for b in first] != [b.ids.tolist() for b in second]
    other = next(method._batches(rows, 5, (*PURPOSE, 1, "forgotten")))
    assert other.ids.tolist() != first[0].ids.tolist()


@pytest.mark.parametrize("learner", [CONVEX, Sgd(Mlp((4,)), epochs=5, batch_size=8)], ids=["convex", "sgd"])
def test_the_loss_climbs_and_never_passes_the_limit(learner: Differentiable) -> None:
    rows = some_rows()
    forgotten, losses = rows.only([2, 7, 9]), []
    for steps in (1, 10, 1000):
        method = ascent(learner, steps=steps, learning_rate=0.5)
        record = method.learn(rows, seed=1, noise=NOISE)
        step = method.forget(record, rows.without([2, 7, 9]), forgotten, noise=NOISE)
        after = mean_loss(learner.objective(record.training), learner.flat(step.record.training), forgotten)
        assert after == pytest.approx(step.stats["loss"], rel=1e-5)
        losses.append(after)
        assert step.stats["loss_before"] < after <= math.log(2) * (1 + 1e-6)
    assert losses == sorted(losses)
    assert step.stats["steps"] < 1000


def test_a_loss_at_the_limit_already_leaves_the_model_alone() -> None:
    rows, method = some_rows(), ascent(max_loss=1e-6)
    record = method.learn(rows, seed=1, noise=NOISE)
    step = method.forget(record, rows.without([2]), rows.only([2]), noise=NOISE)
    assert digest(step.record.training) == digest(record.training)
    assert (step.record.size, step.record.requests, step.stats["steps"]) == (39, 1, 0)


def test_without_the_limit_the_model_is_destroyed_and_descent_beside_it_helps() -> None:
    """Positive control: the rule is what keeps the model."""
    rows, retained = some_rows(), some_rows().without([2])
    plans: list[dict[str, Any]] = [{}, {"max_loss": 1e9}, {"max_loss": 1e9, "retain_weight": 0.9}]
    kept, wild, beside = (ascent(steps=300, learning_rate=1.0, **settings) for settings in plans)
    loss = []
    for method in (kept, wild, beside):
        record = method.learn(rows, seed=1, noise=NOISE)
        step = method.forget(record, retained, rows.only([2]), noise=NOISE)
        loss.append(mean_loss(CONVEX.objective(record.training), CONVEX.flat(step.record.training), retained))
    assert loss[0] < 1.0 < loss[1]
    assert loss[2] < loss[1] / 5


def test_momentum_of_the_training_is_dropped_with_the_weights_it_was_taken_at() -> None:
    rows, method = some_rows(), ascent(Sgd(Mlp((4,)), epochs=3))
    record = method.learn(rows, seed=1, noise=NOISE)
    after = method.forget(record, rows.without([2]), rows.only([2]), noise=NOISE).record.training
    assert bool(record.training.tensors["momentum"].any())
    assert not bool(after.tensors["momentum"].any())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"learning_rate": math.nan}, "learning_rate is nan"),
        ({"retain_weight": 1.0}, "retain_weight is 1.0"),
        ({"retain_weight": -0.1}, "retain_weight is -0.1"),
        ({"max_loss": math.inf}, "without a limit the model is destroyed"),
        ({"max_loss": 0.0}, "max_loss is 0.0"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ascent(**settings)


def test_a_regression_needs_a_limit() -> None:
    rows = Rows.of(some_rows().columns["x"], some_rows().columns["x"][:, 0])
    with pytest.raises(InputError, match="give max_loss"):
        ascent(Convex(loss="squared")).learn(rows, seed=1, noise=NOISE)


def test_nothing_everything_and_rows_of_another_record() -> None:
    rows, method = some_rows(), ascent()
    none = rows.select(np.zeros(len(rows), dtype=bool))
    record = method.learn(rows, seed=1, noise=NOISE)
    assert method.forget(record, rows, none, noise=NOISE).record is record
    with pytest.raises(MustRetrain, match="No row is left"):
        method.forget(record, none, rows, noise=NOISE)
    with pytest.raises(InputError, match="learned from 40 rows"):
        method.forget(record, rows.without([1, 2]), rows.only([1]), noise=NOISE)


def test_it_adopts_a_model_and_predicts_from_the_release() -> None:
    rows, method = some_rows(), ascent()
    record = method.learn(rows, seed=1, noise=NOISE)
    adopted = method.adopt(method.release(record).tensors, rows, seed=1, noise=NOISE)
    scores = [method.predict(method.release(r), rows.columns) for r in (record, adopted)]
    assert torch.equal(*scores)
