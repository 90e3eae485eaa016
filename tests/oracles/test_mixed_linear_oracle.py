"""Mixed-linear forgetting against Jacobians written out by hand and dense solves, in plain numpy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.datasets import load_digits

from expunge.learners.sgd import Sgd
from expunge.methods.mixed_linear import MixedLinear, MixedLinearRecord
from expunge.models import Mlp
from expunge.rows import Rows
from expunge.testing import noise_key

Matrix = NDArray[np.float64]
L2, SCALE, N, M = 1e-3, 5.0, 240, 40
CORE = Sgd(model=Mlp((8,)), epochs=15, learning_rate=0.1)
METHOD = MixedLinear(core=CORE, l2=L2, target_scale=SCALE, noise_std=1e-2, rank=40)


def digits(users: int = N) -> Rows:
    """60 core rows after the user rows; 64 pixels are summed to 16 numbers of about unit size."""
    data = load_digits()
    x = data.data.reshape(-1, 4, 2, 4, 2).sum((2, 4)).reshape(-1, 16) / 32 - 0.6
    n = users + 60
    return Rows.of({"x": x[:n], "core": np.arange(n) >= users}, data.target[:n], classes=10)


def jacobian(core: dict[str, Matrix], x: Matrix) -> tuple[Matrix, Matrix]:
    """Scores (n, 10) and the Jacobian (n, 10, d) of W2 tanh(W1 x + b1) + b2 by (W1, b1, W2, b2)."""
    a = np.tanh(x @ core["parts.0.weight"].T + core["parts.0.bias"])
    W2, k = core["parts.2.weight"], 10
    inner = W2[None] * (1 - a[:, None] ** 2)  # (n, k, h): d score / d hidden input
    by_W1 = np.einsum("nkh,np->nkhp", inner, x).reshape(len(x), k, -1)
    by_W2 = np.einsum("kj,nh->nkjh", np.eye(k), a).reshape(len(x), k, -1)
    by_b2 = np.broadcast_to(np.eye(k), (len(x), k, k))
    return a @ W2.T + core["parts.2.bias"], np.concatenate([by_W1, inner, by_W2, by_b2], axis=2)


class World:
    """The rows, the record learned from them, and the Jacobian over the user rows, flat in (row, class)."""

    def __init__(self) -> None:
        self.rows = digits()
        self.record = METHOD.learn(self.rows, seed=0, noise=noise_key(1))
        self.core = {name: part.double().numpy() for name, part in self.record.core.tensors.items()}
        self.x, self.y = self.rows.columns["x"][:N], self.rows.y[:N]
        self.scores, self.J = jacobian(self.core, self.x)
        self.target = SCALE * np.eye(10)[self.y]

    def minimiser(self, keep: slice = slice(None)) -> Matrix:
        J, r = self.J[keep], (self.scores - self.target)[keep]
        flat = J.reshape(-1, J.shape[2])
        H = flat.T @ flat / len(J) + L2 * np.eye(J.shape[2])
        return np.asarray(-np.linalg.solve(H, flat.T @ r.reshape(-1) / len(J)))

    def hessian_and_gradient(self, u: Matrix, keep: slice) -> tuple[Matrix, Matrix]:
        J, r = self.J[keep], (self.scores - self.target)[keep] + self.J[keep] @ u
        flat = J.reshape(-1, J.shape[2])
        return flat.T @ flat / len(J) + L2 * np.eye(len(u)), flat.T @ r.reshape(-1) / len(J) + L2 * u


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def centre(record: MixedLinearRecord, secret: int) -> Matrix:
    return np.asarray(METHOD.centre(METHOD.release(record), noise_key(secret, record.number)).numpy())


def forgotten(world: World) -> Any:
    ids = [str(i) for i in range(M)]
    return METHOD.forget(world.record, world.rows.without(ids), world.rows.only(ids), noise=noise_key(2, 2))


def test_the_minimiser_is_that_of_the_written_out_jacobian(world: World) -> None:
    np.testing.assert_allclose(METHOD.minimiser(world.rows).numpy(), world.minimiser(), atol=1e-8)


def test_the_certificate_dominates_the_true_distance(world: World) -> None:
    step = forgotten(world)
    before, after = world.minimiser(), world.minimiser(slice(M, None))
    own, nothing = np.linalg.norm(centre(step.record, 2) - after), np.linalg.norm(before - after)
    assert own <= step.certificate.distance / 2
    assert own < 1e-3 * nothing
    assert step.stats["residual"] / L2 <= step.certificate.distance / 2
    assert own <= step.stats["residual"] / L2


def test_the_distance_is_the_share_of_the_second_release(world: World) -> None:
    promise = forgotten(world).certificate
    low, high = 0.0, 10.0  # mu of (1, 1e-5), by bisection of delta(epsilon)
    for _ in range(80):
        mu = (low + high) / 2
        delta = norm.cdf(mu / 2 - 1 / mu) - np.e * norm.cdf(-mu / 2 - 1 / mu)
        low, high = (mu, high) if delta < 1e-5 else (low, mu)
    share = 1e-2 * low * np.sqrt(6) / (2 * np.pi)
    assert 0.99 * share < promise.distance < share  # machine noise takes a little


def test_the_release_predicts_by_the_linearised_scores(world: World) -> None:
    u = world.record.weights.numpy()
    linear = world.scores + world.J @ u
    shifted = linear - linear.max(1, keepdims=True)
    expected = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    release = METHOD.release(world.record)
    np.testing.assert_allclose(METHOD.predict(release, {"x": world.x}).numpy(), expected, atol=1e-8)
    with_marks = {"x": world.x, "core": np.zeros(N, dtype=bool)}
    np.testing.assert_allclose(METHOD.predict(release, with_marks).numpy(), expected, atol=1e-8)


def test_the_published_step_needs_the_linearised_gradient_and_the_right_sign(world: World) -> None:
    keep, u = slice(M, None), world.minimiser()
    true = world.minimiser(keep)
    H, g = world.hessian_and_gradient(u, keep)
    at_core = world.hessian_and_gradient(np.zeros_like(u), keep)[1]
    nothing = np.linalg.norm(u - true)
    assert np.linalg.norm(u - np.linalg.solve(H, g) - true) < 1e-9  # exact: F is quadratic
    assert np.linalg.norm(u - np.linalg.solve(H, at_core) - true) > 2 * nothing  # worse than doing nothing
    assert np.linalg.norm(u + np.linalg.solve(H, g) - true) == pytest.approx(2 * nothing)
    assert np.linalg.norm(METHOD.minimiser(world.rows.without([str(i) for i in range(M)])).numpy() - true) < 1e-8


def test_the_influence_form_is_exact_with_its_factor_only(world: World) -> None:
    gone, keep, u = slice(0, M), slice(M, None), world.minimiser()
    H, _ = world.hessian_and_gradient(u, keep)
    _, left = world.hessian_and_gradient(u, gone)  # mean over the forgotten rows, l2 included
    true = world.minimiser(keep)
    assert np.linalg.norm(u + M / (N - M) * np.linalg.solve(H, left) - true) < 1e-9
    assert np.linalg.norm(u + np.linalg.solve(H, left) - true) > 2 * np.linalg.norm(u - true)


def test_forgetting_every_user_row_leaves_noise_alone(world: World) -> None:
    ids = [str(i) for i in range(N)]
    core = world.rows.without(ids)
    step = METHOD.forget(world.record, core, world.rows.only(ids), noise=noise_key(2, 2))
    learned = METHOD.learn(core, seed=5, noise=noise_key(2, 2))
    assert np.abs(centre(step.record, 2)).max() < 1e-7  # half a step of the grid
    assert torch.equal(step.record.weights, learned.weights)
    assert step.record.weights.std() == pytest.approx(1e-2, rel=0.2)


def test_scaling_l2_and_the_targets_scales_what_it_should(world: World) -> None:
    twice = replace(METHOD, target_scale=2 * SCALE)
    J = world.J.reshape(-1, world.J.shape[2])
    H = J.T @ J / N + L2 * np.eye(J.shape[1])
    moved = np.linalg.solve(H, J.T @ world.target.reshape(-1) / N)  # u is affine in the targets
    np.testing.assert_allclose((twice.minimiser(world.rows) - METHOD.minimiser(world.rows)).numpy(), moved, atol=1e-8)
    heavy = replace(METHOD, l2=1e6).minimiser(world.rows, tol=1e-9).numpy()
    gradient = J.T @ (world.scores - world.target).reshape(-1) / N
    np.testing.assert_allclose(heavy, -gradient / 1e6, rtol=1e-3, atol=1e-12)


def test_duplicating_every_user_row_changes_nothing(world: World) -> None:
    x = np.concatenate([world.rows.columns["x"], world.x])
    marks = np.concatenate([world.rows.columns["core"], np.zeros(N, dtype=bool)])
    ids = [*map(str, range(N + 60)), *(f"again-{i}" for i in range(N))]
    both = Rows.of({"x": x, "core": marks}, np.concatenate([world.rows.y, world.y]), ids=ids, classes=10)
    np.testing.assert_allclose(METHOD.minimiser(both).numpy(), world.minimiser(), atol=1e-8)
