"""Training inside a ball: the projection after every step."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from expunge import keyed
from expunge.errors import InputError
from expunge.learners.sgd import Sgd
from expunge.models import Linear, Mlp
from expunge.record import digest
from expunge.rows import Rows

PURPOSE = ("test",)
FAST = Sgd(Mlp((5,)), epochs=3, batch_size=8, l2=0.01)


def clouds(n: int) -> Rows:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(n, 4))
    return Rows.of(x, (x[:, 0] > 0).astype(int) + (x[:, 1] > 0.5), classes=3)


def trained(learner: Sgd) -> torch.Tensor:
    rows = clouds(41)
    started = learner.start(rows.schema, 1, PURPOSE)
    return learner.flat(learner.train(started, rows, seed=1, purpose=PURPOSE))


def test_a_ball_that_is_never_left_changes_no_bit() -> None:
    rows, wide = clouds(41), dataclasses.replace(FAST, norm_bound=1e6)
    one, other = (
        learner.train(learner.start(rows.schema, 1, PURPOSE), rows, seed=1, purpose=PURPOSE) for learner in (FAST, wide)
    )
    assert digest(one) == digest(other)


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_the_weights_end_in_the_ball(optimiser: str, precision: str) -> None:
    learner = dataclasses.replace(FAST, norm_bound=0.5, optimiser=optimiser, precision=precision)
    assert float(trained(learner).norm()) == pytest.approx(0.5, rel=1e-6)


def test_every_step_is_projected_and_not_only_the_last() -> None:
    """The steps written out for a linear model: gradient step, then projection, at every one of them."""
    rows, bound, rate, l2 = clouds(41), 0.3, 0.5, 0.01
    learner = Sgd(Linear(), epochs=1, batch_size=8, momentum=0.0, learning_rate=rate, l2=l2, norm_bound=bound,
                  precision="float64")  # fmt: skip
    w = learner.flat(learner.start(rows.schema, 1, PURPOSE)).clone()
    x, y = torch.tensor(rows.columns["x"]), torch.tensor(rows.y)
    for batch in torch.tensor(keyed.permutation(1, (*PURPOSE, "order", 0), rows.keys)).split(8):
        w.requires_grad_(True)
        scores = x[batch] @ w[:12].reshape(3, 4).T + w[12:]
        (slope,) = torch.autograd.grad(torch.nn.functional.cross_entropy(scores, y[batch]), w)
        w = (w - rate * (slope + l2 * w)).detach()
        w = w * min(1.0, bound / float(w.norm()))
    assert torch.allclose(trained(learner), w, atol=1e-12)


@pytest.mark.parametrize("bound", [0.0, -1.0, math.nan])
def test_a_bound_that_is_not_positive_is_refused(bound: float) -> None:
    with pytest.raises(InputError, match="norm_bound"):
        Sgd(norm_bound=bound)
