"""Collateral harm: planted rises and falls are found, honest retraining is not accused, groups by counting."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from expunge.audits.collateral import collateral_exposure, departure, exposures, over_forgotten, subgroup_accuracy
from expunge.errors import InputError


def models(count: int, rows: int = 300, seed: int = 0) -> np.ndarray:
    """Margins of `count` models: each row's difficulty, something of the model's own, and noise."""
    generator = np.random.default_rng(seed)
    difficulty = 4 * np.random.default_rng(99).normal(size=rows)
    return difficulty + 0.3 * generator.normal(size=(count, 1)) + generator.normal(size=(count, rows))


def test_exposure_is_the_t_of_one_more_model() -> None:
    references = models(8)
    one = models(1, seed=1)[0]
    mean, spread = references.mean(axis=0), references.std(axis=0, ddof=1)
    expected = (one - mean) / (spread * np.sqrt(1 + 1 / 8))
    assert exposures(one, references).tolist() == pytest.approx(expected.tolist())
    many = exposures(models(1, rows=20_000, seed=1)[0], models(8, rows=20_000))
    assert np.mean(many > stats.t(7).ppf(0.95)) == pytest.approx(0.05, abs=0.04)


def test_rows_that_rose_are_found_and_those_that_were_exposed_before_are_not_blamed_on_forgetting() -> None:
    references, before, after = models(20), models(1, seed=1)[0], models(1, seed=2)[0]
    after[:15] += 9.0
    before[15:30] += 12.0
    after[15:30] += 9.0  # less than before
    found = collateral_exposure(before, after, references)
    rose = set(found.rose.rows.tolist())
    assert rose >= set(range(15))
    assert not rose & set(range(15, 30))
    assert len(rose) <= 17  # one discovery in twenty may be false
    assert found.rose.share == len(rose) / 300
    assert found.rose.flagged is True
    assert (found.after[:15] > 4).all()


def test_honest_models_are_rarely_flagged() -> None:
    flagged = sum(
        bool(
            collateral_exposure(
                models(1, seed=2 * s)[0], models(1, seed=2 * s + 1)[0], models(12, seed=1000 + s)
            ).rose.flagged
        )
        for s in range(60)
    )
    assert flagged <= 3


def test_over_forgotten_rows_are_those_below() -> None:
    references, own = models(20, rows=60), models(1, rows=60, seed=3)[0]
    assert over_forgotten(own, references).flagged is False
    own[:20] -= 9.0
    found = over_forgotten(own, references)
    assert set(found.rows.tolist()) >= set(range(20))
    assert found.flagged is True
    assert departure(own, references, "above").flagged is False


def test_equal_references_and_few_references() -> None:
    assert exposures(np.array([0.005]), np.zeros((5, 1))).tolist() == pytest.approx([0.5 / np.sqrt(1.2)])
    assert departure(np.zeros(4), np.zeros((2, 4)), "above").flagged is None
    with pytest.raises(InputError, match="at least two references"):
        exposures(np.zeros(3), np.zeros((1, 3)))
    with pytest.raises(InputError, match="at least two references"):
        exposures(np.zeros(3), np.zeros((4, 2)))


def test_subgroups_by_counting() -> None:
    groups = ["b", "a", "b", "a", "b"]
    before, after = np.array([1, 1, 1, 0, 0], dtype=bool), np.array([1, 1, 0, 1, 0], dtype=bool)
    a, b = subgroup_accuracy(groups, before, after)
    assert (a.name, a.rows, a.before, a.after, a.null, a.worse) == ("a", 2, 0.5, 1.0, None, None)
    assert (b.name, b.rows, b.before, b.after) == ("b", 3, 2 / 3, 1 / 3)
    assert b.interval == pytest.approx(tuple(stats.binomtest(1, 3).proportion_ci()))


def test_a_group_that_is_served_worse_is_named_and_others_are_not() -> None:
    generator = np.random.default_rng(0)
    groups = np.arange(1200) % 4
    references = generator.random((20, 1200)) < 0.9
    before, after = generator.random(1200) < 0.9, generator.random(1200) < 0.9
    after[groups == 2] = generator.random(300) < 0.7
    found = subgroup_accuracy(groups, before, after, references)
    assert [group.name for group in found if group.worse] == ["2"]
    honest = subgroup_accuracy(groups, before, references[0], references[1:])
    assert not [group.name for group in honest if group.worse]
    with pytest.raises(InputError, match="one of each for every row"):
        subgroup_accuracy(groups, before[:5], after)
