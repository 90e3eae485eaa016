"""The accounting held against three things written otherwise: quadrature, exact PLD composition, and samples."""

from __future__ import annotations

import math
import warnings

import mpmath
import numpy as np
import pytest

from expunge.maths import privacy

mpmath.mp.dps = 40


def hockey_stick(epsilon: float, shift: float) -> float:
    """Integral of max(p - e^epsilon q, 0) for p = N(shift, 1), q = N(0, 1), by quadrature, from the densities alone."""
    e, m = mpmath.mpf(epsilon), mpmath.mpf(shift)
    crossing = e / m + m / 2  # p = e^epsilon q here, and p is larger to the right

    def integrand(x):
        return mpmath.npdf(x, m, 1) - mpmath.exp(e) * mpmath.npdf(x, 0, 1)

    start, width = crossing, 1 / max(mpmath.mpf(1), crossing - m)  # a far tail falls by e over 1 / its distance
    points = [start] + [start + width * step for step in (0.5, 1, 2, 4, 8, 16, 32)]
    if m > crossing:
        points += [m - 4, m - 2, m - 1, m, m + 1, m + 2, m + 4, m + 16]
    return float(mpmath.quad(integrand, sorted(p for p in points if p >= start)))


@pytest.mark.parametrize("epsilon", [1e-3, 0.1, 1.0, 10.0, 100.0])
@pytest.mark.parametrize("mu", [0.01, 0.2, 1.0, 4.0, 15.0])
def test_delta_is_the_integral_of_the_hockey_stick(epsilon, mu) -> None:
    expected = hockey_stick(epsilon, mu)
    if expected > 1e-250:
        assert privacy.gaussian_delta(epsilon, mu) / expected == pytest.approx(1, rel=1e-8)
    else:
        assert privacy.gaussian_delta(epsilon, mu) < 1e-249


@pytest.mark.parametrize("mu", [1e-9, 9.9e-6, 1.1e-5])
@pytest.mark.parametrize("steps", [0.1, 1.0, 5.0])
def test_delta_is_right_where_two_mills_ratios_cancel(mu, steps) -> None:
    assert privacy.gaussian_delta(steps * mu, mu) / hockey_stick(steps * mu, mu) == pytest.approx(1, rel=1e-8)


@pytest.mark.parametrize(("epsilon", "delta"), [(1e-3, 1e-6), (0.1, 1e-4), (1.0, 1e-5), (20.0, 1e-5), (1e3, 1e-8)])
def test_calibrated_noise_meets_its_delta_by_quadrature(epsilon, delta) -> None:
    assert hockey_stick(epsilon, 1 / privacy.noise_std_for(1.0, epsilon, delta)) / delta == pytest.approx(1, rel=1e-7)


def test_the_classic_formula_breaks_its_promise_by_quadrature() -> None:
    assert hockey_stick(10.0, 1 / privacy.classic_noise_multiplier(10.0, 1e-5)) == pytest.approx(2.3e-5, rel=0.02)
    assert hockey_stick(1.0, 1 / privacy.classic_noise_multiplier(1.0, 1e-5)) == pytest.approx(4.1e-8, rel=0.02)


def test_composition_equals_the_exact_privacy_loss_distribution() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from dp_accounting.pld import privacy_loss_distribution as pld

        one = pld.from_gaussian_mechanism(1 / 0.3, value_discretization_interval=1e-3)
        other = pld.from_gaussian_mechanism(1 / 0.7, value_discretization_interval=1e-3)
        theirs = one.self_compose(20).compose(other.self_compose(3)).get_epsilon_for_delta(1e-5)
    ours = privacy.epsilon_of(privacy.compose([0.3] * 20 + [0.7] * 3), 1e-5)
    assert ours == pytest.approx(theirs, rel=2e-3)
    assert ours <= theirs  # the discretised distribution is rounded upwards


@pytest.mark.slow
def test_a_thousand_releases_compose_to_71_3_by_the_privacy_loss_distribution() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from dp_accounting.pld import privacy_loss_distribution as pld

        one = pld.from_gaussian_mechanism(privacy.noise_std_for(1.0, 1.0, 1e-5), value_discretization_interval=1e-3)
        theirs = one.self_compose(1000).get_epsilon_for_delta(1e-5)
    assert theirs == pytest.approx(71.3, abs=0.1)


@pytest.mark.parametrize(("epsilon", "delta"), [(0.5, 0.02), (1.0, 0.02)])
def test_the_best_distinguisher_of_two_releases_gains_delta_and_no_more(epsilon, delta) -> None:
    """Two 1-D releases `distance` apart: no threshold test beats epsilon and delta, and the best one attains them."""
    generator = np.random.default_rng(1)
    distance, n = 0.3, 400_000
    noise_std = privacy.noise_std_for(distance, epsilon, delta)
    forgotten = distance + noise_std * generator.standard_normal(n)
    retrained = noise_std * generator.standard_normal(n)
    thresholds = np.linspace(-2 * noise_std, 6 * noise_std, 81)
    gains = [(forgotten > t).mean() - math.exp(epsilon) * (retrained > t).mean() for t in thresholds]
    error = 4 * (1 + math.exp(epsilon)) / (2 * math.sqrt(n))
    assert max(gains) <= delta + error
    assert max(gains) >= delta - error
    assert error < delta / 1.4  # a test that could not tell would prove nothing


def test_half_the_noise_is_caught_by_the_distinguisher() -> None:
    """The positive control: with the noise of a claim twice too good, the gain exceeds delta beyond error."""
    generator = np.random.default_rng(2)
    distance, n, epsilon, delta = 0.3, 400_000, 1.0, 0.02
    noise_std = privacy.noise_std_for(distance, epsilon, delta) / 2
    forgotten, retrained = (shift + noise_std * generator.standard_normal(n) for shift in (distance, 0.0))
    crossing = epsilon * noise_std**2 / distance + distance / 2
    gain = (forgotten > crossing).mean() - math.exp(epsilon) * (retrained > crossing).mean()
    assert gain > 5 * delta


def test_two_releases_tell_as_much_as_their_exposure_says() -> None:
    """Against the pair (before, after), the best test of "nothing left" has the power of mu = d / (sqrt(2) s)."""
    generator = np.random.default_rng(3)
    moved, noise_std, n = 0.5, 0.2, 400_000
    exposure = moved / (math.sqrt(2) * noise_std)
    with_deletion = moved + noise_std * (generator.standard_normal(n) - generator.standard_normal(n))
    without = noise_std * (generator.standard_normal(n) - generator.standard_normal(n))
    advantage = (with_deletion > moved / 2).mean() - (without > moved / 2).mean()
    assert advantage == pytest.approx(privacy.gaussian_delta(0.0, exposure), abs=0.005)
