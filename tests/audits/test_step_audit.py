"""`audit_step` on methods whose failures were planted: each must be found, and an honest step must pass."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from audit_toys import LeastSquares, Overfit, rows_of, step_of

from expunge.audits import Audit, audit_step
from expunge.audits.verdict import NO_POWER, NOTHING, OVERFORGOTTEN, RECOGNISED, UNCHANGED, UNTOLD, UTILITY
from expunge.certificate import Exact
from expunge.errors import InputError
from expunge.method import Release
from expunge.rows import Rows

TEST = rows_of(300, 9, first=10_000)
ROWS = rows_of(200, 1, mislabelled=30)


def test_honest_certified_step_is_confirmed() -> None:
    audit = audit_step(step_of(LeastSquares(), ROWS, 30), TEST, references=4)
    assert audit.contradictions == ()
    assert audit.claim.confirmed is True
    assert audit.claim.distance is not None
    assert audit.claim.budget is not None
    assert audit.claim.distance < audit.claim.budget
    assert audit.claim.noise_variance is not None
    assert 0.02 < audit.claim.noise_variance < 6  # chi-squared over 12 coordinates
    assert audit.apart[0].what == "weights without their noise"
    assert audit.apart[0].share is not None
    assert audit.apart[0].share < 1e-3
    assert audit.references == 4
    assert audit.costs.forget == 1e-4
    assert audit.costs.cold is not None


@pytest.mark.parametrize("fault", ["nothing", "half way", "learn sloppy"])
def test_centre_outside_its_half_voids_the_certificate(fault: str) -> None:
    audit = audit_step(step_of(LeastSquares(fault=fault), ROWS, 30), TEST, references=2)  # type: ignore[arg-type]
    assert audit.claim.confirmed is False
    assert audit.contradictions
    assert audit.verdict.startswith("VOID")
    assert audit.summary()["contradictions"]


def test_noise_that_is_absent_voids_the_certificate() -> None:
    wide = wide_rows()
    step = step_of(LeastSquares(fault="no noise"), wide, 20)
    audit = audit_step(step, None, references=0)
    assert audit.contradictions
    assert audit.claim.noise_variance == pytest.approx(0.06, abs=0.03)
    honest = audit_step(step_of(LeastSquares(), wide, 20), None, references=0)
    assert honest.contradictions == ()
    assert honest.claim.noise_variance == pytest.approx(1.0, abs=0.4)


def wide_rows() -> Rows:
    generator = np.random.default_rng(5)
    return Rows.of(generator.normal(size=(300, 60)), generator.integers(0, 4, 300), classes=4)


def test_noise_of_half_the_stated_size_voids_the_certificate() -> None:
    step = step_of(LeastSquares(), wide_rows(), 20)
    stated = replace(step.certificate, noise_std=0.03, distance=0.01)  # type: ignore[type-var]
    audit = audit_step(replace(step, certificate=stated), None, references=0)
    assert any("variance" in sentence for sentence in audit.contradictions)


def test_certificate_cannot_be_checked_once_the_key_is_erased() -> None:
    audit = audit_step(replace(step_of(LeastSquares(), ROWS, 30), noise=None), TEST, references=0)
    assert audit.claim.confirmed is None
    assert "erased" in audit.verdict


def test_honest_exact_step_is_confirmed_by_equal_bytes() -> None:
    audit = audit_step(step_of(Overfit(), ROWS, 30), TEST, references=5)
    assert audit.claim.confirmed is True
    assert audit.contradictions == ()
    assert audit.flags == ()
    assert audit.apart[0].after == 0.0
    attack = audit.attack()
    assert attack is not None
    assert attack.auc.where == "within"
    assert attack.auc.before is not None
    assert attack.auc.before > attack.auc.after + 0.3


def test_exact_release_that_is_the_old_one_is_contradicted_and_recognised() -> None:
    audit = audit_step(step_of(Overfit(fault="nothing"), ROWS, 30), TEST, references=5)
    assert audit.claim.confirmed is False
    assert any("nothing was forgotten" in sentence for sentence in audit.contradictions)
    assert {UNCHANGED, RECOGNISED, NOTHING} <= set(audit.flags)
    attack = audit.attack()
    assert attack is not None
    assert attack.auc.null is not None
    assert attack.auc.after > attack.auc.null.high + 0.3
    assert audit.apart[0].share == 1.0


def test_exact_release_without_its_key_is_still_compared() -> None:
    step = replace(step_of(Overfit(fault="nothing"), ROWS, 30), noise=None)
    assert audit_step(step, TEST, references=0).claim.confirmed is False
    assert audit_step(replace(step_of(Overfit(), ROWS, 30), noise=None), TEST, references=0).claim.confirmed is True


def test_forgetting_too_much_is_a_failure() -> None:
    rows = rows_of(200, 1)
    audit = audit_step(step_of(Overfit(fault="invert"), rows, 60), TEST, references=5)
    assert audit.contradictions == ()
    assert OVERFORGOTTEN in audit.flags
    assert "over-forgotten" in audit.verdict


def test_broken_model_is_worse_on_test_rows() -> None:
    step = step_of(LeastSquares(), ROWS, 30)
    broken = replace(step, after=Release({"w": -step.after.tensors["w"]}))
    assert UTILITY in audit_step(broken, TEST, references=3).flags


def test_one_forgotten_row_gives_the_attack_no_power_but_ranks_it() -> None:
    remembered = audit_step(step_of(Overfit(fault="nothing"), ROWS, 1), TEST, references=6)
    assert NO_POWER in remembered.flags
    assert "no power" in remembered.verdict
    assert remembered.exposure is not None
    assert remembered.exposure.ranks_after == (1.0,)
    honest = audit_step(step_of(Overfit(), ROWS, 1), TEST, references=6)
    assert honest.exposure is not None
    assert honest.exposure.after[0] > remembered.exposure.after[0] + 0.5


def test_without_test_rows_there_is_no_attack() -> None:
    audit = audit_step(step_of(Overfit(), ROWS, 10), None, references=2)
    assert audit.attacks == ()
    assert audit.test == 0
    assert audit.measure("accuracy on retained") is not None
    assert audit.measure("accuracy on test") is None


def test_warm_retraining_is_timed_where_it_is_given() -> None:
    calls: list[int] = []
    audit = audit_step(step_of(Overfit(), ROWS, 10), None, references=0, warm=lambda: calls.append(1))
    assert calls == [1]
    assert audit.costs.warm is not None
    assert audit.costs.warm_speed_up is not None


def test_json_round_trip_keeps_every_field() -> None:
    for method, repeats in ((LeastSquares(), 4), (Overfit(fault="invert"), 0), (Overfit(), 0)):
        audit = audit_step(step_of(method, ROWS, 30), TEST, references=2 + repeats, repeats=repeats)
        assert (audit.bound is not None) == bool(repeats)
        assert Audit.from_json(audit.to_json()) == audit


def test_json_of_something_else_is_refused() -> None:
    with pytest.raises(InputError, match="no audit"):
        Audit.from_json('{"a": 1}')
    with pytest.raises(InputError, match="version 99, and version 2 is read"):
        Audit.from_json('{"version": 99}')
    with pytest.raises(InputError, match="older: run the audit again"):
        Audit.from_json('{"version": 1}')


def test_summary_holds_nothing_measured_on_forgotten_rows() -> None:
    one = audit_step(step_of(Overfit(), ROWS, 30), TEST, references=3)
    text = str(one.summary())
    for measure in one.measures:
        if "forgotten" in measure.name:
            assert str(measure.after) not in text
    assert one.summary()["attack_within_null_band"] is True


def test_progress_reaches_its_end_for_every_part() -> None:
    told: list[tuple[str, int, int]] = []
    audit_step(step_of(Overfit(), ROWS, 10), TEST, references=2, progress=lambda *what: told.append(what))
    last = {what: (done, of) for what, done, of in told}
    assert all(done == of for done, of in last.values())
    assert last["retraining references"] == (2, 2)


def test_honest_models_are_rarely_accused() -> None:
    """Eight honest steps, eleven measures each: all but a few lie where one more retrained model would."""
    outside = total = 0
    for seed in range(8):
        audit = audit_step(step_of(Overfit(), ROWS, 30, seed=seed), TEST, references=5)
        assert set(audit.flags) <= {UNTOLD}
        outside += sum(measure.where != "within" for measure in audit.measures)
        total += len(audit.measures)
    assert total == 8 * 11
    assert outside <= 0.04 * total  # 1 % are expected, and measures of one model lie outside together


@pytest.mark.parametrize(("keep_key", "confirmed"), [(True, False), (False, None)])
def test_noised_bytes_are_compared_only_under_their_key(keep_key: bool, confirmed: bool | None) -> None:
    """A noised release claims to be exact: other bytes are a lie under its key, and prove nothing without it."""
    step = step_of(LeastSquares(fault="half way"), ROWS, 30)
    step = replace(step, certificate=Exact(()), noise=step.noise if keep_key else None)
    audit = audit_step(step, None, references=0)
    assert audit.claim.confirmed is confirmed
    assert bool(audit.contradictions) is keep_key
