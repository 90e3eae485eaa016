"""The bound on mutual information against mechanisms whose information is known."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.audits.scores.information import bound_of_pair, information_bound
from expunge.certificate import Basis, Certified, Exact, Uncertified, View
from expunge.maths.privacy import mu_of

CERTIFIED = Certified(1.0, 1e-5, mu_of(1.0, 1e-5), 0.1, 1.0, Basis.MEASURED, View.STATE, "retraining", ())


def information(prior: np.ndarray, laws: np.ndarray) -> float:
    """I(Z; h) in nats of a prior (k,) and laws (k, outcomes)."""
    mean = prior @ laws
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(laws > 0, laws * np.log(laws / mean), 0.0)
    return float(prior @ terms.sum(axis=1))


def test_exact_forgetting_keeps_nothing() -> None:
    assert information_bound(Exact(("same seed",))) == 0.0


def test_nothing_is_known_without_a_certificate() -> None:
    assert information_bound(Uncertified("fine-tuning")) == math.inf
    assert information_bound(None, entropy=math.log(2)) == math.log(2)


def test_gaussian_certificate_gives_half_mu_squared() -> None:
    assert information_bound(CERTIFIED) == pytest.approx(CERTIFIED.mu**2 / 2)
    assert information_bound(replace(CERTIFIED, mu=math.inf)) == math.inf
    assert information_bound(replace(CERTIFIED, mu=math.inf), entropy=3.0) < 1.0


def test_information_of_a_shifted_gaussian_is_below_its_bound() -> None:
    """Z = +-1 moves the mean by at most mu from the reference 0: I by integration."""
    mu, grid = 0.8, np.linspace(-12, 12, 40_001)
    laws = np.stack([np.exp(-((grid - z * mu) ** 2) / 2) for z in (-1, 1)])
    laws /= laws.sum(axis=1, keepdims=True)
    found = information(np.array([0.5, 0.5]), laws)
    assert 0.2 < found <= mu**2 / 2


@given(st.floats(0.01, 6.0))
def test_randomised_response_meets_the_pure_bound_about_its_reference(epsilon: float) -> None:
    p = math.exp(epsilon) / (1 + math.exp(epsilon))
    divergence = p * math.log(p / (1 - p)) + (1 - p) * math.log((1 - p) / p)
    assert bound_of_pair(epsilon, 0.0) == pytest.approx(divergence)
    assert bound_of_pair(epsilon, 0.0) <= min(epsilon, epsilon**2 / 2)


@given(st.floats(0.0, 3.0), st.sampled_from([0.0, 1e-9, 1e-3, 0.1, 0.4]), st.integers(2, 40))
def test_a_mechanism_that_gives_its_secret_away_with_probability_delta_is_bounded(
    epsilon: float, delta: float, k: int
) -> None:
    """With probability delta it publishes Z; otherwise a bit, by randomised response to Z's parity."""
    high = math.exp(epsilon / 2) / (1 + math.exp(epsilon / 2))  # within e^(epsilon/2) of a fair coin, both ways
    laws = np.zeros((k, k + 3))
    for z in range(k):
        laws[z, z] = delta
        laws[z, k + z % 2], laws[z, k + 1 - z % 2] = (1 - delta) * high, (1 - delta) * (1 - high)
    reference = np.concatenate([np.zeros(k), [(1 - delta) / 2] * 2, [delta]])
    assert all(is_within(law, reference, epsilon, delta) for law in laws)
    prior = np.full(k, 1 / k)
    assert information(prior, laws) <= bound_of_pair(epsilon, delta, math.log(k)) + 1e-12


def is_within(p: np.ndarray, q: np.ndarray, epsilon: float, delta: float) -> bool:
    both = [np.maximum(a - math.exp(epsilon) * b, 0).sum() for a, b in ((p, q), (q, p))]
    return max(both) <= delta + 1e-12


def test_delta_without_an_entropy_bounds_nothing() -> None:
    assert bound_of_pair(0.1, 1e-9) == math.inf
    assert bound_of_pair(0.1, 1e-9, entropy=100.0) == pytest.approx(0.1 * math.tanh(0.05), rel=1e-3)
    assert bound_of_pair(0.0, 1.0, entropy=7.0) == 7.0
    assert bound_of_pair(50.0, 0.0, entropy=7.0) == 7.0
