"""Mini-batch training: keyed, resumable, and the same as torch's own optimisers."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from expunge import keyed
from expunge.errors import InputError, NotConverged
from expunge.learners.learner import Training
from expunge.learners.sgd import Sgd
from expunge.models import Mlp, Model, ModuleFile
from expunge.record import digest
from expunge.rows import Rows
from expunge.schema import Schema

PURPOSE = ("test",)
FAST = Sgd(Mlp(hidden=(5,)), epochs=3, batch_size=8)


def some_rows(n: int = 41, seed: int = 0, **options: Any) -> Rows:
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(n, 4))
    return Rows.of(x, (x[:, 0] > 0).astype(int) + (x[:, 1] > 0.5), classes=3, **options)


def trained(learner: Sgd, rows: Rows, epochs: int | None = None, seed: int = 1) -> Training:
    started = learner.start(rows.schema, seed, PURPOSE)
    return learner.train(started, rows, seed=seed, purpose=PURPOSE, epochs=epochs)


def model(source: str, name: str = "build") -> Model:
    return ModuleFile("test.py", "import torch\nfrom torch import nn\n" + source, name)


NORMALISED = model(
    "def build(schema):\n"
    "    n = len(schema.classes)\n"
    "    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, n)).double()\n"
)


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_steps_equal_those_of_torch(optimiser: Any) -> None:
    rows = some_rows()
    learner = dataclasses.replace(FAST, optimiser=optimiser, l2=0.01, precision="float64")
    started = learner.start(rows.schema, 1, PURPOSE)
    ours = learner.train(started, rows, seed=1, purpose=PURPOSE)
    module = Mlp(hidden=(5,)).build(rows.schema).double()
    module.load_state_dict(dict(learner.release(started).tensors))
    decay = 0.01
    theirs: torch.optim.Optimizer = (
        torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9, weight_decay=decay)
        if optimiser == "sgd"
        else torch.optim.Adam(module.parameters(), lr=0.05, betas=(0.9, 0.999), weight_decay=decay)
    )
    x, y = torch.tensor(rows.columns["x"]), torch.tensor(rows.y)
    for epoch in range(3):
        order = torch.tensor(keyed.permutation(1, (*PURPOSE, "order", epoch), rows.keys))
        for batch in order.split(8):
            theirs.zero_grad()
            nn.functional.cross_entropy(module(x[batch]), y[batch]).backward()
            theirs.step()
    for name, tensor in learner.release(ours).tensors.items():
        torch.testing.assert_close(tensor, module.state_dict()[name], rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("learner", [FAST, dataclasses.replace(FAST, optimiser="adam"), Sgd(NORMALISED, batch_size=8)])
def test_training_in_two_calls_equals_training_in_one(learner: Sgd) -> None:
    rows = some_rows()
    half = trained(learner, rows, epochs=2)
    resumed = learner.train(half, rows, seed=1, purpose=PURPOSE, epochs=3)
    assert digest(resumed) == digest(trained(learner, rows, epochs=5))
    assert (resumed.epochs, resumed.steps, resumed.visits) == (5, 5 * 6 if learner.model != NORMALISED else 5 * 5, 205)


def test_a_state_without_its_moments_goes_another_way() -> None:
    rows = some_rows()
    half = trained(FAST, rows, epochs=2)
    amnesic = dataclasses.replace(half, tensors={**half.tensors, "momentum": torch.zeros_like(half.tensors["weights"])})
    resumed = FAST.train(amnesic, rows, seed=1, purpose=PURPOSE, epochs=3)
    assert digest(resumed) != digest(trained(FAST, rows, epochs=5))


def test_the_order_of_the_rows_does_not_matter() -> None:
    rows = some_rows()
    table = rows.table()
    shuffled = Rows.from_table(table.take(np.random.default_rng(5).permutation(len(table))), rows.schema.classes)
    assert digest(trained(FAST, shuffled)) == digest(trained(FAST, rows))


def test_other_seeds_and_purposes_train_otherwise() -> None:
    rows = some_rows()
    started = FAST.start(rows.schema, 1, ("other",))
    others = [FAST.train(started, rows, seed=1, purpose=("other",)), trained(FAST, rows, seed=2)]
    assert len({digest(training) for training in [trained(FAST, rows), *others]}) == 3


def test_the_order_of_an_epoch_differs_from_the_one_before() -> None:
    rows = some_rows()
    once = trained(FAST, rows, epochs=1)
    again = FAST.train(dataclasses.replace(once, epochs=0), rows, seed=1, purpose=PURPOSE, epochs=1)
    assert digest(dataclasses.replace(again, epochs=2)) != digest(trained(FAST, rows, epochs=2))


def test_training_changes_neither_the_state_nor_the_generator_nor_the_threads() -> None:
    rows = some_rows()
    started = FAST.start(rows.schema, 1, PURPOSE)
    before, generator, threads = digest(started), torch.random.get_rng_state(), torch.get_num_threads()
    FAST.predict(FAST.release(FAST.train(started, rows, seed=1, purpose=PURPOSE)), rows.columns)
    assert digest(started) == before
    assert torch.equal(torch.random.get_rng_state(), generator)
    assert torch.get_num_threads() == threads


def test_the_number_of_threads_outside_does_not_matter() -> None:
    rows = some_rows(400)
    learner = Sgd(Mlp(hidden=(300,)), epochs=1, batch_size=400)
    one = digest(trained(learner, rows))
    torch.set_num_threads(2)
    try:
        assert digest(trained(learner, rows)) == one
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_training_and_predicting_run_on_one_thread() -> None:
    threads = list[int]()

    def loss(scores: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        threads.append(torch.get_num_threads())
        return nn.functional.cross_entropy(scores, y, reduction="none")

    torch.set_num_threads(2)
    try:
        trained(dataclasses.replace(FAST, loss=loss, epochs=1), some_rows())
    finally:
        torch.set_num_threads(1)
    assert set(threads) == {1}


def test_predictions_are_log_probabilities_that_fit() -> None:
    rows = some_rows(200)
    training = trained(Sgd(epochs=30), rows)
    scores = Sgd().predict(Sgd().release(training), rows.columns)
    torch.testing.assert_close(scores.exp().sum(1), torch.ones(200))
    assert (scores.argmax(1).numpy() == rows.y).mean() > 0.9


def test_no_row_gets_no_prediction() -> None:
    rows = some_rows()
    assert FAST.predict(FAST.release(trained(FAST, rows)), {"x": np.zeros((0, 4))}).shape == (0, 3)


def test_a_regression_predicts_values() -> None:
    x = np.random.default_rng(0).normal(size=(100, 2))
    rows = Rows.of(x, x @ [1.0, -2.0] + 3)
    learner = Sgd(loss="squared", epochs=60, precision="float64")
    scores = learner.predict(learner.release(trained(learner, rows)), rows.columns)
    assert scores.shape == (100, 1)
    assert float((scores[:, 0] - torch.tensor(rows.y)).abs().mean()) < 0.2


def test_the_logistic_loss_gives_two_columns() -> None:
    rows = Rows.of(np.eye(4), [0, 1, 0, 1])
    learner = Sgd(loss="logistic", epochs=50, batch_size=4)
    scores = learner.predict(learner.release(trained(learner, rows)), rows.columns)
    assert scores.argmax(1).tolist() == [0, 1, 0, 1]


def test_batch_normalisation_keeps_its_statistics_in_the_state() -> None:
    rows = some_rows()
    learner = Sgd(NORMALISED, epochs=2, batch_size=8, precision="float64")
    training = trained(learner, rows)
    assert int(training.tensors["buffer:1.num_batches_tracked"]) == training.steps == 10
    module = NORMALISED.build(rows.schema)
    module.load_state_dict(dict(learner.release(training).tensors))
    expected = module.eval()(torch.tensor(rows.columns["x"])).log_softmax(1)
    torch.testing.assert_close(learner.predict(learner.release(training), rows.columns), expected)


def test_batch_normalisation_refuses_a_single_row_and_joins_a_last_one() -> None:
    learner = Sgd(NORMALISED, epochs=1, batch_size=8)
    with pytest.raises(InputError, match="single row"):
        trained(learner, some_rows(1))
    assert trained(learner, some_rows(17)).steps == 2
    assert trained(learner, some_rows(18)).steps == 3


def test_a_buffer_that_the_module_replaces_is_kept() -> None:
    source = (
        "class Net(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.l = nn.Linear(4, 3)\n"
        "        self.register_buffer('seen', torch.zeros(1))\n"
        "    def forward(self, x):\n        self.seen = self.seen + len(x)\n        return self.l(x)\n"
    )
    rows = some_rows(10)
    assert trained(Sgd(model(source, "Net"), epochs=3), rows).tensors["buffer:seen"].tolist() == [30.0]


def test_dropout_is_refused_in_a_layer_and_in_a_forward() -> None:
    rows = some_rows()
    layer = model("def build(schema):\n    return nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.5), nn.Linear(6, 3))\n")
    forward = model(
        "class Net(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.l = nn.Linear(4, 3)\n"
        "    def forward(self, x):\n        return self.l(x) + torch.rand(1)\n",
        "Net",
    )
    for refused in (layer, forward):
        with pytest.raises(InputError, match="global generator"):
            trained(Sgd(refused), rows)
    harmless = model(
        "def build(schema):\n    return nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.0), nn.Linear(6, 3))\n"
    )
    assert trained(Sgd(harmless, epochs=1), rows).epochs == 1


def test_attention_without_dropout_is_no_draw() -> None:
    source = (
        "class Net(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n"
        "        self.a = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)\n"
        "        self.e = nn.Embedding(20, 8)\n        self.l = nn.Linear(8, 2)\n"
        "    def forward(self, input_ids, attention_mask):\n"
        "        return self.l(self.a(self.e(input_ids), src_key_padding_mask=attention_mask == 0)[:, 0])\n"
    )
    generator = np.random.default_rng(0)
    ids = generator.integers(0, 20, size=(30, 5))
    mask = np.ones((30, 5), dtype=int)
    rows = Rows.of({"input_ids": ids, "attention_mask": mask}, (ids[:, 0] > 9).astype(int))
    learner = Sgd(model(source, "Net"), epochs=2, learning_rate=0.01)
    training = trained(learner, rows)
    assert digest(training) == digest(trained(learner, rows))
    assert learner.predict(learner.release(training), rows.columns).shape == (30, 2)


def test_frozen_parameters_stay_and_are_released() -> None:
    source = (
        "def build(schema):\n"
        "    net = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 3))\n"
        "    net[0].weight.requires_grad_(False)\n    return net\n"
    )
    rows = some_rows()
    learner = Sgd(model(source), epochs=2)
    started = learner.start(rows.schema, 1, PURPOSE)
    assert started.tensors["weights"].shape == (6 + 6 * 3 + 3,)
    before, after = (learner.release(t).tensors for t in (started, trained(learner, rows)))
    assert torch.equal(before["0.weight"], after["0.weight"])
    assert not torch.equal(before["1.weight"], after["1.weight"])
    with pytest.raises(InputError, match="freezes"):
        learner.adopt(rows.schema, {**after, "0.weight": after["0.weight"] + 1})


def test_adopted_weights_are_released_as_they_came() -> None:
    rows = some_rows()
    weights = {
        n: torch.full_like(t, 0.25) for n, t in FAST.release(FAST.start(rows.schema, 1, PURPOSE)).tensors.items()
    }
    released = FAST.release(FAST.adopt(rows.schema, weights)).tensors
    assert all(torch.equal(released[name], weight) for name, weight in weights.items())
    with pytest.raises(InputError, match="shapes"):
        FAST.adopt(rows.schema, {"weight": torch.zeros(3)})


def test_columns_that_cannot_be_read_are_named() -> None:
    schema = some_rows().schema
    started = FAST.start(schema, 1, PURPOSE)

    def refused(columns: Any, match: str, y: Any = (0, 1)) -> None:
        rows = Rows.of(columns, y, classes=3)
        with pytest.raises(InputError, match=match):
            FAST.train(started, rows, seed=1, purpose=PURPOSE)

    refused({"x": [["a"] * 4] * 2}, "'x' holds text")
    refused(np.array([[np.nan] * 4] * 2), "'x' holds NaN")
    refused(np.array([[1e300] * 4] * 2), "too large for torch.float32")
    refused({"age": [1.0, 2.0]}, r"reads \['x'\].*Pipeline")
    with pytest.raises(InputError, match="no target"):
        FAST.train(started, Rows.of(np.zeros((2, 4))), seed=1, purpose=PURPOSE)


def test_divergence_is_said() -> None:
    x = np.random.default_rng(0).normal(size=(50, 3)) * 100
    learner = Sgd(loss="squared", learning_rate=10.0)
    with pytest.raises(NotConverged, match="smaller"):
        trained(learner, Rows.of(x, x[:, 0]))


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"learning_rate": 0.0},
        {"learning_rate": float("inf")},
        {"momentum": 1.0},
        {"l2": -1.0},
        {"optimiser": "rmsprop"},
        {"precision": "float16"},
        {"loss": "hinge"},
    ],
)
def test_wrong_hyperparameters_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong)) if "loss" not in wrong else "hinge"):
        Sgd(**wrong)


def test_the_names_of_the_classes_stay_out_of_the_state() -> None:
    schema: Schema = Rows.of(np.eye(2), [0, 1], classes=["no", "yes"]).schema
    assert FAST.start(schema, 1, PURPOSE).settings["classes"] == 2
