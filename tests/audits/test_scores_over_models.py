"""KLOM and the challenge's forgetting quality: golden values, nulls, and the published defects beside their repair."""

from __future__ import annotations

import math

import numpy as np
import pytest

from expunge.audits.scores import forgetting_quality as quality
from expunge.audits.scores.klom import klom, klom_as_published, klom_null
from expunge.errors import InputError


def test_klom_by_hand() -> None:
    """Four oracles 1, 2, 3, 4 in bins (-inf, 1], (1, 4], (4, inf) of mass 1/5, 3/5, 1/5."""
    oracles = np.array([[1.0], [2.0], [3.0], [4.0]])
    unlearned = np.array([[0.0], [2.5], [2.7], [3.5]])
    by_hand = 0.25 * math.log(0.25 / 0.2) + 0.75 * math.log(0.75 / 0.6)
    assert klom(unlearned, oracles, bins=3)[0] == pytest.approx(by_hand)


def test_klom_of_models_beyond_all_oracles_is_its_largest() -> None:
    oracles = np.arange(9.0)[:, None]
    assert klom(np.full((20, 1), 99.0), oracles)[0] == pytest.approx(math.log(10))


def test_klom_of_equal_deterministic_models_is_zero() -> None:
    assert klom(np.full((7, 3), 1.5), np.full((6, 3), 1.5)) == pytest.approx(np.zeros(3), abs=1e-12)


@pytest.mark.parametrize(("models", "published"), [(20, 3.01), (100, 0.35), (1000, 0.02)])
def test_published_klom_of_one_law_is_far_from_zero(
    generator: np.random.Generator, models: int, published: float
) -> None:
    u, r = generator.normal(size=(2, models, 300))
    assert klom_as_published(u, r).mean() == pytest.approx(published, rel=0.1, abs=0.006)


@pytest.mark.parametrize("models", [20, 100])
def test_klom_has_a_null_that_depends_on_the_counts_alone(generator: np.random.Generator, models: int) -> None:
    null = klom_null(models, models, rows=600)
    for law in (generator.normal, generator.standard_cauchy, generator.exponential):
        u, r = (law(size=(models, 400)) for _ in range(2))
        assert klom(u, r).mean() == pytest.approx(null, rel=0.15)


def test_one_blown_up_margin_hides_a_wrecked_model_from_the_published_bins_only(
    generator: np.random.Generator,
) -> None:
    oracles, honest = generator.normal(5, 1, size=(40, 200)), generator.normal(5, 1, size=(40, 200))
    wrecked = generator.normal(2, 0.5, size=(40, 200))
    wrecked[0] = 1e6
    wrecked[1] = -1e6
    assert klom_as_published(wrecked, oracles).mean() < klom_as_published(honest, oracles).mean()
    assert klom(wrecked, oracles).mean() > 5 * klom(honest, oracles).mean()


def test_published_quality_calls_one_law_two(generator: np.random.Generator) -> None:
    for models in (32, 64):
        u, r = generator.normal(size=(2, models, 200))
        epsilons = quality.row_epsilons_as_published(u, r)
        assert 1.3 < np.median(epsilons) < 1.8
        assert 0.14 < quality.forgetting_quality(epsilons, models) < 0.22


def test_held_out_quality_is_near_its_best_for_one_law(generator: np.random.Generator) -> None:
    u, r = generator.normal(size=(2, 64, 100))
    found = quality.forgetting_quality(quality.row_epsilons(u, r), 64)
    null = quality.quality_null(64, 64, rows=100)
    assert null > 0.75
    assert found / null == pytest.approx(1.0, abs=0.15)


def test_held_out_quality_sees_two_laws(generator: np.random.Generator) -> None:
    u, r = generator.normal(size=(2, 64, 60))
    apart = [quality.forgetting_quality(quality.row_epsilons(u + shift, r), 64) for shift in (0, 1, 2, 6)]
    assert apart == sorted(apart, reverse=True)
    assert apart[-1] < 0.05


def test_bins_of_forgetting_quality_halve_and_end() -> None:
    """N = 33: ceil(ln 32) = 4."""
    assert quality.forgetting_quality(np.array([0.0, 0.49, 0.5, 1.2, 3.99, 4.0]), 33) == pytest.approx(
        (1 + 1 + 0.5 + 0.25 + 2**-7 + 0) / 6
    )


def test_peaky_law_is_recognised_by_an_interval(generator: np.random.Generator) -> None:
    peak, wide = generator.normal(0, 0.1, size=(64, 40)), generator.normal(0, 3, size=(64, 40))
    assert np.median(quality.row_epsilons(peak, wide)) > 1.0
    assert np.median(quality.row_epsilons_as_published(np.zeros((64, 3)), wide[:, :3])) == 50.0


def test_challenge_score_by_hand() -> None:
    assert quality.challenge_score(0.5, (0.9, 1.0), (0.8, 0.8)) == pytest.approx(0.45)


@pytest.mark.parametrize(
    ("u", "r", "words"),
    [
        (np.zeros((1, 3)), np.zeros((9, 3)), "at least"),
        (np.zeros((9, 3)), np.zeros((9, 2)), "same rows"),
        (np.full((9, 3), np.nan), np.zeros((9, 3)), "broken"),
        (np.zeros((9, 0)), np.zeros((9, 0)), "one row"),
        (np.zeros(9), np.zeros((9, 2)), "shape"),
    ],
)
def test_margins_that_cannot_be_scored_are_refused(u: np.ndarray, r: np.ndarray, words: str) -> None:
    for score in (klom, quality.row_epsilons):
        with pytest.raises(InputError, match=words):
            score(u, r)
