"""Newton shift: what it refuses, keeps, adds and takes out again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from expunge.certificate import Uncertified
from expunge.errors import InputError, MustRetrain, NotConverged
from expunge.learners.convex import Convex
from expunge.learners.sgd import Sgd
from expunge.methods.newton_shift import NewtonShift, NewtonShiftRecord
from expunge.models import Mlp
from expunge.noise import NoiseKey
from expunge.record import encode
from expunge.rows import Rows
from expunge.testing import noise_key


def clouds(n: int = 120, p: int = 4, classes: int = 3) -> Rows:
    generator = np.random.default_rng(1)
    y = np.arange(n) % classes
    return Rows.of(generator.normal(size=(n, p)) + np.eye(classes, p)[y], y, classes=classes)


def weights(method: NewtonShift, record: NewtonShiftRecord) -> torch.Tensor:
    return method.learner.flat(record.training)


def clean(method: NewtonShift, rows: Rows) -> torch.Tensor:
    started = method.learner.start(rows.schema, 0, ("clean",))
    return method.learner.flat(method.learner.train(started, rows, seed=0, purpose=("clean",)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tradeoff": 0.0}, "tradeoff is 0.0"),
        ({"error_std": -1.0}, "error_std is -1.0"),
        ({"error": "other"}, "no error 'other'"),
        ({"damping": -1.0}, "damping is -1.0"),
        ({"dense_limit": -1}, "dense_limit=-1"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        NewtonShift(**settings)


def test_one_step_goes_most_of_the_way_and_a_second_the_rest() -> None:
    rows, method = clouds(), NewtonShift(tradeoff=1e-16, error_std=1e-8)
    gone = [str(i) for i in range(20)]
    retained = rows.without(gone)
    record, goal = method.learn(rows, seed=0, noise=noise_key(1)), clean(method, retained)
    step = method.forget(record, retained, rows.only(gone), noise=noise_key(2, 2))
    nothing = float((weights(method, record) - goal).norm())
    first = float((weights(method, step.record) - goal).norm())
    assert first < 0.15 * nothing
    assert step.stats["gradient_after"] < 0.1 * step.stats["gradient_before"]
    again = method.extend(step.record, retained, rows.select(np.zeros(len(rows), dtype=bool)), noise=noise_key(3, 3))
    assert float((weights(method, again.record) - goal).norm()) < 0.1 * first


def test_noise_of_earlier_releases_does_not_add_up() -> None:
    rows, method = clouds(300), NewtonShift(tradeoff=1e-3, error_std=1e-2)
    record, remaining, gaps = method.learn(rows, seed=0, noise=noise_key(1)), rows, []
    for release in range(2, 12):
        retained = remaining.without([str(release)])
        step = method.forget(record, retained, remaining.only([str(release)]), noise=noise_key(release, release))
        record, remaining = step.record, retained
        gaps.append(float((weights(method, record) - clean(method, retained)).norm()))
    assert max(gaps) < 2.5 * min(gaps)


def test_noise_is_drawn_anew_for_every_release_and_by_the_secret() -> None:
    rows, method = clouds(), NewtonShift()
    record = method.learn(rows, seed=0, noise=noise_key(1))
    retained, forgotten = rows.without(["3"]), rows.only(["3"])
    drawn = [method.forget(record, retained, forgotten, noise=noise_key(k, 2)).record for k in range(40)]
    spread = torch.stack([weights(method, one) for one in drawn]).std(0)
    law = method._law()
    objective, w = method.learner.objective(record.training), weights(method, drawn[0])
    values, vectors = torch.linalg.eigh(objective.hessian(w, retained))
    expected = law.scale * ((vectors**2) @ values**-0.5).sqrt()
    assert torch.allclose(spread, expected, rtol=0.5)
    assert float((spread / expected).mean()) == pytest.approx(1, abs=0.1)
    one = NoiseKey(b"k" * 32, 2)
    pair = [method.forget(record, retained, forgotten, noise=one).record for _ in range(2)]
    assert torch.equal(weights(method, pair[0]), weights(method, pair[1]))
    first, second = (
        method.learn(rows, seed=0, noise=NoiseKey(b"k" * 32, release)) for release in (1, 2)
    )  # one secret, two releases
    assert (weights(method, first) - weights(method, second)).norm() > expected.norm() / 2


def test_more_noise_leaves_less_to_learn() -> None:
    rows, gone = clouds(), ["1", "2"]
    nats = []
    for tradeoff in (1e-4, 1e-3, 1e-2):
        method = NewtonShift(tradeoff=tradeoff)
        record = method.adopt({"weight": torch.zeros(3, 4), "bias": torch.zeros(3)}, rows, seed=0, noise=noise_key(1))
        stats = method.forget(record, rows.without(gone), rows.only(gone), noise=noise_key(2, 2)).stats
        nats.append(stats["expected_nats"])
        assert stats["divergence_knats"] == stats["divergence_nats"] / 1000
    assert nats[0] > nats[1] > nats[2]


def test_products_and_matrices_give_the_same_release() -> None:
    rows, gone = clouds(), ["1", "2"]
    released = []
    for limit in (0, 1000):
        method = NewtonShift(dense_limit=limit, tradeoff=1e-2)
        record = method.learn(rows, seed=0, noise=noise_key(1))
        step = method.forget(record, rows.without(gone), rows.only(gone), noise=noise_key(2, 2))
        assert ("expected_nats" in step.stats) == (limit > 0)
        released.append(weights(method, step.record))
    assert (released[0] - released[1]).norm() < 1e-3 * released[1].norm()


def test_the_record_holds_the_release_and_nothing_of_the_training() -> None:
    rows = clouds()
    for learner in (Convex(), Sgd(Mlp((4,)), epochs=3)):
        method = NewtonShift(learner, damping=0.1)
        record = method.learn(rows, seed=0, noise=noise_key(1))
        assert (record.training.steps, record.training.epochs, record.training.visits) == (0, 0, 0)
        others = {n: t for n, t in record.training.tensors.items() if n not in {"weights", "weight", "bias"}}
        assert not any(tensor.any() for tensor in others.values())
        noiseless = clean(method, rows)
        for tensor in encode(record)[1].values():
            if tensor.numel() == noiseless.numel():
                assert (tensor.reshape(-1).double() - noiseless).abs().min() > 0


def test_a_network_takes_the_step_under_damping() -> None:
    rows, gone = clouds(), [str(i) for i in range(10)]
    learner = Sgd(Mlp((4,)), epochs=40, l2=1e-2, precision="float64")
    method = NewtonShift(learner, tradeoff=1e-16, error_std=1e-8, damping=0.02)
    record = method.learn(rows, seed=0, noise=noise_key(1))
    step = method.forget(record, rows.without(gone), rows.only(gone), noise=noise_key(2, 2))
    assert step.stats["gradient_after"] < step.stats["gradient_before"]
    assert isinstance(step.certificate, Uncertified)
    assert method.predict(method.release(step.record), rows.columns).shape == (120, 3)


def test_a_curvature_that_is_not_positive_is_refused() -> None:
    rows = clouds()
    method = NewtonShift(Sgd(Mlp((4,)), epochs=1, l2=0.0))
    with pytest.raises(NotConverged, match="raise the damping"):
        method.learn(rows, seed=0, noise=noise_key(1))


def test_what_cannot_be_forgotten() -> None:
    rows, method = clouds(), NewtonShift()
    record = method.learn(rows, seed=0, noise=noise_key(1))
    none = rows.select(np.zeros(len(rows), dtype=bool))
    assert method.forget(record, rows, none, noise=noise_key(2, 2)).record is record
    with pytest.raises(MustRetrain, match="No row is left"):
        method.forget(record, none, rows, noise=noise_key(2, 2))
    with pytest.raises(InputError, match="still among the retained"):
        method.forget(record, rows, rows.only(["1"]), noise=noise_key(2, 2))
