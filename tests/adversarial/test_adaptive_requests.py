"""Requests chosen by looking at the model: secrets that persist do not survive them, fresh noise on a release does.

Three secrets that published methods keep over requests: SISA's partition, the noise vector b of objective perturbation,
and the bootstrap of distributed descent. In each case a request that depends on a release tells something of the
secret, and what is kept afterwards no longer has the law it would have, learned afresh from the retained rows (Gupta et
al. 2021). Each has its control: the same requests, chosen blindly. All draws have fixed seeds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import chisquare, ks_2samp
from sklearn.datasets import load_digits

from expunge.certificate import Certified, Exact
from expunge.learners.convex import Convex
from expunge.learners.dealing import Dealing
from expunge.methods import CertifiedNewton, Sisa
from expunge.record import digest
from expunge.rows import Rows
from expunge.testing import noise_key

Vector = NDArray[np.float64]
SURPRISE, ORDINARY = 1e-6, 1e-3  # p-values: of what is claimed to differ, and of what is claimed not to

# SISA: the partition.

SHARDS, GONE = 3, 80
SISA = Sisa(Convex(l2=1e-4, tol=1e-2), shards=SHARDS, slices=1, aggregation="mean")


def memorised() -> Rows:
    """Digits with labels drawn at random: whoever predicts one has seen it."""
    data, generator = load_digits(), np.random.default_rng(9)
    some = generator.permutation(len(data.target))[: 3 * GONE]
    return Rows.of(data.data[some] / 16, generator.integers(0, 10, size=3 * GONE), classes=10)


def surer_in_first_shard(rows: Rows, record: Any) -> Vector:
    """How much surer the first shard's model, which the release holds, is of each row's label than all others."""
    release, table = SISA.release(record), rows.table()
    of_label = []
    for shard in release.settings["shards"]:
        weights = [release.tensors[f"{shard}/{name}"].numpy() for name in ("weight", "bias")]
        scores = table.columns["x"] @ weights[0].T + weights[1]
        scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
        of_label.append(scores[np.arange(len(table)), table.y])
    return np.asarray(of_label[0] - np.max(of_label[1:], axis=0))


@pytest.mark.parametrize("adaptive", [True, False])
def test_sisas_partition_does_not_survive_requests_that_look_at_the_model(adaptive: bool) -> None:
    """Whoever deletes the rows that one shard's model knows best empties that shard: a fresh deal would not be empty.

    The step is exact all the same, under its own seed, bit for bit. What fails is that the seed, given these requests,
    is still any seed: "the requests were chosen without looking at the model" is a condition of the certificate.
    """
    rows = memorised()
    pooled = np.zeros(SHARDS)
    for seed in (0, 1, 2):
        record = SISA.learn(rows, seed=seed, noise=noise_key(1))
        blind = np.random.default_rng(seed).random(len(rows))
        wish = surer_in_first_shard(rows, record) if adaptive else blind
        ids = rows.ids[np.argsort(-wish)[:GONE]]
        retained, gone = rows.without(ids), rows.only(ids)
        step = SISA.forget(record, retained, gone, noise=noise_key(2, 2))
        assert digest(step.record) == digest(SISA.learn(retained, seed=seed, noise=noise_key(2, 2)))
        assert isinstance(step.certificate, Exact)
        assert "The requests were chosen without looking at the model." in step.certificate.conditions
        kept = np.bincount(Dealing(seed, SHARDS, 1).shards_of(retained.table().owners), minlength=SHARDS)
        assert tuple(kept) == step.record.sizes
        assert not adaptive or chisquare(kept).pvalue < SURPRISE
        pooled += kept
    fresh = sum(np.asarray(SISA.learn(retained, seed=s, noise=noise_key(1)).sizes) for s in (10, 11, 12))
    assert chisquare(fresh).pvalue > ORDINARY  # the law to be compared with: uniform
    assert (chisquare(pooled).pvalue < SURPRISE) if adaptive else (chisquare(pooled).pvalue > ORDINARY)


# Objective perturbation: the vector b.

LIVES, P = 400, 4


def line() -> tuple[Vector, Vector]:
    generator = np.random.default_rng(2)
    x = generator.normal(size=(60, P))
    return x, x @ np.arange(1.0, P + 1) + generator.normal(size=60)


def perturbed(x: Vector, y: Vector, b: Vector, l2: float = 1e-2) -> Vector:
    """Minimisers (lives, p) of mean squared loss / 2 + l2/2 ||w||^2 + b^T w / n, one for each row of b."""
    n = len(x)
    return np.asarray(np.linalg.solve(x.T @ x / n + l2 * np.eye(P), ((x.T @ y)[None] - b).T / n).T)


@pytest.mark.parametrize("adaptive", [True, False])
def test_a_noise_vector_kept_over_requests_does_not_survive_them(adaptive: bool) -> None:
    """For squared loss removal with the same b is exact, and still: given the request, b is not what it was.

    The adversary asks for row 0 to be forgotten only where the release lies on one side of its usual place along v.
    """
    x, y = line()
    v = np.array([0.0, 0.0, 0.0, 1.0])
    draw = np.random.default_rng(4)
    b = 10.0 * draw.normal(size=(LIVES, P))  # one secret a life, drawn before the first release
    seen = perturbed(x, y, b) @ v
    asked = seen > np.median(seen) if adaptive else draw.random(LIVES) > 0.5
    after = perturbed(x[1:], y[1:], b[asked]) @ v  # the same b: what the published method keeps
    fresh = perturbed(x[1:], y[1:], 10.0 * draw.normal(size=(LIVES, P))) @ v  # what learning again would release
    p = ks_2samp(after, fresh).pvalue
    assert p < SURPRISE if adaptive else p > ORDINARY
    towards = ks_2samp(b[asked] @ v, b @ v).pvalue
    assert towards < SURPRISE if adaptive else towards > ORDINARY


def test_fresh_noise_on_the_release_survives_the_same_requests() -> None:
    """The same adversary against Certified Newton: what is released afterwards has the law of learning again.

    And on every step taken, the centre is within its half of the distance from a reference solved to 1e-12.
    """
    x, y = line()
    rows = Rows.of(x, y)
    method = CertifiedNewton(loss="squared", l2=1e-2, noise_std=0.5)
    retained, gone = rows.without([0]), rows.only([0])
    clean = method.minimiser(retained)
    lives = 150
    first = [method.learn(rows, seed=0, noise=noise_key(life, 1)) for life in range(lives)]
    seen = np.array([float(record.weights[0, P - 1]) for record in first])
    after = []
    for life in np.flatnonzero(seen > np.median(seen)):
        key = noise_key(int(life), 2)
        step = method.forget(first[life], retained, gone, noise=key)
        assert isinstance(step.certificate, Certified)
        off = torch.linalg.vector_norm(method.centre(method.release(step.record), key) - clean)
        assert float(off) <= step.certificate.distance / 2
        after.append(float(step.record.weights[0, P - 1]))
    fresh = [
        float(method.learn(retained, seed=0, noise=noise_key(10_000 + life, 2)).weights[0, P - 1])
        for life in range(lives)
    ]
    assert ks_2samp(after, fresh).pvalue > ORDINARY


# Distributed descent: the bootstrap.

SUBSETS, N = 8, 32


@pytest.mark.parametrize("adaptive", [True, False])
def test_a_bootstrap_kept_over_requests_does_not_survive_them(adaptive: bool) -> None:
    """A mean in one dimension, as the mean of the means of subsets drawn with replacement; row 1 is large.

    The published mean is high where the bootstrap drew row 1 often. Row 0 is asked for in just these lives; its places
    are dealt again uniformly among the survivors, as the published reservoir does. How often row 1 is there then is
    not what a fresh bootstrap of the survivors would give.
    """
    generator = np.random.default_rng(6)
    values = np.r_[0.1, 20.0, generator.normal(size=N - 2)]
    lives = 3000
    drawn = generator.integers(0, N, size=(lives, SUBSETS, N))
    published = values[drawn].mean(axis=(1, 2)) + 0.1 * generator.normal(size=lives)
    asked = published > np.median(published) if adaptive else generator.random(lives) > 0.5
    kept = drawn[asked]
    kept = np.where(kept == 0, generator.integers(1, N, size=kept.shape), kept)
    fresh = generator.integers(1, N, size=(lives, SUBSETS, N))
    assert not (kept == 0).any()
    p = ks_2samp((kept == 1).sum(axis=(1, 2)), (fresh == 1).sum(axis=(1, 2))).pvalue
    assert p < SURPRISE if adaptive else p > ORDINARY
