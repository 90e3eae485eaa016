r"""Linear and quadratic discriminant analysis from exact sums [Fisher 1936; Cao & Yang 2015, section 4].

    log P(c | x) = log P(c) - 1/2 log|C_c| - 1/2 (x - m_c)' C_c^-1 (x - m_c) + const,      P(c) = n_c / n

with class means m_c, and one covariance for all classes (linear) or one each (quadratic):

    pooled   C   = 1/n   sum_c (sum_c x x' - s_c s_c' / n_c)
    each     C_c = 1/n_c       (sum_c x x' - s_c s_c' / n_c),         s_c = sum_c x

The record is n_c, s_c and sum x x' (of all rows, or of each class), as exact integers (`maths.exact_sums`). To forget a
row its terms are subtracted, and no other row is read; releases factor the covariances anew. The record is, bit for
bit, the one that the retained rows give.

`shrinkage` a (a public constant) replaces C by (1 - a) C + a v I with v the mean variance, or 1 (`towards`).

Differs from the usual in:
1. Sums are exact, and covariances are formed in integers: columns far from 0 lose no digit.
2. In units of each column's standard deviation over all rows, no eigenvalue of a covariance is taken below `floor`:
   classes of few rows, down to one, and constant columns go on, and no request is refused for them.
3. Classes are declared; one without rows, or whose last row was forgotten, has the probability 1e-12.

It adopts no model trained elsewhere: parameters do not tell the sums that they came from.

Guarantee: exact, bit for bit
Models: linear and quadratic discriminant analysis
Strong: a request costs one outer product and the factors of the covariances, and reads no retained row
Weak: classes are taken as Gaussian; two releases together give a row away
Paper: Cao & Yang 2015, section 4 (summation form)
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from expunge.errors import InputError
from expunge.learners import summation
from expunge.learners.inputs import inputs_and_outputs, matrix
from expunge.learners.learner import one_thread
from expunge.maths import discriminants, exact_sums
from expunge.maths.class_likelihoods import posterior, prior
from expunge.maths.exact_sums import ExactSums
from expunge.method import Forgetting, Method, Release, check_size, check_step
from expunge.noise import NoiseKey
from expunge.rows import Rows
from expunge.schema import Array


@dataclass(frozen=True, eq=False)
class DiscriminantAnalysisRecord:
    """Exact sums over the rows, integers.

    Attributes:
        counts: rows of each class, (K,) int64. sums: of x by class, (K, p).
        products: of x x', over all rows (1, p, p) for a pooled covariance, by class (K, p, p) for one each.
    """

    counts: Tensor
    sums: ExactSums
    products: ExactSums

    def plus(self, other: DiscriminantAnalysisRecord) -> DiscriminantAnalysisRecord:
        """The sums over the rows of both."""
        counts, sums = self.counts + other.counts, self.sums + other.sums
        return DiscriminantAnalysisRecord(counts, sums, self.products + other.products)

    def minus(self, other: DiscriminantAnalysisRecord) -> DiscriminantAnalysisRecord:
        """The sums over the rows of this one that are not in the other."""
        counts, sums = self.counts - other.counts, self.sums - other.sums
        return DiscriminantAnalysisRecord(counts, sums, self.products - other.products)


@dataclass(frozen=True)
class DiscriminantAnalysis(Method[DiscriminantAnalysisRecord]):
    """Exact forgetting at a cost that does not grow with the rows; reads the column `x`.

    Args:
        covariance: "pooled" (linear) or "each" class its own (quadratic).
        shrinkage: a in [0, 1]. towards: "mean variance" times I, or "identity".
        floor: the least eigenvalue of a covariance, in units of the columns' variances over all rows.
    """

    covariance: Literal["pooled", "each"] = "pooled"
    shrinkage: float = 0.0
    towards: Literal["mean variance", "identity"] = "mean variance"
    floor: float = 1e-9

    def __post_init__(self) -> None:
        if self.covariance not in ("pooled", "each"):
            raise InputError(f"covariance={self.covariance!r} was given; expected 'pooled' or 'each'.")
        if self.towards not in ("mean variance", "identity"):
            raise InputError(f"towards={self.towards!r} was given; expected 'mean variance' or 'identity'.")
        if not (0 <= self.shrinkage <= 1 and 0 < self.floor < math.inf):
            raise InputError(f"shrinkage={self.shrinkage} and floor={self.floor}: in [0, 1] and above 0 were expected.")

    def learn(self, rows: Rows, *, seed: int, noise: NoiseKey) -> DiscriminantAnalysisRecord:
        """Sum by class, block by block. Nothing is drawn.

        Raises:
            InputError: no row, no classes, no column `x`, or a value that is no finite number below 1e140.
        """
        del seed, noise
        summation.check_classes(rows, self)
        p, _ = inputs_and_outputs(rows.schema)
        matrices = 1 if self.covariance == "pooled" else rows.classes
        nothing = ExactSums.zeros(rows.classes, p), ExactSums.zeros(matrices, p, p)
        none = DiscriminantAnalysisRecord(torch.zeros(rows.classes, dtype=torch.int64), *nothing)
        return reduce(DiscriminantAnalysisRecord.plus, self._summed(rows), none)

    def forget(
        self, record: DiscriminantAnalysisRecord, retained: Rows, forgotten: Rows, *, noise: NoiseKey
    ) -> Forgetting[DiscriminantAnalysisRecord]:
        """Take the rows' terms out of the sums; no retained row is read.

        Raises:
            MustRetrain: no row is left. InputError: these are not the record's rows.
        """
        del noise
        check_step(retained, forgotten)
        check_size(int(record.counts.sum()), retained, forgotten)
        left = reduce(DiscriminantAnalysisRecord.minus, self._summed(forgotten), record)
        return Forgetting(left, summation.EXACT, {"rows_visited": len(forgotten)})

    def extend(
        self, record: DiscriminantAnalysisRecord, retained: Rows, added: Rows, *, noise: NoiseKey
    ) -> Forgetting[DiscriminantAnalysisRecord]:
        """Add the rows' terms to the sums; no retained row is read.

        Raises:
            InputError: these are not the record's rows, an id is among them already, or a value cannot be read.
        """
        del noise
        check_size(int(record.counts.sum()), retained)
        retained.and_rows(added)
        both = reduce(DiscriminantAnalysisRecord.plus, self._summed(added), record)
        return Forgetting(both, summation.EXACT, {"rows_visited": len(added)})

    def release(self, record: DiscriminantAnalysisRecord) -> Release:
        """Log priors (K,), means (K, p) and the inverse roots of the covariances with their log determinants."""
        counts = record.counts.numpy()
        tensors = {"log_prior": prior(record.counts, uniform=False), "present": record.counts > 0}
        tensors["mean"] = torch.from_numpy(record.sums.over(np.maximum(counts, 1)[:, None]))
        with one_thread():
            covariances = discriminants.covariances(counts, record.sums, record.products)
            scales = discriminants.scales(counts, record.sums, record.products)
            shrunk = discriminants.shrunk(covariances, self.shrinkage, identity=self.towards == "identity")
            tensors["root"], tensors["log_determinant"] = discriminants.inverse_roots(shrunk, scales, self.floor)
        return Release(tensors)

    def predict(self, release: Release, columns: Mapping[str, Array]) -> Tensor:
        """Log-probabilities (m, K).

        Raises:
            InputError: there is no column `x` of the width learned from, or a value is no finite number.
        """
        tensors = release.tensors
        x, p = matrix(columns, torch.float64), tensors["mean"].shape[1]
        if x.shape[1] != p:
            raise InputError(f"Column 'x' has {x.shape[1]} numbers a row; {p} were learned from.")
        with one_thread():
            distances = discriminants.squared_distances(x, tensors["mean"], tensors["root"])
            joint = tensors["log_prior"] - (distances + tensors["log_determinant"]) / 2
            return posterior(joint, tensors["present"])

    def _summed(self, rows: Rows) -> Iterator[DiscriminantAnalysisRecord]:
        """The sums of each block of rows."""
        for table in rows.tables():
            x, codes = summation.row_matrix(table), summation.class_codes(table)
            counts = torch.from_numpy(np.bincount(codes, minlength=rows.classes))
            groups, matrices = (codes * 0, 1) if self.covariance == "pooled" else (codes, rows.classes)
            products = exact_sums.gram(x, groups, matrices)
            yield DiscriminantAnalysisRecord(counts, exact_sums.sums(x, codes, rows.classes), products)
