"""Corners where a certificate could be false although every ordinary step is right; each was tried against the code."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from expunge.certificate import Certified, Exact
from expunge.errors import DuplicateRows, InputError, NotConverged, Refused, SchemaError, UnknownRows
from expunge.features import Numeric, Pipeline, fitting
from expunge.learners.convex import Convex
from expunge.learners.learner import Learner
from expunge.learners.scikit_learn import ScikitLearn
from expunge.learners.sgd import Sgd
from expunge.load import rows_from_file
from expunge.maths.floating_point import RELEASES
from expunge.method import Forgetting, Method, Release
from expunge.methods import CertifiedNewton, Retrain, Sisa
from expunge.models import Mlp, ModuleFile
from expunge.noise import NoiseKey
from expunge.objective import bounds, minimise
from expunge.record import digest
from expunge.rows import Block, Rows, Table
from expunge.schema import Array
from expunge.testing import ContractBroken, check_method, holds, noise_key
from expunge.vault import Vault

METHOD = CertifiedNewton(loss="logistic", l2=1e-2, noise_std=0.05)


def blobs(n: int = 60, p: int = 3) -> Rows:
    generator = np.random.default_rng(2)
    y = np.arange(n) % 2
    return Rows.of(generator.normal(size=(n, p)) + y[:, None], y, ids=[f"row-{i}" for i in range(n)], classes=2)


# Rounding: what bounded the rows before need not bound them under features that were fitted again.


def test_the_rounding_bound_is_that_of_the_features_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    ones, zeros = generator.choice([-1.0, 1.0], size=40), np.zeros(4000)
    old = Rows.of({"a": ones}, np.arange(40) % 2, classes=2)
    new = Rows.of({"a": zeros}, np.arange(4000) % 2, ids=[f"n{i}" for i in range(4000)], classes=2)
    used: list[float] = []

    def spy(objective: Any, w: Tensor, rows: Rows, large: bounds.Magnitudes, measured: float) -> float:
        used.append(large.row)
        return bounds.largest_residual(objective, w, rows, large, measured)

    monkeypatch.setattr(minimise, "largest_residual", spy)
    method = Pipeline((Numeric(("a",)),), METHOD)
    record = method.learn(old, seed=0, noise=noise_key(1, 1))
    step = method.extend(record, old, new, noise=noise_key(2, 2))
    true = bounds.magnitudes(fitting.mapped(method.features, step.record.fitted, old.and_rows(new))).row
    assert used[0] < true / 5  # the old bound is no bound any more
    assert used[-1] >= true


# The schedule.


def test_no_release_is_certified_past_those_that_machine_noise_was_charged_for() -> None:
    loud, rows = CertifiedNewton(loss="logistic", noise_std=8.0, l2=1.0), blobs()
    loud.learn(rows, seed=0, noise=noise_key(1, RELEASES))
    with pytest.raises(Refused, match="begin a new vault"):
        loud.learn(rows, seed=0, noise=noise_key(1, RELEASES + 1))


def test_learning_late_obeys_the_late_tolerance(tmp_path: Path) -> None:
    """A model learned at release 50 is as near as one forgotten at release 50: the reference errs by the same half."""
    rows = blobs()
    for release in (1, 7, 50):
        key = noise_key(release, release)
        record = METHOD.learn(rows, seed=0, noise=key)
        distance = METHOD._budget().distance(release, record.weights.numel())
        apart = torch.linalg.vector_norm(METHOD.centre(METHOD.release(record), key) - METHOD.minimiser(rows))
        assert apart <= distance / 2
    folder = tmp_path / "vault"
    with Vault.create(folder, rows, Impatient()) as vault:
        for expected in (2, 3):
            vault.request(ids=[f"row-{expected}"])
            (done,) = vault.work()
            assert (done.release, bool(done.relearned)) == (expected, True)
            assert vault.record().number == expected  # learning again does not start the count again


@dataclasses.dataclass(frozen=True)
class Impatient(Method[Any]):
    """Always learns again."""

    def learn(self, rows: Rows, *, seed: int, noise: NoiseKey) -> Any:
        return METHOD.learn(rows, seed=seed, noise=noise)

    def forget(self, record: Any, retained: Rows, forgotten: Rows, *, noise: NoiseKey) -> Forgetting[Any]:
        raise NotConverged("on purpose")

    def release(self, record: Any) -> Release:
        return METHOD.release(record)

    def predict(self, release: Release, columns: Mapping[str, Array]) -> Tensor:
        return METHOD.predict(release, columns)


# Pipelines.

NOISED = Numeric(("a", "b"), "noised", bounds=((-3.0, 3.0), (-3.0, 3.0)), mu=0.2, max_batch=2)


def two_columns(n: int = 80) -> Rows:
    x = np.random.default_rng(4).normal(size=(n, 2))
    return Rows.of({"a": x[:, 0], "b": x[:, 1]}, np.arange(n) % 2, classes=2)


def test_noised_statistics_are_drawn_alike_in_both_worlds_and_afresh_for_every_release() -> None:
    rows, method = two_columns(), Pipeline((NOISED,), METHOD)
    retained, forgotten = rows.without(["0", "1"]), rows.only(["0", "1"])
    record = method.learn(rows, seed=0, noise=NoiseKey.fresh(1))
    key = NoiseKey.fresh(2)
    step, clean = method.forget(record, retained, forgotten, noise=key), method.learn(retained, seed=0, noise=key)
    assert fitting.same(step.record.fitted, clean.fitted)  # one law for both: from the deletion on nothing is spent
    again = method.forget(record, retained, forgotten, noise=NoiseKey.fresh(2))
    assert not fitting.same(step.record.fitted, again.record.fitted)
    assert not fitting.same(step.record.fitted, record.fitted)
    nothing = method.forget(record, rows, rows.select(np.zeros(len(rows), dtype=bool)), noise=NoiseKey.fresh(2))
    assert digest(nothing.record) == digest(record)


def test_the_noise_of_statistics_and_weights_and_releases_is_independent() -> None:
    draws = []
    for _ in range(400):
        keys = [NoiseKey.fresh(release) for release in (1, 2)]
        draws.append([key.normals(what, (1,))[0] for key in keys for what in ("release", "features/0", "features/1")])
    same_secret = [NoiseKey(bytes([k % 256, k // 256]) * 16, release) for k in range(400) for release in (1, 2)]
    draws += [[k.normals(w, (1,))[0] for k in same_secret[i : i + 2] for w in ("release", "features/0", "features/1")]
              for i in range(0, 800, 2)]  # fmt: skip
    correlations = np.corrcoef(np.array(draws).T)[np.triu_indices(6, 1)]
    assert np.abs(correlations).max() < 5.5 / np.sqrt(len(draws))


def test_two_pipelines_cannot_share_a_stream_of_noise() -> None:
    with pytest.raises(InputError, match="not a Pipeline again"):
        Pipeline((NOISED,), Pipeline((Numeric(("x",)),), METHOD))


@pytest.mark.parametrize("mu", [1e-9, 1e-3, 0.2])
def test_statistics_never_make_epsilon_smaller(mu: float) -> None:
    rows, method = two_columns(), Pipeline((dataclasses.replace(NOISED, mu=mu),), METHOD)
    record = method.learn(rows, seed=0, noise=noise_key(1, 1))
    step = method.forget(record, rows.without(["0"]), rows.only(["0"]), noise=noise_key(2, 2))
    assert isinstance(step.certificate, Certified)
    assert step.certificate.epsilon >= METHOD.epsilon


def test_an_exact_method_on_noised_statistics_says_under_what_condition() -> None:
    rows, method = two_columns(), Pipeline((NOISED,), Retrain(Convex()))
    record = method.learn(rows, seed=0, noise=noise_key(1, 1))
    step = method.forget(record, rows.without(["0"]), rows.only(["0"]), noise=noise_key(2, 2))
    assert isinstance(step.certificate, Exact)
    assert any("drawn anew" in condition for condition in step.certificate.conditions)


def test_a_model_learned_again_keeps_the_assumptions_of_its_features(tmp_path: Path) -> None:
    public = Numeric(("a", "b"), "public", centres=(0.0, 0.0), scales=(1.0, 1.0))
    with Vault.create(tmp_path / "vault", two_columns(), Pipeline((public,), Impatient())) as vault:
        vault.request(ids=["3"])
        (done,) = vault.work()
    assert isinstance(done.certificate, Exact)
    assert "declared public: centre and scale of column(s) a, b" in done.certificate.assumptions


# Names.


def test_an_id_given_alone_is_not_taken_letter_by_letter() -> None:
    rows = Rows.of(np.zeros((20, 1)))
    assert rows.only("12").ids.tolist() == ["12"]
    assert len(rows.without("12")) == 19
    assert rows.only(7).ids.tolist() == ["7"]


def test_one_name_in_two_unicode_forms_is_one_name() -> None:
    composed, taken_apart = "Jos\u00e9", "Jose\u0301"
    with pytest.raises(DuplicateRows):
        Rows.of(np.zeros((2, 1)), ids=[composed, taken_apart])
    rows = Rows.of(np.zeros((3, 1)), ids=["a", "b", "c"], subjects=[composed, taken_apart, "Ann"])
    assert len(rows.of_subjects([taken_apart])) == 2
    assert rows.of_subjects(composed).ids.tolist() == ["a", "b"]


@pytest.mark.parametrize("other", ["01", "1.0", " 1", "１"])
def test_ids_that_only_look_alike_are_refused_and_nothing_is_forgotten(tmp_path: Path, other: str) -> None:
    with Vault.create(tmp_path / "vault", two_columns(), over_public_columns()) as vault:
        with pytest.raises(UnknownRows):
            vault.request(ids=[other])
        assert vault.request(ids=[1]) == 1


def over_public_columns() -> Method[Any]:
    public = Numeric(("a", "b"), "public", centres=(0.0, 0.0), scales=(1.0, 1.0))
    return Pipeline((public,), METHOD)


def test_rows_with_and_without_subjects_do_not_mix() -> None:
    named = Rows.of(np.zeros((2, 1)), ids=["a", "b"], subjects=["s", "s"])
    nameless = Rows.of(np.ones((1, 1)), ids=["s"])  # an id that is a subject's name elsewhere
    with pytest.raises(SchemaError, match="name their subjects"):
        named.and_rows(nameless).table()


# The bits of exact methods: order of rows, cut into blocks, alignment of memory, type of numbers.


def scattered(rows: Rows, seed: int) -> Rows:
    """The same rows in another order, in blocks of odd sizes, each at an odd place in memory, x as float32."""
    table = rows.table()
    order = np.random.default_rng(seed).permutation(len(table))
    cuts = [0, 1, 8, 31, len(table)]
    blocks = []
    for start, end in itertools.pairwise(cuts):
        part = table.take(order[start:end])
        x = part.columns["x"].astype(np.float32)
        buffer = np.empty(x.nbytes + 64, dtype=np.uint8)
        moved = buffer[4 : 4 + x.nbytes].view(np.float32).reshape(x.shape)
        moved[:] = x
        held = Table(part.ids, part.keys, part.owners, part.subjects, {"x": moved}, part.y)
        blocks.append(Block(held.keys, lambda held=held: held))
    return Rows(blocks, rows.schema)


SGD = Sgd(model=Mlp((5,)), epochs=3, batch_size=8)


@pytest.mark.parametrize(
    "learner",
    [
        SGD,
        dataclasses.replace(SGD, optimiser="adam", learning_rate=0.01, precision="float64"),
        Convex(),
        *(ScikitLearn(name) for name in ("LogisticRegression", "GaussianNB", "MLPClassifier")),
        ScikitLearn("SGDClassifier", {"loss": "log_loss"}),
    ],
    ids=lambda learner: getattr(learner, "estimator", type(learner).__name__),
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_exact_bits_depend_on_the_rows_alone(learner: Learner) -> None:
    rows = blobs()
    table = rows.table()
    single = Rows.of(table.columns["x"].astype(np.float32), table.y, ids=table.ids, classes=2)
    for method in (Retrain(learner), Sisa(learner, shards=2, slices=2)):
        clean = digest(method.learn(single.without(["row-5"]), seed=1, noise=noise_key(1)))
        for seed in (1, 2):
            other = scattered(single, seed)
            record = method.learn(other, seed=1, noise=noise_key(1))
            torch.set_num_threads(2)
            try:
                step = method.forget(record, other.without(["row-5"]), other.only(["row-5"]), noise=noise_key(2, 2))
            finally:
                torch.set_num_threads(1)
            assert digest(step.record) == clean


# The contract's own checks can fail.


@dataclasses.dataclass(frozen=True, eq=False)
class Kept:
    """A record, and something that should not be in it."""

    inner: Any
    extra: tuple[Tensor, ...]


@dataclasses.dataclass(frozen=True)
class Hoarder(Method[Kept]):
    """Certified Newton that keeps its noiseless weights in some disguise, or leaves a weight without noise."""

    features_may_change: ClassVar[bool] = True
    disguise: str

    def learn(self, rows: Rows, *, seed: int, noise: NoiseKey) -> Kept:
        return self._kept(METHOD.learn(rows, seed=seed, noise=noise), noise)

    def forget(self, record: Kept, retained: Rows, forgotten: Rows, *, noise: NoiseKey) -> Forgetting[Kept]:
        step = METHOD.forget(record.inner, retained, forgotten, noise=noise)
        after = record if step.record is record.inner else self._kept(step.record, noise, record)
        return Forgetting(after, step.certificate, step.stats)

    def settle(self, record: Kept, retained: Rows) -> Kept:
        return dataclasses.replace(record, inner=METHOD.settle(record.inner, retained))

    def release(self, record: Kept) -> Release:
        if self.disguise == "quiet":
            weights = torch.cat([record.inner.weights.reshape(-1)[:-1], record.extra[0][-1:]])
            return Release({"weights": weights.reshape(record.inner.weights.shape)}, {"loss": METHOD.loss})
        return METHOD.release(record.inner)

    def predict(self, release: Release, columns: Mapping[str, Array]) -> Tensor:
        return METHOD.predict(release, columns)

    def minimiser(self, rows: Rows, *, tol: float = 1e-12) -> Tensor:
        return METHOD.minimiser(rows, tol=tol)

    def centre(self, release: Release, noise: NoiseKey) -> Tensor:
        return METHOD.centre(release, noise)

    def _kept(self, inner: Any, noise: NoiseKey, before: Kept | None = None) -> Kept:
        centre = METHOD.centre(METHOD.release(inner), noise)
        old = inner.weights.reshape(-1) if before is None else before.inner.weights.reshape(-1)
        extra = {
            "nothing": (),
            "halves": (centre[:2].clone(), centre[2:].clone()),
            "single precision": (centre.float(),),
            "stacked": (torch.stack([torch.ones_like(centre), centre]),),
            "a column": (torch.stack([torch.ones_like(centre), centre], dim=1),),
            "the release before": (torch.cat([torch.zeros(3, dtype=torch.float64), old]),),
            "quiet": (centre,),
        }
        return Kept(inner, extra[self.disguise])


def test_the_contract_accepts_the_honest_one() -> None:
    check_method(Hoarder("nothing"), blobs(), ("row-3", "row-4"))


@pytest.mark.parametrize(
    "disguise", ["halves", "single precision", "stacked", "a column", "the release before", "quiet"]
)
def test_the_contract_catches_weights_kept_in_disguise(disguise: str) -> None:
    with pytest.raises(ContractBroken):
        check_method(Hoarder(disguise), blobs(), ("row-3", "row-4"))


def test_a_run_of_zeros_is_nobodys_secret() -> None:
    secret = torch.tensor([0.0, 0.0, 1.0, 2.0], dtype=torch.float64)
    assert not holds(torch.zeros(2), secret, 1e-9)
    assert holds(torch.tensor([1.0, 2.0]), secret, 1e-9)
    assert not holds(torch.tensor([1.0, 2.1]), secret, 1e-9)


# Networks whose bits are no function of the rows.

MODULE = """
import random
import numpy
import torch


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.calls = torch.nn.Linear(3, 2), 0

    def forward(self, x):
        self.calls += 1
        return self.layer(self.drawn(x) if self.calls > 3 else x)

    def drawn(self, x):
        return DRAWN


def net():
    return Net()
"""


@pytest.mark.parametrize(
    "drawn",
    ["torch.nn.functional.dropout(x, 0.5, True)", "x * random.random()", "x * numpy.random.random()"],
    ids=["torch", "python", "numpy"],
)
def test_a_network_that_draws_in_a_late_batch_is_no_exact_method(tmp_path: Path, drawn: str) -> None:
    file = tmp_path / "late.py"
    file.write_text(MODULE.replace("DRAWN", drawn))
    method = Retrain(dataclasses.replace(SGD, model=ModuleFile.read(f"{file}:net")))
    with pytest.raises(InputError, match="no function of the rows"):
        method.learn(blobs(), seed=0, noise=noise_key(1))


def test_a_network_that_draws_nothing_is_learned_once(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[int] = []
    trained = Sgd._trained

    def counted(learner: Sgd, *given: Any) -> Any:
        runs.append(1)
        return trained(learner, *given)

    monkeypatch.setattr(Sgd, "_trained", counted)
    Retrain(SGD).learn(blobs(), seed=0, noise=noise_key(1))
    assert len(runs) == 1


# Names that files write in several ways.


def test_one_number_in_a_file_is_one_name_however_it_is_written(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(
        '{"id": "a", "who": 1, "v": 0.5, "y": 0}\n{"id": "b", "who": 1.0, "v": 0.5, "y": 1}\n'
        '{"id": "c", "who": "1", "v": 0.5, "y": 1}\n{"id": "d", "who": "eve", "v": 0.5, "y": 1}\n'
    )
    rows = rows_from_file(file, target="y", id="id", subject="who")
    assert rows.of_subjects("1").ids.tolist() == ["a", "b", "c"]


@pytest.mark.parametrize("bad", ["1.5", "true", "1e300", "9007199254740993.0"])
def test_a_number_that_names_nobody_for_certain_is_refused(tmp_path: Path, bad: str) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(f'{{"id": {bad}, "v": 0.5, "y": 0}}\n{{"id": "b", "v": 0.5, "y": 1}}\n')
    with pytest.raises(InputError, match="names rows"):
        rows_from_file(file, target="y", id="id")


@pytest.mark.parametrize(
    "weights",
    [
        {"w": torch.zeros(1, 3), "bias": torch.zeros(1)},
        {"weight": torch.zeros(1, 4), "bias": torch.zeros(1)},
        {"weight": torch.zeros(1, 3), "bias": torch.zeros(2)},
        {"weight": torch.full((1, 3), torch.nan), "bias": torch.zeros(1)},
    ],
    ids=["name", "inputs", "outputs", "nan"],
)
def test_weights_that_do_not_fit_are_not_adopted(weights: dict[str, Tensor]) -> None:
    with pytest.raises(InputError, match="weights given"):
        METHOD.adopt(weights, blobs(), seed=0, noise=noise_key(1))
