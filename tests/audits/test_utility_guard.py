"""Broken models cannot win: which figures guard, and what a broken model loses."""

from __future__ import annotations

import numpy as np
import pytest
from audit_toys import rows_of

from expunge.audits.audit import Measure
from expunge.audits.candidates import Candidate
from expunge.audits.comparison import Comparison, compare
from expunge.audits.metrics import Band
from expunge.audits.panel import Subject
from expunge.audits.utility import worse

BAND = Band.of([0.90, 0.91, 0.92, 0.91, 0.90])


def measure(name: str, after: float) -> Measure:
    return Measure(name, None, after, None, BAND)


@pytest.mark.parametrize("rows", ["retained", "test"])
def test_accuracy_below_the_interval_is_worse_and_above_it_is_not(rows: str) -> None:
    assert worse(measure(f"accuracy on {rows}", 0.5))
    assert not worse(measure(f"accuracy on {rows}", 0.91))
    assert not worse(measure(f"accuracy on {rows}", 1.0))


def test_errors_are_worse_above_and_numbers_that_are_none_are_worse_than_any() -> None:
    assert worse(measure("rmse on test", 2.0))
    assert worse(measure("distance on retained", 2.0))
    assert not worse(measure("rmse on test", 0.1))
    assert worse(measure("rmse on test", float("nan")))
    assert worse(measure("accuracy on test", float("nan")))


def test_only_quality_on_retained_and_test_rows_guards() -> None:
    assert not worse(measure("accuracy on forgotten", 0.0))
    assert not worse(measure("loss on test", 99.0))
    assert not worse(Measure("accuracy on test", None, 0.0, None, None))
    assert not worse(measure("accuracy on retained", 0.5), ("test",))


def guess(seed: int, sharpness: float) -> Candidate:
    """A model of the toy rows: right on the large coordinate, with a little noise of its own."""
    generator = np.random.default_rng(seed)
    noise = generator.normal(size=3)

    def scores(rows: object) -> np.ndarray:
        x = np.asarray(rows.columns["x"], dtype=np.float64)  # type: ignore[attr-defined]
        return sharpness * x[:, :3] + 0.3 * noise

    return Candidate(scores)


def found(after: Candidate) -> Comparison:
    rows, test = rows_of(90, 1), rows_of(120, 2, first=1000)
    references = [guess(10 + k, 4.0) for k in range(6)]
    return compare(
        Subject(guess(1, 4.0), after, None, references), rows.without(rows.ids[:20]), rows.only(rows.ids[:20]), test
    )


def test_a_constant_model_recognises_nobody_and_gets_no_score() -> None:
    honest, constant = found(guess(2, 4.0)), found(Candidate(lambda rows: np.zeros((len(rows), 3))))
    assert not honest.broken
    assert {score.name for score in honest.scores} >= {"tug of war", "average gap", "nomus"}
    assert constant.broken
    assert constant.scores == ()
    assert constant.over_models == ()


def test_scores_of_the_null_are_those_of_retraining() -> None:
    honest = found(guess(2, 4.0))
    war = next(score for score in honest.scores if score.name == "tug of war")
    assert war.null is not None
    assert war.where == "within"
    assert war.null.low > 0.8
