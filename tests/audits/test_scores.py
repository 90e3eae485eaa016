"""Each score on figures worked by hand, at its limits (retraining, doing nothing), and where it misleads."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from expunge.audits.scores import efficiency
from expunge.audits.scores.accuracy_gaps import average_gap, mia_efficacy, unlearning_accuracy
from expunge.audits.scores.adaptive_unlearning import adaptive_unlearning_score
from expunge.audits.scores.anamnesis_index import anamnesis_index, relearning_time
from expunge.audits.scores.consistency import equal_predictions, share_of_nothing
from expunge.audits.scores.layer_distance import layer_distances
from expunge.audits.scores.nomus import nomus
from expunge.audits.scores.output_distance import activation_distance, jensen_shannon
from expunge.audits.scores.tug_of_war import tug_of_war
from expunge.audits.scores.zero_retrain_forgetting import zero_retrain_forgetting

shares = st.floats(0, 1)
P = np.log([[0.5, 0.5], [0.9, 0.1]])
Q = np.log([[0.8, 0.2], [0.9, 0.1]])


def test_speed_up_is_seconds_over_seconds_and_pays_off_after_its_preparation() -> None:
    assert efficiency.speed_up(12.0, 3.0) == 4.0
    assert efficiency.speed_up(1.0, 0.0) == math.inf
    assert efficiency.break_even(30.0, 11.0, 1.0) == 3.0
    assert efficiency.break_even(30.0, 1.0, 1.0) == math.inf
    assert efficiency.break_even(0.0, 2.0, 1.0) == 0.0
    assert efficiency.break_even(0.0, 1.0, 2.0) == math.inf


@given(st.floats(0.1, 100), st.floats(0.2, 50), st.floats(0.01, 0.1))
def test_speed_up_with_the_preparation_charged_passes_one_at_break_even(
    preparation: float, retrain: float, forget: float
) -> None:
    even = efficiency.break_even(preparation, retrain, forget)
    after = [
        efficiency.speed_up_after(k, preparation, retrain, forget) for k in (math.floor(even), math.ceil(even) + 1)
    ]
    assert after[0] <= 1 + 1e-9
    assert after[1] >= 1
    assert efficiency.speed_up_after(10**9, preparation, retrain, forget) == pytest.approx(retrain / forget, rel=1e-3)


def test_storage_is_counted_in_models() -> None:
    assert efficiency.storage_ratio(500, 100) == 5.0


def test_tug_of_war_by_hand() -> None:
    # (1 - .1) (1 - .02) (1 - .05) = .8379
    assert tug_of_war((0.9, 0.98, 0.85), (0.8, 1.0, 0.9)) == pytest.approx(0.8379)


@given(st.tuples(shares, shares, shares), st.tuples(shares, shares, shares))
def test_tug_of_war_is_one_for_retraining_and_never_outside_0_and_1(
    one: tuple[float, float, float], other: tuple[float, float, float]
) -> None:
    assert tug_of_war(one, one) == 1.0
    assert 0.0 <= tug_of_war(one, other) <= 1.0
    assert tug_of_war(one, other) == tug_of_war(other, one)


def test_tug_of_war_of_doing_nothing_is_high_where_forgotten_rows_are_easy() -> None:
    assert tug_of_war((1.0, 1.0, 0.95), (0.95, 1.0, 0.95)) == pytest.approx(0.95)
    assert tug_of_war((1.0, 1.0, 0.95), (0.02, 1.0, 0.95)) == pytest.approx(0.02)  # mislabelled rows


def test_nomus_reproduces_the_papers_row_of_retraining() -> None:
    assert nomus(0.488, 0.5 + 0.0445) == pytest.approx(0.6995)  # MUFAC, which prints |MIA - 1/2|


def test_nomus_pays_for_being_better_than_retraining() -> None:
    assert nomus(0.95, 0.5) > nomus(0.90, 0.52)  # a model that forgot nothing beside honest retraining


def test_adaptive_unlearning_score_by_hand() -> None:
    # (1 - .1) / (1 + .2) = .75; a whole class: (1 - .1) / (1 + .5) = .6
    assert adaptive_unlearning_score(0.8, 0.7, 0.5) == pytest.approx(0.75)
    assert adaptive_unlearning_score(0.8, 0.7, 0.5, whole_class=True) == pytest.approx(0.6)
    assert adaptive_unlearning_score(0.8, 0.8, 0.8) == 1.0
    assert adaptive_unlearning_score(0.8, 0.8, 0.0, whole_class=True) == 1.0


def test_adaptive_unlearning_score_rewards_keeping_mislabelled_rows() -> None:
    honest, keeper = adaptive_unlearning_score(0.9, 0.9, 0.05), adaptive_unlearning_score(0.9, 0.9, 0.85)
    assert keeper > honest


def test_relearning_time_is_the_first_epoch_within_five_per_cent() -> None:
    assert relearning_time([0.2, 0.7, 0.95, 0.99], before=1.0) == 2.0
    assert relearning_time([0.96], before=1.0) == 0.0
    assert relearning_time([0.1, 0.2], before=1.0) == math.inf


def test_anamnesis_index_by_hand() -> None:
    assert anamnesis_index(2.0, 8.0) == pytest.approx(2.01 / 8.01)
    assert anamnesis_index(8.0, 8.0) == 1.0
    assert anamnesis_index(0.0, 10.0) == pytest.approx(0.01 / 10.01)  # doing nothing
    assert anamnesis_index(math.inf, 3.0) == math.inf
    assert anamnesis_index(3.0, math.inf) == 0.0
    assert math.isnan(anamnesis_index(math.inf, math.inf))


def test_activation_distance_by_hand() -> None:
    # rows: ||(-.3, .3)|| = .42426 and 0
    assert activation_distance(P, Q) == pytest.approx(0.3 * math.sqrt(2) / 2)
    certain = np.array([[0.0, -np.inf], [-np.inf, 0.0]])
    assert activation_distance(certain, certain[::-1]) == pytest.approx(math.sqrt(2))


def test_jensen_shannon_by_hand() -> None:
    m = (0.65, 0.35)
    of = sum(0.5 * p * math.log(p / q) for p, q in zip((0.5, 0.5), m, strict=True))
    of += sum(0.5 * p * math.log(p / q) for p, q in zip((0.8, 0.2), m, strict=True))
    assert jensen_shannon(P, Q) == pytest.approx(of / 2)
    assert jensen_shannon(P, P) == 0.0
    certain = np.array([[0.0, -np.inf], [-np.inf, 0.0]])
    assert jensen_shannon(certain, certain[::-1]) == pytest.approx(math.log(2))


def test_zero_retrain_forgetting_is_one_for_the_random_teacher_itself() -> None:
    assert zero_retrain_forgetting(P, P) == 1.0
    certain = np.array([[0.0, -np.inf], [-np.inf, 0.0]])
    assert zero_retrain_forgetting(certain, certain[::-1]) == pytest.approx(1 - math.log(2))


def test_completeness_is_the_share_of_equal_answers() -> None:
    assert equal_predictions(np.array([[2.0, 1.0], [0.0, 1.0]]), np.array([[3.0, 1.0], [5.0, 1.0]])) == 0.5


def test_share_of_nothing() -> None:
    assert share_of_nothing(0.5, 2.0) == 0.25
    assert share_of_nothing(0.0, 0.0) is None


def test_layer_distances_are_by_name_and_skip_what_cannot_be_compared() -> None:
    first = {"a": torch.tensor([3.0, 4.0]), "b": torch.zeros(2), "n": torch.tensor([1]), "only": torch.zeros(1)}
    second = {"a": torch.zeros(2), "b": torch.zeros(3), "n": torch.tensor([2])}
    assert layer_distances(first, second) == {"a": 5.0}


def test_average_gap_by_hand() -> None:
    own = {"UA": 0.2, "RA": 1.0, "TA": 0.9, "MIA": 0.3}
    retrained = {"UA": 0.1, "RA": 0.98, "TA": 0.92, "MIA": 0.2}
    assert average_gap(own, retrained) == pytest.approx((0.1 + 0.02 + 0.02 + 0.1) / 4)
    assert average_gap(own, own) == 0.0
    assert unlearning_accuracy(0.75) == 0.25


def test_mia_efficacy_counts_forgotten_rows_that_look_unseen(generator: np.random.Generator) -> None:
    retained, test = generator.uniform(0.95, 1.0, 300), generator.uniform(0.3, 0.8, 200)
    assert mia_efficacy(retained, test, np.array([0.99, 0.98, 0.5, 0.4])) == 0.5
    assert mia_efficacy(retained, test, retained[:50]) < 0.1  # nothing was forgotten
    assert mia_efficacy(retained, test, test[:50]) > 0.9


def test_the_page_on_audits_lists_every_file_of_scores() -> None:
    root = Path(__file__).resolve().parents[2]
    files = {path.stem for path in (root / "src/expunge/audits/scores").glob("*.py")} - {"__init__", "margins"}
    table = (root / "docs/audits.md").read_text().partition("| score | formula |")[2].partition("\n\n")[0]
    assert set(re.findall(r"`([a-z_]+)` \|$", table, flags=re.MULTILINE)) == files
