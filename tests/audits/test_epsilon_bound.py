"""The lower bound on epsilon: against known mechanisms, its coverage, and what few models can prove."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import beta, binom

from expunge.audits import epsilon_bound
from expunge.audits.epsilon_bound import contradiction, directions, largest_provable, lower_bound, models_needed
from expunge.audits.error_rates import epsilon_of_rates, mu_of_rates, upper_rate
from expunge.certificate import Basis, Certified, View
from expunge.errors import InputError
from expunge.maths.privacy import epsilon_of, mu_of

CERTIFIED = Certified(1.0, 1e-5, mu_of(1.0, 1e-5), 0.1, 1.0, Basis.MEASURED, View.STATE, "retraining", ())


def test_epsilon_of_rates_by_hand() -> None:
    assert epsilon_of_rates(0.1, 0.2, 0.0) == pytest.approx(math.log(0.8 / 0.1))
    assert epsilon_of_rates(0.2, 0.1, 0.0) == pytest.approx(math.log(0.8 / 0.1))
    assert epsilon_of_rates(0.1, 0.2, 0.05) == pytest.approx(math.log(0.75 / 0.1))
    assert epsilon_of_rates(0.5, 0.5, 0.0) == 0.0
    assert epsilon_of_rates(0.0, 0.0, 1e-5) == math.inf
    assert epsilon_of_rates(1.0, 1.0, 1e-5) == 0.0


@pytest.mark.parametrize("mu", [0.3, 1.0, 2.5])
def test_rates_of_a_gaussian_pair_give_its_mu_at_every_threshold(mu: float) -> None:
    from scipy.special import ndtr

    cuts = np.linspace(-2, 4, 13)
    assert mu_of_rates(ndtr(-cuts), ndtr(cuts - mu)) == pytest.approx(mu)
    best = max(float(epsilon_of_rates(float(ndtr(-c)), float(ndtr(c - mu)), 1e-3)) for c in np.linspace(-9, 9, 4001))
    assert best == pytest.approx(epsilon_of(mu, 1e-3), rel=0.2)  # one event: below the curve, and near it
    assert best <= epsilon_of(mu, 1e-3)


def test_upper_rate_is_clopper_pearson() -> None:
    assert upper_rate(0, 20, 0.95) == pytest.approx(1 - 0.05 ** (1 / 20))
    assert upper_rate(3, 20, 0.95) == pytest.approx(beta.ppf(0.95, 4, 17))
    assert upper_rate(20, 20, 0.95) == 1.0
    assert binom.cdf(3, 20, float(upper_rate(3, 20, 0.95))) == pytest.approx(0.05)


@pytest.mark.parametrize("mu", [0.0, 1.0])
def test_bound_exceeds_the_truth_no_more_often_than_its_level_says(generator: np.random.Generator, mu: float) -> None:
    """300 audits of a mechanism that is exactly mu-GDP, at 80 %."""
    truth, wrong = epsilon_of(mu, 1e-3), 0
    for _ in range(300):
        found = lower_bound(generator.normal(mu, 1, 60), generator.normal(size=60), delta=1e-3, level=0.8)
        wrong += found.epsilon > truth or found.mu > mu
    assert wrong <= 0.2 * 300


def test_event_chosen_and_judged_on_the_same_models_would_prove_what_is_false(generator: np.random.Generator) -> None:
    wrong = {"same": 0, "other": 0}
    for _ in range(60):
        u, r = generator.normal(size=(2, 40))
        twice = [np.repeat(side, 2) for side in (u, r)]  # even and odd places hold the same models
        wrong["same"] += lower_bound(twice[0], twice[1], delta=0.0, level=0.6).epsilon > 0
        wrong["other"] += lower_bound(u, r, delta=0.0, level=0.6).epsilon > 0
    assert wrong["other"] <= 0.4 * 60
    assert wrong["same"] > 2 * wrong["other"]


@pytest.mark.parametrize("sign", [1, -1])
def test_laws_far_apart_prove_the_largest_epsilon_in_either_direction(
    generator: np.random.Generator, sign: int
) -> None:
    found = lower_bound(generator.normal(sign * 40, 1, 50), generator.normal(size=50), delta=1e-5)
    assert (found.epsilon, found.mu) == (found.largest_epsilon, found.largest_mu)
    u = 1 - 0.025 ** (1 / 25)
    assert found.epsilon == pytest.approx(math.log((1 - 1e-5 - u) / u))


def test_few_models_prove_nothing() -> None:
    assert largest_provable(5, 5, delta=1e-5)[0] == 0.0
    assert largest_provable(10, 10, delta=1e-5)[0] == pytest.approx(0.81, abs=0.01)
    assert largest_provable(50, 50, delta=1e-5)[0] == pytest.approx(2.57, abs=0.01)


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 4.0])
def test_models_needed_is_the_least_number(epsilon: float) -> None:
    needed = models_needed(epsilon, delta=1e-5)
    assert largest_provable(needed // 2, needed // 2, delta=1e-5)[0] > epsilon
    assert largest_provable(needed // 2 - 1, needed // 2 - 1, delta=1e-5)[0] <= epsilon


def test_certificate_below_the_bound_is_contradicted() -> None:
    generator = np.random.default_rng(0)
    apart = lower_bound(generator.normal(30, 1, 200), generator.normal(size=200), delta=1e-5, level=0.9999)
    assert "epsilon is at least" in str(contradiction(CERTIFIED, apart))
    assert contradiction(replace(CERTIFIED, epsilon=20.0, mu=20.0), apart) is None
    assert "mu is at least" in str(contradiction(replace(CERTIFIED, epsilon=20.0), apart))
    honest = lower_bound(generator.normal(size=200), generator.normal(size=200), delta=1e-5, level=0.9999)
    assert contradiction(CERTIFIED, honest) is None
    with pytest.raises(InputError, match="below the certificate's"):
        contradiction(CERTIFIED, replace(apart, delta=1e-9))


def test_direction_is_found_on_the_choosing_half_alone(generator: np.random.Generator) -> None:
    u, r = generator.normal(size=(2, 40, 6))
    u[:, 2] += 3.0
    first = directions(u, r)
    changed = u.copy()
    changed[1::2] += generator.normal(size=(20, 6))  # judging models do not enter the weights
    assert np.array_equal(directions(changed, r)[0][0::2], first[0][0::2])
    assert lower_bound(*first, delta=1e-5).epsilon > 0.5


def test_bound_from_many_rows_is_no_better_than_from_models(generator: np.random.Generator) -> None:
    """A thousand rows that all carry one draw of noise are one observation: the bound keeps its level."""
    wrong = 0
    for _ in range(60):
        noise = generator.normal(size=(2, 30, 1))
        u, r = noise + 0.01 * generator.normal(size=(2, 30, 200))
        wrong += lower_bound(*directions(u, r), delta=1e-5).epsilon > 0
    assert wrong <= 0.05 * 60 + 3


@pytest.mark.parametrize(
    ("forgot", "delta", "level", "words"),
    [
        (np.zeros(3), 1e-5, 0.95, "at least 4"),
        (np.zeros((9, 2)), 1e-5, 0.95, "One number"),
        (np.full(9, np.nan), 1e-5, 0.95, "One number"),
        (np.zeros(9), 1.0, 0.95, "delta"),
        (np.zeros(9), 0.0, 1.0, "level"),
    ],
)
def test_what_cannot_be_judged_is_refused(forgot: np.ndarray, delta: float, level: float, words: str) -> None:
    with pytest.raises(InputError, match=words):
        lower_bound(forgot, np.zeros(9), delta=delta, level=level)
    assert epsilon_bound.LEAST == 4
