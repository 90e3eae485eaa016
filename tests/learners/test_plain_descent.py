"""Gradient descent on keyed batches: written out, in any order of rows, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from expunge import keyed
from expunge.errors import InputError, NotConverged
from expunge.learners.batch_gradients import BatchGradients, batch_numbers
from expunge.learners.descent import Descent, _check_plain
from expunge.models import Linear, Mlp
from expunge.rows import Rows
from expunge.testing import flat_weights

PURPOSE = ("test",)


def some_rows(n: int = 50) -> Rows:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(n, 3))
    return Rows.of(x, (x[:, 0] > 0).astype(int), ids=[f"row-{i}" for i in range(n)])


def trained(learner: Descent, rows: Rows, seed: int = 1) -> torch.Tensor:
    training = learner.train(learner.start(rows.schema, seed, PURPOSE), rows, seed=seed, purpose=PURPOSE)
    return learner.flat(training)


def test_a_step_is_the_formula_on_the_rows_whose_key_drew_the_batch() -> None:
    rows = some_rows()
    learner = Descent(loss="logistic", epochs=7, batches=3, learning_rate=0.3, l2=0.02, precision="float64")
    x, y, keys = np.c_[rows.columns["x"], np.ones(50)], rows.y, rows.keys
    w = np.zeros(4)
    for epoch in range(7):
        batch = keyed.integers(1, ("test", "batch", epoch), keys, 3)
        for number in range(3):
            where = batch == number
            slopes = 1 / (1 + np.exp(-x[where] @ w)) - y[where]
            w = (1 - 0.3 * 0.02) * w - 0.3 * (slopes @ x[where]) / where.sum()
    np.testing.assert_allclose(trained(learner, rows), w, rtol=1e-12)


def test_without_some_rows_every_batch_is_the_old_one_less_those() -> None:
    rows = some_rows()
    fewer = rows.without(["row-3", "row-9"])
    for epoch in range(5):
        old = dict(zip(rows.keys.tolist(), batch_numbers(1, PURPOSE, epoch, rows.keys, 4).tolist(), strict=True))
        new = dict(zip(fewer.keys.tolist(), batch_numbers(1, PURPOSE, epoch, fewer.keys, 4).tolist(), strict=True))
        assert new == {key: old[key] for key in fewer.keys.tolist()}
    assert len({batch_numbers(1, PURPOSE, e, rows.keys, 4).tobytes() for e in range(5)}) == 5


@pytest.mark.parametrize("model", [Linear(), Mlp((4,))])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_the_order_of_rows_does_not_matter_and_two_trainings_make_one(model: Linear | Mlp, precision: str) -> None:
    rows, learner = some_rows(), Descent(model, epochs=6, batches=3, precision=precision)  # type: ignore[arg-type]
    order = np.random.default_rng(1).permutation(50)
    other = Rows.of(rows.columns["x"][order], rows.y[order], ids=[f"row-{i}" for i in order])
    whole = trained(learner, rows)
    assert torch.equal(whole, trained(learner, other))
    half = learner.train(learner.start(rows.schema, 1, PURPOSE), rows, seed=1, purpose=PURPOSE, epochs=2)
    both = learner.train(half, rows, seed=1, purpose=PURPOSE, epochs=4)
    assert torch.equal(whole, learner.flat(both))
    assert (both.steps, both.epochs, both.visits) == (18, 6, 300)


def test_a_batch_without_rows_is_skipped() -> None:
    rows = some_rows(3)
    learner = Descent(loss="logistic", epochs=4, batches=9)
    training = learner.train(learner.start(rows.schema, 1, PURPOSE), rows, seed=1, purpose=PURPOSE)
    filled = sum(len(np.unique(batch_numbers(1, PURPOSE, epoch, rows.keys, 9))) for epoch in range(4))
    assert training.steps == filled < 4 * 9


def test_closed_forms_and_modules_agree() -> None:
    rows = some_rows()
    learner = Descent(precision="float64", epochs=20, batches=2)
    training = learner.start(rows.schema, 1, PURPOSE)
    w = torch.from_numpy(np.random.default_rng(2).normal(size=8))
    closed = learner.gradients(training, rows, 1, PURPOSE)
    module = Mlp(())
    twin = Descent(module, precision="float64", epochs=20, batches=2)
    layered = twin.gradients(twin.start(rows.schema, 1, PURPOSE), rows, 1, PURPOSE)
    W = w.view(2, 4)
    flat = torch.cat([W[:, :3].reshape(-1), W[:, 3]])
    for step in range(4):
        expected = closed.sum(w, step).view(2, 4)
        expected = torch.cat([expected[:, :3].reshape(-1), expected[:, 3]])
        np.testing.assert_allclose(layered.sum(flat, step), expected, atol=1e-12)


def test_many_rows_and_few_have_the_same_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, learner = some_rows(), Descent(precision="float64", batches=2)
    training = learner.start(rows.schema, 1, PURPOSE)
    few = learner.gradients(training, rows, 1, PURPOSE)
    monkeypatch.setattr("expunge.learners.batch_gradients.FEW_ROWS", 0)
    many = learner.gradients(training, rows, 1, PURPOSE)
    w = torch.from_numpy(np.random.default_rng(2).normal(size=8))
    for step in range(2):
        np.testing.assert_allclose(few.sum(w, step), many.sum(w, step), atol=1e-12)


def test_it_predicts_and_adopts_by_name() -> None:
    rows, learner = some_rows(), Descent(epochs=200, learning_rate=0.5)
    training = learner.train(learner.start(rows.schema, 1, PURPOSE), rows, seed=1, purpose=PURPOSE)
    release = learner.release(training)
    scores = learner.predict(release, rows.columns)
    assert float((scores.argmax(1).numpy() == rows.y).mean()) > 0.9
    again = learner.adopt(rows.schema, release.tensors)
    assert torch.equal(flat_weights(learner.release(again)), flat_weights(release))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"epochs": 0}, "epochs=0"),
        ({"batches": 0}, "batches=0"),
        ({"learning_rate": 0.0}, "learning_rate=0.0"),
        ({"l2": 0.0}, "l2=0.0"),
        ({"loss": "cubic"}, "cubic"),
        ({"precision": "float16"}, "float16"),
        ({"loss": lambda s, y: s.sum(1)}, "loss of your own"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, object], told: str) -> None:
    with pytest.raises(InputError, match=told):
        Descent(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("part", "told"),
    [
        (nn.Dropout(0.5), "drops values at random"),
        (nn.LSTM(3, 3, num_layers=2, dropout=0.1), "drops values at random"),
        (nn.BatchNorm1d(3), "normalises over the batch"),
    ],
)
def test_modules_whose_gradients_are_no_function_of_the_row_are_refused(part: nn.Module, told: str) -> None:
    with pytest.raises(InputError, match=told):
        _check_plain(nn.Sequential(nn.Linear(3, 3), part))
    _check_plain(nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.0), nn.LayerNorm(3)))


def test_a_training_that_diverges_says_so() -> None:
    learner = Descent(loss="squared", learning_rate=1e3, epochs=200)
    with pytest.raises(NotConverged, match="learning_rate"):
        trained(learner, Rows.of(some_rows().columns["x"], some_rows().columns["x"][:, 0]))


def test_a_digest_tells_rows_apart_and_not_their_order() -> None:
    rows, learner = some_rows(), Descent()
    training = learner.start(rows.schema, 1, PURPOSE)

    def digest(given: Rows) -> str:
        gradients: BatchGradients = learner.gradients(training, given, 1, PURPOSE)
        return gradients.digest()

    order = np.arange(50)[::-1]
    turned = Rows.of(rows.columns["x"][order], rows.y[order], ids=[f"row-{i}" for i in order])
    x = rows.columns["x"].copy()
    x[7, 1] += 1e-9
    moved = Rows.of(x, rows.y, ids=[f"row-{i}" for i in range(50)])
    assert digest(rows) == digest(turned)
    assert len({digest(rows), digest(moved), digest(rows.without(["row-1"]))}) == 3
