"""Figures over many models: what repeats of a step add to an audit."""

from __future__ import annotations

import pytest
from audit_toys import LeastSquares, Overfit, rows_of, step_of
from planted import NoOp

from expunge.audits import Audit, audit_step
from expunge.audits.verdict import RECOGNISED
from expunge.certificate import Certified
from expunge.errors import InputError
from expunge.method import Method

ROWS, TEST = rows_of(100, 1, mislabelled=20), rows_of(100, 9, first=10_000)


def audited(method: Method, repeats: int, references: int = 12) -> Audit:  # type: ignore[type-arg]
    return audit_step(step_of(method, ROWS, 20), TEST, references=references, repeats=repeats)


def test_repeats_enter_the_p_value_and_its_least() -> None:
    audit = audited(Overfit(width=60), repeats=2, references=4)
    loss = audit.measure("loss on test")
    assert loss is not None
    assert loss.calibration is not None
    assert loss.calibration.least_p == pytest.approx(1 / 35)  # 3 of 7
    assert audit.repeats == 2
    assert audit.over_models == ()  # 3 models are too few
    assert audit.bound is None


def test_a_negative_number_of_repeats_is_refused() -> None:
    with pytest.raises(InputError, match="give 0 or more"):
        audited(Overfit(width=60), repeats=-1)


def test_klom_and_quality_stand_between_doing_nothing_and_their_null() -> None:
    honest, idle = audited(Overfit(width=60), repeats=11), audited(NoOp(Overfit(width=60)), repeats=11)
    figures = {figure.name: figure for figure in honest.over_models}
    assert set(figures) == {"klom on retained", "klom on forgotten", "klom on test", "forgetting quality"}
    klom, quality = figures["klom on forgotten"], figures["forgetting quality"]
    assert klom.after == pytest.approx(klom.null, abs=0.25)
    assert klom.before > 3 * klom.null
    assert quality.before < 0.3 < quality.after
    nothing = {figure.name: figure for figure in idle.over_models} or None
    assert nothing is None or nothing["klom on forgotten"].after == nothing["klom on forgotten"].before


def test_bound_says_what_it_could_have_shown() -> None:
    audit = audited(LeastSquares(), repeats=11)
    assert audit.bound is not None
    assert isinstance(audit.certificate, Certified)
    assert audit.bound.delta == audit.certificate.delta
    assert audit.bound.models == audit.bound.references == 12
    assert audit.bound.level == 0.95
    assert audit.bound.epsilon <= audit.bound.largest_epsilon < audit.certificate.epsilon
    assert audit.contradictions == ()


def test_exact_no_op_is_disproved_by_its_models_too() -> None:
    audit = audit_step(step_of(NoOp(Overfit(width=60)), ROWS, 20), TEST, references=34, repeats=33)
    assert any("exact forgetting is claimed" in sentence for sentence in audit.contradictions)


def test_repeats_show_what_one_model_among_few_references_cannot() -> None:
    """Six references that scatter widely leave one model room; four models that all stand out do not fit in."""
    rows, test = rows_of(120, 1, mislabelled=20), rows_of(100, 9, first=10_000)
    step = step_of(NoOp(Overfit(width=60, fault="invert")), rows, 20)
    alone, repeated = (audit_step(step, test, references=8, repeats=repeats) for repeats in (0, 5))
    attack = alone.attack(), repeated.attack()
    assert attack[0] is not None
    assert attack[1] is not None
    assert attack[0].auc.calibration is not None
    assert attack[1].auc.calibration is not None
    assert attack[0].auc.calibration.p_value == pytest.approx(1 / 9)
    assert attack[1].auc.calibration.p_value <= 0.01
    assert RECOGNISED in repeated.flags
    # The least effect is of the references' own spread, not of figures that the audited models shift.
    assert attack[1].auc.calibration.smallest_effect == pytest.approx(
        attack[0].auc.calibration.smallest_effect, rel=0.75
    )
