"""A method that says it learns plainly does: its release is, bit for bit, its learner's plain training.

Only the purpose that keys the draws differs from `Retrain`'s; put in its place, nothing is left of the difference.
"""

from __future__ import annotations

import dataclasses
import importlib
from typing import Any

import numpy as np
import pytest

import expunge.methods
from expunge.comparisons.plain_training import plain_of, reference_of
from expunge.features import Pipeline
from expunge.learners.convex import Convex
from expunge.learners.sgd import Sgd
from expunge.method import Method
from expunge.methods import retrain
from expunge.models import Mlp
from expunge.noise import NoiseKey
from expunge.record import digest
from expunge.rows import Rows
from tests.contract.subjects import SUBJECTS

PLAIN = [cls for name in expunge.methods.__all__ if (cls := getattr(expunge.methods, name)).learns_plainly]
LEARNERS = {"convex": Convex(), "sgd": Sgd(Mlp((3,)), epochs=3, batch_size=8)}


def rows() -> Rows:
    x = np.random.default_rng(0).normal(size=(40, 3))
    return Rows.of(x, (x[:, 0] > 0).astype(int), classes=2)


@pytest.mark.parametrize("learner", list(LEARNERS))
@pytest.mark.parametrize("cls", PLAIN, ids=lambda cls: cls.__name__)
def test_what_learns_plainly_is_plain_training(
    cls: type[Method[Any]], learner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = cls(learner=LEARNERS[learner])  # type: ignore[call-arg]
    noise = NoiseKey.fresh(1)
    own = method.release(method.learn(rows(), seed=5, noise=noise))
    monkeypatch.setattr(retrain, "PURPOSE", importlib.import_module(cls.__module__).PURPOSE)
    plain = reference_of(method)
    assert isinstance(plain, retrain.Retrain)
    assert digest(plain.release(plain.learn(rows(), seed=5, noise=noise))) == digest(own)


def test_enough_methods_learn_plainly_and_noise_ends_it() -> None:
    assert {cls.__name__ for cls in PLAIN} >= {"Retrain", "FineTune", "GradientAscent", "Rewind", "Influence", "LFoci"}
    noisy = expunge.methods.Influence(noise_std=0.1)
    assert reference_of(noisy) is noisy
    assert plain_of(noisy) == retrain.Retrain(noisy.learner)


def test_methods_that_do_not_say_so_are_compared_with_their_own_retrainings() -> None:
    for subjects in SUBJECTS.values():
        for make in subjects.values():
            method = make()[0]
            inner = method.method if isinstance(method, Pipeline) else method
            if not inner.learns_plainly:
                assert reference_of(method) is method
            else:
                assert dataclasses.is_dataclass(reference_of(method))
