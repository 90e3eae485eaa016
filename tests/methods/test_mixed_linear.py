"""Mixed-linear forgetting: what it refuses, what it costs, sequences, cores given from elsewhere."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from expunge.certificate import Basis, Certified, View
from expunge.errors import InputError, MustRetrain, NotConverged, Refused
from expunge.learners.sgd import Sgd
from expunge.maths.privacy import residual_tolerance
from expunge.methods.mixed_linear import CHECKED, GIVEN, MixedLinear
from expunge.models import Mlp, SmallConvNet
from expunge.objective import linearised
from expunge.objective.linearised import LinearisedObjective
from expunge.record import digest
from expunge.rows import Rows
from expunge.testing import flat_weights, noise_key
from expunge.vault.disclosure import exposure

CORE = Sgd(model=Mlp((5,)), epochs=3, batch_size=16, learning_rate=0.1)
METHOD = MixedLinear(core=CORE, l2=1e-2, noise_std=0.05)


def clouds(n: int = 90, core: int = 40, seed: int = 3) -> Rows:
    """Three overlapping clouds; the last `core` rows are marked."""
    generator = np.random.default_rng(seed)
    y = np.arange(n) % 3
    x = generator.normal(size=(n, 4)) + 1.5 * np.eye(3, 4)[y]
    return Rows.of({"x": x, "core": np.arange(n) >= n - core}, y, classes=3)


def users_only(rows: Rows) -> Rows:
    table = rows.table()
    return Rows.of({"x": table.columns["x"]}, table.y, classes=3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epsilon": 0.0}, "epsilon is 0.0"),
        ({"delta": 2.0}, "delta is 2.0"),
        ({"noise_std": 0.0}, "without noise nothing is certified"),
        ({"l2": 0.0}, "l2 is 0.0"),
        ({"target_scale": -1.0}, "target_scale is -1.0"),
        ({"rank": 0}, "rank is 0"),
        ({"core": Sgd(loss="logistic")}, "one score a class"),
        ({"epsilon": 50.0}, "max_epsilon=10.0"),
    ],
)
def test_settings_without_a_guarantee_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        MixedLinear(**settings)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({}, "There is no column 'core'"),
        ({"core": np.full(90, 2)}, "other things than 0 and 1"),
        ({"core": np.full(90, "yes")}, "other things than 0 and 1"),
        ({"core": np.zeros((90, 2))}, "other things than 0 and 1"),
        ({"core": np.zeros(90)}, "No row is marked core"),
    ],
)
def test_rows_without_a_core_are_refused(columns: dict[str, Any], message: str) -> None:
    table = clouds().table()
    with pytest.raises(InputError, match=message):
        METHOD.learn(Rows.of({"x": table.columns["x"], **columns}, table.y, classes=3), seed=0, noise=noise_key(1))


def test_a_layer_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match=r"begins with 'parts.1'"):  # the activation has no parameter
        replace(METHOD, layers=("parts.1",)).learn(clouds(), seed=0, noise=noise_key(1))


def test_a_core_row_is_never_forgotten_nor_learned() -> None:
    rows = clouds()
    record = METHOD.learn(rows, seed=0, noise=noise_key(1))
    for ids in (["80"], ["1", "80"]):
        with pytest.raises(MustRetrain, match="Core rows are among these"):
            METHOD.forget(record, rows.without(ids), rows.only(ids), noise=noise_key(2, 2))
    fewer = rows.without(["80"])
    small = METHOD.learn(fewer, seed=0, noise=noise_key(1))
    with pytest.raises(MustRetrain, match="Core rows are among these"):
        METHOD.extend(small, fewer, rows.only(["80"]), noise=noise_key(2, 2))
    with pytest.raises(InputError, match="40 rows trained the core, and 39 are marked"):
        METHOD.forget(record, fewer.without(["1"]), rows.only(["1"]), noise=noise_key(2, 2))


def test_the_certificate_says_the_fixed_budget_and_its_basis() -> None:
    rows = clouds()
    record = METHOD.learn(rows, seed=0, noise=noise_key(1))
    steps = [METHOD.forget(record, rows.without([i]), rows.only([i]), noise=noise_key(i, 2)) for i in (3, 4)]
    first, second = (step.certificate for step in steps)
    assert first == second  # no measured figure is in it, so it says nothing of the row
    assert isinstance(first, Certified)
    assert (first.basis, first.view) == (Basis.MEASURED, View.STATE)
    assert CHECKED in first.assumptions
    assert steps[0].stats["residual"] != steps[1].stats["residual"]
    for step in steps:
        assert step.stats["tolerance"] == residual_tolerance(first.distance, 1.0, METHOD.l2)
        assert 0 < step.stats["residual"] <= step.stats["tolerance"]
        assert step.stats["iterations"] + 5 <= step.stats["passes"] <= step.stats["iterations"] + 8


def test_requests_follow_each_other_with_tightening_tolerances_and_fresh_noise() -> None:
    rows = clouds()
    record, remaining = METHOD.learn(rows, seed=0, noise=noise_key(1)), rows
    tolerances, noises = [], []
    for release in range(2, 8):
        ids = [str(release)]
        step = METHOD.forget(record, remaining.without(ids), remaining.only(ids), noise=noise_key(release, release))
        record, remaining = METHOD.settle(step.record, remaining.without(ids)), remaining.without(ids)
        centre = METHOD.centre(METHOD.release(record), noise_key(release, release))
        assert isinstance(step.certificate, Certified)
        assert torch.linalg.vector_norm(centre - METHOD.minimiser(remaining)) <= step.certificate.distance / 2
        tolerances.append(step.stats["tolerance"])
        noises.append(record.weights - centre)
    assert all(later < earlier for earlier, later in itertools.pairwise(tolerances))
    assert all(0.6 * 0.05 < float(noise.std()) < 1.4 * 0.05 for noise in noises)
    assert abs(float(torch.corrcoef(torch.stack(noises)).triu(1).abs().max())) < 0.6
    with pytest.raises(InputError, match="one after 7 is needed"):
        METHOD.forget(record, remaining.without(["9"]), remaining.only(["9"]), noise=noise_key(9, 7))


def test_classes_leave_as_batches() -> None:
    rows = clouds()
    record = METHOD.learn(rows, seed=0, noise=noise_key(1))
    ids = [str(i) for i in range(0, 50, 3)]  # class 0 of the users
    step = METHOD.forget(record, rows.without(ids), rows.only(ids), noise=noise_key(2, 2))
    gap = METHOD.centre(METHOD.release(step.record), noise_key(2, 2)) - METHOD.minimiser(rows.without(ids))
    assert float(torch.linalg.vector_norm(gap)) <= step.certificate.distance / 2  # type: ignore[union-attr]


def test_a_core_given_from_elsewhere() -> None:
    rows = users_only(clouds())
    weights = Sgd(model=Mlp((5,))).release(CORE.start(rows.schema, 4, ("elsewhere",))).tensors
    record = METHOD.adopt(weights, rows, seed=0, noise=noise_key(1))
    for name, part in weights.items():
        assert torch.equal(record.core.tensors[name], part)
    ids = ["0", "5"]
    step = METHOD.forget(record, rows.without(ids), rows.only(ids), noise=noise_key(2, 2))
    assert isinstance(step.certificate, Certified)
    assert GIVEN in step.certificate.assumptions
    settled = METHOD.settle(step.record, rows.without(ids))
    assert not torch.equal(settled.sketch, record.sketch)  # the old one knew the forgotten rows
    again = METHOD.adopt(weights, rows.without(ids), seed=0, noise=noise_key(2, 2))
    assert torch.equal(settled.sketch, again.sketch)
    gap = torch.linalg.vector_norm(settled.weights - again.weights)
    assert gap <= step.certificate.distance
    with pytest.raises(Refused, match="given from elsewhere"):
        METHOD.minimiser(rows)
    with pytest.raises(InputError, match="40 rows are marked core"):
        METHOD.adopt(weights, clouds(), seed=0, noise=noise_key(1))


def test_only_u_is_a_noised_number_of_the_release() -> None:
    rows = clouds()
    record = METHOD.learn(rows, seed=0, noise=noise_key(1))
    release = METHOD.release(record)
    assert torch.equal(flat_weights(release), record.weights)
    step = METHOD.forget(record, rows.without(["1"]), rows.only(["1"]), noise=noise_key(2, 2))
    after = METHOD.release(step.record)
    seen = exposure(release, after, step.certificate)
    assert seen == pytest.approx(float((record.weights - step.record.weights).norm()) / (2**0.5 * 0.05))


def test_the_sketch_of_a_core_never_changes() -> None:
    rows = clouds()
    record = METHOD.learn(rows, seed=0, noise=noise_key(1))
    step = METHOD.forget(record, rows.without(["1"]), rows.only(["1"]), noise=noise_key(2, 2))
    assert METHOD.settle(step.record, rows.without(["1"])) is step.record
    fewer = METHOD.learn(rows.without(["1"]), seed=9, noise=noise_key(2, 2))
    assert torch.equal(step.record.sketch, fewer.sketch)
    assert digest(step.record.core) == digest(fewer.core)  # the seed of `learn` decides nothing


def test_extending_reaches_the_minimiser_of_both() -> None:
    rows = clouds()
    fewer = rows.without(["1", "2"])
    record = METHOD.learn(fewer, seed=0, noise=noise_key(1))
    step = METHOD.extend(record, fewer, rows.only(["1", "2"]), noise=noise_key(2, 2))
    gap = METHOD.centre(METHOD.release(step.record), noise_key(2, 2)) - METHOD.minimiser(rows)
    assert float(torch.linalg.vector_norm(gap)) <= step.certificate.distance / 2  # type: ignore[union-attr]


def test_a_regression() -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(60, 3))
    rows = Rows.of({"x": x, "core": np.arange(60) < 20}, x @ [1.0, 2.0, 3.0])
    method = replace(METHOD, core=replace(CORE, loss="squared", learning_rate=0.02), noise_std=1e-3, l2=1e-3)
    record = method.learn(rows, seed=0, noise=noise_key(1))
    predicted = method.predict(method.release(record), rows.columns)
    assert predicted.shape == (60, 1)
    assert float(np.abs(predicted[:, 0].numpy() - rows.y)[20:].mean()) < 0.3


def test_a_convolutional_network_of_which_some_layers_are_linearised() -> None:
    generator = np.random.default_rng(0)
    columns = {"x": generator.normal(size=(40, 8, 8)), "core": np.arange(40) < 20}
    rows = Rows.of(columns, np.arange(40) % 2, classes=2)
    core = Sgd(model=SmallConvNet((2, 3)), epochs=1)
    method = MixedLinear(core=core, layers=("parts.3", "parts.7"), noise_std=0.05, l2=1e-2, rank=8)
    record = method.learn(rows, seed=0, noise=noise_key(1))
    assert record.weights.shape == (3 * 2 * 9 + 3 + 3 * 4 * 2 + 2,)
    step = method.forget(record, rows.without(["30"]), rows.only(["30"]), noise=noise_key(2, 2))
    gap = method.centre(method.release(step.record), noise_key(2, 2)) - method.minimiser(rows.without(["30"]))
    assert float(torch.linalg.vector_norm(gap)) <= step.certificate.distance / 2  # type: ignore[union-attr]


def test_a_tolerance_that_float64_cannot_vouch_for_is_refused() -> None:
    with pytest.raises(Refused, match="so many digits"):
        replace(METHOD, noise_std=1e-9, l2=1e-4).learn(clouds(), seed=0, noise=noise_key(1))


def test_two_measurements_that_disagree_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    true = LinearisedObjective.gradient
    monkeypatch.setattr(LinearisedObjective, "gradient", lambda self, u, rows: true(self, u, rows) + 1e-4)
    with pytest.raises(Refused, match="two measurements"):
        METHOD.learn(clouds(), seed=0, noise=noise_key(1))


def test_a_solve_that_does_not_end_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linearised, "MOST", 1)
    with pytest.raises(NotConverged, match="raise l2, noise_std or the preconditioner's rank"):
        replace(METHOD, rank=1).learn(clouds(), seed=0, noise=noise_key(1))


def test_the_sketch_saves_iterations() -> None:
    rows = clouds(200, 100)
    taken = []
    for rank in (1, 100):
        method = replace(METHOD, rank=rank, l2=1e-4)
        record = method.learn(rows, seed=0, noise=noise_key(1))
        step = method.forget(record, rows.without(["3"]), rows.only(["3"]), noise=noise_key(2, 2))
        taken.append(step.stats["iterations"])
    assert taken[1] < taken[0] / 2
