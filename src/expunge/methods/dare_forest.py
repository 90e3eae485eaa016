r"""DaRE forest: data removal-enabled random forests [Brophy & Lowd 2021, ICML], with keyed randomness.

Each tree sees all rows. A node looks at the first p~ features that vary, in a random order, and keeps k candidate
thresholds of each with the counts of both sides; the purest split is taken. To forget rows, the counts along their
paths are brought up to date (Algorithm 1 of the paper); where a candidate's value is gone another is drawn; where the
best split is now another, the two subtrees below are learned again. The `random_depth` levels at the top have one
feature and one candidate each, so that they hardly ever change.

Here every draw is a pseudo-random function of (seed, tree, path of the node, feature, value). The candidates of a
feature are the k values of smallest priority among the node's distinct values but the largest. So

    forget(learn(D), U) = learn(D \ U)

bit for bit: with the same seed the state is identical to retraining, hence exact in law for requests that were chosen
without looking at the model. Under adaptive requests it is not equal to a retraining with a fresh seed, nor is DaRE.

Differs from the paper and its code in:
1. Keyed draws instead of fresh ones: a vanished candidate is followed by the one of next smallest priority, as if the
   row had never been there. The paper's refill is biased, and its code keeps thresholds at values of deleted rows (0/0
   counts as valid): the docs page lists its defects.
2. Candidates are all distinct values but the largest; the paper drops those between two groups of one same class.
3. `min_leaf` rules candidates out; it does not draw others. `min_split` and `min_leaf` hold after forgetting as well.
4. Where the new best split parts the retained rows as the old one did, the threshold is renamed and the subtrees stay.
5. Any number of classes, regression (targets in fixed point), integer weights, categories, missing values, new rows.
6. Numbers are rounded to float32, as in scikit-learn's trees. Ties go to the lower feature, then the lower value.
7. One more vote is shared out evenly among the classes, so that no log-probability is infinite.

Guarantee: exact, bit for bit
Models: random forests on raw tables
Strong: one request rebuilds a few small subtrees, and reads no retained row
Weak: the record holds a copy of the rows, and a release shows single values as thresholds
Paper: Brophy & Lowd 2021
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import joblib
import numpy as np
from torch import Tensor

from expunge.errors import DuplicateRows, InputError
from expunge.keyed import Keys
from expunge.learners import coded_forest
from expunge.learners.coded_forest import Step, Trees, coded_rows
from expunge.maths import forest
from expunge.maths.forest import CodedRows, Forest
from expunge.method import Forgetting, Method, Release, check_learnable, check_size, check_step
from expunge.methods.retrain import EXACT
from expunge.noise import NoiseKey
from expunge.rows import Rows
from expunge.schema import Array, Column


@dataclass(frozen=True, eq=False)
class DareRecord:
    """The forest with its copy of the rows, the seed, and what it was learned from.

    Attributes:
        size, total: rows, and their weight. columns: the schema's, but the weights. classes: 0 for a regression.
    """

    seed: int
    size: int
    total: int
    columns: tuple[Column, ...]
    classes: int
    forest: Forest


@dataclass(frozen=True)
class DareForest(Method[DareRecord]):
    """A random forest that forgets rows exactly. It reads raw columns: numbers (missing: NaN) and text (missing: "").

    Trees run in as many threads as `joblib.parallel_config(n_jobs=...)` allows; no bit depends on it.

    Args:
        trees: how many. max_depth: levels of decisions. candidates: k, thresholds a feature.
        max_features: p~, features that a node looks at; 0 for the square root of their number.
        random_depth: d_rmax, levels with one random candidate.
        min_split: rows that a decision needs. min_leaf: rows that each side of a split needs.
        criterion: "gini" or "entropy"; a regression minimises squared error whatever stands here.
        resolution: targets of a regression are rounded to its multiples, and summed exactly.
        weight_column: a column of whole numbers; a row of weight w counts as w equal rows. "" for none.
        cut: levels of each tree that are stored together; each subtree below is a chunk of its own.
    """

    reads_tables: ClassVar[bool] = True
    trees: int = 100
    max_depth: int = 10
    candidates: int = 25
    max_features: int = 0
    random_depth: int = 0
    min_split: int = 2
    min_leaf: int = 1
    criterion: Literal["gini", "entropy"] = "gini"
    resolution: float = 2.0**-20
    weight_column: str = ""
    cut: int = 4

    def __post_init__(self) -> None:
        least = {"trees": 1, "max_depth": 1, "candidates": 1, "max_features": 0, "random_depth": 0, "min_split": 2}
        for name, low in (least | {"min_leaf": 1, "cut": 0}).items():
            if getattr(self, name) < low:
                raise InputError(f"{name}={getattr(self, name)} was given, and at least {low} was expected.")
        for name, high in (("max_depth", 64), ("candidates", 1000), ("cut", 10)):
            if getattr(self, name) > high:
                raise InputError(f"{name}={getattr(self, name)} was given, and at most {high} was expected.")
        if self.criterion not in ("gini", "entropy"):
            raise InputError(f"criterion={self.criterion!r} was given; expected 'gini' or 'entropy'.")
        if not 0 < self.resolution < np.inf:
            raise InputError(f"resolution={self.resolution} was given, and a positive number was expected.")

    def learn(self, rows: Rows, *, seed: int, noise: NoiseKey) -> DareRecord:
        """Learn all trees. No noise is used.

        Raises:
            InputError: no row, no target, one class only, an infinite number, or a target or weight out of range.
        """
        del noise
        check_learnable(rows)
        columns = tuple(c for c in rows.schema.columns if c.name != self.weight_column)
        given = coded_rows(rows, columns, self.weight_column, self.resolution)
        trees, total = self._trees(seed, columns, rows.classes), int(given.weights.sum())
        trees.check_total(total)
        grown, _ = forest.grow(given, trees.growing(joblib.effective_n_jobs(None)))
        return DareRecord(seed, len(rows), total, columns, rows.classes, grown)

    def forget(self, record: DareRecord, retained: Rows, forgotten: Rows, *, noise: NoiseKey) -> Forgetting[DareRecord]:
        """Take the rows out of every tree. No retained row is read: the record has its own copy.

        Raises:
            MustRetrain: no row is left. InputError: these are not the record's rows.
        """
        del noise
        check_step(retained, forgotten)
        check_size(record.size, retained, forgotten)
        return self._without(record, forgotten, False)

    def extend(self, record: DareRecord, retained: Rows, added: Rows, *, noise: NoiseKey) -> Forgetting[DareRecord]:
        """Learn new rows into every tree: as if all were learned together.

        Raises:
            InputError: these are not the record's rows. DuplicateRows: an id is among them already.
        """
        del noise
        check_size(record.size, retained)
        trees = self._trees_of(record)
        if not forest.missing_keys(record.forest, added.keys, trees.features).all():
            raise DuplicateRows("An id of the added rows is among the record's rows already; give new rows new ids.")
        retained.select(np.zeros(len(retained), dtype=bool)).and_rows(added)  # schemas agree
        came = coded_rows(added, record.columns, self.weight_column, self.resolution)
        trees.check_total(record.total + int(came.weights.sum()))
        return self._changed(record, came.keys[:0], came, False)

    def preview(self, record: DareRecord, forgotten: Rows) -> Mapping[str, float]:
        """What forgetting these rows would cost, without doing it: nodes visited, subtrees and rows to learn again.

        Raises:
            InputError: these are not the record's rows.
        """
        return self._without(record, forgotten, True).stats

    def release(self, record: DareRecord) -> Release:
        """All nodes: features, thresholds (each a value of some retained row), shares of the classes in leaves."""
        return self._trees_of(record).release(record.forest, self.resolution)

    def predict(self, release: Release, columns: Mapping[str, Array]) -> Tensor:
        """Scores (m, outputs): log-probabilities of the trees' mean, or their mean for a regression."""
        return coded_forest.scores(release, columns)

    def importances(self, record: DareRecord) -> Mapping[str, float]:
        """Share of each feature in the decrease of impurity, summed over all nodes and trees; they sum to 1."""
        return coded_forest.importances(self._trees_of(record), record.forest)

    def path(self, release: Release, columns: Mapping[str, Array], tree: int = 0) -> tuple[Step, ...]:
        """The decisions that the first row of `columns` meets in one tree, from the root to its leaf."""
        return coded_forest.path(release, columns, tree)

    def _trees(self, seed: int, columns: tuple[Column, ...], classes: int) -> Trees:
        return Trees(seed, columns, classes, **{name: getattr(self, name) for name in coded_forest.SHAPE})

    def _trees_of(self, record: DareRecord) -> Trees:
        return self._trees(record.seed, record.columns, record.classes)

    def _without(self, record: DareRecord, forgotten: Rows, dry: bool) -> Forgetting[DareRecord]:
        features = self._trees_of(record).features
        if forest.missing_keys(record.forest, forgotten.keys, features).any():
            raise InputError("A row to forget is not among the record's: it was never learned, or forgotten before.")
        return self._changed(record, forgotten.keys, forest.no_rows(0, features), dry)

    def _changed(self, record: DareRecord, gone: Keys, came: CodedRows, dry: bool) -> Forgetting[DareRecord]:
        if not len(gone) and not len(came.keys):
            return Forgetting(record, EXACT, {"rows_visited": 0})
        weight = int(forest.stored_rows(record.forest, gone, came.codes.shape[1]).weights.sum())
        growing = self._trees_of(record).growing(joblib.effective_n_jobs(None), dry=dry)
        new, counted = forest.changed(record.forest, gone, came, growing)
        size = record.size - len(gone) + len(came.keys)
        total = record.total - weight + int(came.weights.sum())
        stats = {"rows_visited": 0} | forest.named(counted)
        return Forgetting(replace(record, size=size, total=total, forest=new), EXACT, stats)
