"""Audits of methods without a target: distances to the nearest centroid stand where accuracy and loss cannot."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from expunge.audits import Audit, audit_step
from expunge.audits.claims import Claim
from expunge.audits.live_audit import audit_live
from expunge.audits.metrics import adjusted_rand
from expunge.audits.step import Step
from expunge.audits.verdict import RECOGNISED, UNCHANGED, UTILITY
from expunge.features import Pipeline, tabular
from expunge.method import Method
from expunge.methods.k_means import KMeans
from expunge.reports import comparison_rows, render
from expunge.rows import Rows
from expunge.testing import noise_key

FORGOTTEN = [f"r{i}" for i in range(0, 60, 2)]


def clouds(n: int, seed: int, first: str = "r", **options: Any) -> Rows:
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(n, 3)) + 8.0 * np.eye(3)[np.arange(n) % 3]
    return Rows.of(x, ids=[f"{first}{i}" for i in range(n)], **options)


def step_of(method: Method[Any], rows: Rows, ids: list[str] = FORGOTTEN) -> Step:
    retained, forgotten = rows.without(ids), rows.only(ids)
    record, key = method.learn(rows, seed=3, noise=noise_key(1)), noise_key(2, 2)
    done = method.forget(record, retained, forgotten, noise=key)
    before, after = method.release(record), method.release(done.record)
    return Step(method, 3, before, after, done.certificate, retained, forgotten, key)


ROWS, TEST = clouds(200, 1), clouds(100, 2, "t")


@pytest.mark.parametrize("width", [1, 3])
def test_an_honest_step_passes_and_says_what_was_compared(width: int) -> None:
    audit = audit_step(step_of(KMeans(3, lattice=0.01, width=width), ROWS), TEST, references=4)
    assert audit.claim.confirmed is True
    assert not {RECOGNISED, UTILITY} & set(audit.flags)
    names = [measure.name for measure in audit.measures]
    assert [name for name in names if name.startswith("distance on")] == [
        "distance on retained",
        "distance on forgotten",
        "distance on test",
    ]
    assert "equal clusters on test" in names
    assert not [name for name in names if name.split()[0] in ("accuracy", "loss", "rmse", "r2", "kl", "weight")]
    assert {attack.feature for attack in audit.attacks} == {"calibrated margin", "distance"}
    assert audit.summary()["test"]["measure"] == "distance on test"
    assert Audit.from_json(audit.to_json()) == audit


def test_the_distance_is_the_root_of_the_inertia_per_row() -> None:
    method = KMeans(3, lattice=0.01)
    step = step_of(method, ROWS)
    measure = audit_step(step, TEST, references=0).measure("distance on test")
    assert measure is not None
    assert measure.after == pytest.approx(np.sqrt(method.inertia(step.after, TEST.columns) / 100))
    assert measure.before == pytest.approx(np.sqrt(method.inertia(step.before, TEST.columns) / 100))


def test_doing_nothing_is_contradicted_and_a_bad_clustering_is_worse_on_test_rows() -> None:
    honest = step_of(KMeans(3, lattice=0.01), ROWS)
    audit = audit_step(replace(honest, after=honest.before), TEST, references=0)
    assert audit.contradictions
    assert UNCHANGED in audit.flags
    moved = replace(honest.after, tensors={"centroids": honest.after.tensors["centroids"] + 5.0})
    assert UTILITY in audit_step(replace(honest, after=moved), TEST, references=3).flags


def test_a_target_that_is_there_all_the_same_is_not_audited() -> None:
    rows, test = clouds(200, 1, y=np.arange(200) % 2, classes=2), clouds(100, 2, "t", y=np.arange(100) % 2, classes=2)
    audit = audit_step(step_of(KMeans(3, lattice=0.01), rows), test, references=2)
    assert audit.measure("accuracy on test") is None
    assert audit.measure("distance on test") is not None


def test_it_is_seen_through_a_pipeline_and_stands_in_a_report() -> None:
    def table(rows: Rows) -> Rows:
        return Rows.of({f"c{k}": rows.columns["x"][:, k] for k in range(3)}, ids=rows.ids.tolist())

    rows = table(ROWS)
    method = Pipeline(tabular(rows, statistics="public"), KMeans(3, lattice=0.01))
    audit = audit_step(step_of(method, rows), table(TEST), references=2)
    assert audit.claim.confirmed is True
    assert audit.subject == "KMeans"
    row = comparison_rows([("k-means", "30 rows", audit)])[0]
    assert row.quality == "distance on test"
    assert "distance on test" in render([("k-means", "30 rows", audit)])


def test_the_live_state_is_audited_beside_references() -> None:
    method = KMeans(3, lattice=0.01)
    release = method.release(method.learn(ROWS, seed=3, noise=noise_key(1)))
    claim = Claim(True, "Replayed.")
    audit = audit_live(method, release, ROWS, TEST, seed=3, number=1, certificate=None, claim=claim, references=3)
    assert UTILITY not in audit.flags
    assert [measure.name for measure in audit.measures] == [
        "distance on retained",
        "distance on test",
        "equal clusters on test",
        "prediction gap on test",
    ]


def test_adjusted_rand_is_scikit_learns(generator: np.random.Generator) -> None:
    for n, k in ((2, 1), (5, 2), (50, 3), (200, 7)):
        one, other = generator.integers(0, k, n), generator.integers(0, k + 1, n)
        assert adjusted_rand(one, other) == pytest.approx(adjusted_rand_score(one, other))
        assert adjusted_rand(one, (one + 1) % k) == pytest.approx(1.0)
    assert adjusted_rand(np.zeros(4, dtype=int), np.zeros(4, dtype=int)) == 1.0
    assert adjusted_rand(np.arange(4), np.arange(4)[::-1]) == 1.0
    assert adjusted_rand(np.zeros(1, dtype=int), np.zeros(1, dtype=int)) == 1.0
