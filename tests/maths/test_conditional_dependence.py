"""CODEC against closed forms, values of the R package FOCI 0.1.3, and a search by brute force in fractions."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expunge import codec
from expunge.errors import InputError
from expunge.maths.conditional_dependence import smallest_gaps


def park_miller() -> tuple[np.ndarray, np.ndarray]:
    """The table of the golden values: 200 rows, 5 columns, and y = x0 x1 + 0.3 sin(6 x2)."""
    state, drawn = 1, []
    for _ in range(1000):
        state = 16807 * state % 2147483647
        drawn.append(state / 2147483647)
    x = np.array(drawn).reshape(200, 5)
    return x[:, 0] * x[:, 1] + 0.3 * np.sin(6 * x[:, 2]), x


def by_brute_force(y: list[int], *blocks: list[list[int]]) -> float:
    """T(y, Z) of one block, T(y, Z | X) of two (X, Z), in fractions: the mean over all equally near rows."""
    n = len(y)
    up = [sum(other <= value for other in y) for value in y]
    down = [sum(other >= value for other in y) for value in y]

    def q(points: list[list[int]]) -> Fraction:
        total = Fraction(0)
        for i in range(n):
            far = {j: sum((a - b) ** 2 for a, b in zip(points[i], points[j], strict=True)) for j in range(n) if j != i}
            nearest = [j for j in far if far[j] == min(far.values())]
            total += Fraction(sum(min(up[i], up[j]) for j in nearest), len(nearest))
        return total

    if len(blocks) == 1:
        above, below = n * q(blocks[0]) - sum(v * v for v in down), sum(v * (n - v) for v in down)
    else:
        before = q(blocks[0])
        above = q([a + b for a, b in zip(*blocks, strict=True)]) - before
        below = sum(up) - before
    return float(Fraction(above, 1) / below) if below else math.nan


def test_values_of_the_r_package() -> None:
    y, x = park_miller()
    assert codec(y, x[:, 0]).statistic == pytest.approx(0.2819320483012075, abs=1e-12)
    assert codec(y, x[:, :2]).statistic == pytest.approx(0.3158328958223955, abs=1e-12)
    assert codec(y, x[:, 2], x[:, :2]).statistic == pytest.approx(0.7428195571146678, abs=1e-12)
    assert codec(y, x[:, 3], x[:, :3]).statistic == pytest.approx(-2 / 3, abs=1e-12)


@pytest.mark.parametrize("n", [10, 100])
def test_closed_forms_where_every_neighbour_is_the_one_before(n: int) -> None:
    x = np.arange(1, n + 1) * np.arange(2, n + 2) / 2
    assert codec(x, x).statistic == pytest.approx((n - 5) / (n + 1), abs=1e-12)
    assert codec(-x, x).statistic == pytest.approx((n * n - 7) / (n * n - 1), abs=1e-12)


@pytest.mark.parametrize("n", [5, 6, 7])
def test_under_independence_the_mean_is_exactly_minus_one_over_n_minus_one(n: int) -> None:
    x = np.arange(n) ** 1.7
    values = [codec(order, x).statistic for order in itertools.permutations(range(n))]
    assert np.mean(values) == pytest.approx(-1 / (n - 1), abs=1e-12)


def test_functions_of_repeated_atoms_give_one_and_exclusive_or_only_jointly() -> None:
    a, b = np.repeat([0, 0, 1, 1], 5), np.tile([0, 1], 10)
    assert codec(a, a).statistic == 1.0
    assert codec(a ^ b, b, a).statistic == 1.0
    assert abs(codec(a ^ b, b).statistic) < 0.15
    assert codec(3 * a + b, np.column_stack([a, b])).statistic == 1.0


@pytest.mark.parametrize("r", [0.0, 0.5, 0.95])
def test_a_gaussian_follows_its_closed_form(r: float) -> None:
    generator = np.random.default_rng(0)
    z, e = generator.normal(size=(2, 20_000))
    population = 3 / math.pi * math.asin((1 + r * r) / 2) - 0.5
    assert codec(r * z + math.sqrt(1 - r * r) * e, z).statistic == pytest.approx(population, abs=5 / math.sqrt(20_000))


def test_a_sum_modulo_one_depends_on_both_only() -> None:
    x = np.random.default_rng(0).random((10_000, 2))
    y = x.sum(1) % 1
    assert abs(codec(y, x[:, 0]).statistic) < 0.03
    assert codec(y, x).statistic > 0.95
    assert codec(y, x[:, 0], x[:, 1]).statistic > 0.95


def test_a_gaussian_given_another_follows_the_identity_and_a_copy_adds_nothing() -> None:
    x, z, e = np.random.default_rng(1).normal(size=(3, 20_000))
    y = 0.6 * x + 0.5 * z + math.sqrt(0.39) * e
    assert codec(y, z, x).statistic == pytest.approx(0.2283, abs=5 / math.sqrt(20_000))
    assert abs(codec(y, x, x).statistic) < 1e-12


TABLES = st.integers(3, 14).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(0, 4), min_size=n, max_size=n),
        st.lists(st.lists(st.integers(-2, 2), min_size=2, max_size=2), min_size=n, max_size=n),
        st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=1), min_size=n, max_size=n),
    )
)


@settings(max_examples=60, deadline=None)
@given(TABLES)
def test_equal_to_brute_force_in_fractions(table: tuple[list[int], list[list[int]], list[list[int]]]) -> None:
    y, z, x = table
    assert codec(y, z).statistic == pytest.approx(by_brute_force(y, z), abs=1e-12, nan_ok=True)
    expected = by_brute_force(y, x, z)
    result = codec(y, z, x)
    assert result.statistic == pytest.approx(expected, abs=1e-12, nan_ok=True)
    assert bool(result.degenerate) == math.isnan(expected)


@settings(max_examples=30, deadline=None)
@given(TABLES, st.randoms(use_true_random=False))
def test_the_order_of_rows_and_increasing_maps_of_y_change_no_bit(table: tuple[list[int], ...], random: object) -> None:
    y, z, x = map(np.array, table)
    order = np.array(random.sample(range(len(y)), len(y)))  # type: ignore[attr-defined]
    before = codec(y, z, x)
    for after in (codec(y[order], z[order], x[order]), codec(np.exp(y) + y**3, z, x), codec(y, 4.0 * z, 4.0 * x)):
        assert after == before or (math.isnan(after.statistic) and math.isnan(before.statistic))


@pytest.mark.parametrize(
    "options", [{}, {"ties": "random", "seed": 3}, {"ties": "noise", "seed": 3}, {"n_neighbors": 3}]
)
def test_conditional_and_unconditional_obey_their_identity(options: dict[str, object]) -> None:
    generator = np.random.default_rng(0)
    x, z = generator.integers(0, 3, (2, 60))
    y = x * z + generator.integers(0, 3, 60)
    whole, part = codec(y, np.column_stack([x, z]), **options), codec(y, x, **options)  # type: ignore[arg-type]
    conditional = codec(y, z, x, **options)  # type: ignore[arg-type]
    if options.get("ties") == "noise":  # the noise is drawn by column, so x must be the same one
        part = codec(y, np.column_stack([x]), **options)  # type: ignore[arg-type]
        assert -1 < conditional.statistic < 1
        return
    expected = (whole.statistic - part.statistic) / (1 - part.statistic)
    assert conditional.statistic == pytest.approx(expected, abs=1e-12)


def test_the_mean_over_random_ties_is_the_average() -> None:
    generator = np.random.default_rng(0)
    x = generator.integers(0, 2, (40, 3))
    y = x[:, 0] + generator.integers(0, 3, 40)
    drawn = [codec(y, x, ties="random", seed=seed).statistic for seed in range(400)]
    assert len(set(drawn)) > 50
    assert np.mean(drawn) == pytest.approx(codec(y, x).statistic, abs=4 * np.std(drawn) / 20)
    assert codec(y, x, ties="random", seed=1) == codec(y, x, ties="random", seed=1)


def test_an_independent_binary_pair_is_near_zero_where_the_published_code_gives_anything() -> None:
    for seed in range(8):
        y, z = np.random.default_rng(seed).integers(0, 2, (2, 500))
        assert abs(codec(y, z).statistic) < 0.02
        assert abs(codec(y, z, ties="noise", seed=seed).statistic) < 0.2


@pytest.mark.parametrize("k", [2, 4, 10])
def test_noise_on_the_target_caps_the_coefficient_and_is_off_by_default(k: int) -> None:
    y = np.random.default_rng(0).integers(0, k, 4000)
    assert codec(y, y, ties="noise", seed=0).statistic == pytest.approx(1.0, abs=0.01)
    capped = codec(y, y, ties="noise", noise_target=True, seed=0).statistic
    assert capped == pytest.approx(1 - 1 / k, abs=0.03)


def test_noise_is_a_share_of_the_smallest_gap_so_a_fine_grid_keeps_its_order() -> None:
    x = np.repeat(np.arange(10) / 1000, 100)
    assert smallest_gaps(np.array([x, 0 * x])) == pytest.approx([1e-3, 0])
    assert codec(x, x, ties="noise", seed=0).statistic > 0.99


def test_a_constant_offset_far_from_the_spread_changes_little() -> None:
    z = np.round(np.random.default_rng(0).random(500), 3)
    assert codec(z**2, z + 1e6, standardise="sd").statistic == pytest.approx(codec(z**2, z).statistic, abs=1e-2)


def test_degenerate_targets_say_so_and_are_no_number() -> None:
    z = np.arange(20.0)
    constant = codec(np.ones(20), z)
    assert math.isnan(constant.statistic)
    assert constant.degenerate == "y is constant"
    x = np.repeat([0, 1], 10)
    resolved = codec(x, z, x)
    assert math.isnan(resolved.statistic)
    assert resolved.degenerate == "x determines y"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": [1.0, 2.0]}, "n from 3"),
        ({"y": np.ones((20, 2))}, "shape"),
        ({"y": [np.nan] * 20}, "NaN"),
        ({"z": ["a"] * 20}, "numbers"),
        ({"z": np.ones((19, 2))}, "expected for this y"),
        ({"z": np.ones((20, 0))}, "expected for this y"),
        ({"x": [np.inf] * 20}, "infinite"),
        ({"ties": "lowest"}, "no rule"),
        ({"ties": "noise"}, "need a seed"),
        ({"seed": 3}, "draws none"),
        ({"ties": "noise", "seed": 0, "noise_scale": 1.0}, "smallest gaps"),
        ({"noise_target": True}, "noise_target"),
        ({"n_neighbors": 20}, "give 1 to 19"),
        ({"n_neighbors": 2, "ties": "random", "seed": 1}, "Several neighbours"),
        ({"standardise": "rank"}, "no standardisation"),
    ],
)
def test_bad_input_is_explained(change: dict[str, object], message: str) -> None:
    arguments: dict[str, object] = {"y": np.arange(20.0), "z": np.arange(20.0) ** 2, **change}
    with pytest.raises(InputError, match=message):
        codec(**arguments)  # type: ignore[arg-type]
