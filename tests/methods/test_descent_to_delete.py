"""Descent-to-delete: what each variant starts from, counts and keeps, and what is refused."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch

from expunge.certificate import Basis, Certified, View
from expunge.errors import InputError, MustRetrain, Refused
from expunge.maths.privacy import mu_of
from expunge.methods.descent_to_delete import DescentToDelete
from expunge.objective import LinearObjective
from expunge.rows import Rows
from expunge.testing import noise_key

SETTINGS: dict[str, Any] = {"loss": "logistic", "l2": 0.1, "noise_std": 0.05, "row_norm": 1.0, "radius": 8.0}
VARIANTS = [
    ("perfect", "published"),
    ("perfect", "tight"),
    ("perfect", "measured"),
    ("secret", "published"),
    ("secret", "tight"),
    ("secret", "measured"),
    ("weak_regularised", "measured"),
]


def unit_rows(n: int = 200, p: int = 5, seed: int = 1) -> Rows:
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(n, p))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return Rows.of(x, (x[:, 0] + 0.3 * generator.normal(size=n) > 0).astype(int), classes=2)


def method(**settings: Any) -> DescentToDelete:
    return DescentToDelete(**(SETTINGS | settings))


def gradients_taken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of rows of every gradient taken from now on."""
    taken: list[int] = []
    real = LinearObjective.gradient

    def counting(self: LinearObjective, w: torch.Tensor, rows: Rows) -> torch.Tensor:
        taken.append(len(rows))
        return real(self, w, rows)

    monkeypatch.setattr(LinearObjective, "gradient", counting)
    return taken


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"variant": "fast"}, "variant is 'fast'"),
        ({"calibration": "loose"}, "calibration is 'loose'"),
        ({"loss": "hinge"}, "needs a convex one"),
        ({"l2": 0.0}, "l2 is 0.0"),
        ({"radius": math.inf}, "radius is inf"),
        ({"row_norm": -1.0}, "row_norm is -1.0"),
        ({"loss": "squared"}, "target_norm is None"),
        ({"tail": 0.5}, "tail is 0.5"),
        ({"tail": 0.01, "variant": "secret"}, "tail is 0.01"),
        ({"noise_std": 0.0}, "without noise nothing is certified"),
        ({"epsilon": 50.0}, "max_epsilon=10.0"),
    ],
)
def test_settings_without_a_guarantee_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        method(**settings)


def test_one_forget_by_hand() -> None:
    """Algorithm 8 with its errata: T steps, from the published weights, each projected, over the retained rows."""
    rows, perfect = unit_rows(), method(calibration="tight", radius=0.9)
    record = perfect.learn(rows, seed=0, noise=noise_key(1))
    retained = rows.without([0])
    step = perfect.forget(record, retained, rows.only([0]), noise=noise_key(2, 2))
    x = np.c_[retained.columns["x"], np.ones(len(retained))]
    y = retained.y
    w = record.weights.numpy().ravel().copy()
    w *= min(1.0, 0.9 / np.linalg.norm(w))
    beta = 0.25 * 2.0 + 0.1  # rows of norm at most sqrt 2 with the constant
    for _ in range(int(step.stats["passes"])):
        w = w - 2 / (beta + 0.1) * (x.T @ (1 / (1 + np.exp(-x @ w)) - y) / len(x) + 0.1 * w)
        w *= min(1.0, 0.9 / np.linalg.norm(w))
    centre = perfect.centre(perfect.release(step.record), noise_key(2, 2)).numpy()
    assert np.abs(centre - w).max() < 0.05 * 2.0**-20
    assert np.linalg.norm(w) == pytest.approx(0.9)  # the ball is felt


@pytest.mark.parametrize(("variant", "calibration"), VARIANTS)
def test_every_release_of_a_sequence_is_within_its_half(variant: str, calibration: str) -> None:
    rows, subject = unit_rows(), method(variant=variant, calibration=calibration)
    record, left, releases = subject.learn(rows, seed=0, noise=noise_key(1)), rows, []
    for release in range(2, 9):
        gone = [str(10 * release), str(10 * release + 1)]
        retained = left.without(gone)
        step = subject.forget(record, retained, left.only(gone), noise=noise_key(release, release))
        record, left = step.record, retained
        promise = step.certificate
        assert isinstance(promise, Certified)
        centre = subject.centre(subject.release(record), noise_key(release, release))
        assert torch.dist(centre, subject.minimiser(left)) <= promise.distance / 2
        assert step.stats["gradients"] == step.stats["passes"] * len(retained)
        releases.append(record.weights - centre.reshape(1, -1))
        assert promise.basis is (Basis.MEASURED if calibration == "measured" else Basis.CHECKED)
        assert promise.view is (View.STATE if variant == "perfect" else View.TRANSCRIPT)
        assert any("stored state is not covered" in a for a in promise.assumptions) is (variant != "perfect")
        assert (record.secret is None) is (variant == "perfect")
    drawn = torch.stack(releases).ravel() / 0.05
    assert abs(float(drawn.var()) - 1) < 5 * math.sqrt(2 / len(drawn))
    assert all(not torch.equal(a, b) for a, b in itertools.pairwise(releases))


def test_the_gradients_that_are_counted_are_those_that_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = gradients_taken(monkeypatch)
    rows = unit_rows()
    for variant, calibration in VARIANTS:
        subject = method(variant=variant, calibration=calibration)
        record = subject.learn(rows, seed=0, noise=noise_key(1))
        taken.clear()
        step = subject.forget(record, rows.without([0]), rows.only([0]), noise=noise_key(2, 2))
        assert sum(taken) == step.stats["gradients"] > 0


@pytest.mark.parametrize(("variant", "calibration", "tail"), [("secret", "tight", 0.0), ("secret", "measured", 0.0),
                                                              ("perfect", "tight", 0.01)])  # fmt: skip
def test_forgetting_costs_fewer_gradients_than_learning(
    variant: str, calibration: str, tail: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = gradients_taken(monkeypatch)
    rows, subject = unit_rows(), method(variant=variant, calibration=calibration, tail=tail)
    record = subject.learn(rows, seed=0, noise=noise_key(1))
    learning = len(taken)
    passes = subject.forget(record, rows.without([0]), rows.only([0]), noise=noise_key(2, 2)).stats["passes"]
    assert passes < learning


def test_a_certain_start_makes_perfect_as_dear_as_learning_and_tail_buys_it_back() -> None:
    rows = unit_rows()
    passes = []
    for tail in (0.0, 0.01):
        subject = method(calibration="tight", tail=tail)
        record = subject.learn(rows, seed=0, noise=noise_key(1))
        step = subject.forget(record, rows.without([0]), rows.only([0]), noise=noise_key(2, 2))
        passes.append(step.stats["passes"])
        assert isinstance(step.certificate, Certified)
        assert step.certificate.delta == 1e-5
        assert step.certificate.mu <= mu_of(1.0, 1e-5 * (1 - tail))
    assert passes[1] < passes[0]


def test_iterations_grow_with_the_logarithm_of_the_release_and_weakly_with_its_square() -> None:
    rows = unit_rows(60)
    passes = {}
    for variant, l2 in (("secret", 0.5), ("weak_regularised", 2.0)):
        subject = method(variant=variant, calibration="tight", l2=l2, noise_std=1.0)
        record = subject.learn(rows, seed=0, noise=noise_key(1))
        passes[variant] = [
            subject.forget(record, rows.without([0]), rows.only([0]), noise=noise_key(2, t)).stats["passes"]
            for t in (3, 24)
        ]
    eight = math.log(8) / math.log((0.25 * 2 + 1.0) / (0.25 * 2))
    assert passes["secret"][1] - passes["secret"][0] == pytest.approx(eight, abs=1)
    assert passes["weak_regularised"][1] == pytest.approx(64 * passes["weak_regularised"][0], rel=0.05)


def test_strong_regularised_descent_is_secret_descent() -> None:
    rows = unit_rows()
    steps = []
    for variant in ("secret", "strong_regularised"):
        subject = method(variant=variant, calibration="tight")
        record = subject.learn(rows, seed=0, noise=noise_key(1))
        steps.append(subject.forget(record, rows.without([0]), rows.only([0]), noise=noise_key(2, 2)))
    assert torch.equal(steps[0].record.weights, steps[1].record.weights)
    assert steps[0].certificate == steps[1].certificate


def test_published_takes_at_least_the_steps_of_tight() -> None:
    rows, passes = unit_rows(), []
    for calibration in ("published", "tight"):
        subject = method(variant="secret", calibration=calibration)
        record = subject.learn(rows, seed=0, noise=noise_key(1))
        passes.append(subject.forget(record, rows.without([0]), rows.only([0]), noise=noise_key(2, 2)).stats["passes"])
    assert passes[0] > passes[1]


def test_rows_outside_the_public_bounds_are_refused_whenever_they_come() -> None:
    rows, subject = unit_rows(), method()
    record = subject.learn(rows, seed=0, noise=noise_key(1))
    long = Rows.of(np.full((1, 5), 0.6), [1], ids=["long"], classes=2)
    with pytest.raises(InputError, match="longer than row_norm=1"):
        subject.extend(record, rows, long, noise=noise_key(2, 2))
    with pytest.raises(InputError, match="longer than row_norm=1"):
        subject.learn(rows.and_rows(long), seed=0, noise=noise_key(1))
    with pytest.raises(InputError, match="longer than target_norm=1"):
        method(loss="squared", target_norm=1.0).learn(
            Rows.of(np.ones((3, 1)), np.array([0.1, 0.2, 1.5])), seed=0, noise=noise_key(1)
        )


def test_below_the_floor_of_float64_nothing_is_promised() -> None:
    with pytest.raises(Refused, match="float64 vouches for no less"):
        method(noise_std=1e-12).learn(unit_rows(), seed=0, noise=noise_key(1))
    with pytest.raises(Refused, match="float64 vouches"):
        method(noise_std=1e-12, calibration="tight").learn(unit_rows(), seed=0, noise=noise_key(1))


def test_steps_that_cannot_be_honoured() -> None:
    rows, subject = unit_rows(60), method(calibration="published")
    record = subject.learn(rows, seed=0, noise=noise_key(1, 3))
    with pytest.raises(InputError, match="one after 3 is needed"):
        subject.forget(record, rows.without([0]), rows.only([0]), noise=noise_key(2, 3))
    most = [str(i) for i in range(31)]
    with pytest.raises(MustRetrain, match="half at most"):
        subject.forget(record, rows.without(most), rows.only(most), noise=noise_key(2, 4))
    with pytest.raises(MustRetrain, match="No row is left"):
        subject.forget(record, rows.select(np.zeros(60, dtype=bool)), rows, noise=noise_key(2, 4))
    with pytest.raises(InputError, match="was learned from 60 rows"):
        subject.forget(record, rows.without([0, 1]), rows.only([0]), noise=noise_key(2, 4))


def test_an_adopted_model_ends_where_learning_ends() -> None:
    rows, subject = unit_rows(), method(calibration="tight")
    weights = {"weight": torch.full((1, 5), 9.0), "bias": torch.zeros(1)}
    adopted = subject.adopt(weights, rows, seed=0, noise=noise_key(1))
    centre = subject.centre(subject.release(adopted), noise_key(1))
    half = 0.05 * mu_of(1.0, 1e-5) * math.sqrt(6) / math.pi / 2
    assert torch.dist(centre, subject.minimiser(rows)) <= half


def test_the_minimiser_on_the_ball_is_where_the_ball_ends() -> None:
    rows, inside, outside = unit_rows(), method(radius=50.0), method(radius=0.5)
    free, bound = inside.minimiser(rows), outside.minimiser(rows)
    assert float(torch.linalg.vector_norm(free)) > 0.5
    assert float(torch.linalg.vector_norm(bound)) == pytest.approx(0.5, rel=1e-9)
    gradient = outside._ball(rows).objective.gradient(bound, rows)
    assert torch.allclose(gradient, -bound * float(torch.linalg.vector_norm(gradient)) / 0.5, atol=1e-9)  # KKT


def test_doing_nothing_is_named_where_it_would_do() -> None:
    rows, flags = unit_rows(), []
    for noise_std in (0.05, 5.0):
        subject = method(noise_std=noise_std)
        record = subject.learn(rows, seed=0, noise=noise_key(1))
        step = subject.forget(record, rows.without([0]), rows.only([0]), noise=noise_key(2, 2))
        assert isinstance(step.certificate, Certified)
        flags.append(step.certificate.doing_nothing_meets_it)
    assert flags == [False, True]
