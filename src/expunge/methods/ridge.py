r"""Ridge regression and least squares from exact sums [Cao & Yang 2015, section 4; Hoerl & Kennard 1970].

    F(W, b) = 1/(2n) sum_i ||y_i - W x_i - b||^2 + l2/2 ||W||^2

has the minimiser `(S + l2 I) W' = C`, `b = mean(y) - W mean(x)`, with

    n^2 S = n sum x x' - (sum x)(sum x)',      n^2 C = n sum x y' - (sum x)(sum y)'.

The record is the sums, as exact integers (`maths.exact_sums`). To forget a row, its products are subtracted from them,
`sum x x' <- sum x x' - x x'`, and no other row is read; a release factors the matrix anew (Cholesky), so errors do not
add up over requests, as they do in updated inverses and factors. The record is, bit for bit, the one learned from the
retained rows. For a classification y is 1 for the row's class and 0 for the others ("squared" classifier).

`l2` follows this library: it is added to the *mean* of half the squared error, so scikit-learn's `alpha` is `n l2`, and
the penalty of the sum falls with the rows.

Differs from the usual in:
1. Sums are exact, and the centred matrix is formed in integers: columns far from 0 lose no digit.
2. Where S + l2 I is singular (l2 = 0 and too few rows or dependent columns), the solution of least norm is taken, and
   the release says so: a request is never refused for it.
3. Scores of a classification are cut off at 1e-12 and scaled to add up to 1. A class without rows scores 0.

It adopts no model trained elsewhere: weights do not tell the sums that they came from.

Guarantee: exact, bit for bit
Models: ridge regression, least squares, and the squared classifier
Strong: a request costs one outer product and one solve, whatever the number of rows, and reads no retained row
Weak: linear scores of given columns; two releases together give a row away
Paper: Cao & Yang 2015, section 4 (summation form)
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce

import numpy as np
import torch
from torch import Tensor

from expunge.errors import InputError
from expunge.learners import summation
from expunge.learners.inputs import inputs_and_outputs, matrix, numbers, target
from expunge.learners.learner import one_thread
from expunge.maths import exact_sums
from expunge.maths.class_likelihoods import ABSENT
from expunge.maths.exact_sums import ExactSums
from expunge.maths.least_squares import NormalEquations
from expunge.method import Forgetting, Method, Release, check_learnable, check_size, check_step
from expunge.noise import NoiseKey
from expunge.rows import Rows, Table
from expunge.schema import Array


@dataclass(frozen=True, eq=False)
class RidgeRecord:
    """Exact sums over the rows: integers.

    Attributes:
        size: rows. classes: K, or 0 for a regression.
        gram: of (1, x)(1, x)', (p+1, p+1). cross: of (1, x) y', (p+1, q).
    """

    size: int
    classes: int
    gram: ExactSums
    cross: ExactSums

    def plus(self, other: RidgeRecord) -> RidgeRecord:
        """The sums over the rows of both."""
        return RidgeRecord(self.size + other.size, self.classes, self.gram + other.gram, self.cross + other.cross)

    def minus(self, other: RidgeRecord) -> RidgeRecord:
        """The sums over the rows of this one that are not in the other."""
        return RidgeRecord(self.size - other.size, self.classes, self.gram - other.gram, self.cross - other.cross)


@dataclass(frozen=True)
class Ridge(Method[RidgeRecord]):
    """Exact forgetting at a cost that does not grow with the rows; reads the column `x`, regression or classification.

    Args:
        l2: lambda of `lambda/2 ||W||^2` beside the mean of half the squared errors; 0 for least squares.
        penalise_intercept: whether the intercepts are penalised too, as the certified methods here need it.
    """

    l2: float = 1e-3
    penalise_intercept: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.l2 < math.inf:
            raise InputError(f"l2={self.l2} was given, and a number of at least 0 was expected.")

    def learn(self, rows: Rows, *, seed: int, noise: NoiseKey) -> RidgeRecord:
        """Sum products, block by block. Nothing is drawn.

        Raises:
            InputError: no row, no target, no column `x`, or a value that is no finite number below 1e140.
        """
        del seed, noise
        check_learnable(rows)
        inputs, outputs = inputs_and_outputs(rows.schema)
        nothing = ExactSums.zeros(inputs + 1, inputs + 1), ExactSums.zeros(inputs + 1, outputs)
        return reduce(RidgeRecord.plus, _summed(rows), RidgeRecord(0, rows.classes, *nothing))

    def forget(
        self, record: RidgeRecord, retained: Rows, forgotten: Rows, *, noise: NoiseKey
    ) -> Forgetting[RidgeRecord]:
        """Take the rows' products out of the sums; no retained row is read.

        Raises:
            MustRetrain: no row is left. InputError: these are not the record's rows.
        """
        del noise
        check_step(retained, forgotten)
        check_size(record.size, retained, forgotten)
        left = reduce(RidgeRecord.minus, _summed(forgotten), record)
        return Forgetting(left, summation.EXACT, {"rows_visited": len(forgotten)})

    def extend(self, record: RidgeRecord, retained: Rows, added: Rows, *, noise: NoiseKey) -> Forgetting[RidgeRecord]:
        """Add the rows' products to the sums; no retained row is read.

        Raises:
            InputError: these are not the record's rows, an id is among them already, or a value cannot be read.
        """
        del noise
        check_size(record.size, retained)
        retained.and_rows(added)
        both = reduce(RidgeRecord.plus, _summed(added), record)
        return Forgetting(both, summation.EXACT, {"rows_visited": len(added)})

    def release(self, record: RidgeRecord) -> Release:
        """The weights (outputs, p+1), intercepts last; `least_norm`: whether the equations were singular."""
        with one_thread():
            weights, singular = self._equations(record).weights(self.l2)
        return Release({"weights": weights}, {"classes": record.classes, "least_norm": singular})

    def predict(self, release: Release, columns: Mapping[str, Array]) -> Tensor:
        """Values (m, outputs), or log-probabilities (m, K) for a classification.

        Raises:
            InputError: there is no column `x` of the width learned from, or a value is no finite number.
        """
        weights = release.tensors["weights"]
        x = matrix(columns, torch.float64)
        if x.shape[1] != weights.shape[1] - 1:
            raise InputError(f"Column 'x' has {x.shape[1]} numbers a row; {weights.shape[1] - 1} were learned from.")
        with one_thread():
            scores = x @ weights[:, :-1].T + weights[:, -1]
        if not release.settings["classes"]:
            return scores
        shares = scores.clamp(min=ABSENT)
        return (shares / shares.sum(1, keepdim=True)).log()

    def leave_out(self, record: RidgeRecord, rows: Rows) -> Tensor:
        """Residuals (n, outputs) that each row has in the model learned without its owner's rows, in closed form.

        The owner is the row's subject, or the row itself where it has none. One factorisation for each number of rows
        that owners have replaces a training for each owner; equal to what `forget` gives, up to rounding.

        Raises:
            InputError: these are not the record's rows, or one subject owns them all.
        """
        check_size(record.size, rows)
        table = rows.table()
        _, groups = np.unique(table.owners, return_inverse=True)
        x, y = (torch.from_numpy(part) for part in (summation.row_matrix(table), _targets(table, record.classes)))
        with one_thread():
            return self._equations(record).left_out(x, y, torch.from_numpy(groups), self.l2)

    def _equations(self, record: RidgeRecord) -> NormalEquations:
        return NormalEquations.of(record.gram, record.cross, record.size, penalise_intercept=self.penalise_intercept)


def _summed(rows: Rows) -> Iterator[RidgeRecord]:
    """The sums of each block of rows."""
    for table in rows.tables():
        x = summation.row_matrix(table)
        with_one = np.concatenate([np.ones((len(x), 1)), x], axis=1)
        cross = exact_sums.products(with_one, _targets(table, rows.classes))
        yield RidgeRecord(len(table), rows.classes, exact_sums.gram(with_one), cross)


def _targets(table: Table, classes: int) -> summation.Floats:
    """The target as numbers (n, q); 1 for the row's class and 0 for the others."""
    if classes:
        return np.eye(classes)[summation.class_codes(table)]
    y = numbers("y", target(table), torch.float64).numpy()
    summation.check_size("y", y)
    return y.reshape(len(y), -1)
