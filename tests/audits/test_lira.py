"""LiRA against densities written out, planted normals whose best attack is known, and each refusal."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from scipy.special import ndtr

from expunge.audits.attacks import lira, roc
from expunge.errors import InputError


def planted(models: int = 40, rows: int = 300, shift: float = 1.5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Margins N(difficulty + shift inside, 1) of models that saw each row half of the time, in pairs."""
    generator = np.random.default_rng(seed)
    first = generator.random((models // 2, rows)) < 0.5
    inside = np.stack([side for mask in first for side in (mask, ~mask)])
    return 4 * generator.normal(size=rows) + shift * inside + generator.normal(size=(models, rows)), inside


def test_online_score_is_the_difference_of_two_log_densities(generator: np.random.Generator) -> None:
    phi = generator.normal(size=(7, 3)) * [1.0, 2.0, 0.5]
    inside = np.array([[1, 1, 0], [0, 1, 1], [1, 0, 0], [0, 0, 1], [1, 1, 1], [0, 0, 0], [1, 1, 0]], dtype=bool)
    target = generator.normal(size=3)
    found = lira.online(target, phi, inside, variance="row")
    for row in range(3):
        sides = [phi[mask, row] for mask in (inside[:, row], ~inside[:, row])]
        logs = [stats.norm(side.mean(), side.std(ddof=1)).logpdf(target[row]) for side in sides]
        assert found[row] == pytest.approx(logs[0] - logs[1])


def test_shared_spread_pools_within_rows(generator: np.random.Generator) -> None:
    phi = generator.normal(size=(5, 4)) * [1.0, 2.0, 3.0, 4.0] + [0.0, 100.0, -100.0, 7.0]
    pooled = math.sqrt(np.mean([phi[:, row].var(ddof=1) for row in range(4)]))
    assert lira.fit(phi, variance="shared").spread.tolist() == pytest.approx([pooled] * 4)
    assert lira.fit(phi, variance="row").spread.tolist() == pytest.approx(phi.std(axis=0, ddof=1).tolist())


def test_auto_shares_below_64_models_on_a_side(generator: np.random.Generator) -> None:
    few, many = (lira.fit(generator.normal(size=(n, 3))).spread for n in (63, 64))
    assert len(set(few.tolist())) == 1
    assert len(set(many.tolist())) == 3


def test_offline_score_orders_a_row_as_the_papers_p_value(generator: np.random.Generator) -> None:
    phi, targets = generator.normal(size=(30, 1)), np.linspace(-4, 4, 9)[:, None]
    found = lira.offline(targets, phi, variance="row")
    p_values = 1 - stats.norm(phi.mean(), phi.std(ddof=1)).sf(targets)
    assert ndtr(found).ravel().tolist() == pytest.approx(p_values.ravel().tolist())


def test_offline_uses_only_models_without_the_row() -> None:
    phi, inside = planted()
    out_only = lira.offline(phi[0], phi, inside)
    moved = np.where(inside, 50.0, phi)  # what models with the row say must not matter
    assert lira.offline(phi[0], moved, inside).tolist() == out_only.tolist()


def test_attacks_reach_what_planted_normals_allow_and_a_population_attack_does_not() -> None:
    phi, inside = planted(models=200)
    best = ndtr(1.5 / math.sqrt(2))  # the area of two unit normals 1.5 apart
    for mode in ("online", "offline"):
        scores = lira.each_by_the_others(phi, inside, mode=mode)  # type: ignore[arg-type]
        assert roc.auc(scores[inside], scores[~inside]) == pytest.approx(best, abs=0.01)
    assert roc.auc(phi[inside], phi[~inside]) < best - 0.2


def test_the_attacked_model_is_not_among_its_shadows() -> None:
    phi, inside = planted(models=6, shift=0.0)
    scores = lira.each_by_the_others(phi, inside)
    assert abs(roc.auc(scores[inside], scores[~inside]) - 0.5) < 0.05  # pure noise is not recognised
    assert scores[0].tolist() == lira.online(phi[0], phi[2:], inside[2:]).tolist()


def test_models_equal_bit_for_bit_are_not_infinitely_sure() -> None:
    normals = lira.fit(np.zeros((5, 2)))
    assert normals.spread.tolist() == [lira.FLOOR] * 2
    assert np.isfinite(lira.online(np.ones(2), np.zeros((6, 2)), np.arange(12).reshape(6, 2) % 4 < 2)).all()


def test_what_is_refused() -> None:
    phi = np.zeros((4, 2))
    with pytest.raises(InputError, match="at least two are needed"):
        lira.online(phi[0], phi, np.array([[1, 1], [1, 0], [1, 0], [0, 0]], dtype=bool))
    with pytest.raises(InputError, match="give both as"):
        lira.fit(phi, np.ones((2, 4), dtype=bool))
    with pytest.raises(InputError, match="infinite or NaN"):
        lira.fit(np.full((4, 2), np.inf))
