"""Distributed descent: only touched subsets are paid for, the bootstrap follows the rows, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chi2

from expunge.certificate import Basis, Certified, View
from expunge.errors import InputError, MustRetrain
from expunge.methods.descent_to_delete import DescentToDelete
from expunge.methods.distributed_descent import AHEAD, DistributedDescent, DistributedDescentRecord
from expunge.rows import Rows
from expunge.testing import noise_key

SETTINGS: dict[str, Any] = {"loss": "logistic", "row_norm": 1.0, "radius": 8.0}


def unit_rows(n: int, p: int = 5) -> Rows:
    generator = np.random.default_rng(1)
    x = generator.normal(size=(n, p))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return Rows.of(x, (x[:, 0] + 0.3 * generator.normal(size=n) > 0).astype(int), classes=2)


def method(**settings: Any) -> DistributedDescent:
    return DistributedDescent(**(SETTINGS | {"l2": 0.5, "noise_std": 0.3, "subsets": 12} | settings))


def learned(subject: DistributedDescent, rows: Rows, secret: int = 1) -> DistributedDescentRecord:
    return subject.learn(rows, seed=0, noise=noise_key(secret))


@pytest.mark.parametrize("settings", [{"subsets": 0}, {"calibration": "published"}, {"loss": "hinge"}, {"l2": 0.0}])
def test_settings_without_a_guarantee_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        method(**settings)


@pytest.mark.parametrize("calibration", ["tight", "measured"])
def test_every_subset_is_near_the_minimiser_of_its_slots(calibration: str) -> None:
    rows, subject = unit_rows(150), method(calibration=calibration)
    record = learned(subject, rows)
    gone = ["3", "4", "5"]
    left = rows.without(gone)
    step = subject.forget(record, left, rows.only(gone), noise=noise_key(2, 2))
    promise, table = step.certificate, left.table()
    assert isinstance(promise, Certified)
    assert promise.view is View.TRANSCRIPT
    assert promise.basis is (Basis.CHECKED if calibration == "tight" else Basis.MEASURED)
    assert any("without looking at any release" in text for text in promise.assumptions)
    order = np.argsort(left.keys)
    alone = DescentToDelete(**(SETTINGS | {"l2": 0.5}))
    for slots, model in zip(step.record.slots.numpy(), step.record.models, strict=True):
        held = table.take(order[slots])
        subset = Rows.of(held.columns["x"], held.y, classes=2)
        assert torch.dist(model, alone.minimiser(subset)) <= promise.distance / 2
    centre = step.record.models.mean(0)
    drawn = (step.record.weights.reshape(-1) - centre) / 0.3
    assert 0.1 < float(drawn.square().mean()) < 5  # six normals


def test_a_request_costs_the_subsets_it_touches_and_nothing_else() -> None:
    rows, subject = unit_rows(150), method()
    record = learned(subject, rows)
    step = subject.forget(record, rows.without([7]), rows.only([7]), noise=noise_key(2, 2))
    where = int(np.flatnonzero(np.sort(rows.keys) == rows.only([7]).keys[0])[0])
    held = (record.slots == where).any(1)
    assert step.stats["subsets"] == int(held.sum())
    assert torch.equal(step.record.models[~held], record.models[~held])
    assert step.stats["gradients"] % 12 == 0
    assert (step.stats["gradients"] > 0) is bool(held.any())
    assert not np.isin(np.sort(rows.without([7]).keys)[step.record.slots.numpy()], rows.only([7]).keys).any()


def test_the_expected_cost_of_a_request_is_n_to_the_xi_minus_one_subsets() -> None:
    """Slots of a row are binomial (K B, 1/n): 300 requests, each its own bootstrap; a chance of 1e-6 to fail."""
    generator, n, size = np.random.default_rng(5), 150, 17  # 17 = n^(xi/2), xi = 1.13
    from expunge.maths.reservoir import after_leaving, drawn

    keys = np.arange(n, dtype=np.uint64)
    slots = [
        after_leaving(drawn(generator.random((size, size)), n), keys, keys[1:], generator.random((size, size)))[1].sum()
        for _ in range(300)
    ]
    expected = size**2 / n
    assert abs(np.mean(slots) - expected) < 4.9 * np.sqrt(expected / 300)


def test_untouched_subsets_wait_until_the_release_they_were_solved_for_has_passed() -> None:
    rows, subject = unit_rows(150), method()
    record = learned(subject, rows)
    costs = []
    for release in (AHEAD, AHEAD + 1):
        step = subject.forget(record, rows.without([7]), rows.only([7]), noise=noise_key(2, release))
        costs.append(step.stats["subsets"])
    assert costs[0] < costs[1] == 12


def test_slots_stay_uniform_through_the_method() -> None:
    """Chi-square over 12 * 12 slots of 40 bootstraps, a deletion and an addition each; fails by chance once in 1e6."""
    rows = Rows.of(np.linspace(-0.5, 0.5, 12)[:, None], np.arange(12) % 2, classes=2)
    more = Rows.of(np.array([[0.1], [0.2]]), [0, 1], ids=["new-1", "new-2"], classes=2)
    subject = method(l2=4.0, noise_std=20.0, radius=1.0)
    counts = np.zeros(12)
    for k in range(40):
        record = learned(subject, rows, k)
        left = rows.without([0, 1])
        record = subject.forget(record, left, rows.only([0, 1]), noise=noise_key(100 + k, 2)).record
        record = subject.extend(record, left, more, noise=noise_key(200 + k, 3)).record
        counts += np.bincount(record.slots.numpy().ravel(), minlength=12)
    expected = counts.sum() / 12
    assert chi2.sf(float(((counts - expected) ** 2 / expected).sum()), 11) > 1e-6


def test_the_mean_is_nearer_the_minimiser_than_one_subset() -> None:
    rows, subject = unit_rows(400), method(subsets=20, noise_std=1.0)
    full = DescentToDelete(**(SETTINGS | {"l2": 0.5})).minimiser(rows)
    models = learned(subject, rows).models
    each = [float(torch.dist(model, full)) for model in models]
    assert float(torch.dist(models.mean(0), full)) < 0.5 * float(np.mean(each))


def test_the_bootstrap_is_secret_and_names_nobody() -> None:
    rows, subject = unit_rows(60), method()
    one, other = learned(subject, rows, 1), learned(subject, rows, 2)
    assert not torch.equal(one.slots, other.slots)  # it is drawn from the noise key, not from the seed
    assert int(one.slots.max()) < 60
    assert set(subject.release(one).tensors) == {"weights"}


def test_steps_that_cannot_be_honoured() -> None:
    rows, subject = unit_rows(60), method()
    record = learned(subject, rows)
    with pytest.raises(InputError, match="one after 1 is needed"):
        subject.forget(record, rows.without([0]), rows.only([0]), noise=noise_key(2, 1))
    with pytest.raises(MustRetrain, match="No row is left"):
        subject.forget(record, rows.select(np.zeros(60, dtype=bool)), rows, noise=noise_key(2, 2))
    with pytest.raises(InputError, match="longer than row_norm"):
        subject.extend(record, rows, Rows.of(np.ones((1, 5)), [1], ids=["z"], classes=2), noise=noise_key(2, 2))
    with pytest.raises(InputError, match="was learned from 60 rows"):
        subject.forget(record, rows.without([0, 1]), rows.only([0]), noise=noise_key(2, 2))


def test_predictions_are_log_probabilities() -> None:
    rows, subject = unit_rows(60), method()
    scores = subject.predict(subject.release(learned(subject, rows)), rows.columns)
    assert scores.shape == (60, 2)
    assert torch.allclose(scores.exp().sum(1), torch.ones(60, dtype=torch.float64))
