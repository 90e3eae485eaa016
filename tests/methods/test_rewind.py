"""Rewinding: the epochs that are run again, and what makes it exact."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from expunge.certificate import Exact, Uncertified
from expunge.errors import InputError, MustRetrain
from expunge.learners.convex import Convex
from expunge.learners.sgd import Sgd
from expunge.methods.rewind import Rewind, RewindRecord
from expunge.models import Mlp
from expunge.record import digest
from expunge.rows import Rows
from expunge.testing import flat_weights, noise_key

NOISE = noise_key(1)
LEARNER = Sgd(Mlp((4,)), epochs=6, batch_size=8)
METHOD = Rewind(LEARNER)


def some_rows(n: int = 40) -> Rows:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(n, 3))
    return Rows.of(x, (x[:, 0] > 0).astype(int))


ROWS = some_rows()


def forgotten(method: Rewind, record: RewindRecord, rows: Rows, ids: list[int]) -> RewindRecord:
    return method.forget(record, rows.without(ids), rows.only(ids), noise=NOISE).record


def test_the_last_epochs_are_run_again_from_the_checkpoint_in_the_order_of_the_reference() -> None:
    """The algorithm written out: T - K epochs on all rows, K on the retained, one count of epochs and one purpose."""
    purpose = ("rewind",)
    step = METHOD.forget(METHOD.learn(ROWS, seed=3, noise=NOISE), ROWS.without([2, 7]), ROWS.only([2, 7]), noise=NOISE)
    by_hand = LEARNER.train(LEARNER.start(ROWS.schema, 3, purpose), ROWS, seed=3, purpose=purpose, epochs=3)
    by_hand = LEARNER.train(by_hand, ROWS.without([2, 7]), seed=3, purpose=purpose, epochs=3)
    assert digest(step.record.training) == digest(by_hand)
    assert step.stats == {"epochs": 3.0, "rows_visited": 3.0 * 38}


@pytest.mark.parametrize(("share", "epochs"), [(0.01, 1), (0.2, 1), (0.5, 3), (0.75, 4), (1.0, 6)])
def test_the_share_decides_how_many_epochs_are_run_again(share: float, epochs: int) -> None:
    method = Rewind(LEARNER, rewind=share)
    assert method.again == epochs
    record = method.learn(ROWS, seed=3, noise=NOISE)
    assert (record.checkpoint.epochs, record.training.epochs) == (6 - epochs, 6)


def test_learning_is_plain_training_whatever_the_share() -> None:
    trainings = [Rewind(LEARNER, rewind=share).learn(ROWS, seed=3, noise=NOISE).training for share in (0.2, 0.5, 1.0)]
    assert len({digest(training) for training in trainings}) == 1


def test_rewinding_everything_is_exact_retraining() -> None:
    method = Rewind(LEARNER, rewind=1.0)
    step = method.forget(method.learn(ROWS, seed=3, noise=NOISE), ROWS.without([2]), ROWS.only([2]), noise=NOISE)
    assert isinstance(step.certificate, Exact)
    assert digest(step.record) == digest(method.learn(ROWS.without([2]), seed=3, noise=NOISE))


def test_a_learner_of_one_epoch_is_always_run_again_whole() -> None:
    method = Rewind(Convex(), rewind=0.1)
    step = method.forget(method.learn(ROWS, seed=3, noise=NOISE), ROWS.without([2]), ROWS.only([2]), noise=NOISE)
    assert isinstance(step.certificate, Exact)


def test_a_checkpoint_that_saw_the_rows_is_never_exact_and_says_that_it_is_kept() -> None:
    step = METHOD.forget(METHOD.learn(ROWS, seed=3, noise=NOISE), ROWS.without([2]), ROWS.only([2]), noise=NOISE)
    assert isinstance(step.certificate, Uncertified)
    assert "checkpoint" in step.certificate.why
    assert "is kept" in step.certificate.why
    assert digest(step.record) != digest(METHOD.learn(ROWS.without([2]), seed=3, noise=NOISE))


def test_one_request_after_the_other_in_any_order_equals_all_at_once() -> None:
    record = METHOD.learn(ROWS, seed=3, noise=NOISE)
    at_once = forgotten(METHOD, record, ROWS, [2, 7, 9])
    for order in ([2, 7, 9], [9, 2, 7]):
        one_by_one, rows = record, ROWS
        for i in order:
            one_by_one, rows = forgotten(METHOD, one_by_one, rows, [i]), rows.without([i])
        assert digest(one_by_one) == digest(at_once)


def test_extending_runs_the_same_epochs_with_the_new_rows() -> None:
    half = METHOD.learn(ROWS.without([2, 7]), seed=3, noise=NOISE)
    step = METHOD.extend(half, ROWS.without([2, 7]), ROWS.only([2, 7]), noise=NOISE)
    assert isinstance(step.certificate, Uncertified)
    assert digest(forgotten(METHOD, step.record, ROWS, [2, 7])) == digest(half)


def test_momentum_is_part_of_the_checkpoint() -> None:
    record = METHOD.learn(ROWS, seed=3, noise=NOISE)
    assert float(record.checkpoint.tensors["momentum"].abs().max()) > 0
    without = dataclasses.replace(
        record,
        checkpoint=dataclasses.replace(
            record.checkpoint,
            tensors=record.checkpoint.tensors | {"momentum": torch.zeros_like(record.checkpoint.tensors["momentum"])},
        ),
    )
    assert digest(forgotten(METHOD, record, ROWS, [2])) != digest(forgotten(METHOD, without, ROWS, [2]))


def test_more_rewinding_comes_nearer_to_retraining() -> None:
    """On a convex problem with enough epochs the distance falls with the share, to zero."""
    learner, ids = Sgd(Mlp(()), epochs=20, batch_size=8, l2=0.05), list(range(10))
    gaps = []
    for share in (0.05, 0.25, 0.5, 1.0):
        method = Rewind(learner, rewind=share)
        after = forgotten(method, method.learn(ROWS, seed=3, noise=NOISE), ROWS, ids)
        clean = method.learn(ROWS.without(ids), seed=3, noise=NOISE)
        gaps.append(float((flat_weights(method.release(after)) - flat_weights(method.release(clean))).norm()))
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] == 0
    assert gaps[2] < gaps[0] / 2


@pytest.mark.parametrize("share", [0.0, -0.5, 1.5, float("nan")])
def test_a_share_outside_its_range_is_refused(share: float) -> None:
    with pytest.raises(InputError, match="rewind="):
        Rewind(LEARNER, rewind=share)


def test_bad_steps_are_refused() -> None:
    record = METHOD.learn(ROWS, seed=3, noise=NOISE)
    with pytest.raises(MustRetrain):
        METHOD.forget(record, ROWS.without(range(40)), ROWS, noise=NOISE)
    with pytest.raises(InputError, match="learned from 40 rows"):
        METHOD.forget(record, ROWS.without([1, 2]), ROWS.only([2]), noise=NOISE)
    with pytest.raises(InputError, match="no row to learn from"):
        METHOD.learn(ROWS.without(range(40)), seed=3, noise=NOISE)
    assert METHOD.forget(record, ROWS, ROWS.without(range(40)), noise=NOISE).record is record
