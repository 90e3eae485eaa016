from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import polygamma

from expunge.errors import InputError
from expunge.maths import privacy

EPSILONS = st.floats(1e-3, 1e3)
DELTAS = st.floats(-12, -1).map(lambda power: 10.0**power)


@pytest.mark.parametrize(
    ("epsilon", "delta", "analytic", "classic"),
    [
        (0.1, 1e-4, 24.51, 43.44),
        (1, 1e-4, 3.186, 4.344),
        (1, 1e-5, 3.731, 4.845),
        (5, 1e-5, 0.8919, 0.9690),
        (10, 1e-5, 0.4999, 0.4845),
        (20, 1e-5, 0.2900, 0.2422),
    ],
)
def test_noise_multipliers_are_the_published_ones_to_four_digits(epsilon, delta, analytic, classic) -> None:
    assert privacy.noise_std_for(1.0, epsilon, delta) == pytest.approx(analytic, rel=2e-4)
    assert privacy.classic_noise_multiplier(epsilon, delta) == pytest.approx(classic, rel=2e-4)


@given(EPSILONS, DELTAS)
def test_mu_delta_and_epsilon_invert_each_other(epsilon, delta) -> None:
    mu = privacy.mu_of(epsilon, delta)
    assert privacy.gaussian_delta(epsilon, mu) / delta == pytest.approx(1, rel=1e-7)
    assert privacy.epsilon_of(mu, delta) / epsilon == pytest.approx(1, rel=1e-7)


@given(EPSILONS, DELTAS)
def test_a_hair_more_mu_breaks_the_promise(epsilon, delta) -> None:
    mu = privacy.mu_of(epsilon, delta)
    assert privacy.gaussian_delta(epsilon, mu * (1 - 1e-6)) < delta < privacy.gaussian_delta(epsilon, mu * (1 + 1e-6))


@given(st.floats(0, 50), st.floats(1e-3, 30), st.floats(1.01, 3))
def test_delta_falls_with_epsilon_and_grows_with_mu(epsilon, mu, factor) -> None:
    delta = privacy.gaussian_delta(epsilon, mu)
    assert 0 <= delta <= 1
    assert privacy.gaussian_delta(epsilon * factor, mu) <= delta
    assert privacy.gaussian_delta(epsilon, mu * factor) >= delta


@given(EPSILONS, DELTAS, st.floats(1e-6, 1e6))
def test_noise_scales_with_the_distance(epsilon, delta, distance) -> None:
    expected = distance * privacy.noise_std_for(1.0, epsilon, delta)
    assert privacy.noise_std_for(distance, epsilon, delta) / expected == pytest.approx(1, rel=1e-12)


def test_limits_of_the_curve() -> None:
    assert privacy.gaussian_delta(1.0, 0.0) == 0.0
    assert privacy.gaussian_delta(1.0, math.inf) == 1.0
    assert privacy.gaussian_delta(math.inf, 1.0) == 0.0
    assert privacy.gaussian_delta(0.0, 1.0) == pytest.approx(math.erf(0.5 / math.sqrt(2)), rel=1e-12)  # total variation
    assert privacy.epsilon_of(0.0, 1e-5) == 0.0
    assert privacy.epsilon_of(math.inf, 1e-5) == math.inf
    assert privacy.epsilon_of(1e-6, 1e-5) == 0.0  # total variation 4e-7 is below delta already
    assert privacy.noise_std_for(0.0, 1.0, 1e-5) == 0.0


def test_extreme_epsilons_do_not_overflow() -> None:
    for epsilon in (1e-3, 1e-2, 100.0, 700.0, 1e3, 1e5):
        assert 0 < privacy.mu_of(epsilon, 1e-6) < math.inf
    assert privacy.gaussian_delta(1e6, 1.0) == 0.0
    assert privacy.mu_of(1.0, 1e-300) > 0.02


def test_the_classic_formula_gives_too_little_noise_above_epsilon_eight() -> None:
    for epsilon in (10.0, 20.0, 50.0):
        assert privacy.gaussian_delta(epsilon, 1 / privacy.classic_noise_multiplier(epsilon, 1e-5)) > 1e-5
    for epsilon in (0.1, 1.0, 5.0, 8.4):
        assert privacy.gaussian_delta(epsilon, 1 / privacy.classic_noise_multiplier(epsilon, 1e-5)) < 1e-5
    true = privacy.gaussian_delta(20.0, 1 / privacy.classic_noise_multiplier(20.0, 1e-5))
    assert true == pytest.approx(1.5e-3, rel=0.05)  # 150 times the delta it claims


def test_the_whole_distance_on_one_side_is_truly_epsilon_2_15() -> None:
    assert privacy.epsilon_of(2 * privacy.mu_of(1.0, 1e-5), 1e-5) == pytest.approx(2.15, abs=0.01)


def test_a_thousand_releases_at_epsilon_one_compose_to_71_3() -> None:
    spent = privacy.compose([privacy.mu_of(1.0, 1e-5)] * 1000)
    assert privacy.epsilon_of(spent, 1e-5) == pytest.approx(71.3, abs=0.05)
    hundred = privacy.compose([privacy.mu_of(1.0, 1e-5)] * 100)
    assert privacy.epsilon_of(hundred, 1e-5) == pytest.approx(14.4, abs=0.05)


def test_composition_is_the_square_root_of_the_sum_of_squares() -> None:
    assert privacy.compose([3.0, 4.0]) == pytest.approx(5.0)
    assert privacy.compose([]) == 0.0
    assert privacy.compose(iter([2.0])) == 2.0
    with pytest.raises(InputError, match="mu is -1"):
        privacy.compose([1.0, -1.0])


def test_the_schedule_spends_mu_in_all_and_never_more() -> None:
    shares = [privacy.release_share(t) for t in range(1, 20_001)]
    tail = 6 / math.pi**2 * float(polygamma(1, 20_001))  # the exact sum of squares of every later share
    assert math.fsum(share**2 for share in shares) + tail == pytest.approx(1.0, abs=1e-12)
    assert privacy.compose(shares) < 1
    assert shares == sorted(shares, reverse=True)
    assert privacy.release_share(1) == pytest.approx(0.7797, abs=1e-4)
    assert privacy.release_share(10) == pytest.approx(privacy.release_share(1) / 10)


def test_epsilon_curve_passes_through_its_pair_and_falls() -> None:
    curve = privacy.epsilon_curve(privacy.mu_of(1.0, 1e-5), [1e-8, 1e-5, 1e-3])
    assert curve[1] == pytest.approx(1.0)
    assert curve[0] > curve[1] > curve[2] > 0


def test_each_side_gets_half_of_the_distance() -> None:
    noise_std, mu, l2 = 0.01, privacy.mu_of(1.0, 1e-5), 1e-3
    each = privacy.distance_from_residual(privacy.residual_tolerance(noise_std, mu, l2), l2)
    assert privacy.epsilon_of(2 * each / noise_std, 1e-5) == pytest.approx(1.0)


@given(st.integers(1, 6), st.floats(1e-3, 1), st.integers(0, 1000))
def test_the_residual_bounds_the_distance_to_the_minimiser(d, l2, seed) -> None:
    generator = torch.Generator().manual_seed(seed)
    A = torch.randn(d, d, generator=generator, dtype=torch.float64)
    H = A @ A.T + l2 * torch.eye(d, dtype=torch.float64)
    best, w = torch.randn(2, d, generator=generator, dtype=torch.float64)
    bound = privacy.distance_from_residual(float((H @ (w - best)).norm()), l2)
    assert float((w - best).norm()) <= bound * (1 + 1e-9)


def test_the_residual_bound_is_met_with_equality_along_the_flattest_direction() -> None:
    assert privacy.distance_from_residual(float(torch.tensor([0.1 * 3.0, 0.0]).norm()), 0.1) == pytest.approx(3.0)


@given(st.floats(0.05, 1), st.floats(0, 5), st.floats(0.1, 1), st.integers(0, 1000))
def test_the_projected_step_bounds_the_distance_to_the_constrained_minimiser(strong, extra, share, seed) -> None:
    """A diagonal quadratic on a box, whose constrained minimiser is the clipped free one."""
    generator = torch.Generator().manual_seed(seed)
    curvature = strong + extra * torch.rand(5, generator=generator, dtype=torch.float64)
    free = 3 * torch.randn(5, generator=generator, dtype=torch.float64)
    w = torch.rand(5, generator=generator, dtype=torch.float64) * 2 - 1
    smooth = float(curvature.max())
    strong = float(curvature.min())
    size = share * 2 / (smooth + strong)
    moved = (w - size * curvature * (w - free)).clamp(-1, 1)
    bound = privacy.projected_distance(float((w - moved).norm()), size, strong, smooth)
    assert float((w - free.clamp(-1, 1)).norm()) <= bound * (1 + 1e-9) + 1e-15


def test_a_step_too_long_for_a_contraction_is_refused() -> None:
    with pytest.raises(InputError, match=r"2/\(smoothness \+ mu\)"):
        privacy.projected_distance(1.0, 0.51, 1.0, 3.0)


@given(st.integers(1, 8), st.integers(0, 1000))
def test_doing_nothing_lies_within_its_a_priori_distance_on_ridge(forgotten, seed) -> None:
    generator = torch.Generator().manual_seed(seed)
    n, l2 = 30, 0.2
    X = torch.randn(n, 4, generator=generator, dtype=torch.float64)
    y = torch.randn(n, generator=generator, dtype=torch.float64)

    def best(X, y):
        return torch.linalg.solve(X.T @ X / len(y) + l2 * torch.eye(4, dtype=torch.float64), X.T @ y / len(y))

    w = best(X, y) + 0.01 * torch.randn(4, generator=generator, dtype=torch.float64)
    residual = float((X.T @ (X @ w - y) / n + l2 * w).norm())
    out = slice(0, forgotten)
    gradient_sum = float((X[out].T @ (X[out] @ w - y[out]) + forgotten * l2 * w).norm())
    truth = float((w - best(X[forgotten:], y[forgotten:])).norm())
    bound = privacy.doing_nothing_distance(gradient_sum, n - forgotten, forgotten, l2, residual)
    assert truth <= bound * (1 + 1e-9)
    assert bound == pytest.approx((n * residual + gradient_sum) / ((n - forgotten) * l2))


def test_two_release_exposure_is_what_the_difference_of_two_releases_tells() -> None:
    before, after = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 4.0])
    assert privacy.two_release_exposure(before, after, 0.5) == pytest.approx(5 / (math.sqrt(2) * 0.5))
    assert privacy.two_release_exposure(before, before, 0.0) == 0.0
    assert privacy.two_release_exposure(before, after, 0.0) == math.inf


@pytest.mark.parametrize("epsilon", [0.0, -1.0, math.inf, math.nan])
def test_an_epsilon_that_promises_nothing_is_bad_input(epsilon) -> None:
    with pytest.raises(InputError, match="epsilon is"):
        privacy.mu_of(epsilon, 1e-5)


@pytest.mark.parametrize("delta", [0.0, 1.0, -1e-5, math.nan])
def test_a_delta_outside_0_to_1_is_bad_input(delta) -> None:
    for call in (privacy.mu_of, privacy.epsilon_of, privacy.classic_noise_multiplier):
        with pytest.raises(InputError, match="delta is"):
            call(1.0, delta)


def test_other_bad_numbers_are_named() -> None:
    with pytest.raises(InputError, match="counted from 1"):
        privacy.release_share(0)
    with pytest.raises(InputError, match="strong_convexity is 0"):
        privacy.distance_from_residual(1.0, 0.0)
    with pytest.raises(InputError, match="gradient_norm is nan"):
        privacy.distance_from_residual(math.nan, 1.0)
    with pytest.raises(InputError, match="noise_std is -1"):
        privacy.residual_tolerance(-1.0, 1.0, 1.0)
    with pytest.raises(InputError, match="at least one"):
        privacy.doing_nothing_distance(1.0, 0, 3, 0.1)
