r"""Penalised least squares from exact sums: normal equations, their solution, and residuals of rows left out.

With z_i a row's numbers, and means over rows, the minimiser of

    F(W) = 1/(2 n) sum_i ||y_i - level - W' z_i||^2 + l2/2 ||W||^2        solves        (M + l2 I) W = R,

M = sum_i z_i z_i' / n, R = sum_i z_i (y_i - level)' / n. An unpenalised intercept means z = x - mean(x) and level =
mean(y): then n^2 M = n sum x x' - (sum x)(sum x)' is computed in integers, so that nothing cancels however far the
columns are from 0. With a penalised one, z = (1, x) and level = 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import lapack
from torch import Tensor

from expunge.errors import InputError
from expunge.maths.exact_sums import ExactSums

EPS = float(torch.finfo(torch.float64).eps)


@dataclass(frozen=True, eq=False)
class NormalEquations:
    """`matrix` M (d, d), `right` R (d, q), `centre` (p,) and `level` (q,) of `rows` rows; `ones`: whether z has a 1."""

    rows: int
    matrix: Tensor
    right: Tensor
    centre: Tensor
    level: Tensor
    ones: bool

    @classmethod
    def of(cls, gram: ExactSums, cross: ExactSums, rows: int, *, penalise_intercept: bool) -> NormalEquations:
        """From `sum (1, x)(1, x)'`, (p+1, p+1), and `sum (1, x) y'`, (p+1, q)."""
        p, q = gram.shape[0] - 1, cross.shape[1]
        if penalise_intercept:
            zeros = torch.zeros(p, dtype=torch.float64), torch.zeros(q, dtype=torch.float64)
            matrix, right = _aligned(gram.rounded() / rows), _aligned(cross.rounded() / rows)
            return cls(rows, matrix, right, *zeros, ones=True)
        n, x, y = ExactSums.of(np.int64(rows)), gram[0, 1:], cross[0]
        spread = n * gram[1:, 1:] - x[:, None] * x[None, :]
        shared = n * cross[1:] - x[:, None] * y[None, :]
        matrix, right = (_aligned(part.rounded() / rows / rows) for part in (spread, shared))
        return cls(rows, matrix, right, _aligned(x.over(rows)), _aligned(y.over(rows)), ones=False)

    def design(self, x: Tensor) -> Tensor:
        """The rows x (m, p) as z, (m, d)."""
        return torch.cat([x.new_ones(len(x), 1), x], 1) if self.ones else x - self.centre

    def inverse_times(self, right: Tensor, l2: float) -> tuple[Tensor, bool]:
        """`(M + l2 I)^-1 right`, and whether the matrix is singular: then its pseudo-inverse, the least-norm solution.

        Singular: the reciprocal condition number (LAPACK's estimate in the 1-norm) is below d times the machine's
        epsilon; eigenvalues below d epsilon of the largest then count as 0.
        """
        matrix = self.matrix + l2 * torch.eye(len(self.matrix), dtype=torch.float64)
        factor, failed = torch.linalg.cholesky_ex(matrix)
        if not int(failed):
            norm = float(matrix.abs().sum(0).max())
            if lapack.dpocon(np.asfortranarray(factor.numpy()), norm, uplo="L")[0] >= len(matrix) * EPS:
                return torch.cholesky_solve(right, factor), False
        values, vectors = torch.linalg.eigh(matrix)
        kept = values > len(values) * EPS * values.abs().max()
        inverse = torch.where(kept, 1 / torch.where(kept, values, 1.0), 0.0)
        return vectors @ (inverse[:, None] * (vectors.T @ right)), True

    def weights(self, l2: float) -> tuple[Tensor, bool]:
        """W' and the intercepts as one matrix (q, p+1), intercepts last; and whether M + l2 I is singular."""
        solution, singular = self.inverse_times(self.right, l2)
        if self.ones:
            return torch.cat([solution[1:], solution[:1]]).T.contiguous(), singular
        intercepts = self.level - self.centre @ solution
        return torch.cat([solution, intercepts[None]]).T.contiguous(), singular

    def left_out(self, x: Tensor, y: Tensor, groups: Tensor, l2: float) -> Tensor:
        """Residuals (m, q) that rows x (m, p), y (m, q) have in the model learned without their own group, closed form.

        With m rows of a group left out the penalty of the sum falls from n l2 to (n - m) l2. So with A = n M +
        (n - m) l2 I (and n for an unpenalised intercept), H = Z_g A^-1 Z_g' and e the residuals of its solution,

            y_g - (model without g)(x_g) = (I - H)^-1 e_g,

        which for m = 1 and a fixed penalty is the textbook's e / (1 - h).

        Raises:
            InputError: one group holds all rows of the equations.
        """
        z, found = self.design(x), torch.empty_like(y)
        sizes = torch.bincount(groups)[groups]
        for size in sorted(set(sizes.tolist())):
            if size >= self.rows:
                raise InputError("One group holds all the rows: no model is left to compare its rows with.")
            where = torch.nonzero(sizes == size)[:, 0]
            where = where[torch.argsort(groups[where], stable=True)].view(-1, size)
            shrunk = l2 * (self.rows - size) / self.rows
            solution, _ = self.inverse_times(self.right, shrunk)
            mine = z[where]  # (groups, size, d)
            errors = y[where] - self.level - mine @ solution
            solved, _ = self.inverse_times(mine.reshape(-1, z.shape[1]).T, shrunk)
            leverage = mine @ solved.T.reshape(mine.shape).transpose(1, 2) / self.rows
            leverage = leverage if self.ones else leverage + 1 / self.rows
            found[where] = torch.linalg.solve(torch.eye(size, dtype=torch.float64) - leverage, errors)
        return found


def _aligned(numbers: NDArray[np.float64]) -> Tensor:
    return torch.tensor(numbers)  # a copy of torch's own: the last bit of a product may depend on where its factors lie
