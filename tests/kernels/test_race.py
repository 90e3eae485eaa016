"""The exponential race: equal to plain Python, unchanged by losers that leave, and right in law."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from expunge.kernels.race import first, first_in_python

Runners = list[tuple[float, float]]
RUNNERS = st.lists(st.tuples(st.sampled_from([0.25, 0.5, 0.9]), st.sampled_from([-1.0, 0.0, 0.5, 1.0])), max_size=8)


@given(runners=RUNNERS)
def test_the_kernel_equals_its_python_twin_and_losers_may_leave(runners: Runners) -> None:
    uniforms, weights = (np.array([r[side] for r in runners]) for side in (0, 1))
    keys = np.arange(len(runners), dtype=np.uint64)[::-1].copy()
    winner = first(uniforms, weights, keys)
    assert winner == first_in_python(uniforms, weights, keys)
    assert (winner == -1) == (not len(runners) or bool((weights < 0).all()))
    for loser in set(range(len(runners))) - {winner}:
        rest = np.arange(len(runners)) != loser
        again = first(uniforms[rest], weights[rest], keys[rest])
        assert winner == -1 or keys[rest][again] == keys[winner]


@pytest.mark.parametrize("n", [1000, 1001])
def test_the_logarithm_is_the_librarys(n: int, generator: np.random.Generator) -> None:
    for _ in range(20):
        uniforms, weights = generator.uniform(size=n), generator.uniform(size=n)
        keys = np.arange(n, dtype=np.uint64)
        assert first(uniforms, weights, keys) == first_in_python(uniforms, weights, keys)


def test_a_row_wins_in_proportion_to_its_weight(generator: np.random.Generator) -> None:
    weights = np.array([1.0, 0.0, 2.0, 5.0])
    keys = np.arange(4, dtype=np.uint64)
    wins = np.bincount([first(generator.uniform(size=4), weights, keys) for _ in range(8000)], minlength=4)
    assert wins[1] == 0
    assert chisquare(wins[[0, 2, 3]], 8000 * weights[[0, 2, 3]] / 8).pvalue > 1e-3
