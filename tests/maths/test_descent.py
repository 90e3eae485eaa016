"""The numbers of descent-to-delete: the paper's formulas, iteration counts at their edges, slots that stay uniform."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2

from expunge.errors import InputError
from expunge.keyed import keys_of
from expunge.maths import descent
from expunge.maths.losses import Custom, Logistic, Squared
from expunge.maths.reservoir import after_coming, after_leaving, drawn


@pytest.mark.parametrize(("l2", "least", "first", "last"), [(1e-3, 1200, 356, 399), (1e-2, 95, 37, 41)])
def test_the_papers_perfect_iterations_on_digits(l2: float, least: int, first: int, last: int) -> None:
    rate = descent.contraction(l2, 0.25 + l2)  # 64 inputs of norm 1, no intercept
    assert descent.perfect_least_iterations(64, rate, 1.0, 1e-5) == pytest.approx(least, abs=1)
    assert descent.perfect_iterations(0, 1, 64, rate, 1e-5) == pytest.approx(first, abs=1)
    assert descent.perfect_iterations(0, 1000, 64, rate, 1e-5) == pytest.approx(last, abs=1)


def test_regularised_descent_is_the_same_descent() -> None:
    b, m = 3.0, 0.1
    assert descent.contraction(m, b + m) == pytest.approx(b / (b + 2 * m))


def test_the_published_noise_by_hand() -> None:
    rate, iterations, n, m = 0.25 / 0.27, 10, 1437, 1e-2
    power = rate**iterations
    by_hand = 4 * math.sqrt(2) * 1.05 * power / (m * n * (1 - power))
    by_hand /= math.sqrt(math.log(1e5) + 1) - math.sqrt(math.log(1e5))
    given: Any = {"rows": n, "lipschitz": 1.05, "strong_convexity": m, "rate": rate, "epsilon": 1.0, "delta": 1e-5}
    assert descent.published_noise_std(iterations, **given) == pytest.approx(by_hand)
    tail = 2 * math.log(2e5)
    perfect = 8 * 1.05 * power / (m * n * (1 - power)) / (math.sqrt(tail + 3) - math.sqrt(tail + 2))
    assert descent.perfect_noise_std(iterations, **given) == pytest.approx(perfect)
    tight = descent.noise_std_after(iterations, 1.05 / (m * n), rate, 1.0, 1e-5)
    assert by_hand / tight == pytest.approx(4 * 4.9007 / 3.7306, rel=1e-3)  # sensitivity, and the exact curve


@pytest.mark.parametrize("rate", [0.0, 0.5, 0.9, 0.9999, 1 - 1e-7])
def test_linear_iterations_are_the_fewest(rate: float) -> None:
    steps = descent.linear_iterations(3.0, 1e-3, rate)
    assert steps * (math.log(rate) if rate else -math.inf) <= math.log(1e-3 / 3.0) * (1 - 1e-9)
    assert rate == 0 or (steps - 1) * math.log(rate) > math.log(1e-3 / 3.0) * (1 + 1e-7)
    assert descent.linear_iterations(1e-3, 1e-3, rate) == 0


def test_sublinear_iterations_grow_as_the_square_of_the_release() -> None:
    counts = [descent.sublinear_iterations(1.0, 0.1 / t, 0.5, 20.0) for t in (1, 2, 10)]
    assert counts == pytest.approx([4000, 16000, 400000], abs=1)
    assert all(math.sqrt(40.0 / c) <= 0.1 / t for c, t in zip(counts, (1, 2, 10), strict=True))
    with pytest.raises(InputError, match="no number of steps"):
        descent.sublinear_iterations(1.0, 0.0, 0.5, 20.0)


def test_the_induction_never_exceeds_its_fixed_point() -> None:
    error, limit = 0.0, descent.steady_error(0.3, 0.9, 5)
    for _ in range(50):
        error = 0.9**5 * (error + 0.3)
        assert error <= limit
    assert error == pytest.approx(limit, rel=1e-3)


def test_first_iterations_bring_the_diameter_down_to_the_induction() -> None:
    D, m, n, L, rate = 20.0, 0.01, 1437, 1.1, 0.9
    first = descent.first_iterations(10, D, n, L, m, rate)
    assert rate**first * D <= rate**10 * 2 * L / (m * n)


def test_exponents_of_the_regularised_variants() -> None:
    for power, of in ((0.4, descent.strong_regularisation), (0.5, descent.weak_regularisation)):
        ratio = of(64, 1.0, 1000, 10) / of(64, 1.0, 10_000, 10)
        assert math.log10(ratio) == pytest.approx(power)
    assert descent.strong_regularisation(64, 1.0, 1000, 10) / descent.strong_regularisation(
        64, 1.0, 1000, 100
    ) == pytest.approx(10**0.4)
    assert descent.weak_regularisation(64, 1.0, 1000, 10) / descent.weak_regularisation(
        64, 1.0, 1000, 100
    ) == pytest.approx(10**0.25)


def test_a_tail_costs_its_share_in_all_releases_together() -> None:
    total = sum(descent.tail_share(1e-6, 1.0, t) for t in range(1, 100_000)) * (1 + math.e)
    assert 0.999e-6 < total <= 1e-6


@pytest.mark.parametrize("p", [1, 30, 1000])
def test_noise_is_longer_than_its_length_at_most_so_often(p: int) -> None:
    for probability in (0.1, 1e-6):
        length = descent.noise_length(2.0, p, probability)
        assert float(chi2.sf((length / 2) ** 2, p)) <= probability
    assert descent.noise_length(2.0, p, 0.0) == math.inf


def test_what_has_no_bound_is_refused() -> None:
    with pytest.raises(InputError, match="No Lipschitz constant"):
        descent.loss_constants(Custom(lambda s, y: s[:, 0]), 1, 1.0, 1.0, 1.0)
    with pytest.raises(InputError, match="up to half"):
        descent.moved(10, 6, 1.0, 0.1, published=True)
    with pytest.raises(InputError, match="1 to 4/3"):
        descent.bootstrap_size(1000, 1.5)
    with pytest.raises(InputError, match="0 < m <= beta"):
        descent.contraction(0.0, 1.0)
    with pytest.raises(InputError, match="at least one row"):
        drawn(np.zeros(3), 0)
    assert descent.loss_constants(Squared(), 1, 2.0, 3.0, 4.0) == (10.0, 1.0, 8.0)
    assert descent.loss_constants(Logistic(), 1, 2.0, 3.0, math.inf)[:2] == (1.0, 0.25)
    assert descent.bootstrap_size(1437, 1.0) == 38


def test_slots_stay_uniform_on_the_rows_as_they_come_and_go() -> None:
    """A chi-square test of 40,000 slots after four steps: it fails by chance with probability 1e-6."""
    generator = np.random.default_rng(11)
    shape = (200, 200)
    keys = keys_of([f"r{i}" for i in range(20)])
    slots = drawn(generator.random(shape), 20)
    for step in range(2):
        stay = keys[3 + step :]
        slots, anew = after_leaving(slots, keys, stay, generator.random(shape))
        assert abs(anew.mean() - (3 + step) / len(keys)) < 0.01
        added = keys_of([f"new-{step}-{i}" for i in range(4)])
        slots, anew = after_coming(slots, stay, added, generator.random(shape), generator.random(shape))
        assert abs(anew.mean() - 4 / (len(stay) + 4)) < 0.01
        keys = np.concatenate([stay, added])
    expected = slots.size / len(keys)
    statistic = float(((np.bincount(slots.ravel(), minlength=len(keys)) - expected) ** 2 / expected).sum())
    assert len(np.bincount(slots.ravel())) == len(keys)
    assert chi2.sf(statistic, len(keys) - 1) > 1e-6
    pairs = np.bincount(slots[:, 0] * len(keys) + slots[:, 1], minlength=len(keys) ** 2)  # slots stay independent
    assert pairs.max() <= 6


def test_slots_that_held_no_forgotten_row_hold_the_row_they_held() -> None:
    keys = keys_of([f"r{i}" for i in range(12)])
    slots = drawn(np.random.default_rng(0).random((5, 7)), 12)
    stay = keys[2:]
    after, anew = after_leaving(slots, keys, stay, np.full((5, 7), 0.999999))
    assert np.array_equal(np.sort(stay)[after][~anew], np.sort(keys)[slots][~anew])
    assert np.array_equal(anew, np.isin(np.sort(keys)[slots], keys[:2]))
    assert set(np.unique(after[anew])) == {9}  # redrawn from the survivors by these uniforms
    none, changed = after_coming(slots, keys, keys_of(["z"]), np.full((5, 7), 1 / 13), np.zeros((5, 7)))
    assert not changed.any()  # each goes to the new row with probability 1/13, not 1/12
    everyone = np.sort(np.concatenate([keys, keys_of(["z"])]))
    assert np.array_equal(everyone[none], np.sort(keys)[slots])
