"""What a comparison makes of cells: exact methods are their twins, planted failures are caught, bands are honest."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from expunge.audits import verdict
from expunge.audits.planted import mislabelled
from expunge.certificate import Basis, Certified, View
from expunge.comparisons import Case, Compared, Entry, Plan, Workers, boundary_methods, compare, summarise
from expunge.comparisons.boundary import AGAIN, NOTHING, ON, PRIVATE, Nothing, main_learner
from expunge.comparisons.models import Seen
from expunge.comparisons.over_models import told_apart
from expunge.errors import NotConverged
from expunge.learners.convex import Convex
from expunge.learners.sgd import Sgd
from expunge.method import Forgetting, Method, Release
from expunge.methods import CertifiedNewton, KMeans, NearestNeighbours, Retrain, Ridge, Sisa
from expunge.methods.retrain import RetrainRecord
from expunge.models import Mlp
from expunge.noise import NoiseKey
from expunge.rows import Rows
from tests.comparisons.conftest import rows_of

NETWORK = Sgd(Mlp((16,)), epochs=30, batch_size=8, l2=0.0)
FAKE = Certified(0.1, 1e-5, 0.05, 0.1, 0.1, Basis.ASSUMED, View.TRANSCRIPT, "learning again", ())


@dataclass(frozen=True)
class Sham(Method[RetrainRecord]):
    """A network that claims a certificate and does nothing (or breaks itself)."""

    learner: Sgd = NETWORK
    broken: bool = False

    def learn(self, rows: Rows, *, seed: int, noise: NoiseKey) -> RetrainRecord:
        return Retrain(self.learner).learn(rows, seed=seed, noise=noise)

    def forget(self, record: Any, retained: Rows, forgotten: Rows, *, noise: NoiseKey) -> Forgetting[RetrainRecord]:
        if not self.broken:
            return Forgetting(record, FAKE, {})
        weights = {name: 0 * tensor for name, tensor in record.training.tensors.items()}
        return Forgetting(replace(record, training=replace(record.training, tensors=weights)), FAKE, {})

    def release(self, record: RetrainRecord) -> Release:
        return self.learner.release(record.training)

    def predict(self, release: Release, columns: Any) -> Tensor:
        return self.learner.predict(release, columns)


def found_of(entries: list[Entry], folder: Path, plan: Plan, case: Case) -> dict[str, Compared]:
    measured = compare(entries, [case], plan, folder, Workers("threading", 1), lambda *_: None)
    return {each.entry.label: summarise(each) for each in measured}


@pytest.fixture(scope="module")
def wrong(unseen: Rows) -> Case:
    """Twelve of a hundred labels are wrong, and those rows are to be forgotten."""
    rows, ids = mislabelled(rows_of(100, 1), 12, seed=3)
    return Case.of("12 mislabelled rows", rows, [str(name) for name in ids], unseen)


@pytest.fixture(scope="module")
def found(wrong: Case, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Compared]:
    methods: dict[str, Method[Any]] = {
        "newton": CertifiedNewton(),
        "shards": Sisa(NETWORK, 2, 2),
        "neighbours": NearestNeighbours(),
        "sham": Sham(),
        "broken": Sham(broken=True),
        "again": Retrain(NETWORK),
        "nothing": Nothing(NETWORK),
    }
    entries = [Entry(label, method) for label, method in methods.items()]
    plan = Plan(seeds=2, references=8, sequences=False, noise=False)
    return found_of(entries, tmp_path_factory.mktemp("compared"), plan, wrong)


def test_an_exact_method_is_its_twin_in_every_score(found: dict[str, Compared]) -> None:
    for label in ("shards", "neighbours", "again"):
        each = found[label]
        assert each.kind == "exact"
        assert each.confirmed
        assert each.information == 0
        for pair in (each.effectiveness, each.kl, each.certifiability):
            assert pair is not None
            assert pair.after == 0
        assert each.equal is not None
        assert each.equal.after == 1
    assert found["shards"].theta_share == 0
    assert found["neighbours"].theta is None or found["neighbours"].theta.after == 0


def test_doing_nothing_with_a_certificate_is_caught(found: dict[str, Compared]) -> None:
    sham = found["sham"]
    assert sham.theta_share == 1
    assert {verdict.UNCHANGED, verdict.NOTHING} <= set(sham.flags)
    assert "bit for bit the one before" in " ".join(sham.contradictions)
    assert sham.attack is not None
    assert sham.attack.auc == sham.attack.before
    assert sham.attack.auc > 0.8
    assert sham.attack.calibration is not None
    assert sham.attack.calibration.p_value < 0.05


def test_a_wrecked_model_does_not_pass(found: dict[str, Compared]) -> None:
    assert verdict.UTILITY in found["broken"].flags


def test_retraining_lies_in_the_band_and_doing_nothing_outside(found: dict[str, Compared]) -> None:
    again, nothing = found["again"].attack, found["nothing"].attack
    assert again is not None
    assert nothing is not None
    assert again.null == nothing.null  # one set of references
    low, high = again.null
    assert low <= again.auc <= high
    assert again.calibration is not None
    assert nothing.calibration is not None
    assert nothing.calibration.p_value < 0.05 < again.calibration.p_value


def test_where_learning_draws_nothing_the_references_are_one_and_the_band_is_chance(
    found: dict[str, Compared],
) -> None:
    neighbours = found["neighbours"]
    assert (neighbours.references, neighbours.drawn) == (8, 1)
    assert neighbours.attack is not None
    assert neighbours.attack.by_chance
    assert neighbours.attack.calibration is None
    assert neighbours.klom is None
    assert found["newton"].drawn == 8


def test_preparation_is_what_learning_costs_beyond_plain_training(found: dict[str, Compared]) -> None:
    again, newton = found["again"].costs, found["newton"].costs
    assert again is not None
    assert newton is not None
    assert newton.plain is None
    assert newton.preparation is None
    assert newton.break_even is None
    assert replace(again, learn=3.0, plain=1.0, forget=0.5).preparation == 2.0
    assert replace(again, learn=3.0, plain=1.0, forget=0.5).break_even == 4.0
    assert replace(again, learn=1.05, plain=1.0, forget=1.05).break_even == 0.0
    assert replace(again, learn=3.0, plain=1.0, forget=2.0).break_even == float("inf")


def test_models_that_are_told_apart_void_a_certificate(wrong: Case) -> None:
    generator = np.random.default_rng(0)

    def seen(shift: float) -> Seen:
        drawn = {kind: generator.normal(size=(len(rows), 2)) for kind, rows in wrong.on.items()}
        scores = {kind: values + np.array([0, shift]) for kind, values in drawn.items()}
        return Seen.of(wrong, scores, clusters=False)

    honest, apart = [seen(0.0) for _ in range(40)], [seen(8.0) for _ in range(40)]
    assert "told apart better than the certificate allows" in told_apart(FAKE, apart, honest)
    assert told_apart(FAKE, [seen(0.0) for _ in range(40)], honest) == ""


def test_a_clustering_is_compared_by_distances_and_equal_clusters(unseen: Rows, tmp_path: Path) -> None:
    case = Case.of("5 rows", rows_of(80, 1), [f"r{i}" for i in range(5)], unseen)
    entries = [Entry("k-means", KMeans(3)), Entry("ridge", Ridge(l2=1e-2))]
    each = found_of(entries, tmp_path, Plan(seeds=1, references=3), case)["k-means"]
    assert each.quality_name == "distance"
    assert each.equal is not None
    assert each.equal.after == 1
    assert each.kl is None
    assert each.drift[-1].after == 0 < each.drift[-1].nothing


def test_a_regression_is_compared_by_errors(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(120, 2))
    y = x[:, 0] + 0.1 * np.random.default_rng(1).normal(size=120)
    rows, unseen = Rows.of(x[:80], y[:80]), Rows.of(x[80:], y[80:], ids=range(80, 120))
    case = Case.of("3 rows", rows, ["1", "2", "3"], unseen)
    methods = {"ridge": Ridge(l2=1e-2), "newton": CertifiedNewton(loss="squared")}
    boundary = boundary_methods(list(methods.values()), rows, lambda method: method)
    assert set(boundary) == {NOTHING, AGAIN, ON, PRIVATE}
    entries = [Entry(label, method) for label, method in (methods | boundary).items()]
    found = found_of(entries, tmp_path, Plan(seeds=1, references=2), case)
    assert {each.refused for each in found.values()} == {""}
    assert found["ridge"].quality_name == "rmse"
    assert found["ridge"].tow is None
    assert found["ridge"].kl is None
    assert [level.noise_std for level in found["newton"].levels] == sorted(
        level.noise_std for level in found["newton"].levels
    )


def test_boundary_rows_take_the_learner_that_most_methods_name() -> None:
    rows = rows_of(20, 1)
    assert main_learner([Sisa(NETWORK), Retrain(NETWORK), CertifiedNewton()], rows.schema) == NETWORK
    assert main_learner([CertifiedNewton()], rows.schema) == Convex()
    assert main_learner([KMeans(2)], rows.schema) is None
    assert AGAIN not in boundary_methods([Retrain(NETWORK)], rows, lambda method: method)


def test_scores_that_are_not_numbers_are_a_reason(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sham, "predict", lambda *_: Tensor([[float("nan"), 0.0]]).repeat(len(case.on["test"]), 1))
    monkeypatch.setattr("expunge.audits.candidates.BATCH", 10**6)
    each = found_of([Entry("sham", Sham())], tmp_path, Plan(seeds=1, references=2), case)["sham"]
    assert NotConverged.__name__ in each.refused
    assert "it diverged on these rows" in each.refused
