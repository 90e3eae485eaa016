"""The three estimators: what `fit` makes of X and y, and how they forget."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self, cast

import numpy as np
import pandas as pd
from safetensors.torch import load
from scipy.special import log_softmax
from sklearn.base import BaseEstimator, ClassifierMixin, ClusterMixin, RegressorMixin
from sklearn.utils import Tags, check_consistent_length, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import assert_all_finite, check_is_fitted, validate_data

from expunge import record
from expunge.certificate import Certificate, Uncertified, may_stay
from expunge.errors import InputError, MustRetrain, NotConverged, Refused
from expunge.features import Feature, Features, Pipeline, offers, tabular
from expunge.features.pipeline import learned_again
from expunge.learners.convex import Convex
from expunge.learners.featured import Featured, declared_by, features_of
from expunge.load import rows_from_frame
from expunge.method import Method, Settles
from expunge.methods import Sisa
from expunge.noise import NoiseKey
from expunge.rows import Rows
from expunge.schema import Array
from expunge.sklearn.settings import nested, replaced
from expunge.vault.outcome import LEARNED_AGAIN

OUTSIDE = (
    "What was done to the columns before `fit` (an upstream scaler, encoder or selection, a search of settings) owes "
    "nothing to the forgotten rows: the estimator cannot see it."
)
STORED = {"record_", "release_"}
Names = Iterable[str | int] | str | int | None


class LearnedAgain(UserWarning):
    """The method could not forget, and learned again from the rows that stay."""


class Forgets(BaseEstimator):  # type: ignore[misc]
    """What all three do. Public attributes after `fit` are listed there."""

    def __init__(self, method: Method[Any] | None = None, *, features: Any = "auto", seed: int = 0) -> None:
        self.method = method
        self.features = features
        self.seed = seed

    def forget(self, ids: Names = None, *, subjects: Names = None) -> Self:
        """Forget rows by their ids, or all rows of subjects; afterwards `certificate_` says what that guarantees.

        Raises:
            UnknownRows: an id or subject is not among the rows. InputError: neither or both were given, or no row would
                be left. Nothing is changed then.
        """
        check_is_fitted(self, "record_")
        if (ids is None) == (subjects is None):
            raise InputError("Give the ids of the rows to forget, or subjects=..., one of the two.")
        leaving = self.rows_.only(ids) if ids is not None else self.rows_.of_subjects(subjects or ())
        stay = ~np.isin(self.rows_.keys, leaving.keys)
        if not stay.any():
            raise InputError(f"These are all {len(stay)} rows: no model is left without them. Delete the estimator.")
        self._forget(self.rows_.select(stay), leaving)
        return self

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters; with `deep`, those inside the method as `method__learner__l2` too."""
        found: dict[str, Any] = BaseEstimator.get_params(self, deep=False)
        return found | (nested("method", self.method) if deep else {})

    def set_params(self, **params: Any) -> Self:
        """Set parameters, inside the method too: `method__shards=10` replaces the (default) method by another.

        Raises:
            InputError: a name does not exist, or the method refuses the value.
        """
        own = {name: value for name, value in params.items() if "__" not in name}
        BaseEstimator.set_params(self, **own)
        for path, value in params.items():
            if path not in own:
                head, *rest = path.split("__")
                if head != "method":
                    raise InputError(f"There is no parameter {path!r}: {sorted(self.get_params())} are there.")
                self.method = replaced(self.method or self._default(), rest, value, path)
        return self

    def __getstate__(self) -> dict[str, Any]:
        """For a pickle: record and release in their canonical form; torch cannot pickle every tensor they may hold."""
        state = dict(BaseEstimator.__getstate__(self))
        for name in STORED & state.keys():
            tree, tensors = record.encode(state[name])
            held = {named: record.tensor_bytes(tensor) for named, tensor in tensors.items()}
            state[name] = (record.classes_in(state[name]), tree, held)
        return state

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        restored = dict(state)
        for name in STORED & restored.keys():
            classes, tree, held = restored[name]
            restored[name] = record.decode(tree, {named: load(data)["t"] for named, data in held.items()}, classes)
        BaseEstimator.__setstate__(self, restored)

    def __sklearn_tags__(self) -> Tags:
        tags: Tags = BaseEstimator.__sklearn_tags__(self)
        tags.input_tags.allow_nan = self.features is not None  # features put missing values at the mean
        return tags

    def _learn(self, rows: Rows) -> None:
        """Everything that `fit` leaves, in one go."""
        method = _over_features(self.method or self._default(), rows, self.features)
        learned = method.learn(rows, seed=self.seed, noise=NoiseKey.fresh(1))
        self.method_, self.record_, self.release_ = method, learned, method.release(learned)
        self.rows_, self.ids_, self.releases_ = rows, rows.ids, 1
        self.certificate_: Certificate | None = None
        self.stats_: Mapping[str, float] = {}
        self.retrained_ = ""

    def _forget(self, retained: Rows, forgotten: Rows) -> None:
        """The step, as a vault does it; the estimator changes when all is computed, and not before."""
        method, noise, why = self.method_, NoiseKey.fresh(self.releases_ + 1), ""
        try:
            step = method.forget(self.record_, retained, forgotten, noise=noise)
            after, certificate, stats = step.record, step.certificate, step.stats
            if not may_stay(certificate) and record.digest(method.release(after)) == record.digest(self.release_):
                why = "The release did not change, and the method does not prove that it need not."
        except (MustRetrain, Refused, NotConverged) as error:
            why = f"{type(error).__name__}: {error}"
        if why:
            learned = method.learn(retained, seed=self.seed, noise=noise)
            exact = replace(LEARNED_AGAIN, assumptions=(*LEARNED_AGAIN.assumptions, *declared_by(method)))
            after, certificate = learned_again(method, self.record_, learned, len(forgotten), exact)
            stats = {}
        if offers(method, Settles):
            after = cast("Settles[Any]", method).settle(after, retained)
        self.release_ = method.release(after)
        self.record_, self.rows_, self.ids_ = after, retained, retained.ids
        self.certificate_, self.stats_, self.retrained_ = _assuming(certificate), stats, why
        self.releases_ += 1
        if why:
            warnings.warn(f"The model was learned again from the rows that stay. {why}", LearnedAgain, stacklevel=3)

    def _scores(self, X: Any) -> Array:
        """Scores (m, outputs) of raw columns, from the release alone."""
        check_is_fitted(self, "record_")
        scores: Array = self.method_.predict(self.release_, self._columns(X, reset=False)).detach().numpy()
        return scores

    def _columns(self, X: Any, *, reset: bool) -> Mapping[str, Array]:
        """The columns of X: a frame with text as they stand, everything else as the matrix `x`."""
        if reset:
            self.table_ = isinstance(X, pd.DataFrame) and not all(map(pd.api.types.is_numeric_dtype, X.dtypes))
        if not self.table_:
            finite = "allow-nan" if self.features is not None else True
            x = validate_data(self, X, reset=reset, dtype=np.float64, ensure_all_finite=finite)
            return {"x": np.array(x)}  # a copy: what the caller does to X later must not reach the rows
        if not isinstance(X, pd.DataFrame):
            raise InputError(f"A data frame with the columns {list(self.feature_names_in_)} was expected.")
        validate_data(self, X, reset=reset, skip_check_array=True)
        schema = None if reset else self.rows_.schema
        return rows_from_frame(X, schema=schema).columns

    def _default(self) -> Method[Any]:
        """What learns where no method was given."""
        raise NotImplementedError


class ForgettingClassifier(ClassifierMixin, Forgets):  # type: ignore[misc]
    """A classifier that forgets.

    Args:
        method: any Method for classes; default five shards of SISA, each a penalised softmax regression: exact, and one
            forgotten row costs a fifth of learning.
        features: "auto" scales numbers (missing ones at the mean) and encodes text inside, with exact statistics, in
            each shard of SISA by itself; a tuple of features; or None to give the method the columns as they are.
        seed: drives every public choice.
    """

    def fit(self, X: Any, y: Any, ids: Names = None, subjects: Names = None) -> Self:
        """Learn.

        Args:
            X: (n, p) numbers, or a data frame, text included. y: n labels; its classes stay declared for good.
            ids: n names of the rows. Default: the index of a data frame whose labels are different texts or integers,
                else 0..n-1. subjects: n owners, to forget all rows of a person together.

        Raises:
            InputError: a value cannot be used, or there is one class only. DuplicateRows: an id stands twice.
        """
        columns = self._columns(X, reset=True)
        labels = _target(self, columns, y)
        check_classification_targets(labels)
        self.classes_, codes = np.unique(labels, return_inverse=True)
        given = {"ids": _ids(X, ids), "subjects": _named(subjects)}
        self._learn(Rows.of(columns, codes.astype(np.int64), classes=len(self.classes_), **given))
        return self

    def predict(self, X: Any) -> Array:
        """The most probable class of each row, (m,)."""
        codes = _log_probabilities(self._scores(X)).argmax(axis=1)
        return np.asarray(self.classes_[codes])

    def predict_proba(self, X: Any) -> Array:
        """Probabilities (m, classes), in the order of `classes_`."""
        return np.exp(_log_probabilities(self._scores(X)))

    def _default(self) -> Method[Any]:
        return Sisa(Convex(), shards=5, slices=1, aggregation="mean")


class ForgettingRegressor(RegressorMixin, Forgets):  # type: ignore[misc]
    """A regression that forgets; see `ForgettingClassifier` for the arguments.

    The default method is five shards of SISA, each a ridge regression.
    """

    def fit(self, X: Any, y: Any, ids: Names = None, subjects: Names = None) -> Self:
        """Learn from n finite numbers y; see `ForgettingClassifier.fit`."""
        columns = self._columns(X, reset=True)
        values = _target(self, columns, y).astype(np.float64)
        assert_all_finite(values, input_name="y")
        self._learn(Rows.of(columns, values, ids=_ids(X, ids), subjects=_named(subjects), classes=0))
        return self

    def predict(self, X: Any) -> Array:
        """The value of each row, (m,)."""
        return np.asarray(self._scores(X)[:, 0])

    def _default(self) -> Method[Any]:
        return Sisa(Convex("squared"), shards=5, slices=1, aggregation="mean")


class ForgettingClusterer(ClusterMixin, Forgets):  # type: ignore[misc]
    """A clustering that forgets; see `ForgettingClassifier` for the arguments.

    Numbers reach the method as they are unless features are asked for: scales decide what is near. `labels_` are the
    clusters of the rows that are left, in the order of `ids_`.
    """

    def __init__(self, method: Method[Any] | None = None, *, features: Any = None, seed: int = 0) -> None:
        self.method = method
        self.features = features
        self.seed = seed

    def fit(self, X: Any, y: Any = None, ids: Names = None, subjects: Names = None) -> Self:
        """Learn; y is not looked at. See `ForgettingClassifier.fit`."""
        del y
        columns = self._columns(X, reset=True)
        self._learn(Rows.of(columns, ids=_ids(X, ids), subjects=_named(subjects)))
        self.labels_ = self._clusters(self.rows_.columns)
        return self

    def forget(self, ids: Names = None, *, subjects: Names = None) -> Self:
        """See `ForgettingClassifier.forget`; `labels_` are those of the rows that stay."""
        Forgets.forget(self, ids, subjects=subjects)
        self.labels_ = self._clusters(self.rows_.columns)
        return self

    def predict(self, X: Any) -> Array:
        """The cluster of each row, (m,)."""
        return np.asarray(self._scores(X).argmax(axis=1))

    def _clusters(self, columns: Mapping[str, Array]) -> Array:
        return np.asarray(self.method_.predict(self.release_, columns).argmax(dim=1).numpy())

    def _default(self) -> Method[Any]:
        import expunge.methods

        if "KMeans" not in vars(expunge.methods):
            raise InputError("There is no clustering to take by default: give method=..., one that needs no target.")
        method: Method[Any] = vars(expunge.methods)["KMeans"]()
        return method


def _over_features(method: Any, rows: Rows, features: Any) -> Method[Any]:
    """The method on features of the rows' columns; itself where it has its own, or none were asked for."""
    if not isinstance(method, Method):
        raise InputError(f"method is a Method of expunge, for instance Sisa(); given: {method!r}.")
    if features is None or features_of(method) or method.reads_tables:
        return method
    if features != "auto" and not (isinstance(features, tuple) and all(isinstance(f, Feature) for f in features)):
        raise InputError(f'features is "auto", None or a tuple of features; given: {features!r}.')
    chosen: Features = tabular(rows) if features == "auto" else features
    return (
        replace(method, learner=Featured(chosen, method.learner))
        if isinstance(method, Sisa)
        else Pipeline(chosen, method)
    )


def _assuming(certificate: Certificate) -> Certificate:
    if isinstance(certificate, Uncertified):
        return certificate
    return replace(certificate, assumptions=(*certificate.assumptions, OUTSIDE))


def _log_probabilities(scores: Array) -> Array:
    """Normalised (m, classes); a single score is the logit of the second class."""
    both = np.concatenate([np.zeros_like(scores), scores], axis=1) if scores.shape[1] == 1 else scores
    return np.asarray(log_softmax(both.astype(np.float64), axis=1))


def _target(estimator: BaseEstimator, columns: Mapping[str, Array], y: Any) -> Array:
    if y is None:
        raise InputError(f"{type(estimator).__name__} requires y to be passed, but the target y is None.")
    values = column_or_1d(y, warn=True)
    check_consistent_length(next(iter(columns.values())), values)
    return np.asarray(values)


def _ids(X: Any, ids: Names) -> Sequence[str | int] | None:
    """The names of the rows: those given, the index of a frame where it can name them, or none."""
    if ids is not None:
        return _named(ids)
    if not isinstance(X, pd.DataFrame) or not X.index.is_unique:
        return None
    return list(X.index) if X.index.inferred_type in ("integer", "string") and len(X) else None


def _named(names: Names) -> list[str | int] | None:
    return None if names is None else np.asarray(names, dtype=object).reshape(-1).tolist()
