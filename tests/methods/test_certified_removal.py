"""Certified removal: the paper's algorithm, its account, what it refuses, and long sequences."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from expunge.certificate import Basis, Certified, Uncertified, View
from expunge.errors import InputError, MustRetrain, Refused
from expunge.maths.newton_residual import objective_budget
from expunge.methods.certified_removal import CertifiedRemoval
from expunge.rows import Rows
from expunge.testing import noise_key

BOUNDS = ("per_sample", "data_dependent", "published", "worst_case")


def binary(n: int = 200, p: int = 4) -> Rows:
    generator = np.random.default_rng(2)
    x = generator.normal(size=(n, p))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return Rows.of(x, (x[:, 0] + 0.5 * generator.normal(size=n) > 0).astype(int), classes=2)


def several(n: int = 200) -> Rows:
    generator = np.random.default_rng(3)
    x = generator.normal(size=(n, 4))
    return Rows.of(x, np.argmax(x[:, :3] + generator.normal(size=(n, 3)), axis=1), classes=3)


def digits() -> Rows:
    """Odd against even, rows of norm 1: the setting of the paper's figures."""
    data = load_digits()
    x = data.data[:1437] / 16.0 - 0.5
    return Rows.of(x / np.linalg.norm(x, axis=1, keepdims=True), data.target[:1437] % 2, classes=2)


def unlimited(**settings: Any) -> CertifiedRemoval:
    """Noise so large that no budget is ever used up."""
    return CertifiedRemoval(**({"noise_std": 1e6, "row_norm": 1.0} | settings))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epsilon": 0.0}, "epsilon is 0.0"),
        ({"noise_std": 0.0}, "without noise nothing is certified"),
        ({"l2": 0.0}, "l2=0.0"),
        ({"tol": -1.0}, "tol=-1.0"),
        ({"loss": "cross_entropy"}, "loss is 'cross_entropy'; it is one of logistic, one_vs_rest, squared"),
        ({"bound": "none"}, "bound is 'none'"),
        ({"perturbation": "input"}, "perturbation is 'input'"),
        ({"bound": "worst_case"}, "row_norm is None"),
        ({"row_norm": 0.0}, "row_norm is 0.0"),
        ({"row_norm": math.inf}, "row_norm is inf"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        CertifiedRemoval(**settings)


def test_the_papers_algorithm_by_hand() -> None:
    """w <- w + H^-1 Delta with H over the rows that stay and Delta = lambda w + grad loss, sum losses (algorithm 2)."""
    rows, method = binary(), unlimited(intercept=False, l2=1e-2)
    record = method.learn(rows, seed=0, noise=noise_key(1))
    after = method.forget(record, rows.without([5]), rows.only([5]), noise=noise_key(2, 2)).record
    w, x, y = record.account.centre.numpy(), rows.columns["x"], rows.y
    p = 1 / (1 + np.exp(-(x @ w)))
    kept = np.arange(200) != 5
    H = (x[kept] * (p * (1 - p))[kept, None]).T @ x[kept] + 1e-2 * 199 * np.eye(4)
    stepped = w + np.linalg.solve(H, 1e-2 * w + (p[5] - y[5]) * x[5])
    assert np.abs(after.account.centre.numpy() - stepped).max() < 1e-13


def test_on_sixty_removals_of_digits_the_bounds_are_in_order() -> None:
    rows, method = digits(), unlimited(intercept=False, l2=1e-3)
    record = method.learn(rows, seed=0, noise=noise_key(1))
    tried = [method.forget(record, rows.without([i]), rows.only([i]), noise=noise_key(2, 2)).stats for i in range(60)]
    for stats in tried:
        assert stats["residual"] <= stats["beta_per_sample"]
        assert stats["residual"] <= stats["bound_per_sample"] + stats["arithmetic"] + 1e-7
        bounds = [stats[f"bound_{name}"] for name in BOUNDS]
        assert bounds == sorted(bounds)
        assert stats["arithmetic"] < 1e-5 * stats["bound_per_sample"]
    ratio = np.median([stats["bound_published"] / stats["bound_per_sample"] for stats in tried])
    assert 24 <= ratio <= 64


@pytest.mark.parametrize(("perturbation", "noise_std", "last"), [("output", 100.0, 1001), ("objective", 0.1, 101)])
def test_a_thousand_removals_never_leave_the_budget(perturbation: str, noise_std: float, last: int) -> None:
    rows = binary(1050)
    method = CertifiedRemoval(l2=1e-2, noise_std=noise_std, perturbation=perturbation)
    record, remaining, solves, spent = method.learn(rows, seed=0, noise=noise_key(1)), rows, 0, 0.0
    for release in range(2, last + 1):
        few, remaining = remaining.only([release]), remaining.without([release])
        step = method.forget(record, remaining, few, noise=noise_key(release, release))
        stats, record = step.stats, step.record
        assert stats["beta"] <= stats["budget"]
        if stats["resolved"]:
            solves += 1
        else:
            assert stats["residual"] <= stats["beta_per_sample"] == stats["beta"] >= spent  # it never falls by itself
        spent = stats["beta"]
        if release % 100 == 0:
            record = method.settle(record, remaining)
    assert 0 < solves < last - 1
    if perturbation == "output":
        assert isinstance(step.certificate, Certified)
        assert torch.dist(record.account.centre, method.minimiser(remaining)) <= step.certificate.distance / 2


def test_an_exhausted_budget_solves_again_under_the_same_b() -> None:
    rows = binary()
    method = CertifiedRemoval(l2=1e-3, noise_std=0.1, perturbation="objective", bound="published")
    record = method.learn(rows, seed=0, noise=noise_key(1))
    step = method.forget(record, rows.without([1, 2, 3]), rows.only([1, 2, 3]), noise=noise_key(2, 2))
    assert step.stats["beta_published"] > step.stats["budget"] >= step.stats["beta"]
    assert step.stats["resolved"] == 1
    assert torch.equal(step.record.account.linear, record.account.linear)
    assert float(record.account.linear.abs().max()) > 0
    assert set(step.record.account.betas.values()) == {step.stats["beta"]}


def test_published_objective_perturbation_is_not_certified_and_says_why() -> None:
    rows = binary()
    for loss in ("logistic", "squared"):
        method = CertifiedRemoval(noise_std=1.0, perturbation="objective", loss=loss, delta=1e-4)
        given = rows if loss == "logistic" else Rows.of(rows.columns["x"], rows.y.astype(float))
        record = method.learn(given, seed=0, noise=noise_key(1))
        step = method.forget(record, given.without([1]), given.only([1]), noise=noise_key(2, 2))
        assert isinstance(step.certificate, Uncertified)
        assert "law of b" in step.certificate.why
        assert (step.stats["claimed_epsilon"], step.stats["claimed_delta"]) == (1.0, 1e-4)
        assert step.stats["budget"] == objective_budget(1.0, 1.0, 1e-4)
        assert torch.equal(method.release(record).tensors["weights"].reshape(-1), record.account.centre)
        with pytest.raises(InputError, match="no noise of its own"):
            method.centre(method.release(record), noise_key(1))


def test_b_has_the_promised_spread_and_is_secret() -> None:
    generator = np.random.default_rng(0)
    rows = Rows.of(generator.normal(size=(30, 400)), np.arange(30) % 2, classes=2)
    method = CertifiedRemoval(noise_std=0.3, perturbation="objective")
    drawn = [method.learn(rows, seed=0, noise=noise_key(k)).account.linear for k in range(2)]
    assert [float(b.std()) for b in drawn] == pytest.approx([0.3, 0.3], rel=0.12)
    assert abs(float(torch.corrcoef(torch.stack(drawn))[0, 1])) < 0.2
    assert list(method.release(method.learn(rows, seed=0, noise=noise_key(1))).tensors) == ["weights"]


def test_output_noise_is_certified_on_checked_constants_for_the_transcript() -> None:
    rows, method = binary(), CertifiedRemoval(noise_std=1.0)
    record = method.learn(rows, seed=0, noise=noise_key(1))
    steps = [method.forget(record, rows.without([i]), rows.only([i]), noise=noise_key(i, 2)) for i in (3, 4)]
    promise = steps[0].certificate
    assert isinstance(promise, Certified)
    assert (promise.basis, promise.view) == (Basis.CHECKED, View.TRANSCRIPT)
    assert any("stored state is not covered" in assumption for assumption in promise.assumptions)
    assert promise == steps[1].certificate  # no measured figure is in it
    assert "claimed_epsilon" not in steps[0].stats


def test_noise_is_fresh_in_every_release_of_a_sequence() -> None:
    rows, method = several(), CertifiedRemoval(noise_std=0.5, loss="one_vs_rest")
    record, remaining, drawn = method.learn(rows, seed=0, noise=noise_key(1)), rows, []
    for release in range(2, 42):
        few, remaining = remaining.only([release]), remaining.without([release])
        record = method.forget(record, remaining, few, noise=noise_key(release, release)).record
        drawn.append(record.weights.reshape(-1) - record.account.centre)
    noise = torch.stack(drawn) / 0.5
    assert abs(float(noise.square().mean()) - 1) < 6 / math.sqrt(noise.numel() / 2)
    assert abs(float((noise[1:] * noise[:-1]).mean())) < 6 / math.sqrt(noise.numel())


def test_a_batch_ends_where_single_requests_end_within_their_bounds() -> None:
    rows, method = several(), unlimited(loss="one_vs_rest", l2=1e-2, row_norm=None)
    ids = [str(i) for i in range(12)]
    record = method.learn(rows, seed=0, noise=noise_key(1))
    batch = method.forget(record, rows.without(ids), rows.only(ids), noise=noise_key(2, 2))
    remaining = rows
    for release, one in enumerate(ids, start=2):
        few, remaining = remaining.only([one]), remaining.without([one])
        step = method.forget(record, remaining, few, noise=noise_key(release, release))
        record = step.record
    apart = torch.dist(record.account.centre, batch.record.account.centre)
    allowed = (batch.stats["beta_per_sample"] + step.stats["beta_per_sample"]) / (1e-2 * 188)
    assert 0 < apart <= allowed
    clean = method.minimiser(remaining)
    for done in (step, batch):
        assert torch.dist(done.record.account.centre, clean) <= done.stats["beta_per_sample"] / (1e-2 * 188)


def test_new_rows_come_by_the_same_step_and_leave_again() -> None:
    rows, method = binary(), unlimited(l2=1e-2)
    few, half = rows.only(range(10)), rows.without(range(10))
    record = method.learn(half, seed=0, noise=noise_key(1))
    more = method.extend(record, half, few, noise=noise_key(2, 2))
    clean = method.minimiser(half.and_rows(few))
    nothing = torch.dist(record.account.centre, clean)
    assert torch.dist(more.record.account.centre, clean) <= more.stats["beta_per_sample"] / (1e-2 * 200)
    assert torch.dist(more.record.account.centre, clean) < nothing / 10
    assert more.record.account.spectral > record.account.spectral
    back = method.forget(more.record, half, few, noise=noise_key(3, 3))
    assert torch.dist(back.record.account.centre, record.account.centre) < nothing / 10
    assert back.stats["beta_per_sample"] > more.stats["beta_per_sample"]


@pytest.mark.parametrize("dense_limit", [4000, 1])
def test_a_settled_factor_saves_the_hessian_and_the_step_is_the_same(dense_limit: int) -> None:
    rows, method = several(), unlimited(loss="one_vs_rest", l2=1e-2, row_norm=None, dense_limit=dense_limit)
    record = method.learn(rows, seed=0, noise=noise_key(1))
    assert (record.account.anchor is None) == (dense_limit == 1)
    step = method.forget(record, rows.without([1]), rows.only([1]), noise=noise_key(2, 2))
    fresh = unlimited(loss="one_vs_rest", l2=1e-2, row_norm=None)
    other = fresh.forget(
        fresh.learn(rows, seed=0, noise=noise_key(1)), rows.without([1]), rows.only([1]), noise=noise_key(2, 2)
    )
    assert torch.dist(step.record.account.centre, other.record.account.centre) < 1e-6  # two solves to tol / l2
    assert step.stats["passes"] <= (10 if dense_limit > 1 else 60)


def test_rows_beyond_a_declared_norm_are_refused() -> None:
    rows = binary()
    method = CertifiedRemoval(row_norm=1.0, bound="worst_case", noise_std=1.0)
    record = method.learn(rows, seed=0, noise=noise_key(1))
    assert "worst_case" in record.account.betas
    long = Rows.of(2 * rows.columns["x"], rows.y, ids=[f"new-{i}" for i in range(200)], classes=2)
    with pytest.raises(InputError, match="scale or clip rows by a public rule"):
        method.learn(long, seed=0, noise=noise_key(1))
    with pytest.raises(InputError, match="scale or clip rows by a public rule"):
        method.extend(record, rows, long, noise=noise_key(2, 2))


def test_a_budget_below_rounding_is_refused() -> None:
    """Noise of 1e-10: a gradient within it can be reached, but float64 cannot vouch for it."""
    with pytest.raises(Refused, match="scale the columns"):
        CertifiedRemoval(noise_std=1e-10).learn(binary(), seed=0, noise=noise_key(1))


def test_requests_that_cannot_be_are_refused() -> None:
    rows, method = binary(), CertifiedRemoval(noise_std=1.0)
    record = method.learn(rows, seed=0, noise=noise_key(1))
    none = rows.select(np.zeros(len(rows), dtype=bool))
    with pytest.raises(MustRetrain, match="No row is left"):
        method.forget(record, none, rows, noise=noise_key(2, 2))
    with pytest.raises(InputError, match="still among the retained"):
        method.forget(record, rows, rows.only([1]), noise=noise_key(2, 2))
    with pytest.raises(InputError, match="learned from 200 rows"):
        method.forget(record, rows.without([1, 2]), rows.only([1]), noise=noise_key(2, 2))
    with pytest.raises(InputError, match="one after 1 is needed"):
        method.forget(record, rows.without([1]), rows.only([1]), noise=noise_key(2, 1))
    numbers = Rows.of(rows.columns["x"], rows.y.astype(float))
    with pytest.raises(InputError, match="no classes to set against the rest"):
        CertifiedRemoval(loss="one_vs_rest").learn(numbers, seed=0, noise=noise_key(1))


def test_predictions_of_every_loss() -> None:
    for loss, rows, classes in (("logistic", binary(), 2), ("one_vs_rest", several(), 3)):
        method = CertifiedRemoval(loss=loss, intercept=loss == "logistic")
        release = method.release(method.learn(rows, seed=0, noise=noise_key(1)))
        scores = method.predict(release, rows.columns)
        assert scores.shape == (200, classes)
        assert torch.allclose(scores.exp().sum(1), torch.ones(200, dtype=torch.float64))
        assert float((scores.argmax(1).numpy() == rows.y).mean()) > 0.6


def test_heads_agree_with_single_classifiers(shared_data: Path) -> None:
    """Ten heads at once are ten binary models: 400 images of the real set, averaged to 7 x 7."""
    with np.load(shared_data / "mnist.npz") as data:
        images = next(data[name] for name in data.files if data[name].ndim >= 2)[:400]
        labels = next(data[name] for name in data.files if data[name].ndim == 1)[:400].astype(int)
    x = images.reshape(400, 7, 4, 7, 4).mean((2, 4)).reshape(400, 49) / 255
    together = unlimited(loss="one_vs_rest", l2=1e-2, row_norm=None).minimiser(Rows.of(x, labels, classes=10))
    alone = unlimited(l2=1e-2, row_norm=None).minimiser(Rows.of(x, (labels == 3).astype(int), classes=2))
    assert torch.dist(together.reshape(10, -1)[3], alone) < 1e-9
