"""Lloyd's steps: exact partitions, the correction of small clusters, the lattice."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.maths.lloyd import Partition, balanced_means, moved, quantised
from expunge.record import digest


def partition(x: list[float], codes: list[int], count: int, weights: list[int] | None = None) -> Partition:
    values = np.array(x, dtype=np.float64).reshape(len(x), 1)
    each = np.ones(len(x)) if weights is None else np.array(weights, dtype=np.float64)
    return Partition.of(values, each, np.array([codes], dtype=np.int64).reshape(1, len(x)), count)


def test_means_are_correctly_rounded_and_an_empty_cluster_stays_where_it_was() -> None:
    before = np.array([[[7.0], [8.0], [9.0]]])
    found = balanced_means(partition([0.1, 0.2, 0.3, 1e16, 1.0, -1e16], [0, 0, 0, 1, 1, 1], 3), before, 0.0)
    mean = sum(map(Fraction, (0.1, 0.2, 0.3))) / 3
    assert found[0, :, 0].tolist() == [float(mean), float(Fraction(1, 3)), 9.0]


def test_a_small_cluster_is_drawn_to_where_it_was() -> None:
    before = np.array([[[10.0], [20.0]]])
    part = partition([0.0, 2.0, 4.0, 6.0, 16.0], [0, 0, 0, 0, 1], 2)
    least = 0.8 * 5 / 2  # m = gamma n / k = 2
    assert balanced_means(part, before, 0.8)[0, :, 0].tolist() == [3.0, (16.0 + (least - 1) * 20.0) / least]
    assert balanced_means(part, before, 0.4)[0, :, 0].tolist() == [3.0, 16.0]
    assert balanced_means(part, before, 0.0)[0, :, 0].tolist() == [3.0, 16.0]


def test_the_least_size_depends_on_all_rows() -> None:
    before = np.array([[[10.0], [20.0]]])
    five, nine = (partition([0.0] * n + [16.0], [0] * n + [1], 2) for n in (4, 8))
    assert balanced_means(five, before, 0.8)[0, 1, 0] != balanced_means(nine, before, 0.8)[0, 1, 0]


def test_weights_count_as_so_many_rows() -> None:
    before = np.zeros((1, 2, 1))
    weighted = balanced_means(partition([1.0, 4.0, 7.0], [0, 0, 1], 2, [2, 1, 3]), before, 0.2)
    repeated = balanced_means(partition([1.0, 1.0, 4.0, 7.0, 7.0, 7.0], [0, 0, 0, 1, 1, 1], 2), before, 0.2)
    assert np.array_equal(weighted, repeated)


@given(
    value=st.floats(-1e6, 1e6),
    side=st.sampled_from([1e-6, 0.05, 1.0, 1e4]),
    phase=st.floats(0, 1, exclude_max=True),
)
def test_the_nearest_point_of_the_lattice_is_found(value: float, side: float, phase: float) -> None:
    found = float(quantised(np.array([[[value]]]), side, np.array([[phase]]))[0, 0, 0])
    slack = 1e-9 * (abs(value) + side)
    assert abs(found - value) <= side / 2 + slack
    assert abs(found / side - phase - round(found / side - phase)) <= 1e-6 + slack / side


def test_a_lattice_finer_than_floating_point_leaves_a_number_as_it_is() -> None:
    values = np.array([[[1e30], [-3e200], [0.1]]])
    found = quantised(values, 1e-3, np.array([[0.5]]))
    assert found[0, :2].tolist() == values[0, :2].tolist()
    assert found[0, 2, 0] == pytest.approx(0.1, abs=5.001e-4)


@given(seed=st.integers(0, 50), share=st.sampled_from([0.0, 0.1, 0.9]))
def test_summing_what_moved_is_summing_everything(seed: int, share: float) -> None:
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(30, 2)) * 10.0 ** generator.integers(-3, 4, size=(30, 1))
    was = generator.integers(0, 3, size=(1, 30))
    now = np.where(generator.uniform(size=(1, 30)) < share, generator.integers(0, 3, size=(1, 30)), was)
    before = Partition.of(x, np.ones(30), was, 3)
    assert digest(moved(x, np.ones(30), before, was, now)) == digest(Partition.of(x, np.ones(30), now, 3))


def test_stacked_and_joined_steps_are_the_steps() -> None:
    generator = np.random.default_rng(0)
    x, codes = generator.normal(size=(20, 3)), generator.integers(0, 4, size=(5, 20))
    together = Partition.of(x, np.ones(20), codes, 4)
    apart = [Partition.of(x, np.ones(20), codes[t : t + 1], 4) for t in range(5)]
    assert digest(Partition.joined(apart)) == digest(together)
    assert digest(together[1:3]) == digest(Partition.joined(apart[1:3]))
    nothing = Partition.of(x[:0], np.ones(0), codes[:, :0], 4)
    assert digest(together - together) == digest(nothing)
    assert digest(Partition.joined([nothing[:1], apart[0]])[1:]) == digest(apart[0])
