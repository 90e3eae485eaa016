"""The distance of a damped Newton step in a ball: its formula, its limits, and what can refute a Lipschitz constant."""

from __future__ import annotations

import math

import pytest
import torch

from expunge.errors import InputError
from expunge.maths.constrained_newton import into_ball, lipschitz_at_least, step_distance
from expunge.maths.privacy import classic_noise_multiplier, noise_std_for


def test_the_published_setting_is_vacuous_for_a_radius_of_20() -> None:
    """C = 20, damping 0.01: whatever M, with no eigenvalue above M C the bound is no smaller than the diameter."""
    for M in (0.01, 1.0, 10.0):
        for smallest in (-0.005, 0.0, 0.9 * M * 20):
            assert step_distance(20.0, M, 0.01, smallest, 0.0) > 2 * 20.0


def test_the_noise_that_the_diameter_asks_for() -> None:
    """Doing nothing, 2 C = 40, at (1, 1e-5): 149 on every weight by the exact mechanism, 194 by the classic formula."""
    assert noise_std_for(40.0, 1.0, 1e-5) == pytest.approx(149.25, abs=0.05)
    assert 40.0 * classic_noise_multiplier(1.0, 1e-5) == pytest.approx(193.8, abs=0.05)


def test_it_is_below_the_diameter_exactly_where_the_least_eigenvalue_exceeds_m_c() -> None:
    C, M, G = 0.5, 2.0, 0.1
    threshold = M * C + G / (2 * C)
    for damping in (0.0, 0.3, 5.0):
        assert step_distance(C, M, damping, threshold, G) == pytest.approx(2 * C)
        assert step_distance(C, M, damping, threshold + 0.01, G) < 2 * C
        assert step_distance(C, M, damping, threshold - 0.01, G) > 2 * C


def test_damping_without_end_comes_to_doing_nothing() -> None:
    assert step_distance(3.0, 1.0, 1e9, 0.2, 0.0) == pytest.approx(6.0, rel=1e-6)


@pytest.mark.parametrize("term", ["gradient", "residual"])
def test_what_is_not_stationary_or_not_solved_is_added(term: str) -> None:
    base = step_distance(1.0, 0.5, 0.1, 2.0, 0.0)
    assert step_distance(1.0, 0.5, 0.1, 2.0, **{"gradient": 0.0, term: 0.42}) - base == pytest.approx(0.42 / 2.1)


def test_nothing_is_bounded_where_the_damping_does_not_suffice_or_nothing_was_asserted() -> None:
    assert step_distance(1.0, 1.0, 0.5, -0.5, 0.0) == math.inf
    assert step_distance(1.0, math.inf, 0.5, 1.0, 0.0) == math.inf
    assert step_distance(math.inf, 0.0, 0.5, 1.0, 0.0) == math.inf
    with pytest.raises(InputError, match="at least 0"):
        step_distance(1.0, -1.0, 0.5, 1.0, 0.0)


def test_the_projection_is_the_nearest_point_and_brings_no_two_points_apart() -> None:
    points = torch.randn(20, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    inside = torch.stack([into_ball(w, 1.0) for w in points])
    assert float(inside.norm(dim=1).max()) <= 1 + 1e-12
    assert (torch.cdist(inside, inside) <= torch.cdist(points, points) + 1e-12).all()
    assert torch.equal(into_ball(points[0], 100.0), points[0])


def test_the_sampled_constant_never_exceeds_the_true_one_and_nears_it() -> None:
    """H(w) = diag(sin w): its Lipschitz constant is 1."""

    def hessian(w: torch.Tensor):
        return lambda v: torch.sin(w) * v

    generator = torch.Generator().manual_seed(1)
    w, start = torch.zeros(6, dtype=torch.float64), torch.randn(6, generator=generator, dtype=torch.float64)
    near = torch.zeros(6, dtype=torch.float64)
    near[2] = 1e-3
    assert lipschitz_at_least(hessian, w, [start], start) <= 1.0
    assert lipschitz_at_least(hessian, w, [start, near], start) == pytest.approx(1.0, abs=1e-5)
    assert lipschitz_at_least(hessian, w, [w], start) == 0.0
