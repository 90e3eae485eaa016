"""Audits of the package's own methods: honest steps pass, and the attack would have seen it had nothing been done."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from audit_toys import rows_of, step_of

from expunge.audits import audit_step
from expunge.audits.verdict import NOTHING, OVERFORGOTTEN, RECOGNISED, UNCHANGED, UTILITY
from expunge.features import Pipeline, tabular
from expunge.learners.sgd import Sgd
from expunge.method import Method
from expunge.methods.certified_newton import CertifiedNewton
from expunge.methods.retrain import Retrain
from expunge.methods.sisa import Sisa
from expunge.models import Mlp
from expunge.rows import Rows

ROWS, TEST = rows_of(150, 1, mislabelled=30), rows_of(300, 9, first=10_000)
NETWORK = Sgd(Mlp(hidden=(16,)), epochs=4, learning_rate=0.1)
CERTAIN = {NOTHING, UNCHANGED}
FAILURES = CERTAIN | {OVERFORGOTTEN, RECOGNISED, UTILITY}  # under fresh noise, one audit in a hundred raises these


def as_table(rows: Rows) -> Rows:
    """Each column of x under a name and in a unit of its own."""
    x = rows.columns["x"]
    return Rows.of({f"c{k}": 1e5**k * x[:, k] for k in range(2)}, rows.y, ids=rows.ids, classes=3)


@pytest.mark.parametrize(
    "method",
    [CertifiedNewton(l2=1e-2), Sisa(NETWORK, shards=2, slices=2), Retrain(NETWORK)],
    ids=["certified-newton", "sisa", "retrain"],
)
def test_honest_step_of_each_method_passes(method: Method[Any]) -> None:
    audit = audit_step(step_of(method, ROWS, 30), TEST, references=4)
    assert audit.claim.confirmed is True
    assert audit.contradictions == ()
    assert not (CERTAIN if isinstance(method, CertifiedNewton) else FAILURES) & set(audit.flags)
    assert audit.apart[0].share is not None
    assert audit.apart[0].share < 0.01


def test_planted_no_op_of_each_guarantee_is_contradicted() -> None:
    for method in (CertifiedNewton(l2=1e-2), Retrain(NETWORK)):
        honest = step_of(method, ROWS, 30)
        audit = audit_step(replace(honest, after=honest.before), TEST, references=0)
        assert audit.contradictions
        assert UNCHANGED in audit.flags


def test_release_of_another_learning_is_outside_the_distance() -> None:
    """The release of all rows, freshly noised: what a step that forgot nothing would sign."""
    honest = step_of(CertifiedNewton(l2=1e-2), ROWS, 30)
    assert honest.noise is not None
    kept = honest.method.learn(honest.retained.and_rows(honest.forgotten), seed=3, noise=honest.noise)
    audit = audit_step(replace(honest, after=honest.method.release(kept)), TEST, references=0)
    assert any("whole distance" in sentence for sentence in audit.contradictions)


def test_pipeline_is_checked_through_and_its_features_are_no_weights() -> None:
    rows, test = as_table(ROWS), as_table(TEST)
    method = Pipeline(tabular(rows, statistics="public"), CertifiedNewton(l2=1e-2))
    audit = audit_step(step_of(method, rows, 30), test, references=2)
    assert audit.claim.confirmed is True
    assert audit.subject == "CertifiedNewton"
    weights = audit.measure("weight distance")
    assert weights is not None
    assert weights.after < 1.0
    assert np.isfinite(weights.after)
