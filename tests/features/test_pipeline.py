"""A Pipeline forgets its statistics with its weights, and its certificate says how they are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from expunge import record
from expunge.certificate import Basis, Certificate, Certified, Exact, Uncertified, View
from expunge.errors import InputError, MustRetrain, Refused, SchemaError
from expunge.features import Categorical, Images, Numeric, Pipeline, offers
from expunge.maths import privacy
from expunge.method import Adopts, Checkable, Extends, Forgetting, Method, Release, Settles
from expunge.noise import NoiseKey, add_noise
from expunge.rows import Block, Rows, Table
from expunge.schema import Array

KEY = NoiseKey(bytes(32), 1)
NEXT = NoiseKey(bytes(32), 2)
CERTIFIED = Certified(
    1.0, 1e-5, privacy.mu_of(1.0, 1e-5), 0.01, 0.1, Basis.MEASURED, View.TRANSCRIPT, "learning", ("convex",)
)


@dataclass(frozen=True)
class Ridge(Method[Tensor]):
    """Least squares in closed form, learned again on every step: a method whose every answer is known."""

    features_may_change: ClassVar[bool] = True
    certificate: Certificate = CERTIFIED
    epsilon: float = 1.0
    delta: float = 1e-5
    max_epsilon: float = 10.0
    noise_std: float = 0.0

    def learn(self, rows: Rows, *, seed: int, noise: NoiseKey) -> Tensor:
        return add_noise(self.minimiser(rows), self.noise_std, noise)

    def forget(self, record: Tensor, retained: Rows, forgotten: Rows, *, noise: NoiseKey) -> Forgetting[Tensor]:
        return Forgetting(self.learn(retained, seed=0, noise=noise), self.certificate, {"passes": 1.0})

    def extend(self, record: Tensor, retained: Rows, added: Rows, *, noise: NoiseKey) -> Forgetting[Tensor]:
        return Forgetting(self.learn(retained.and_rows(added), seed=0, noise=noise), self.certificate, {})

    def adopt(self, weights: Mapping[str, Tensor], rows: Rows, *, seed: int, noise: NoiseKey) -> Tensor:
        return weights["w"]

    def settle(self, record: Tensor, retained: Rows) -> Tensor:
        return record + 0 * len(retained.y)

    def minimiser(self, rows: Rows, *, tol: float = 1e-12) -> Tensor:
        x, y = rows.columns["x"].reshape(len(rows), -1), rows.y.astype(float)
        return torch.from_numpy(np.linalg.solve(x.T @ x / len(x) + 0.1 * np.eye(x.shape[1]), x.T @ y / len(x)))

    def centre(self, release: Release, noise: NoiseKey) -> Tensor:
        xi = torch.from_numpy(noise.normals("release", tuple(release.tensors["w"].shape)))
        return release.tensors["w"] - self.noise_std * xi

    def release(self, record: Tensor) -> Release:
        return Release({"w": record}, {"outputs": 1})

    def predict(self, release: Release, columns: Mapping[str, Array]) -> Tensor:
        assert set(release.tensors) == {"w"}
        assert dict(release.settings) == {"outputs": 1}
        return torch.from_numpy(columns["x"].reshape(len(columns["x"]), -1)) @ release.tensors["w"].reshape(-1, 1)


@dataclass(frozen=True)
class Still(Method[int]):
    """A method that forgets by reading nothing, on features that must stay as they are."""

    def learn(self, rows: Rows, *, seed: int, noise: NoiseKey) -> int:
        return len(rows.y)

    def forget(self, record: int, retained: Rows, forgotten: Rows, *, noise: NoiseKey) -> Forgetting[int]:
        return Forgetting(record - len(forgotten), Exact(("same seed",)), {})

    def release(self, record: int) -> Release:
        return Release({"n": torch.tensor(record)})

    def predict(self, release: Release, columns: Mapping[str, Array]) -> Tensor:
        return release.tensors["n"].expand(len(columns["x"]), 1)


JOBS = ["clerk", "nurse", "cook"]


def people(n: int = 60, seed: int = 0) -> Rows:
    generator = np.random.default_rng(seed)
    age = generator.normal(40, 12, n)
    age[::7] = np.nan
    pay = generator.lognormal(10, 1, n)
    job = np.array(JOBS)[np.arange(n) % 3]
    return Rows.of({"age": age, "job": job, "pay": pay}, generator.normal(size=n), ids=[f"p{k}" for k in range(n)])


EXACT = (Numeric(("age", "pay"), indicator=True), Categorical(("job",)))
PUBLIC = (
    Numeric(("age", "pay"), "public", (40.0, 2e4), (12.0, 2e4)),
    Categorical(("job",), (("clerk", "cook", "nurse"),)),
)
NOISED = (
    Numeric(("age", "pay"), "noised", bounds=((0.0, 100.0), (0.0, 1e6)), mu=0.1, max_batch=2),
    Categorical(("job",), (("clerk", "cook", "nurse"),)),
)


def forget(pipeline: Pipeline, rows: Rows, ids: list[str], key: NoiseKey = NEXT) -> Forgetting[Any]:
    learned = pipeline.learn(rows, seed=0, noise=KEY)
    return pipeline.forget(learned, rows.without(ids), rows.only(ids), noise=key)


def test_predictions_come_from_raw_columns_and_the_release_alone() -> None:
    rows = people()
    pipeline = Pipeline(EXACT, Ridge())
    release = pipeline.release(pipeline.learn(rows, seed=0, noise=KEY))
    x = np.stack([rows.columns["age"], rows.columns["pay"]], axis=1)
    scaled = np.nan_to_num((x - np.nanmean(x, 0)) / np.nanstd(x, 0))
    hot = np.stack([rows.columns["job"] == level for level in sorted(JOBS)], axis=1)
    by_hand = np.concatenate([scaled, np.isnan(x), hot], axis=1).astype(float)
    w = Ridge().minimiser(Rows.of(by_hand, rows.y, classes=0))
    assert torch.allclose(pipeline.predict(release, rows.columns)[:, 0], torch.from_numpy(by_hand) @ w)


def test_a_stored_release_predicts_the_same() -> None:
    rows, pipeline = people(), Pipeline(EXACT, Ridge())
    release = pipeline.release(pipeline.learn(rows, seed=0, noise=KEY))
    tree, tensors = record.encode(release)
    read = record.decode(tree, tensors)
    assert torch.equal(pipeline.predict(read, rows.columns), pipeline.predict(release, rows.columns))


@settings(max_examples=15)
@given(st.sets(st.integers(0, 59), min_size=1, max_size=50))
def test_after_forgetting_everything_equals_learning_without_the_rows_bit_for_bit(gone: set[int]) -> None:
    rows, pipeline = people(), Pipeline((Numeric(("age", "pay")), PUBLIC[1]), Ridge())
    ids = [f"p{k}" for k in gone]
    step = forget(pipeline, rows, ids)
    again = pipeline.learn(rows.without(ids), seed=0, noise=NEXT)
    assert record.digest(step.record) == record.digest(again)
    assert record.digest(pipeline.release(step.record)) == record.digest(pipeline.release(again))


def test_requests_one_after_another_equal_one_request() -> None:
    rows, pipeline = people(), Pipeline(EXACT, Ridge())
    state = pipeline.learn(rows, seed=0, noise=KEY)
    left = rows
    for name in ["p1", "p8", "p30"]:
        state = pipeline.forget(state, left.without([name]), left.only([name]), noise=NEXT).record
        left = left.without([name])
    assert record.digest(state) == record.digest(pipeline.learn(left, seed=0, noise=NEXT))


def test_nothing_is_changed_in_place() -> None:
    rows, pipeline = people(), Pipeline(EXACT, Ridge())
    state = pipeline.learn(rows, seed=0, noise=KEY)
    before = record.digest(state)
    pipeline.forget(state, rows.without(["p1"]), rows.only(["p1"]), noise=NEXT)
    assert record.digest(state) == before


def test_a_method_on_fixed_features_must_retrain_when_they_change_and_not_otherwise() -> None:
    rows = people()
    with pytest.raises(MustRetrain, match="Still needs features that stay"):
        forget(Pipeline(EXACT, Still()), rows, ["p1"])
    assert forget(Pipeline(PUBLIC, Still()), rows, ["p1"]).record.inner == 59
    assert forget(Pipeline((Categorical(("job",)),), Still()), rows, ["p1"]).record.inner == 59


def test_a_level_that_leaves_changes_the_width_and_needs_retraining() -> None:
    rows = people().only([f"p{k}" for k in (0, 1, 2, 3, 4)])  # one cook: p2
    with pytest.raises(MustRetrain, match="width"):
        forget(Pipeline(EXACT, Ridge()), rows, ["p2"])
    forget(Pipeline(PUBLIC, Ridge()), rows, ["p2"])


def test_forgetting_everything_needs_retraining() -> None:
    rows = people(4)
    with pytest.raises(MustRetrain):
        forget(Pipeline(PUBLIC, Ridge()), rows, rows.ids.tolist())


def test_the_forgotten_rows_reach_the_method_as_they_were_learned() -> None:
    seen: dict[str, Array] = {}

    @dataclass(frozen=True)
    class Spy(Method[int]):
        features_may_change: ClassVar[bool] = True

        def learn(self, rows: Rows, *, seed: int, noise: NoiseKey) -> int:
            seen["learned"] = rows.columns["x"]
            return 0

        def forget(self, record: int, retained: Rows, forgotten: Rows, *, noise: NoiseKey) -> Forgetting[int]:
            seen["retained"], seen["forgotten"] = retained.columns["x"], forgotten.columns["x"]
            return Forgetting(0, Uncertified("a spy"), {})

        release = Still.release
        predict = Still.predict

    rows = people()
    step = forget(Pipeline(EXACT, Spy()), rows, ["p5"])
    assert np.array_equal(seen["forgotten"][0], seen["learned"][5])
    fresh = Pipeline(EXACT, Spy()).learn(rows.without(["p5"]), seed=0, noise=NEXT)
    assert np.array_equal(seen["retained"], seen["learned"])  # the second learn, on the retained rows
    assert record.digest(step.record.fitted) == record.digest(fresh.fitted)
    assert isinstance(step.certificate, Uncertified)


def test_statistics_forget_without_reading_a_retained_row() -> None:
    reads: list[str] = []

    def watched(rows: Rows, name: str) -> Rows:
        def block(source: Block) -> Block:
            def read() -> Table:
                reads.append(name)
                return source.read()

            return Block(source.keys, read)

        return Rows([block(b) for b in rows.blocks], rows.schema)

    rows, pipeline = people(), Pipeline((Categorical(("job",)), PUBLIC[0]), Still())
    state = pipeline.learn(watched(rows, "learned"), seed=0, noise=KEY)
    assert reads == ["learned", "learned"]  # once for the statistics, once for the features
    reads.clear()
    pipeline.forget(
        state, watched(rows.without(["p1"]), "retained"), watched(rows.only(["p1"]), "forgotten"), noise=NEXT
    )
    assert reads == ["forgotten"]


def test_public_statistics_read_the_rows_once() -> None:
    count: list[int] = []

    def transform(table: Table) -> Table:
        count.append(len(table))
        return table

    rows = people()
    Pipeline(PUBLIC, Ridge()).learn(rows.map(transform, rows.schema, keep=False), seed=0, noise=KEY)
    assert len(count) == 1


def test_exact_statistics_limit_a_certificate_to_one_release() -> None:
    certificate = forget(Pipeline(EXACT, Ridge()), people(), ["p1"]).certificate
    assert isinstance(certificate, Certified)
    assert certificate.view is View.ONE_RELEASE
    assert certificate.epsilon == 1.0
    assert certificate.assumptions[0] == "convex"
    assert any("two releases together" in text for text in certificate.assumptions)


def test_public_statistics_are_assumptions_and_leave_the_view() -> None:
    certificate = forget(Pipeline(PUBLIC, Ridge()), people(), ["p1"]).certificate
    assert isinstance(certificate, Certified)
    assert certificate.view is View.TRANSCRIPT
    assert (certificate.epsilon, certificate.mu) == (1.0, CERTIFIED.mu)
    assert [text for text in certificate.assumptions if "declared public" in text] == list(certificate.assumptions[1:])
    exact = forget(Pipeline(PUBLIC, Still()), people(), ["p1"]).certificate
    assert isinstance(exact, Exact)
    assert exact.assumptions == certificate.assumptions[1:]


def test_noised_statistics_spend_their_share() -> None:
    certificate = forget(Pipeline(NOISED, Ridge()), people(), ["p1"]).certificate
    assert isinstance(certificate, Certified)
    assert certificate.view is View.TRANSCRIPT
    assert certificate.mu == pytest.approx(np.hypot(CERTIFIED.mu, 0.1), rel=1e-12)
    assert privacy.gaussian_delta(certificate.epsilon, certificate.mu) == pytest.approx(1e-5, rel=1e-6)
    assert certificate.epsilon > 1.0


def test_a_step_of_more_rows_than_declared_is_forgotten_without_a_certificate() -> None:
    rows, pipeline = people(), Pipeline(NOISED, Ridge())
    some = [forget(pipeline, rows, [f"p{k}" for k in range(count)]).certificate for count in (1, 2)]
    assert some[0] == some[1]  # the certificate does not tell how many rows left
    assert isinstance(some[0], Certified)
    many = [f"p{k}" for k in range(12)]
    above = forget(pipeline, rows, many)
    assert isinstance(above.certificate, Uncertified)
    assert "max_batch" in above.certificate.why
    assert record.digest(above.record.states) == record.digest(
        pipeline.learn(rows.without(many), seed=0, noise=NEXT).states
    )


def test_a_budget_that_can_never_be_met_is_refused_before_learning() -> None:
    with pytest.raises(Refused, match="max_epsilon"):
        Pipeline(NOISED, Ridge(max_epsilon=1.01)).learn(people(), seed=0, noise=KEY)


def test_noised_statistics_are_fresh_for_each_release_and_secret() -> None:
    rows, pipeline = people(), Pipeline(NOISED, Ridge())
    forms = [
        pipeline.learn(rows, seed=seed, noise=key).fitted[0]["centre"] for seed, key in ((0, KEY), (1, KEY), (0, NEXT))
    ]
    assert torch.equal(forms[0], forms[1])
    assert not torch.equal(forms[0], forms[2])


@pytest.mark.parametrize(("features", "word"), [(EXACT, "exact"), (PUBLIC, "public"), (NOISED, "noised")])
def test_the_release_says_how_its_statistics_are_known(features: Any, word: str) -> None:
    pipeline = Pipeline(features, Ridge())
    release = pipeline.release(pipeline.learn(people(), seed=0, noise=KEY))
    assert release.settings["statistics"] == pipeline.statistics == word
    assert {"w", "features/0/centre", "features/0/scale"} == set(release.tensors)


def test_offers_tells_the_truth_of_the_method_inside() -> None:
    for protocol in (Extends, Adopts, Settles, Checkable):
        assert offers(Ridge(), protocol)
        assert offers(Pipeline(PUBLIC, Ridge()), protocol)
        assert not offers(Still(), protocol)
        assert not offers(Pipeline(PUBLIC, Still()), protocol)
    assert not offers(Pipeline(NOISED, Ridge()), Checkable)


def test_extending_equals_learning_all_rows() -> None:
    rows, pipeline = people(), Pipeline(EXACT, Ridge())
    first, more = rows.without(["p3", "p4"]), rows.only(["p3", "p4"])
    step = pipeline.extend(pipeline.learn(first, seed=0, noise=KEY), first, more, noise=NEXT)
    assert record.digest(step.record) == record.digest(pipeline.learn(first.and_rows(more), seed=0, noise=NEXT))
    with pytest.raises(MustRetrain, match="Still"):
        Pipeline(PUBLIC, Still()).extend(
            Pipeline(PUBLIC, Still()).learn(first, seed=0, noise=KEY), first, more, noise=NEXT
        )


def test_adopt_settle_minimiser_and_centre_reach_the_method() -> None:
    rows, pipeline = people(), Pipeline(EXACT, Ridge(noise_std=0.5))
    state = pipeline.learn(rows, seed=0, noise=KEY)
    minimiser = pipeline.minimiser(rows)
    assert torch.allclose(pipeline.centre(pipeline.release(state), KEY), minimiser, atol=1e-5)
    assert not torch.allclose(state.inner, minimiser, atol=1e-2)
    assert record.digest(pipeline.settle(state, rows)) == record.digest(state)
    assert torch.equal(pipeline.adopt({"w": minimiser}, rows, seed=0, noise=KEY).inner, minimiser)


def test_what_the_method_does_not_offer_is_refused() -> None:
    rows, pipeline = people(), Pipeline(PUBLIC, Still())
    state = pipeline.learn(rows, seed=0, noise=KEY)
    assert pipeline.settle(state, rows) is state
    with pytest.raises(Refused, match="adopts"):
        pipeline.adopt({}, rows, seed=0, noise=KEY)
    with pytest.raises(Refused, match="minimiser"):
        pipeline.minimiser(rows)
    with pytest.raises(Refused):
        pipeline.centre(pipeline.release(state), KEY)
    with pytest.raises(Refused):
        Pipeline(NOISED, Ridge()).minimiser(rows)


def test_one_feature_keeps_its_shape() -> None:
    images = Rows.of(np.zeros((3, 4, 5), dtype=np.uint8), [0.0, 1.0, 2.0])
    seen = Pipeline((Images(),), Still())
    state = seen.learn(images, seed=0, noise=KEY)
    assert seen.predict(seen.release(state), images.columns).shape == (3, 1)
    from expunge.features.fitting import mapped

    assert mapped((Images(),), ({},), images).schema.columns[0].shape == (4, 5)


def test_raw_columns_that_cannot_be_used_are_errors_at_prediction_too() -> None:
    rows, pipeline = people(), Pipeline(EXACT, Ridge())
    release = pipeline.release(pipeline.learn(rows, seed=0, noise=KEY))
    columns = dict(rows.columns)
    with pytest.raises(SchemaError, match="'pay'"):
        pipeline.predict(release, {name: column for name, column in columns.items() if name != "pay"})
    with pytest.raises(InputError, match="'pay'"):
        pipeline.predict(release, columns | {"pay": np.full(60, np.inf)})


def test_settings_that_are_no_pipeline_are_errors() -> None:
    with pytest.raises(InputError, match="features"):
        Pipeline((), Ridge())
    with pytest.raises(InputError, match="Method"):
        Pipeline(EXACT, "certified-newton")  # type: ignore[arg-type]


def test_a_pipeline_and_its_settings_can_be_stored() -> None:
    features = Pipeline(NOISED, Ridge()).features
    tree, tensors = record.encode(features)
    assert record.decode(tree, tensors) == features
    assert replace(Pipeline(NOISED, Ridge()), features=EXACT).statistics == "exact"
