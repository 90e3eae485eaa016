"""RMIA against its definition, pair by pair, and what its parts are for."""

from __future__ import annotations

import numpy as np
import pytest

from expunge.audits.attacks import rmia, roc
from expunge.errors import InputError


def some(seed: int = 0, rows: int = 6, models: int = 4, population: int = 9) -> tuple[np.ndarray, ...]:
    generator = np.random.default_rng(seed)
    shapes = [(rows,), (models, rows), (population,), (models, population)]
    return tuple(np.log(generator.uniform(0.05, 1.0, shape)) for shape in shapes)


def by_pairs(target: np.ndarray, p_x: np.ndarray, target_z: np.ndarray, p_z: np.ndarray, gamma: float) -> list[float]:
    """The definition: for every row, over every row of the population."""
    ratios = [[np.exp(t) / p / (np.exp(tz) / pz) for tz, pz in zip(target_z, p_z, strict=True)]
              for t, p in zip(target, p_x, strict=True)]  # fmt: skip
    return [float(np.mean(np.array(row) >= gamma)) for row in ratios]


@pytest.mark.parametrize("gamma", [1.0, 1.7])
def test_offline_is_the_definition_with_interpolated_probabilities(gamma: float) -> None:
    target, references, target_z, references_z = some()
    for a in (0.0, 0.3, 1.0):
        p_x, p_z = (((1 + a) * np.exp(side).mean(axis=0) + (1 - a)) / 2 for side in (references, references_z))
        found = rmia.offline(target, references, target_z, references_z, a=a, gamma=gamma)
        assert found.tolist() == pytest.approx(by_pairs(target, p_x, target_z, p_z, gamma))


def test_online_weighs_models_with_and_without_the_row_equally() -> None:
    target, references, target_z, references_z = some()
    inside = np.zeros((4, 6), dtype=bool)
    inside[0] = True  # one with, three without
    p = np.exp(references)
    p_x, p_z = (p[0] + p[1:].mean(axis=0)) / 2, np.exp(references_z).mean(axis=0)
    found = rmia.online(target, references, inside, target_z, references_z)
    assert found.tolist() == pytest.approx(by_pairs(target, p_x, target_z, p_z, 1.0))


def test_a_target_that_is_surer_of_everything_recognises_nothing_more() -> None:
    target, references, target_z, references_z = some(rows=200, population=300)
    shift = -0.2  # a factor for every row and every row of the population
    before = rmia.offline(target, references, target_z, references_z)
    assert rmia.offline(target + shift, references, target_z + shift, references_z).tolist() == before.tolist()


def test_members_are_found_from_one_reference() -> None:
    generator = np.random.default_rng(3)
    difficulty = generator.normal(size=800)

    def log_p(phi: np.ndarray) -> np.ndarray:
        return -np.log1p(np.exp(-phi))

    member = np.arange(800) < 400
    target = log_p(difficulty + 2 * member + 0.4 * generator.normal(size=800))
    reference = log_p(difficulty + 0.4 * generator.normal(size=800))[None]
    hard_z = generator.normal(size=500)
    target_z, reference_z = (log_p(hard_z + 0.4 * generator.normal(size=500)) for _ in range(2))
    scores = rmia.offline(target, reference, target_z, reference_z[None])
    assert roc.auc(scores[member], scores[~member]) > 0.9
    assert roc.auc(scores[member], scores[~member]) > roc.auc(target[member], target[~member]) + 0.05


def test_a_is_tuned_by_attacking_references_with_one_another() -> None:
    """The a found is about as good on a model of its own; where training does nothing any is, and 0 is taken."""
    generator = np.random.default_rng(5)
    first = generator.random((3, 200)) < 0.5
    inside = np.stack([side for mask in first for side in (mask, ~mask)])
    hard = generator.uniform(0.1, 0.9, 200)
    learned = np.log(np.where(inside, 0.99, hard) * generator.uniform(0.97, 1.0, (6, 200)))
    population = np.log(generator.uniform(0.1, 0.9, (1, 150)) * generator.uniform(0.97, 1.0, (6, 150)))
    best = rmia.tuned_a(learned, inside, population)
    areas = {}
    for a in (best, 0.0, 1.0):
        score = rmia.offline(learned[0], learned[2:], population[0], population[2:], inside=inside[2:], a=a)
        areas[a] = roc.auc(score[inside[0]], score[~inside[0]])
    assert areas[best] >= max(areas.values()) - 0.02
    assert rmia.tuned_a(np.zeros((4, 9)), np.resize([[True], [False]], (4, 9)), np.zeros((4, 5))) == 0.0
    with pytest.raises(InputError, match="at least four"):
        rmia.tuned_a(learned[:2], inside[:2], population[:2])


def test_impossible_labels_are_finite_scores() -> None:
    target, references, target_z, references_z = some()
    target[0], references[:, 0], target_z[0] = -np.inf, -np.inf, -np.inf
    found = rmia.offline(target, references, target_z, references_z, a=1.0)
    assert np.isfinite(found).all()


def test_what_is_refused() -> None:
    target, references, target_z, references_z = some()
    with pytest.raises(InputError, match=r"a is 1\.5"):
        rmia.offline(target, references, target_z, references_z, a=1.5)
    with pytest.raises(InputError, match="gamma is 0"):
        rmia.offline(target, references, target_z, references_z, gamma=0)
    with pytest.raises(InputError, match="one without"):
        rmia.online(target, references, np.ones((4, 6), dtype=bool), target_z, references_z)
    with pytest.raises(InputError, match="trained without it"):
        rmia.offline(target, references, target_z, references_z, inside=np.ones((4, 6), dtype=bool))
    with pytest.raises(InputError, match="at least one row of the population"):
        rmia.offline(target, references, target_z[:0], references_z[:, :0])
