"""The scikit-learn adapter: its own checks, forgetting, names of rows, parameters, and what stands before it."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_diabetes, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer, OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import check_estimator
from torch import Tensor

from expunge import Pipeline, record
from expunge.certificate import Certified, Exact, Uncertified, View
from expunge.errors import DuplicateRows, InputError, MustRetrain, SchemaError, UnknownRows
from expunge.features import Numeric, tabular
from expunge.learners.convex import Convex
from expunge.learners.featured import Featured
from expunge.learners.sgd import Sgd
from expunge.method import Forgetting, Method, Release, check_step
from expunge.methods import CertifiedNewton, FineTune, Influence, Retrain, Sisa
from expunge.models import Mlp
from expunge.noise import NoiseKey
from expunge.rows import Rows
from expunge.schema import Array
from expunge.sklearn import (
    ForgettingClassifier,
    ForgettingClusterer,
    ForgettingRegressor,
    LearnedAgain,
    forget_in,
)
from expunge.sklearn.estimators import OUTSIDE


@dataclass(frozen=True, eq=False)
class NearestRecord:
    """`centres` (k, p), `keys` of the rows they are."""

    centres: Tensor
    keys: tuple[int, ...]


@dataclass(frozen=True)
class Nearest(Method[NearestRecord]):
    """A clustering: its centres are the k rows of least key; forgetting one takes the next."""

    needs_target: ClassVar[bool] = False
    clusters: int = 3

    def learn(self, rows: Rows, *, seed: int, noise: NoiseKey) -> NearestRecord:
        table = rows.table()
        order = np.argsort(table.keys)[: self.clusters]
        x = torch.tensor(np.asarray(table.columns["x"])[order]).double()
        return NearestRecord(x, tuple(table.keys[order].tolist()))

    def forget(self, record: NearestRecord, retained: Rows, forgotten: Rows, *, noise: NoiseKey) -> Any:
        check_step(retained, forgotten)
        return Forgetting(self.learn(retained, seed=0, noise=noise), Exact(("same seed",)), {"read": len(retained)})

    def release(self, record: NearestRecord) -> Release:
        return Release({"centres": record.centres})

    def predict(self, release: Release, columns: Mapping[str, Array]) -> Tensor:
        return -torch.cdist(torch.tensor(np.asarray(columns["x"])).double(), release.tensors["centres"])


SKIPPED = {
    "check_array_api_input": "needs SCIPY_ARRAY_API, which is not set; arrays are numpy's",
}


@pytest.mark.parametrize(
    "estimator",
    [ForgettingClassifier(), ForgettingRegressor(), ForgettingClusterer(Nearest())],
    ids=lambda estimator: type(estimator).__name__,
)
def test_it_passes_scikit_learns_own_checks(estimator: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(estimator, on_fail=None, on_skip=None)
    assert len(results) > 40
    failed = {each["check_name"]: each["exception"] for each in results if each["status"] not in ("passed", "skipped")}
    assert failed == {}
    assert {each["check_name"] for each in results if each["status"] == "skipped"} == set(SKIPPED)


def iris() -> tuple[pd.DataFrame, pd.Series]:
    frame = load_iris(as_frame=True)
    x, y = frame.data, frame.target.map(dict(enumerate(["setosa", "versicolor", "virginica"])))
    names = [f"flower-{i}" for i in range(len(x))]
    return x.set_axis(names, axis=0), y.set_axis(names)


def mixed(n: int = 80) -> tuple[pd.DataFrame, np.ndarray[Any, Any]]:
    generator = np.random.default_rng(0)
    age = generator.normal(40, 12, n)
    frame = pd.DataFrame({"age": age, "job": generator.choice(["nurse", "smith", "cook"], n), "pay": 1e4 * age**0.5})
    frame.loc[::9, "age"] = np.nan
    return frame, np.where((frame["job"] == "cook") ^ (age > 45), "yes", "no")


def same(a: Any, b: Any) -> bool:
    return record.digest(a.record_) == record.digest(b.record_)


def test_forgetting_equals_fitting_without_the_rows_bit_for_bit() -> None:
    x, y = iris()
    gone = ["flower-3", "flower-77", "flower-149"]
    model = ForgettingClassifier().fit(x, y)
    assert model.score(x, y) > 0.9
    assert model.certificate_ is None
    assert model.forget(gone) is model
    assert isinstance(model.certificate_, Exact)
    assert model.releases_ == 2
    assert set(model.ids_) == set(x.index) - set(gone)
    assert 1 <= model.stats_["shards_retrained"] <= 3
    assert model.retrained_ == ""
    assert same(model, ForgettingClassifier().fit(x.drop(gone), y.drop(gone)))
    assert not same(model, ForgettingClassifier().fit(x, y))


def test_requests_follow_each_other_in_any_order() -> None:
    x, y = iris()
    one = ForgettingClassifier().fit(x, y).forget("flower-3").forget(["flower-5", "flower-90"])
    other = ForgettingClassifier().fit(x, y).forget(["flower-90", "flower-3"]).forget("flower-5")
    assert same(one, other)
    assert one.releases_ == 3


def test_a_regression_forgets_and_is_as_good_as_ridge() -> None:
    x, y = load_diabetes(return_X_y=True, as_frame=True)
    model = ForgettingRegressor().fit(x, y)
    assert model.score(x, y) > Ridge().fit(x, y).score(x, y) - 0.05
    model.forget([0, 1, 2])
    assert same(model, ForgettingRegressor().fit(x.drop([0, 1, 2]), y.drop([0, 1, 2])))
    assert model.predict(x).shape == (len(x),)


def test_a_clustering_forgets_and_labels_the_rows_that_stay() -> None:
    x, _ = iris()
    model = ForgettingClusterer(Nearest())
    assert model.fit_predict(x).shape == (150,)
    centre = model.rows_.ids[np.argmin(model.rows_.keys)]
    before = len(model.labels_)
    model.forget(centre)
    assert len(model.labels_) == before - 1
    assert model.labels_.tolist() == model.predict(x.drop(centre)).tolist()
    assert same(model, ForgettingClusterer(Nearest()).fit(x.drop(centre)))


def test_a_frame_of_text_and_gaps_is_learned_and_forgotten_as_it_stands() -> None:
    frame, y = mixed()
    model = ForgettingClassifier().fit(frame, y)
    assert model.score(frame, y) > 0.8
    assert list(model.classes_) == ["no", "yes"]
    np.testing.assert_allclose(model.predict_proba(frame).sum(axis=1), 1)
    model.forget([0, 9])
    assert same(model, ForgettingClassifier().fit(frame.drop([0, 9]), np.delete(y, [0, 9])))
    with pytest.raises(InputError, match="data frame"):
        model.predict(np.zeros((3, 3)))
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame.rename(columns={"job": "work"}))


def test_rows_are_named_by_ids_by_a_unique_index_or_by_place() -> None:
    x, y = iris()

    def ids(X: Any, **given: Any) -> list[str]:
        return [str(i) for i in ForgettingClassifier().fit(X, y, **given).ids_[:2]]

    assert ids(x) == ["flower-0", "flower-1"]
    assert ids(x.set_axis(range(1000, 1150), axis=0)) == ["1000", "1001"]
    assert ids(x, ids=[f"n{i}" for i in range(150)]) == ["n0", "n1"]
    assert ids(x, ids=pd.Series(range(7, 157))) == ["7", "8"]
    assert ids(x.to_numpy()) == ["0", "1"]
    assert ids(x.set_axis([0, *range(149)], axis=0)) == ["0", "1"]  # not unique
    assert ids(x.set_axis(np.arange(150) / 2, axis=0)) == ["0", "1"]  # no names
    assert ids(x.set_axis(pd.date_range("2026-01-01", periods=150), axis=0)) == ["0", "1"]


def test_a_person_is_forgotten_with_all_rows() -> None:
    x, y = iris()
    who = [f"g{i % 30}" for i in range(150)]
    model = ForgettingClassifier().fit(x, y, subjects=who).forget(subjects="g7")
    kept = [w != "g7" for w in who]
    again = ForgettingClassifier().fit(x[kept], y[kept], subjects=[w for w in who if w != "g7"])
    assert same(model, again)
    assert model.stats_["shards_retrained"] == 1


def test_what_cannot_be_forgotten_is_explained_and_nothing_changes() -> None:
    x, y = iris()
    model = ForgettingClassifier().fit(x, y)
    before = record.digest(model.record_)
    for given, error, says in (
        ({"ids": ["flower-3", "nobody"]}, UnknownRows, "nobody"),
        ({"ids": list(x.index)}, InputError, "all 150 rows"),
        ({"subjects": ["nobody"]}, UnknownRows, "nobody"),
        ({}, InputError, "one of the two"),
        ({"ids": "flower-3", "subjects": "g"}, InputError, "one of the two"),
        ({"ids": []}, InputError, "No id was given"),
    ):
        with pytest.raises(error, match=says):
            model.forget(**given)
    assert record.digest(model.record_) == before
    assert (model.releases_, len(model.ids_), model.certificate_) == (1, 150, None)
    model.forget("flower-3")
    with pytest.raises(UnknownRows, match="flower-3"):
        model.forget("flower-3")
    with pytest.raises(NotFittedError):
        ForgettingClassifier().forget("flower-3")


def test_what_cannot_be_learned_is_explained() -> None:
    x, y = iris()
    for given, error, says in (
        ({"ids": ["a"] * 150}, DuplicateRows, "'a'"),
        ({"ids": ["a", "b"]}, SchemaError, "lengths"),
        ({"ids": [0.5] * 150}, InputError, "text or integers"),
        ({"subjects": ["a"]}, SchemaError, "lengths"),
    ):
        with pytest.raises(error, match=says):
            ForgettingClassifier().fit(x, y, **given)
    for method, says in ((Sisa, "a Method"), ("sisa", "a Method")):
        with pytest.raises(InputError, match=says):
            ForgettingClassifier(method).fit(x, y)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="features is"):
        ForgettingClassifier(features="all").fit(x, y)
    with pytest.raises(InputError, match="one class"):
        ForgettingClassifier().fit(x, ["setosa"] * 150)
    with pytest.raises(ValueError, match="NaN"):
        ForgettingClassifier(Retrain(Convex()), features=None).fit(x.assign(extra=np.nan), y)


def test_every_release_of_a_certified_method_has_its_own_noise_and_number() -> None:
    x, y = iris()
    public = Pipeline((Numeric(("x",), "public", bounds=((0.0, 8.0),)),), CertifiedNewton(l2=1e-2, noise_std=0.02))
    model = ForgettingClassifier(public).fit(x, y)
    first = model.release_
    assert record.digest(first) != record.digest(ForgettingClassifier(public).fit(x, y).release_)
    for number, gone in enumerate(["flower-3", "flower-77"], start=2):
        model.forget(gone)
        assert model.record_.inner.number == number == model.releases_
        assert isinstance(model.certificate_, Certified)
        assert model.certificate_.view is View.STATE
        assert OUTSIDE in model.certificate_.assumptions
    settled = public.settle(model.record_, model.rows_)
    assert record.digest(settled) == record.digest(model.record_)  # the purge's part is done
    assert model.score(x, y) > 0.8


def test_exact_statistics_inside_limit_a_certificate_to_one_release() -> None:
    x, y = iris()
    model = ForgettingClassifier(CertifiedNewton(l2=1e-2, noise_std=0.02)).fit(x, y).forget("flower-3")
    assert isinstance(model.certificate_, Certified)
    assert model.certificate_.view is View.ONE_RELEASE


def test_a_method_that_cannot_follow_learns_again_and_says_so() -> None:
    x, y = iris()
    model = ForgettingClassifier(Influence()).fit(x, y)
    with pytest.warns(LearnedAgain, match="statistics changed"):
        model.forget("flower-3")
    assert "MustRetrain" in model.retrained_
    assert isinstance(model.certificate_, Exact)
    assert "learned again" in model.certificate_.conditions[0]
    assert any("mean and scale" in note for note in model.certificate_.assumptions)
    assert same(model, ForgettingClassifier(Influence()).fit(x.drop("flower-3"), y.drop("flower-3")))


def test_an_uncertified_method_stays_uncertified() -> None:
    x, y = iris()
    method = FineTune(Sgd(Mlp((4,)), epochs=2), epochs=1)
    model = ForgettingClassifier(method, features=None).fit(x, y).forget("flower-3")
    assert isinstance(model.certificate_, Uncertified)


@dataclass(frozen=True)
class Stubborn(Method[Tensor]):
    """Forgets nothing and promises nothing."""

    def learn(self, rows: Rows, *, seed: int, noise: NoiseKey) -> Tensor:
        return torch.tensor([float(len(rows))])

    def forget(self, record: Tensor, retained: Rows, forgotten: Rows, *, noise: NoiseKey) -> Forgetting[Tensor]:
        return Forgetting(record.clone(), Uncertified("it does nothing"), {})

    def release(self, record: Tensor) -> Release:
        return Release({"n": record})

    def predict(self, release: Release, columns: Mapping[str, Array]) -> Tensor:
        return torch.zeros((len(columns["x"]), 3))


def test_a_release_that_did_not_change_without_proof_is_learned_again() -> None:
    x, y = iris()
    model = ForgettingClassifier(Stubborn(), features=None).fit(x, y)
    with pytest.warns(LearnedAgain, match="did not change"):
        model.forget("flower-3")
    assert float(model.record_) == 149


def test_parameters_reach_into_the_method() -> None:
    model = ForgettingClassifier()
    assert model.get_params() == {"method": None, "features": "auto", "seed": 0}
    model.set_params(method__shards=3, method__learner__l2=0.5, seed=4)
    assert model.method == Sisa(Convex(l2=0.5), shards=3, slices=1, aggregation="mean")
    params = model.get_params()
    assert params["method__learner__l2"] == 0.5
    assert params["method__shards"] == 3
    assert model.get_params(deep=False) == {"method": model.method, "features": "auto", "seed": 4}
    copy = clone(model)
    assert copy.method == model.method
    assert copy.method is not model.method
    network = ForgettingClassifier(Retrain(Sgd(Mlp((8,))))).set_params(method__learner__model__hidden=(4, 4))
    assert network.method == Retrain(Sgd(Mlp((4, 4))))
    swapped = ForgettingClassifier().set_params(method__epsilon=2.0, method=CertifiedNewton())
    assert swapped.method == CertifiedNewton(epsilon=2.0)
    for wrong in ("shards", "method__shard", "method__learner__epoch", "seeds__x"):
        with pytest.raises(ValueError, match=wrong.split("__")[0]):
            ForgettingClassifier().set_params(**{wrong: 3})
    with pytest.raises(InputError, match="shards=0"):
        ForgettingClassifier().set_params(method__shards=0)


def test_it_can_be_searched_and_cross_validated() -> None:
    x, y = iris()
    assert cross_val_score(ForgettingClassifier(), x, y, cv=3).min() > 0.8
    search = GridSearchCV(ForgettingClassifier(), {"method__learner__l2": [1e-3, 10.0], "method__shards": [2]}, cv=3)
    search.fit(x, y)
    assert search.best_params_ == {"method__learner__l2": 1e-3, "method__shards": 2}
    forget_in(search, "flower-3")
    told = search.best_estimator_.certificate_
    assert isinstance(told, Uncertified)
    assert "GridSearchCV chose" in told.why


def test_a_pickle_forgets_to_the_same_bits() -> None:
    x, y = iris()
    model = ForgettingClassifier().fit(x, y)
    stored = pickle.loads(pickle.dumps(model))
    assert same(stored.forget("flower-3"), model.forget("flower-3"))


def test_a_pickle_holds_tensors_of_any_type_and_a_users_own_classes() -> None:
    x, _ = iris()
    model = ForgettingClusterer(Odd()).fit(x)
    stored = pickle.loads(pickle.dumps(model))
    assert same(stored, model)
    assert stored.labels_.tolist() == model.labels_.tolist()


@dataclass(frozen=True)
class Odd(Nearest):
    """Keeps what torch cannot pickle."""

    def learn(self, rows: Rows, *, seed: int, noise: NoiseKey) -> Any:
        return replace(Nearest.learn(self, rows, seed=seed, noise=noise), keys=torch.tensor([1], dtype=torch.uint64))


def test_what_the_caller_does_to_its_arrays_does_not_reach_the_rows() -> None:
    x, y = (np.array(part) for part in iris())
    x = x.astype(float)
    model = ForgettingClassifier().fit(x, y)
    clean = ForgettingClassifier().fit(np.delete(x, 3, axis=0), np.delete(y, 3), ids=np.delete(np.arange(150), 3))
    x[:] = 0.0
    assert same(model.forget(3), clean)


def test_a_fitted_step_before_it_voids_the_certificate() -> None:
    x, y = iris()
    pipe = make_pipeline(StandardScaler(), ForgettingClassifier()).fit(x, y)
    assert forget_in(pipe, [3]) is pipe
    told = pipe[-1].certificate_
    assert isinstance(told, Uncertified)
    assert "StandardScaler (standardscaler)" in told.why
    assert len(pipe[-1].ids_) == 149
    assert pipe.predict(x).shape == (150,)


def test_the_estimator_alone_lists_what_it_cannot_see_as_an_assumption() -> None:
    x, y = iris()
    pipe = make_pipeline(StandardScaler(), ForgettingClassifier()).fit(x, y)
    told = pipe[-1].forget(3).certificate_
    assert isinstance(told, Exact)
    assert OUTSIDE in told.assumptions


def test_steps_without_a_state_do_no_harm() -> None:
    x, y = iris()
    steps = (FunctionTransformer(np.sqrt), Normalizer(), "passthrough", FeatureUnion([("n", Normalizer())]))
    pipe = make_pipeline(*steps, ForgettingClassifier()).fit(x, y)
    forget_in(pipe, [3])
    assert isinstance(pipe[-1].certificate_, Exact)


def test_fitted_parts_are_found_however_deep_they_lie() -> None:
    frame, y = mixed()
    columns = ColumnTransformer(
        [
            ("n", make_pipeline(FunctionTransformer(), StandardScaler()), ["pay"]),
            ("t", OneHotEncoder(sparse_output=False), ["job"]),
            ("d", "drop", ["age"]),
        ]
    )
    pipe = make_pipeline(FeatureUnion([("c", columns)]), ForgettingClassifier()).fit(frame, y)
    forget_in(pipe, 3)
    told = pipe[-1].certificate_
    assert isinstance(told, Uncertified)
    assert "StandardScaler (featureunion.c.n.standardscaler)" in told.why
    assert "OneHotEncoder (featureunion.c.t)" in told.why
    assert "FunctionTransformer" not in told.why


def test_only_what_ends_in_a_forgetting_estimator_forgets() -> None:
    x, y = iris()
    with pytest.raises(InputError, match="LogisticRegression does not end in"):
        forget_in(make_pipeline(StandardScaler(), LogisticRegression()).fit(x, y), 3)
    model = ForgettingClassifier().fit(x, y)
    assert forget_in(model, "flower-3") is model
    assert isinstance(model.certificate_, Exact)


def test_names_go_through_a_pipeline_and_through_cross_validation() -> None:
    x, y = iris()
    pipe = make_pipeline(Normalizer(), ForgettingClassifier()).fit(x, y, forgettingclassifier__ids=list(x.index))
    forget_in(pipe, "flower-3")
    assert "flower-3" not in set(pipe[-1].ids_)
    framed = make_pipeline(Normalizer().set_output(transform="pandas"), ForgettingClassifier()).fit(x, y)
    assert framed[-1].ids_[0] == "flower-0"


def test_features_of_ones_own_and_methods_with_features_are_left_alone() -> None:
    x, y = iris()
    rows = Rows.of(x.to_numpy(), np.zeros(150, dtype=int), classes=2)
    own = (Numeric(("x",), "public", bounds=((0.0, 8.0),)),)
    inside = Sisa(Featured(tabular(rows), Convex()), 3, 1)
    assert ForgettingClassifier(inside).fit(x, y).method_ == inside
    assert ForgettingClassifier(Pipeline(own, Retrain(Convex()))).fit(x, y).method_ == Pipeline(own, Retrain(Convex()))
    assert ForgettingClassifier(features=own).fit(x, y).method_.learner.features == own
    assert ForgettingClassifier(Retrain(Convex()), features=None).fit(x, y).method_ == Retrain(Convex())


def test_no_clustering_by_default_is_said_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    import expunge.methods

    monkeypatch.delattr(expunge.methods, "KMeans", raising=False)
    with pytest.raises(InputError, match="give method="):
        ForgettingClusterer().fit(iris()[0])


def test_must_retrain_while_learning_again_changes_nothing() -> None:
    x, y = iris()
    model = ForgettingClassifier(Refusing(), features=None).fit(x, y)
    before = dict(vars(model))
    with pytest.raises(MustRetrain):
        model.forget("flower-3")
    assert vars(model) == before


@dataclass(frozen=True)
class Refusing(Stubborn):
    """Cannot forget, and cannot learn fewer rows."""

    def learn(self, rows: Rows, *, seed: int, noise: NoiseKey) -> Tensor:
        if len(rows) < 150:
            raise MustRetrain("fewer rows")
        return torch.ones(1)
