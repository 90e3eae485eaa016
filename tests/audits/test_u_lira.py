"""U-LiRA on planted normals whose best guess is known, and on a network whose forgetting is known."""

from __future__ import annotations

import numpy as np
import pytest
from audit_toys import rows_of
from scipy import stats
from scipy.special import ndtr

from expunge.audits.answers import answers_of
from expunge.audits.attacks import lira, u_lira
from expunge.audits.references import retrain
from expunge.audits.unlearned import unlearn
from expunge.errors import InputError
from expunge.learners.sgd import Sgd
from expunge.methods.fine_tune import FineTune
from expunge.methods.retrain import Retrain
from expunge.models import Mlp

NETWORK = Sgd(Mlp(hidden=(64,)), epochs=25, batch_size=16, learning_rate=0.3, l2=0.0)


def test_log_odds_are_two_densities_and_half_is_p_above_one_half() -> None:
    normals = lira.Normals(np.array([1.0]), np.array([2.0])), lira.Normals(np.array([-1.0]), np.array([1.0]))
    targets = np.linspace(-5, 5, 11)[:, None]
    p = [stats.norm(n.mean[0], n.spread[0]).pdf(targets) for n in normals]
    assert u_lira.judged(targets, *normals) == pytest.approx(np.log(p[0] / p[1]))
    assert ((u_lira.judged(targets, *normals) > 0) == (p[0] / (p[0] + p[1]) > 0.5)).all()


def test_balanced_accuracy_is_that_of_the_best_guess_between_planted_normals() -> None:
    generator = np.random.default_rng(0)
    unlearned, never = generator.normal(1.0, 1, (60, 100)), generator.normal(-1.0, 1, (60, 100))
    found = u_lira.attack(unlearned, never)
    assert found.accuracy == pytest.approx(ndtr(1.0), abs=0.01)
    assert found.interval[0] < found.accuracy < found.interval[1]
    assert found.separation.auc == pytest.approx(ndtr(np.sqrt(2)), abs=0.01)
    assert found.by_row.mean() == pytest.approx(found.accuracy)
    assert (found.by_row.shape, found.auc_by_row.shape, found.never.shape) == ((100,), (100,), (60, 100))


def test_one_row_that_is_kept_stands_out_among_many_that_are_not() -> None:
    generator = np.random.default_rng(1)
    unlearned, never = generator.normal(size=(20, 200)), generator.normal(size=(20, 200))
    unlearned[:, 7] += 8
    found = u_lira.attack(unlearned, never)
    assert found.accuracy < 0.55
    assert found.by_row[7] == 1.0
    assert found.by_row.argmax() == 7


def test_pushing_rows_too_far_is_found_out_too() -> None:
    generator = np.random.default_rng(2)
    assert u_lira.attack(generator.normal(-6, 1, (20, 10)), generator.normal(size=(20, 10))).accuracy > 0.99


def test_targets_are_never_among_the_models_fitted_to() -> None:
    """Rows with a spread of their own: fitting to the targets would beat a coin by far, on four models a world."""
    generator = np.random.default_rng(3)
    worlds = generator.normal(size=(2, 6, 400))
    honest = u_lira.attack(*worlds, variance="row")
    cheating = u_lira.on_targets((worlds[0], worlds[1]), (worlds[0], worlds[1]), variance="row")
    assert abs(honest.accuracy - 0.5) < 0.03
    assert cheating.accuracy > 0.62


def test_null_lies_at_a_coin_and_its_interval_holds_it() -> None:
    held, areas = 0, []
    for seed in range(100):
        generator = np.random.default_rng(seed)
        own = generator.normal(size=(40, 10)) + generator.normal(size=(40, 1))  # rows of one model go together
        found = u_lira.null(own, seed=seed)
        held += found.interval[0] <= 0.5 <= found.interval[1]
        areas.append(found.separation.auc)
    assert held >= 93
    assert abs(np.mean(areas) - 0.5) < 0.02


def test_p_values_are_honest_and_small_where_there_is_something() -> None:
    p = []
    for seed in range(40):
        generator = np.random.default_rng(seed)
        worlds = generator.normal(size=(2, 8, 6)) + generator.normal(size=(2, 8, 1))
        p.append(u_lira.p_value(*worlds, permutations=19, seed=seed))
    assert np.mean(np.array(p) <= 0.1) <= 0.2
    assert 0.3 < np.mean(p) < 0.65
    generator = np.random.default_rng(0)
    kept = generator.normal(3.0, 1, (8, 6))
    assert u_lira.p_value(kept, generator.normal(size=(8, 6)), permutations=39) <= 2 / 40


def test_equal_models_are_a_coin() -> None:
    same = np.ones((8, 3))
    assert u_lira.attack(same, same).accuracy == 0.5
    assert u_lira.attack(same, same).separation.auc == 0.5


def test_what_is_refused() -> None:
    with pytest.raises(InputError, match="at least 4 of each"):
        u_lira.attack(np.zeros((3, 2)), np.zeros((20, 2)))
    with pytest.raises(InputError, match="of the same rows"):
        u_lira.attack(np.zeros((9, 2)), np.zeros((9, 3)))


def test_on_mislabelled_rows_of_a_network_doing_nothing_is_seen_and_retraining_is_not() -> None:
    """The planted fact: wrong labels are learned by heart, and no model without them believes them."""
    rows = rows_of(90, 1, mislabelled=10)
    ids = rows.ids[:10]
    gone, count = rows.only(ids), 8
    never = answers_of(Retrain(NETWORK), retrain(Retrain(NETWORK), rows.without(ids), seed=1, count=count), gone)
    tuned = unlearn(FineTune(NETWORK, epochs=1), rows, ids, seed=2, count=count)
    nothing = answers_of(FineTune(NETWORK), [one.before for one in tuned], gone)
    again = answers_of(Retrain(NETWORK), retrain(Retrain(NETWORK), rows.without(ids), seed=3, count=count), gone)
    kept = u_lira.attack(nothing.margins, never.margins)
    honest = u_lira.attack(again.margins, never.margins)
    assert kept.separation.auc > 0.95
    assert kept.accuracy > 0.9
    assert honest.interval[0] <= 0.5 <= honest.interval[1]
    assert honest.separation.auc < 0.65
