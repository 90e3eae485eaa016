"""p-values by enumeration and by their uniformity, intervals by coverage, least effects by power."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import kstest

from expunge.audits.calibration import ENUMERATED, arrangements, calibrate, calibrate_distances, smallest_effect


def test_p_value_of_one_model_is_its_rank() -> None:
    """Audited 9 beside 1, 2, 3, 4: it alone deviates most from the others, 1 of 5 choices."""
    found = calibrate([9.0], [1.0, 2.0, 3.0, 4.0])
    assert found is not None
    assert found.p_value == found.least_p == pytest.approx(1 / 5)
    assert found.effect == pytest.approx(6.5)
    upward = calibrate([3.5], [1.0, 2.0, 3.0, 4.0], "greater")
    assert upward is not None
    assert upward.p_value == pytest.approx(2 / 5)
    downward = calibrate([3.5], [1.0, 2.0, 3.0, 4.0], "less")
    assert downward is not None
    assert downward.p_value == pytest.approx(4 / 5)


def test_p_value_of_several_models_is_the_share_of_all_choices(generator: np.random.Generator) -> None:
    audited, references = generator.normal(0.5, 1, 3), generator.normal(size=6)
    pool = [*audited, *references]
    gaps = []
    for chosen in itertools.combinations(range(9), 3):
        own = [pool[i] for i in chosen]
        rest = [pool[i] for i in range(9) if i not in chosen]
        gaps.append(abs(np.mean(own) - np.mean(rest)))
    found = calibrate(audited.tolist(), references.tolist())
    assert found is not None
    assert found.p_value == pytest.approx(np.mean(np.array(gaps) >= gaps[0] - 1e-12))


def test_equal_models_are_no_evidence() -> None:
    found = calibrate([0.1 + 0.2], [0.3] * 5)  # equal up to rounding
    assert found is not None
    assert found.p_value == 1.0
    assert found.smallest_effect == pytest.approx(0.0, abs=1e-12)


def test_too_few_models_are_not_calibrated() -> None:
    assert calibrate([1.0], [1.0]) is None
    assert calibrate([], [1.0, 2.0]) is None
    assert calibrate_distances(np.zeros((2, 2)), 1) is None


@pytest.mark.parametrize("audited", [1, 3])
def test_p_values_of_one_law_are_uniform(generator: np.random.Generator, audited: int) -> None:
    """Spread over the step of 1 / choices by an independent uniform, they are exactly uniform; the law is skewed."""
    found = []
    for _ in range(400):
        pool = generator.exponential(size=audited + 9)
        calibration = calibrate(pool[:audited].tolist(), pool[audited:].tolist())
        assert calibration is not None
        found.append(calibration.p_value - calibration.least_p * generator.random())
    assert kstest(found, "uniform").pvalue > 0.01


def test_p_values_of_distances_between_models_of_one_law_are_uniform(generator: np.random.Generator) -> None:
    found = []
    for _ in range(300):
        points = generator.standard_t(3, size=(9, 4))
        distances = np.linalg.norm(points[:, None] - points, axis=2)
        calibration = calibrate_distances(distances, 1)
        assert calibration is not None
        found.append(calibration.p_value - calibration.least_p * generator.random())
    assert kstest(found, "uniform").pvalue > 0.01


def test_distances_by_hand() -> None:
    """Audited at 10, references at 0, 1, 2: between 9 on average, within 4/3."""
    x = np.array([10.0, 0.0, 1.0, 2.0])
    found = calibrate_distances(np.abs(x[:, None] - x), 1)
    assert found is not None
    assert found.p_value == 0.25
    assert found.effect == pytest.approx(9 - 4 / 3)


@pytest.mark.parametrize("audited", [1, 2])
def test_p_value_of_distances_is_the_share_of_all_choices(generator: np.random.Generator, audited: int) -> None:
    """Written out with loops, for distances that are not symmetric, as KL is not."""
    for _ in range(20):
        table = generator.exponential(size=(6, 6))
        excess = []
        for chosen in itertools.combinations(range(6), audited):
            rest = [i for i in range(6) if i not in chosen]
            between = np.mean([(table[i, j] + table[j, i]) / 2 for i in chosen for j in rest])
            within = np.mean([table[i, j] for i in rest for j in rest if i != j])
            excess.append(between - within)
        found = calibrate_distances(table, audited)
        assert found is not None
        assert found.p_value == pytest.approx(np.mean(np.array(excess) >= excess[0] - 1e-12))


def test_two_audited_models_far_from_references_but_near_each_other_are_found(generator: np.random.Generator) -> None:
    points = generator.normal(size=(12, 3))
    points[:2] += 6.0
    distances = np.linalg.norm(points[:, None] - points, axis=2)
    found = calibrate_distances(distances, 2)
    assert found is not None
    assert found.p_value == found.least_p == pytest.approx(1 / 66)


def test_arrangements_are_all_or_a_seeded_sample_with_the_observed_first() -> None:
    few = arrangements(2, 5)
    assert len(few) == 10
    assert few[0].tolist() == [0, 1]
    many = arrangements(15, 40)
    assert len(many) < ENUMERATED
    assert many[0].tolist() == list(range(15))
    assert np.array_equal(many, arrangements(15, 40))
    assert all(len(set(chosen)) == 15 for chosen in many[:50].tolist())


def test_interval_covers_the_effect(generator: np.random.Generator) -> None:
    covered = 0
    for _ in range(600):
        found = calibrate([generator.normal(0.7)], generator.normal(size=6).tolist())
        assert found is not None
        covered += found.interval[0] <= 0.7 <= found.interval[1]
    assert 0.93 <= covered / 600 <= 0.97


@pytest.mark.parametrize(("audited", "references"), [(1, 20), (5, 5)])
def test_smallest_effect_is_found_with_power_of_80_per_cent(
    generator: np.random.Generator, audited: int, references: int
) -> None:
    shift = smallest_effect(1.0, audited, references)
    outside = 0
    for _ in range(600):
        found = calibrate(generator.normal(shift, 1, audited).tolist(), generator.normal(size=references).tolist())
        assert found is not None
        outside += not found.interval[0] <= 0 <= found.interval[1]
    assert outside / 600 == pytest.approx(0.8, abs=0.05)
