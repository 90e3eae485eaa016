"""k-means++ by races: its law on few rows, and that only a chosen row can change the choice."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from expunge import keyed
from expunge.keyed import Keys
from expunge.maths.initial_centres import Floats, initial_centres


def chosen(x: Floats, weights: Floats, keys: Keys, count: int, seed: int) -> list[int]:
    def uniforms(step: int, keys: Keys) -> Floats:
        return keyed.uniforms(seed, ("test", step), keys)

    return initial_centres(x, weights, keys, count, uniforms).tolist()


def law(x: Floats, weights: Floats, count: int) -> Iterator[tuple[tuple[int, ...], float]]:
    """Every order of choices with its probability under plain (weighted) k-means++."""
    for order in itertools.permutations(range(len(x)), count):
        probability = 1.0
        for step, place in enumerate(order):
            near = ((x[:, None] - x[list(order[:step])]) ** 2).sum(2).min(1) if step else np.ones(len(x))
            probability *= weights[place] * near[place] / (weights * near).sum()
        yield order, probability


def check_law(x: Floats, weights: Floats, count: int, draws: list[tuple[int, ...]]) -> None:
    """Hold the orders drawn against their probabilities; those expected fewer than 5 times count together."""
    expected = {order: probability * len(draws) for order, probability in law(x, weights, count)}
    common = [order for order, times in expected.items() if times >= 5]
    counts, means = [draws.count(order) for order in common], [expected[order] for order in common]
    counts, means = [*counts, len(draws) - sum(counts)], [*means, len(draws) - sum(means)]
    if means[-1] < 5:
        assert counts.pop() <= 20
        means.pop()
    assert len(counts) >= 5
    assert chisquare(counts, np.array(means) * sum(counts) / sum(means)).pvalue > 1e-3


@pytest.mark.parametrize(
    ("n", "p", "count", "weighted"), [(8, 2, 2, False), (6, 1, 3, False), (5, 3, 3, True), (7, 1, 1, True)]
)
def test_the_law_is_that_of_k_means_plus_plus(n: int, p: int, count: int, weighted: bool) -> None:
    generator = np.random.default_rng(n)
    x, weights = generator.normal(size=(n, p)), (generator.integers(1, 9, n) if weighted else np.ones(n)).astype(float)
    keys = keyed.keys_of(range(n))

    def draw(_step: int, keys: Keys) -> Floats:
        return generator.uniform(size=len(keys))

    draws = [tuple(initial_centres(x, weights, keys, count, draw).tolist()) for _ in range(4000)]
    check_law(x, weights, count, draws)


def test_the_law_holds_for_keyed_noise() -> None:
    x, keys = np.array([[0.0], [1.0], [3.0], [3.5], [7.0]]), keyed.keys_of(range(5))
    draws = [tuple(chosen(x, np.ones(5), keys, 2, seed)) for seed in range(1500)]
    check_law(x, np.ones(5), 2, draws)


@given(seed=st.integers(0, 99), n=st.integers(1, 9), count=st.integers(1, 4), levels=st.integers(1, 5))
def test_rows_that_were_not_chosen_change_nothing(seed: int, n: int, count: int, levels: int) -> None:
    generator = np.random.default_rng(seed)
    x = generator.integers(0, levels, size=(n, 2)).astype(float)  # ties and duplicates
    weights, keys = np.ones(n), keyed.keys_of(range(n))
    winners = chosen(x, weights, keys, count, seed)
    assert len(set(winners)) == len(winners) == min(count, n)
    rest = np.isin(np.arange(n), winners) | (generator.uniform(size=n) < 0.5)
    again = chosen(x[rest], weights[rest], keys[rest], count, seed)
    assert np.flatnonzero(rest)[again].tolist() == winners
    order = generator.permutation(n)
    assert order[chosen(x[order], weights[order], keys[order], count, seed)].tolist() == winners


def test_a_place_that_is_taken_is_chosen_again_only_where_there_is_no_other() -> None:
    x = np.array([[0.0], [0.0], [0.0], [1.0]])
    for seed in range(50):
        two = chosen(x, np.ones(4), keyed.keys_of(range(4)), 2, seed)
        assert 3 in two
        assert sorted(chosen(x, np.ones(4), keyed.keys_of(range(4)), 9, seed)) == [0, 1, 2, 3]
