"""The two-release attack on real digits: it works on everything without fresh noise, and what blunts it.

Handwritten digits, odd against even, rows shifted by -0.5 and scaled to length 1; 1,437 learned from. The 360 others
serve as the public rows of an attacker who has none of the training rows.
"""

from __future__ import annotations

import base64
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from expunge.audits.attacks.reconstruction import cosine, reconstruct, standing
from expunge.certificate import Certified
from expunge.methods import CertifiedNewton
from expunge.noise import NoiseKey
from expunge.objective import LinearObjective
from expunge.rows import Rows
from expunge.testing import noise_key
from expunge.vault import Vault

N, L2, P = 1437, 1e-3, 64
LOST = (3, 17, 100, 500, 640, 900)
OBJECTIVE = LinearObjective("logistic", L2, P, 1)


def digits() -> tuple[Rows, Rows]:
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    x = data.data[order] / 16 - 0.5
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    y = data.target[order] % 2
    public = Rows.of(x[N:], y[N:], ids=[f"public-{i}" for i in range(len(x) - N)], classes=2)
    return Rows.of(x[:N], y[:N], classes=2), public


ROWS, PUBLIC = digits()


def minimiser(rows: Rows, b: Tensor | None = None) -> Tensor:
    """Of mean loss + l2/2 ||w||^2 + b^T w / n, by Newton steps."""
    w = torch.zeros(P + 1, dtype=torch.float64)
    for _ in range(20):
        gradient, hessian = OBJECTIVE.gradient_and_hessian(w, rows)
        gradient = gradient if b is None else gradient + b / len(rows)
        if float(gradient.norm()) < 1e-12:
            return w
        w = w - torch.linalg.solve(hessian, gradient)
    raise AssertionError("Newton did not converge")


@pytest.mark.parametrize("perturbation", [0.0, 10.0], ids=["no noise", "objective perturbation"])
def test_the_deleted_row_is_recovered_from_two_minimisers(perturbation: float) -> None:
    """A secret b that stays the same over requests cancels in the difference, however large it is."""
    b = perturbation * torch.from_numpy(np.random.default_rng(5).normal(size=P + 1))
    before = minimiser(ROWS, b)
    from_public = []
    for lost in LOST:
        retained, gone = ROWS.without([lost]), ROWS.only([lost])
        after = minimiser(retained, b)
        found = reconstruct(OBJECTIVE, before, after, retained, retained=N - 1)
        assert float(cosine(found.direction, gone)) > 0.9999
        assert found.row is not None
        assert np.abs(found.row.numpy() - gone.columns["x"][0]).max() < 0.01  # not only its direction: the row
        assert standing(found.direction, gone, retained) == 0
        guess = reconstruct(OBJECTIVE, before, after, PUBLIC, retained=N - 1)
        from_public.append(float(cosine(guess.direction, gone)))
    assert float(np.median(from_public)) > 0.9  # and without a single training row


def test_fresh_noise_on_each_release_hides_it() -> None:
    """What is left of the cosine is what all digits share; the row that left stands nowhere among the others."""
    method = CertifiedNewton(noise_std=0.1, l2=L2, loss="logistic")
    record = method.learn(ROWS, seed=0, noise=noise_key(0, 1))
    standings = []
    for lost in range(0, 480, 20):
        retained, gone = ROWS.without([lost]), ROWS.only([lost])
        step = method.forget(record, retained, gone, noise=noise_key(lost, 2))
        before, after = (method.release(r).tensors["weights"] for r in (record, step.record))
        found = reconstruct(OBJECTIVE, before, after, retained, retained=N - 1)
        standings.append(standing(found.direction, gone, retained))
    assert 0.25 < float(np.mean(standings)) < 0.75
    assert min(standings) > 0  # never singled out


def test_the_receipt_prints_the_exposure_of_its_two_releases(tmp_path: Path) -> None:
    method = CertifiedNewton(noise_std=0.1, l2=L2, loss="logistic")
    with Vault.create(tmp_path / "vault", ROWS, method) as vault:
        before = vault.release().tensors["weights"].clone()
        vault.request(ids=["17"])
        vault.work()
        after = vault.release().tensors["weights"]
        told = json.loads(base64.b64decode(vault.receipt(1)["payload"]))["predicate"]["two_release_exposure"]
    assert told == pytest.approx(float((before - after).norm()) / (math.sqrt(2) * 0.1), rel=1e-12)
    assert told > math.sqrt(P + 1) - 4  # of noisy releases: an upward estimate, by the coordinates


def test_the_exposure_of_the_centres_is_small_at_this_noise() -> None:
    """||w - w_r*|| / (sqrt(2) 0.1): what the noise of 0.1 leaves to an attacker who knows what to look for."""
    before = minimiser(ROWS)
    moved = [float((before - minimiser(ROWS.without([lost]))).norm()) for lost in LOST]
    assert max(moved) / (math.sqrt(2) * 0.1) < 1.3
    assert max(moved) / (math.sqrt(2) * 1e-4) > 100  # at a noise that is enough for one release only


def test_no_certificate_of_one_side_speaks_of_two_releases() -> None:
    """At noise 1e-4 the certificate holds, and the two releases give the row away all the same."""
    method = CertifiedNewton(noise_std=1e-4, l2=L2, loss="logistic")
    record = method.learn(ROWS, seed=0, noise=NoiseKey.fresh(1))
    retained, gone = ROWS.without([17]), ROWS.only([17])
    key = NoiseKey.fresh(2)
    step = method.forget(record, retained, gone, noise=key)
    assert isinstance(step.certificate, Certified)
    off = torch.linalg.vector_norm(method.centre(method.release(step.record), key) - method.minimiser(retained))
    assert off <= step.certificate.distance / 2
    found = reconstruct(OBJECTIVE, record.weights, step.record.weights, retained, retained=N - 1)
    assert float(cosine(found.direction, gone)) > 0.99
