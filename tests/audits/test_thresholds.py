"""Thresholds judged on rows they were not chosen on."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr

from expunge import keyed
from expunge.audits.attacks.thresholds import best_threshold, held_out
from expunge.errors import InputError


def keys(m: int, n: int) -> tuple[keyed.Keys, keyed.Keys]:
    return keyed.keys_of(range(m)), keyed.keys_of(range(m, m + n))


def test_best_threshold_by_hand() -> None:
    assert best_threshold(np.array([3.0, 4.0, 1.0]), np.array([0.0, 2.0])) == 3.0
    assert best_threshold(np.array([1.0]), np.array([2.0])) == np.inf  # nobody is accused


def test_planted_normals_are_told_as_well_as_can_be(generator: np.random.Generator) -> None:
    found = held_out(generator.normal(1, 1, 4000), generator.normal(-1, 1, 4000), keys=keys(4000, 4000))
    assert found.accuracy == pytest.approx(ndtr(1.0), abs=0.01)
    assert found.found_interval[0] < found.found < found.found_interval[1]
    assert found.accused_interval[0] < found.accused < found.accused_interval[1]
    assert all(abs(limit) < 0.3 for limit in found.thresholds)


def test_a_threshold_that_judges_its_own_rows_is_too_good(generator: np.random.Generator) -> None:
    gaps, accuracies = [], []
    for seed in range(60):
        found = held_out(generator.normal(size=30), generator.normal(size=30), keys=keys(30, 30), seed=seed)
        gaps.append(found.chosen_on_itself - found.accuracy)
        accuracies.append(found.accuracy)
    assert np.mean(accuracies) == pytest.approx(0.5, abs=0.025)
    assert np.mean(gaps) > 0.08


def test_each_class_has_its_own_threshold(generator: np.random.Generator) -> None:
    y = np.arange(1000) % 2
    members, others = 10 * y + generator.normal(1.5, 1, 1000), 10 * y + generator.normal(-1.5, 1, 1000)
    own = held_out(members, others, keys=keys(1000, 1000), classes=(y, y))
    one = held_out(members, others, keys=keys(1000, 1000))
    assert own.accuracy > 0.9
    assert one.accuracy < 0.75


def test_a_class_of_few_rows_takes_the_threshold_of_all(generator: np.random.Generator) -> None:
    members, others = generator.normal(2, 1, 100), generator.normal(-2, 1, 100)
    rare = np.where(np.arange(100) < 2, 1, 0)
    own = held_out(members, others, keys=keys(100, 100), classes=(rare, rare))
    assert own.accuracy > 0.9


def test_what_is_refused() -> None:
    with pytest.raises(InputError, match="at least one of each"):
        best_threshold(np.array([]), np.array([1.0]))
    with pytest.raises(InputError, match="too few to be halved"):
        held_out(np.array([1.0]), np.array([0.0, 1.0]), keys=keys(1, 2))
