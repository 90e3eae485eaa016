"""What surrounds the trees of a forest: rows as codes and integers, keys of the trees, the release, and reading it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from expunge import keyed
from expunge.errors import InputError
from expunge.kernels import forest_layout as at
from expunge.kernels.forest_table import sums_of
from expunge.learners.coded_columns import categorical, coded, feature_names, number_of
from expunge.maths.forest import CodedRows, Forest, Growing, nodes
from expunge.method import Release
from expunge.rows import Rows
from expunge.schema import Array, Column

MOST_WEIGHT, MOST_TARGET, MOST_TOTAL, MOST_TOTAL_OF_SUMS = 2**16, 2**39, 2**30, 2**23  # no sum leaves 62 bits
SHAPE = (  # what a method says of its trees
    *("trees", "candidates", "max_features", "max_depth", "random_depth"),
    *("min_split", "min_leaf", "criterion", "cut"),
)
TREES: keyed.Purpose = ("dare-forest", "tree")
NODES: keyed.Purpose = ("dare-forest", "node")


@dataclass(frozen=True)
class Trees:
    """How the trees of a forest are made; the fields are those of `DareForest`."""

    seed: int
    columns: tuple[Column, ...]
    classes: int
    trees: int
    candidates: int
    max_features: int
    max_depth: int
    random_depth: int
    min_split: int
    min_leaf: int
    criterion: str
    cut: int

    @property
    def features(self) -> int:
        """How many numbers a row is."""
        return len(categorical(self.columns))

    def growing(self, threads: int = 1, *, dry: bool = False) -> Growing:
        """The same as kernels read it."""
        kinds = categorical(self.columns)
        settings = np.zeros(at.SETTINGS, np.int64)
        settings[at.FEATURES], settings[at.CLASSES] = len(kinds), self.classes
        settings[at.NODE_TOTALS], settings[at.CHANNELS] = (self.classes - 1,) * 2 if self.classes else (2, 1)
        settings[at.CANDIDATES], settings[at.MAX_DEPTH] = self.candidates, self.max_depth
        settings[at.EXAMINED] = min(self.max_features or max(1, int(np.sqrt(len(kinds)))), len(kinds))
        settings[at.RANDOM_DEPTH], settings[at.MIN_SPLIT], settings[at.MIN_LEAF] = (
            self.random_depth,
            self.min_split,
            self.min_leaf,
        )
        settings[at.ENTROPY], settings[at.CUT], settings[at.DRY] = self.criterion == "entropy", self.cut, dry
        roots, secret = _keys(self.seed, self.trees)
        return Growing(settings, kinds, roots.copy(), secret.copy(), threads)

    def check_total(self, weight: int) -> None:
        """Hold the total weight of all rows against what the sums can hold.

        Raises:
            InputError: it is too large.
        """
        most = MOST_TOTAL if self.classes else MOST_TOTAL_OF_SUMS
        if weight > most:
            raise InputError(f"The rows weigh {weight} together, and a forest counts up to {most}: give fewer rows.")

    def release(self, forest: Forest, resolution: float) -> Release:
        """All nodes in preorder, tree after tree; a leaf's `right` is its row of `leaves`."""
        growing = self.growing()
        table, totals, starts = nodes(forest, growing)
        leaf = table[:, 0] < 0
        right = table[:, 2].copy()
        right[leaf] = np.arange(leaf.sum())
        rows = totals[leaf, :1].astype(np.float64)
        if self.classes:
            rest = totals[leaf, 0] - totals[leaf, 1:].sum(1)
            leaves = np.column_stack([rest, totals[leaf, 1:]]) / rows
        else:
            leaves = totals[leaf, 1:2].astype(np.float64) * resolution / rows
        tensors = {
            "features": table[:, 0].astype(np.int32),
            "values": table[:, 1].astype(np.int32),
            "rights": right.astype(np.int32),
            "starts": starts,
            "leaves": np.ascontiguousarray(leaves),
        }
        settings = {
            "names": tuple(column.name for column in self.columns),
            "kinds": tuple(column.kind for column in self.columns),
            "shapes": tuple(column.shape for column in self.columns),
            "classes": self.classes,
        }
        return Release({name: torch.from_numpy(array) for name, array in tensors.items()}, settings)


def coded_rows(rows: Rows, columns: tuple[Column, ...], weight_column: str, resolution: float) -> CodedRows:
    """Rows as codes, integer targets and integer weights, block by block.

    Raises:
        InputError: there is no column to learn from, a number is infinite, a weight is no whole number from 1 to 65536,
            or a target is of several numbers or too large for its resolution.
    """
    if not columns:
        raise InputError("There is no column to learn from; give at least one beside the weights.")
    if weight_column and weight_column not in {column.name for column in rows.schema.columns}:
        raise InputError(f"weight_column={weight_column!r} was given, and these rows have no such column.")
    if rows.schema.target is not None and rows.schema.target.shape:
        raise InputError(
            f"The target has shape {rows.schema.target.shape} a row; a forest predicts one number or class."
        )
    codes, targets, weights, keys = [], [], [], []
    for table in rows.tables():
        assert table.y is not None
        codes.append(coded(table.columns, columns))
        targets.append(table.y.astype(np.int64) if rows.classes else _fixed(table.y, resolution))
        weights.append(_weights(table.columns[weight_column]) if weight_column else np.ones(len(table), np.int64))
        keys.append(table.keys)
    return CodedRows(np.concatenate(codes), np.concatenate(targets), np.concatenate(weights), np.concatenate(keys))


def scores(release: Release, columns: Mapping[str, Array]) -> Tensor:
    """Scores (m, outputs) of a release: log-probabilities, one even vote added; or means."""
    declared = columns_of(release)
    codes = np.ascontiguousarray(coded(columns, declared))
    tensors = {name: tensor.numpy() for name, tensor in release.tensors.items()}
    out = np.zeros((len(codes), tensors["leaves"].shape[1]))
    names = ("starts", "features", "values", "rights")
    sums_of(codes, *(tensors[name] for name in names), categorical(declared), tensors["leaves"], out)
    trees = len(tensors["starts"]) - 1
    if classes := release.settings["classes"]:
        return torch.from_numpy(np.log((out + 1 / classes) / (trees + 1)))
    return torch.from_numpy(out / trees)


def columns_of(release: Release) -> tuple[Column, ...]:
    """The columns that a release was learned from."""
    names, kinds, shapes = (release.settings[name] for name in ("names", "kinds", "shapes"))
    return tuple(Column(name, kind, tuple(shape)) for name, kind, shape in zip(names, kinds, shapes, strict=True))


def importances(trees: Trees, forest: Forest) -> Mapping[str, float]:
    """Each feature's share in the decrease of impurity times rows, over all nodes and trees."""
    table, totals, _ = nodes(forest, trees.growing())
    impure = _impurity(totals, trees)
    inner = np.flatnonzero(table[:, 0] >= 0)
    decrease = impure[inner] - impure[inner + 1] - impure[table[inner, 2]]
    names = feature_names(trees.columns)
    sums = np.bincount(table[inner, 0], weights=decrease, minlength=len(names))
    return dict(zip(names, (sums / (sums.sum() or 1.0)).tolist(), strict=True))


@dataclass(frozen=True)
class Step:
    """One decision on a row's way: `feature` <= `value`, or for text whether it is the category of code `value`.

    A missing number goes left of every `value`; the value NaN asks whether it is missing.
    """

    feature: str
    value: float
    went_left: bool


def path(release: Release, columns: Mapping[str, Array], tree: int) -> tuple[Step, ...]:
    """The decisions of the first row of `columns` in one tree.

    Raises:
        InputError: there is no such tree.
    """
    declared = columns_of(release)
    names, kinds = feature_names(declared), categorical(declared)
    starts = release.tensors["starts"].tolist()
    if not 0 <= tree < len(starts) - 1:
        raise InputError(f"tree={tree} was given; the forest has trees 0 to {len(starts) - 2}.")
    features, values, rights = (release.tensors[name] for name in ("features", "values", "rights"))
    row = coded(columns, declared)[0]
    steps, node = [], starts[tree]
    while (feature := int(features[node])) >= 0:
        value = int(values[node])
        left = bool(row[feature] == value if kinds[feature] else row[feature] <= value)
        steps.append(Step(names[feature], value if kinds[feature] else number_of(value), left))
        node = node + 1 if left else int(rights[node])
    return tuple(steps)


@lru_cache(maxsize=16)
def _keys(seed: int, trees: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Keys of the trees, and that of their nodes."""
    return keyed.bits(seed, TREES, np.arange(trees, dtype=np.uint64)), np.array(keyed.key_pair(seed, NODES), np.uint64)


def _impurity(totals: NDArray[Any], trees: Trees) -> NDArray[np.float64]:
    """Rows times Gini impurity or entropy (classes), or minus S^2/n (regression: it differs by a constant a tree)."""
    rows = totals[:, 0].astype(np.float64)
    if not trees.classes:
        return np.asarray(-(totals[:, 1].astype(np.float64) ** 2) / rows)
    counts = np.column_stack([totals[:, 0] - totals[:, 1:].sum(1), totals[:, 1:]]).astype(np.float64)
    if trees.criterion == "entropy":
        logs = np.log(np.where(counts > 0, counts, 1.0))
        return np.asarray(rows * np.log(rows) - (counts * logs).sum(1))
    return np.asarray(rows - (counts**2).sum(1) / rows)


def _fixed(y: Array, resolution: float) -> NDArray[np.int64]:
    scaled = np.rint(y.astype(np.float64) / resolution)
    if (np.abs(scaled) > MOST_TARGET).any():
        raise InputError(
            f"A target of {np.abs(y).max():.4g} is more than 2^39 times the resolution {resolution:.4g}: give a "
            "coarser resolution=, or scale the target."
        )
    return scaled.astype(np.int64)


def _weights(column: Array) -> NDArray[np.int64]:
    if column.dtype.kind not in "fiub" or column.ndim > 1:
        raise InputError("The column of weights holds no single numbers; whole numbers from 1 to 65536 were expected.")
    whole = np.where(np.isfinite(column), column, 0).astype(np.int64)
    if ((whole != column) | (whole < 1) | (whole > MOST_WEIGHT)).any():
        raise InputError("A weight is not a whole number from 1 to 65536, and only whole weights are counted exactly.")
    return whole
