"""Learners with derivatives: their objective is the one they train, at the weights they hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from expunge.learners.convex import Convex
from expunge.learners.differentiable import Differentiable
from expunge.learners.learner import Training
from expunge.learners.sgd import Sgd
from expunge.models import Mlp, ModuleFile
from expunge.rows import Rows

NORMED = ModuleFile(
    "normed.py",
    "from torch import nn\n"
    "def net():\n"
    "    return nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 2))\n",
    "net",
)
LEARNERS: list[Any] = [
    pytest.param(Convex(l2=0.1, tol=1e-10), id="convex"),
    pytest.param(Convex("logistic", l2=0.1, tol=1e-10), id="logistic"),
    pytest.param(Sgd(Mlp((4,)), epochs=3, precision="float64"), id="network"),
    pytest.param(Sgd(NORMED, epochs=3, optimiser="adam", precision="float64"), id="batch normalisation"),
]


def rows() -> Rows:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(50, 3))
    return Rows.of({"x": x}, (x[:, 0] > 0).astype(int))


def trained(learner: Differentiable) -> Training:
    return learner.train(learner.start(rows().schema, 1, ("t",)), rows(), seed=1, purpose=("t",))


@pytest.mark.parametrize("learner", LEARNERS)
def test_the_objective_predicts_what_the_learner_predicts(learner: Differentiable) -> None:
    training = trained(learner)
    objective, w = learner.objective(training), learner.flat(training)
    assert w.shape == (objective.dimension,)
    assert w.dtype == torch.float64
    log_p = learner.predict(learner.release(training), rows().columns)
    scores = objective.scores(w, rows().columns)
    torch.testing.assert_close(objective.loss.outputs(scores), log_p)


@pytest.mark.parametrize("learner", LEARNERS)
def test_moving_to_the_own_weights_changes_no_prediction_and_forgets_the_moments(learner: Differentiable) -> None:
    training = trained(learner)
    moved = learner.moved(training, learner.flat(training))
    assert torch.equal(learner.flat(moved), learner.flat(training))
    predictions = [learner.predict(learner.release(t), rows().columns) for t in (training, moved)]
    assert torch.equal(*predictions)
    for name in {"momentum", "first", "second"} & moved.tensors.keys():
        assert not moved.tensors[name].any()


def test_a_moved_training_is_at_the_weights_it_was_moved_to_and_the_old_one_is_not() -> None:
    learner = Sgd(Mlp((4,)), epochs=1, precision="float64")
    training = trained(learner)
    before = learner.flat(training).clone()
    moved = learner.moved(training, before + 1)
    assert torch.equal(learner.flat(moved), before + 1)
    assert torch.equal(learner.flat(training), before)


@pytest.mark.parametrize("learner", LEARNERS)
def test_a_shifted_training_has_other_weights_and_nothing_else(learner: Differentiable) -> None:
    training = trained(learner)
    before = learner.flat(training).clone()
    by = torch.linspace(-1, 1, len(before), dtype=torch.float64)
    shifted = learner.shifted(training, by)
    assert torch.equal(learner.flat(shifted), before + by)
    assert torch.equal(learner.flat(training), before)
    others = set(training.tensors) - {"weights", "weight", "bias"}
    assert all(torch.equal(shifted.tensors[name], training.tensors[name]) for name in others)
    assert (shifted.steps, shifted.epochs, shifted.visits) == (training.steps, training.epochs, training.visits)


def test_convex_training_ends_where_its_objective_is_flat() -> None:
    learner = Convex(l2=0.1, tol=1e-10)
    training = trained(learner)
    gradient = learner.objective(training).gradient(learner.flat(training), rows())
    assert float(torch.linalg.vector_norm(gradient)) <= 1e-10 * (1 + 1e-6)


def test_the_objective_sees_the_buffers_that_training_left() -> None:
    learner = Sgd(NORMED, epochs=3, precision="float64")
    training = trained(learner)
    objective = learner.objective(training)
    norms = [part for part in objective.module.modules() if isinstance(part, nn.BatchNorm1d)]
    (norm,) = norms
    assert norm.running_mean is not None
    assert norm.running_mean.any()
