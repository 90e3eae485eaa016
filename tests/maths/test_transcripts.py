"""Transcript certificates against the whole likelihood: covariances written out, and a Monte-Carlo distinguisher."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from expunge.errors import InputError
from expunge.maths.privacy import release_share
from expunge.maths.transcripts import (
    carried_mu,
    carried_share,
    carried_variance_share,
    consecutive,
    increment_std,
    independent_mu,
    worst_carried_mu,
)

SIGMA = (0.5, 0.3, 0.2, 0.4)
SHIFT = np.array([0.1, -0.2, 0.15, 0.3])  # e_t, on the line
ERRORS = tuple(np.abs(SHIFT))
MOVED = tuple(np.abs(np.diff(SHIFT, prepend=0.0)))


def covariance(sigma: tuple[float, ...], first: int) -> np.ndarray:
    """Of Z_first, Z_(first+1), ...: the smaller of two variances."""
    variance = np.cumsum(np.square(sigma))[first - 1 :]
    return np.minimum.outer(variance, variance)


@pytest.mark.parametrize("first", [1, 2, 3, 4])
def test_carried_mu_is_that_of_the_joint_gaussian(first: int) -> None:
    shift = SHIFT[first - 1 :]
    exact = math.sqrt(shift @ np.linalg.solve(covariance(SIGMA, first), shift))
    assert carried_mu(ERRORS, SIGMA, first, MOVED) == pytest.approx(exact, rel=1e-12)
    assert carried_mu(ERRORS, SIGMA, first) >= exact  # by r_t + r_(t-1) for the differences


def test_independent_mu_is_that_of_the_joint_gaussian() -> None:
    assert independent_mu(ERRORS, SIGMA) == pytest.approx(math.sqrt(np.sum((SHIFT / np.array(SIGMA)) ** 2)))


@pytest.mark.parametrize("first", [1, 3])
def test_the_best_test_of_a_carried_transcript_succeeds_as_often_as_mu_says(first: int) -> None:
    """Transcripts drawn by carrying noise on; the likelihood ratio of the whole is thresholded at zero."""
    generator, runs = np.random.default_rng(3), 200_000
    noise = np.cumsum(generator.normal(size=(runs, 4)) * SIGMA, axis=1)[:, first - 1 :]
    shift = 4 * SHIFT[first - 1 :]
    direction = np.linalg.solve(covariance(SIGMA, first), shift)
    right = float((noise @ direction <= shift @ direction / 2).mean())  # the life without the rows is at zero
    mu = carried_mu(tuple(4 * r for r in ERRORS), SIGMA, first, tuple(4 * d for d in MOVED))
    assert right == pytest.approx(norm.cdf(mu / 2), abs=5 * math.sqrt(0.25 / runs))


def test_charging_a_carried_transcript_as_if_its_noise_were_fresh_would_be_wrong() -> None:
    """A positive control: centres that differ in one release only are told apart by the increments around it."""
    errors, sigma = (0.0, 0.5, 0.0), (1.0, 0.1, 0.1)
    stds = tuple(math.hypot(*sigma[: t + 1]) for t in range(3))
    assert carried_mu(errors, sigma, 1) > 10 * independent_mu(errors, stds)


def test_every_release_may_be_the_first() -> None:
    errors, sigma = (0.0, 3.0, 3.0), (1.0, 0.1, 0.1)
    moved = (0.0, 0.0, 0.0)  # e.g. the same error throughout: only the first release seen tells it
    assert carried_mu(errors, sigma, 1, moved) == 0
    assert worst_carried_mu(errors, sigma, moved) == pytest.approx(3 / math.hypot(1, 0.1))


@given(st.integers(1, 60), st.integers(1, 60))
def test_the_schedule_stays_within_the_budget_for_every_deletion(length: int, first: int) -> None:
    mu, noise = 0.78, 0.01
    errors = [mu * noise * carried_share(t) for t in range(1, length + 1)]
    increments = [increment_std(noise, t, t - 1) for t in range(1, length + 1)]
    assert carried_mu(errors, increments, min(first, length)) <= mu
    assert worst_carried_mu(errors, increments) <= mu


@given(st.lists(st.integers(1, 400), min_size=1, max_size=12, unique=True).map(sorted))
def test_the_schedule_holds_where_releases_are_skipped(numbers: list[int]) -> None:
    mu, noise = 0.78, 0.01
    errors = [mu * noise * carried_share(t) for t in numbers]
    increments = [increment_std(noise, t, before) for t, before in zip(numbers, [0, *numbers], strict=False)]
    assert worst_carried_mu(errors, increments) <= mu * (1 + 1e-12)


def test_the_noise_stays_bounded_for_ever() -> None:
    shares = [carried_variance_share(t) for t in (1, 2, 10, 10_000)]
    assert shares == sorted(shares)
    assert shares[0] == pytest.approx(6 / math.pi**2)
    assert 0.9999 < shares[-1] < 1
    assert increment_std(2.0, 10_000) == pytest.approx(2 * math.sqrt(shares[-1]))
    assert increment_std(2.0, 7, 6) == pytest.approx(2 * release_share(7))


def test_simulated_carried_noise_has_the_stated_variance() -> None:
    generator, releases = np.random.default_rng(1), 300
    steps = np.array([increment_std(1.0, t, t - 1) for t in range(1, releases + 1)])
    total = np.cumsum(generator.normal(size=(4000, releases)) * steps, axis=1)
    for t in (1, 5, releases):
        assert total[:, t - 1].var() == pytest.approx(carried_variance_share(t), rel=0.12)
    assert total.var(axis=0).max() < 1.12


def test_degenerate_transcripts() -> None:
    assert consecutive((1.0, 2.0, 0.5)) == (1.0, 3.0, 2.5)
    assert carried_mu((0.0,), (0.0,), 1) == 0
    assert carried_mu((1.0,), (0.0,), 1) == math.inf
    assert independent_mu((), ()) == 0


@pytest.mark.parametrize(("arguments", "message"), [
    (((1.0,), (1.0, 2.0), 1), "1 distances and 2 standard deviations"),
    (((-1.0,), (1.0,), 1), "negative or not a number"),
    (((math.nan,), (1.0,), 1), "negative or not a number"),
    (((1.0,), (1.0,), 2), "Release 2 is not among the 1"),
    (((1.0,), (1.0,), 0), "Release 0 is not among"),
])  # fmt: skip
def test_bad_transcripts_are_refused(arguments: tuple[tuple[float, ...], tuple[float, ...], int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        carried_mu(*arguments)


def test_noise_is_carried_on_forwards_only() -> None:
    with pytest.raises(InputError, match="cannot carry on the noise of release 3"):
        increment_std(1.0, 3, 3)
