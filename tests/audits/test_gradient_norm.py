"""Gradient norms: the closed form of linear models, autograd row by row for networks, and what they tell."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from audit_toys import Overfit, rows_of

from expunge.attribution.white_box import opened
from expunge.audits.attacks import roc
from expunge.audits.attacks.gradient_norm import gradient_norms
from expunge.errors import InputError
from expunge.learners.convex import Convex
from expunge.learners.scikit_learn import ScikitLearn
from expunge.learners.sgd import Sgd
from expunge.methods.retrain import Retrain
from expunge.models import Mlp
from expunge.noise import NoiseKey
from expunge.rows import Rows

ROWS = rows_of(60, 1, mislabelled=10)


def norms(method: Retrain, learned: Rows, asked: Rows) -> np.ndarray:
    release = method.release(method.learn(learned, seed=0, noise=NoiseKey.fresh(1)))
    inside = opened(method, release, asked)
    return gradient_norms(*inside.objective(), inside.rows)


def test_linear_closed_form() -> None:
    method = Retrain(Convex(l2=1e-2))
    release = method.release(method.learn(ROWS, seed=0, noise=NoiseKey.fresh(1)))
    p = np.exp(method.predict(release, ROWS.columns).numpy())
    slopes = p - np.eye(3)[ROWS.y]
    expected = np.linalg.norm(slopes, axis=1) * np.sqrt((ROWS.columns["x"] ** 2).sum(axis=1) + 1)
    assert norms(method, ROWS, ROWS).tolist() == pytest.approx(expected.tolist())


def test_network_row_by_row() -> None:
    method = Retrain(Sgd(Mlp(hidden=(5,)), epochs=2))
    release = method.release(method.learn(ROWS, seed=0, noise=NoiseKey.fresh(1)))
    module = method.learner.model.build(ROWS.schema).double()  # type: ignore[attr-defined]
    module.load_state_dict({name: t.double() for name, t in release.tensors.items()})
    expected = []
    for x, y in zip(ROWS.columns["x"], ROWS.y, strict=True):
        loss = torch.nn.functional.cross_entropy(module(torch.from_numpy(x)[None]), torch.tensor([y]))
        slopes = torch.autograd.grad(loss, list(module.parameters()))
        expected.append(float(torch.cat([slope.reshape(-1) for slope in slopes]).norm()))
    assert norms(method, ROWS, ROWS).tolist() == pytest.approx(expected, rel=1e-5)


def test_rows_are_read_in_batches_and_order_is_kept() -> None:
    many, method = rows_of(700, 3), Retrain(Convex(l2=1e-2))
    found = norms(method, ROWS, many)
    assert found.shape == (700,)
    assert norms(method, ROWS, many.only([699])).tolist() == pytest.approx([found[699]])
    assert norms(method, ROWS, many.select(np.zeros(700, dtype=bool))).shape == (0,)


def test_rows_learned_by_heart_pull_less_than_rows_never_seen() -> None:
    generator = np.random.default_rng(0)
    chance = [Rows.of(generator.normal(size=(40, 20)), generator.integers(0, 3, 40), classes=3) for _ in range(2)]
    method = Retrain(Sgd(Mlp(hidden=(32,)), epochs=20, batch_size=8, learning_rate=0.1, l2=0.0))
    members, others = (norms(method, chance[0], rows) for rows in chance)
    assert roc.auc(-members, -others) > 0.9


def test_what_has_no_gradients_says_so() -> None:
    toy = Overfit()
    release = toy.release(toy.learn(ROWS, seed=0, noise=NoiseKey.fresh(1)))
    with pytest.raises(InputError, match="trains by no learner"):
        opened(toy, release, ROWS)
    elsewhere = Retrain(ScikitLearn("LogisticRegression"))
    learned = elsewhere.release(elsewhere.learn(ROWS, seed=0, noise=NoiseKey.fresh(1)))
    with pytest.raises(InputError, match=r"not one model of its learner's|has no derivatives"):
        opened(elsewhere, learned, ROWS).objective()
