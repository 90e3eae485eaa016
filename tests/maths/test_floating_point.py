from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtri

from expunge.errors import InputError
from expunge.maths import floating_point

LONG = np.longdouble
needs_longdouble = pytest.mark.skipif(np.finfo(LONG).nmant < 60, reason="this machine has no 80-bit floats to compare")


def floor(**changed) -> float:
    given = {
        "rows": 1000,
        "inputs": 20,
        "outputs": 3,
        "row_norm": 2.0,
        "weight_norm": 5.0,
        "l2": 1e-2,
        "slope": math.sqrt(2),
        "curvature": 0.5,
    }
    return floating_point.gradient_floor(**(given | changed))


@needs_longdouble
@given(st.integers(1, 400), st.integers(1, 30), st.integers(2, 5), st.floats(-2, 3), st.integers(0, 999))
def test_the_floor_is_above_the_rounding_of_a_softmax_gradient(n, p, k, decades, seed) -> None:
    generator = np.random.default_rng(seed)
    X, W = generator.standard_normal((n, p)) * 10.0**decades, generator.standard_normal((p, k))
    hot, l2 = np.eye(k)[generator.integers(0, k, n)], 1e-2

    def gradient(X, W, hot):
        scores = X @ W
        scores = scores - scores.max(1, keepdims=True)
        P = np.exp(scores)
        P = P / P.sum(1, keepdims=True)
        return X.T @ (P - hot) / X.dtype.type(len(X)) + X.dtype.type(l2) * W

    tensors = torch.from_numpy(X), torch.from_numpy(W), torch.from_numpy(hot)
    computed = (tensors[0].T @ (torch.softmax(tensors[0] @ tensors[1], 1) - tensors[2]) / n + l2 * tensors[1]).numpy()
    error = float(np.linalg.norm(computed - gradient(X.astype(LONG), W.astype(LONG), hot.astype(LONG))))
    bound = floor(
        rows=n,
        inputs=p,
        outputs=k,
        row_norm=float(np.linalg.norm(X, axis=1).max()),
        weight_norm=float(np.linalg.norm(W)),
        l2=l2,
    )
    assert error <= bound


@needs_longdouble
def test_the_floor_is_not_vacuous() -> None:
    """A sum that cancels: 0.1 n times over 1. The naive running sum's error is a visible share of the floor."""
    n = 200_000
    X = np.full(n, 0.1)
    naive = float(np.cumsum(X)[-1]) / n
    error = abs(float(LONG(naive) - np.sum(X.astype(LONG)) / LONG(n)))
    bound = floor(rows=n, inputs=1, outputs=1, row_norm=0.1, weight_norm=0.0, l2=0.0, slope=1.0)
    assert bound / 2000 < error <= bound


def test_the_floor_scales_as_its_formula() -> None:
    assert floor(rows=2000) < 2 * floor()
    assert floor(rows=10**6) / floor(rows=10**5) == pytest.approx(10, rel=0.01)
    assert floor(row_norm=4.0, weight_norm=0.0) / floor(weight_norm=0.0) == pytest.approx(2, rel=1e-9)
    assert floor(row_norm=4.0) > 2 * floor(l2=0.0)
    assert floor(weight_norm=10.0) > floor()
    assert floor(curvature=1.0) > floor()
    assert floor(slope=3.0) > floor()
    assert floor(inputs=200) > floor()
    assert floor(outputs=300) > floor()


def test_the_floor_at_a_million_rows_is_far_below_a_working_tolerance() -> None:
    working = floor(rows=10**6, inputs=31, row_norm=30.0)
    assert 1e-10 < working < 1e-8


def test_gamma_is_highams() -> None:
    u = 2.0**-53
    assert floating_point.rounding(0) == 0.0
    assert floating_point.rounding(1) == u / (1 - u)
    with pytest.raises(InputError, match="no bound"):
        floating_point.rounding(2**53)
    with pytest.raises(InputError, match="row_norm is inf"):
        floor(row_norm=math.inf)
    with pytest.raises(InputError, match="slope is nan"):
        floor(slope=math.nan)


def test_the_true_norm_is_never_below_the_measured_one() -> None:
    assert floating_point.true_norm(1e-6, 1e-10, 1000) > 1e-6 + 1e-10
    assert floating_point.true_norm(1e-6, 1e-10, 1000) == pytest.approx(1e-6 + 1e-10)


@given(st.floats(-60, -1), st.floats(1, 2))
def test_the_inverse_normal_is_as_accurate_as_the_slack_assumes(power, factor) -> None:
    import mpmath

    p = min(0.5, factor * 2.0**power)
    with mpmath.workdps(40):
        x = mpmath.mpf(float(ndtri(p)))
        truth = x - (mpmath.ncdf(x) - mpmath.mpf(p)) / mpmath.npdf(x)  # a Newton step from a float is exact enough
        assert abs(x - truth) <= 7 * floating_point.UNIT * (abs(truth) + 1e-3)


def test_cells_of_the_grid_have_their_gaussian_probability_up_to_the_factor_assumed() -> None:
    """Where the machine's normal crosses each border of a cell is found exactly; both ends move the probability."""
    import mpmath

    bits = 20
    allowed = 200 * floating_point.UNIT * 2.0 ** (bits + 1)
    with mpmath.workdps(50):
        for start in (0.001, 0.7, 3.0, 6.0, 9.5):
            ends = []
            for border in (start, start + 2.0 ** -(bits + 1)):
                low = float(mpmath.ncdf(-mpmath.mpf(border))) * (1 - 2.0**-40)
                high = low * (1 + 2.0**-38)
                while low < (middle := low + (high - low) / 2) < high:  # the tail's float where the machine crosses
                    low, high = (middle, high) if -ndtri(middle) > border else (low, middle)
                ends.append((mpmath.mpf(low), mpmath.ncdf(-mpmath.mpf(border))))
            machine, true = (ends[0][side] - ends[1][side] for side in (0, 1))
            assert abs(mpmath.log(machine / true)) <= allowed


def cost(coordinates: int, grid_bits: int, releases: int = 10_000) -> float:
    return 1 - floating_point.under_true_noise(1.0, 1e-5, coordinates, grid_bits, releases=releases)[0]


def test_the_cost_in_epsilon_grows_with_the_root_of_the_cells_and_doubles_with_each_bit() -> None:
    one = cost(100, 12)
    assert cost(10_000, 12) / one == pytest.approx(10, rel=1e-3)
    assert cost(100, 13) / one == pytest.approx(2, rel=1e-3)
    assert cost(100, 12, releases=100) / one == pytest.approx(0.1, rel=1e-3)
    assert cost(1000, 20) < 5e-3
    assert cost(0, 20) == 0


def test_machine_noise_meets_the_pair_given() -> None:
    """The composition of the docstring, undone: both costs come back."""
    for epsilon, delta in ((0.1, 1e-4), (1.0, 1e-5), (10.0, 1e-6)):
        given, left = floating_point.under_true_noise(epsilon, delta, 500, 20)
        ratio = (epsilon - given) / 2
        missed = (1 + math.exp(epsilon)) * (floating_point.TAIL + 500 * floating_point.RELEASES * 2.0**-75)
        assert given + 2 * ratio <= epsilon
        assert (math.exp(ratio) * left + missed) / delta == pytest.approx(1, rel=1e-9)


@pytest.mark.parametrize(("epsilon", "delta"), [(1e-4, 1e-5), (1.0, 1e-19), (100.0, 1e-5), (1e5, 1e-5)])
def test_a_pair_beyond_float64_is_refused_with_its_cost(epsilon, delta) -> None:
    with pytest.raises(InputError, match=r"of epsilon and .* of delta"):
        floating_point.under_true_noise(epsilon, delta, 1000, 20)


def test_a_grid_too_fine_for_the_tails_is_refused() -> None:
    with pytest.raises(InputError, match="grid_bits 30"):
        floating_point.under_true_noise(1.0, 1e-5, 1, 30)


def test_the_cost_covers_any_history_of_log_ratios_within_its_factor() -> None:
    """The worst independent ratios, e^k or e^-k, over many cells: the sum stays below half the cost."""
    generator = np.random.default_rng(0)
    each, cells = 200 * floating_point.UNIT * 2.0**21, 10_000
    up = 1 / (1 + math.exp(-each))  # the probability, under the machine's law, of the cells it favours
    sums = each * (2 * generator.binomial(cells, up, size=20_000) - cells)
    assert cost(cells, 20, releases=1) / 6 < sums.max() < cost(cells, 20, releases=1) / 2
