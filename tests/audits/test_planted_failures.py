"""What an audit is for: each planted failure raises its alarm, and the honest method beside it raises none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from audit_toys import LeastSquares, Overfit, rows_of, step_of
from planted import CacheKeepsARow, NoiseLeftOut, NoOp, SkipsTheTail, tail_of

from expunge.audits import Audit, audit_step
from expunge.audits.verdict import BROKEN, NO_POWER, NOTHING, RECOGNISED, UNCHANGED, UNTOLD, UTILITY
from expunge.certificate import Certified
from expunge.learners.sgd import Sgd
from expunge.method import Method
from expunge.methods import CertifiedNewton, GradientAscent, Retrain, Sisa
from expunge.models import Mlp
from expunge.rows import Rows

ROWS, TEST = rows_of(150, 1, mislabelled=30), rows_of(300, 9, first=10_000)
NETWORK = Sgd(Mlp(hidden=(16,)), epochs=8, learning_rate=0.3, batch_size=32)
CONVEX = CertifiedNewton(l2=1e-2, noise_std=0.02)
SHARDED = Sisa(NETWORK, shards=3, slices=3)
LIMITS = {NO_POWER, UNTOLD}  # of the audit, not of the method


def audited(method: Method[Any], references: int = 4, rows: Rows = ROWS, gone: int = 30, repeats: int = 0) -> Audit:
    return audit_step(step_of(method, rows, gone), TEST, references=references, repeats=repeats)


@pytest.fixture(scope="module")
def honest() -> dict[str, Audit]:
    methods: dict[str, Method[Any]] = {"exact": Retrain(NETWORK), "certified": CONVEX, "sisa": SHARDED}
    return {name: audited(method) for name, method in methods.items()}


def test_honest_methods_raise_no_alarm(honest: dict[str, Audit]) -> None:
    for name, audit in honest.items():
        assert audit.contradictions == (), name
        assert audit.claim.confirmed is True, name
        assert set(audit.flags) <= LIMITS, name
        assert audit.scores, name


@pytest.mark.parametrize("method", [Retrain(NETWORK), CONVEX, SHARDED], ids=["exact", "certified", "sisa"])
def test_a_no_op_voids_its_certificate(method: Method[Any]) -> None:
    audit = audited(NoOp(method))
    assert audit.contradictions
    assert audit.claim.confirmed is False
    assert {UNCHANGED, NOTHING} <= set(audit.flags)
    assert audit.verdict.startswith("VOID")
    assert audit.information() == np.inf


def test_a_no_op_without_certificate_is_flagged_by_its_weights_and_by_the_attack() -> None:
    audit = audited(NoOp(Overfit(fault="invert")), references=12)
    assert audit.contradictions == ()
    assert {UNCHANGED, RECOGNISED, NOTHING} <= set(audit.flags)
    attack = audit.attack()
    assert attack is not None
    assert attack.auc.calibration is not None
    assert attack.auc.calibration.p_value == attack.auc.calibration.least_p


def test_gradient_ascent_that_wrecks_the_model_gets_no_score() -> None:
    wreck = GradientAscent(NETWORK, steps=60, learning_rate=1.0, max_loss=1e6)
    audit = audited(wreck)
    assert {BROKEN, UTILITY} <= set(audit.flags)
    assert audit.scores == ()
    assert "broken" in audit.verdict


def test_gradient_ascent_that_stops_in_time_is_scored() -> None:
    audit = audited(GradientAscent(NETWORK, steps=2, learning_rate=1e-3), rows=rows_of(150, 1))
    assert UNCHANGED not in audit.flags
    assert BROKEN not in audit.flags
    assert audit.measure("tug of war") is not None


def test_noise_left_out_voids_the_certificate() -> None:
    generator = np.random.default_rng(5)
    wide = Rows.of(generator.normal(size=(200, 30)), generator.integers(0, 4, 200), classes=4)
    audit, honest = (audit_step(step_of(m, wide, 20), None, references=0) for m in (NoiseLeftOut(CONVEX), CONVEX))
    assert audit.contradictions
    assert audit.claim.noise_variance is not None
    assert audit.claim.noise_variance < 0.2
    assert honest.contradictions == ()
    assert honest.claim.noise_variance == pytest.approx(1.0, abs=0.7)  # 124 secret draws: five standard deviations


def test_noise_left_out_is_proved_by_many_models_where_no_key_is_left() -> None:
    """Without its key the release cannot be held against the minimiser; forty models a side tell the laws apart."""
    rows, verdicts = rows_of(60, 1), {}
    for name, method in {
        "left out": LeastSquares(epsilon=0.2, fault="no noise"),
        "honest": LeastSquares(epsilon=0.2),
    }.items():
        step = replace(step_of(method, rows, 5), noise=None)
        audit = audit_step(step, None, references=44, repeats=43)
        assert isinstance(audit.certificate, Certified)
        verdicts[name] = audit
        assert audit.bound is not None
        assert audit.bound.largest_epsilon > audit.certificate.epsilon
    assert verdicts["honest"].contradictions == ()
    assert verdicts["honest"].claim.confirmed is None
    assert any("told apart" in sentence for sentence in verdicts["left out"].contradictions)
    assert verdicts["left out"].claim.confirmed is False


@pytest.mark.parametrize("method", [Retrain(NETWORK), CONVEX], ids=["exact", "certified"])
def test_a_cache_that_keeps_one_of_thirty_rows_voids_the_certificate(method: Method[Any]) -> None:
    audit = audited(CacheKeepsARow(method), references=0)
    assert audit.contradictions
    assert UNCHANGED not in audit.flags


def test_a_shard_whose_tail_is_skipped_voids_the_certificate() -> None:
    tail, seed = tail_of(SHARDED, ROWS, seed=3), 3
    assert 0 < np.isin(ROWS.ids[:30], tail).sum() < 30  # some rows of the request lie there, and some do not
    audit = audit_step(step_of(SkipsTheTail(SHARDED), ROWS, 30, seed=seed), TEST, references=0)
    assert any("other bytes" in sentence for sentence in audit.contradictions)


def test_a_request_wholly_in_the_tail_is_forgotten_in_name_only() -> None:
    tail = tail_of(SHARDED, ROWS, seed=3)
    ordered = ROWS.only(tail[:8]).and_rows(ROWS.without(tail[:8]))
    audit = audit_step(step_of(SkipsTheTail(SHARDED), ordered, 8), TEST, references=0)
    assert any("nothing was forgotten" in sentence for sentence in audit.contradictions)
    assert UNCHANGED in audit.flags
