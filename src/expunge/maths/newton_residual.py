r"""What one Newton step leaves of the gradient of a linear model, bounded: certified removal (Guo et al. 2020).

Sum losses, as in the paper: L(w) = sum_i loss(w^T x_i, y_i) + lambda n/2 ||w||^2 (+ b^T w). A step delta with
H delta = Delta, H the Hessian over the rows that stay, leaves

    grad L_r(w + delta) = grad L(w) + sum_i x_i [loss'(z_i + a_i) - loss'(z_i) - loss''(z_i) a_i],   a_i = x_i^T delta

and by Taylor each bracket is at most (T/2) a_i^2, T = sup |loss'''| = 1/(6 sqrt 3) for the logistic loss
(p(1-p)(1-2p) is largest at p = (3 - sqrt 3)/6), 0 for the squared one. Hence, R >= every ||x_i||,

    (T/2) sum_i ||x_i|| a_i^2  <=  (T/2) ||X||_2 R ||delta|| ||a||  <=  (1/4) ||X||_2 R ||delta|| ||a||
    per_sample                     data_dependent                       published (corollary 1; there R = 1)

The first step uses sum ||x_i|| a_i^2 <= R ||a||^2 and ||a|| <= ||X||_2 ||delta||. For several heads a_i is a vector
and each bound is taken head by head; the stacked remainder is at most the root of the sum of squares (the paper's
code adds, and so does `published`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from expunge.errors import InputError
from expunge.maths.floating_point import UNIT, rounding

THIRD_LOGISTIC = 1 / (6 * math.sqrt(3))
PUBLISHED = 1 / 4  # sup loss'', which the paper's code takes for the Lipschitz constant of loss''
EIGENVALUE = 16  # q u ||G|| charged to a symmetric eigenvalue solver on (q, q); observed errors are below 1


@dataclass(frozen=True, eq=False)
class Moved:
    """How a step moved the scores of rows: sums over rows, head by head.

    Attributes:
        cubic: sum_i ||x_i|| a_ik^2, (k,). square: sum_i a_ik^2, (k,). rows: how many. longest: R, the longest row.
        exponent: sum_i ||x_i||^3, for the rounding of the scores.
    """

    cubic: Tensor
    square: Tensor
    rows: int
    longest: float
    exponent: float

    def joined(self, other: Moved) -> Moved:
        """Over both sets of rows."""
        return Moved(
            self.cubic + other.cubic,
            self.square + other.square,
            self.rows + other.rows,
            max(self.longest, other.longest),
            self.exponent + other.exponent,
        )


def moved(lengths: Tensor, moves: Tensor) -> Moved:
    """The sums of one block of rows.

    Args:
        lengths: ||x_i||, constant included, (n,). moves: a = X delta^T, (n, k).
    """
    squares = moves.square()
    longest = float(lengths.max()) if len(lengths) else 0.0
    return Moved(lengths @ squares, squares.sum(0), len(lengths), longest, float(lengths.pow(3).sum()))


def per_sample(third: float, sums: Moved, step: Tensor) -> float:
    """(third/2) sum_i ||x_i|| (x_i^T delta)^2, and what rounding in the scores may hide of it.

    Args:
        third: sup |loss'''|. sums: of all rows that stay. step: delta by head, (k, q).
    """
    cubic = _true(sums.cubic, sums.exponent, step)
    return _up(third / 2 * float(torch.linalg.vector_norm(cubic)), sums.rows)


def data_dependent(third: float, spectral: float, sums: Moved, step: Tensor) -> float:
    """(third/2) ||X||_2 R ||delta|| ||X delta||: corollary 1 of Guo et al. with its constant mended.

    Args:
        spectral: at least ||X||_2 over the rows that stay.
    """
    return _up(third / 2 * float(torch.linalg.vector_norm(_corollary(spectral, sums, step))), sums.rows)


def published(third: float, spectral: float, sums: Moved, step: Tensor) -> float:
    """(1/4) ||X||_2 R ||delta|| ||X delta||, summed over heads: as published; 0 where `third` is (least squares)."""
    return _up(PUBLISHED * float(_corollary(spectral, sums, step).sum()), sums.rows) if third else 0.0


def worst_case(
    third: float,
    *,
    row: float,
    l2: float,
    before: int,
    after: int,
    changed: int,
    linear: Tensor,
    residual: float,
    unsolved: float = 0.0,
) -> float:
    """Theorem 1 without looking at the rows: (third/2) n_r R^3 (||Delta|| / (lambda n_r))^2, by head.

    ||Delta|| <= m (2 R + (||b|| + residual)/n): the slope of the logistic loss is at most 1, and
    lambda n w = grad L_b(w) - b - sum_i grad loss_i bounds the lost rows' share of the penalty. The paper leaves b out.
    A step that solves H delta = Delta + r is longer by at most ||r|| / (lambda n_r).

    Args:
        row: R, a public bound of ||x||, constant included. l2: lambda. before, after, changed: n, n_r, m.
        linear: ||b|| by head, (k,). residual: at least ||grad L_b(w)|| before the step. unsolved: at least ||r||.
    """
    if third == 0:
        return 0.0
    gradients = changed * (2 * row + (linear + residual) / before) + unsolved
    by_head = third / 2 * after * (row * row * row) * (gradients / (l2 * after)).square()
    return _up(float(torch.linalg.vector_norm(by_head)), len(linear))


def spectral_bound(gram: Tensor, rows: int) -> float:
    """At least ||X||_2, from the computed X^T X (q, q) of so many rows; never from below, as power iteration is.

    The Gram matrix errs by gamma_n ||X||_F^2 at most (Higham 2002, section 3.5) and the eigenvalue by
    `EIGENVALUE` q u ||X||_F^2.
    """
    trace = float(gram.diagonal().sum())
    if not trace < math.inf:  # the squares overflow: no eigenvalue would be one
        return math.inf
    slack = (rounding(rows + 1) + EIGENVALUE * len(gram) * UNIT) * trace * 1.01
    return math.sqrt(max(float(torch.linalg.eigvalsh(gram)[-1]), 0.0) + slack) * (1 + 4 * UNIT)


def frobenius_bound(lengths_squared: float, rows: int) -> float:
    """At least ||X||_2, from the computed sum of ||x_i||^2: where a Gram matrix is too large."""
    return math.sqrt(lengths_squared * (1 + 2 * rounding(rows + 1))) * (1 + 4 * UNIT)


def objective_budget(noise_std: float, epsilon: float, delta: float) -> float:
    """noise_std epsilon / c, c = sqrt(2 ln(1.5/delta)): what algorithm 2 lets the residual grow to under b^T w.

    Raises:
        InputError: delta is 1.5 or more, or a number is not positive.
    """
    if not (noise_std > 0 and epsilon > 0 and 0 < delta < 1.5):
        raise InputError(f"noise_std={noise_std}, epsilon={epsilon}, delta={delta}: positive numbers are needed.")
    return noise_std * epsilon / math.sqrt(2 * math.log(1.5 / delta))


def _corollary(spectral: float, sums: Moved, step: Tensor) -> Tensor:
    lengths = torch.linalg.vector_norm(step, dim=1)
    product: Tensor = lengths * _true(sums.square, sums.rows * sums.longest**2, step).sqrt()
    return product * (spectral * sums.longest)


def _true(computed: Tensor, weight: float, step: Tensor) -> Tensor:
    """At least the true weighted sum of squares: by Minkowski, roots of sums of (a + e)^2 add."""
    hidden: Tensor = torch.linalg.vector_norm(step, dim=1) * (rounding(step.shape[1] + 4) * math.sqrt(weight))
    return (computed.sqrt() + hidden).square()


def _up(value: float, terms: int) -> float:
    return value * (1 + 4 * rounding(terms + 8))
