"""A network made linear in its weights around fixed ones: squared loss, so a quadratic that is known exactly.

    s(u; x) = s_c(x) + J_c(x) u,      F(u; D) = (1/2n) sum_i ||s(u; x_i) - y_i||^2 + l2/2 ||u||^2

s_c and J_c are the scores and their Jacobian at the fixed weights, J_c by the chosen layers only (Golatkar et al. 2021;
Mu, Liang & Li 2020). With A = (1/n) sum J_c^T J_c

    Hessian     A + l2 I at every u: the Gauss-Newton matrix of the *network* at the fixed weights
    gradient    (1/n) sum J_c^T (s(u; x_i) - y_i) + l2 u: the residual of the *linearised* model, not of the network

so F is l2-strongly convex whatever the network is. Both are products of `ModuleObjective`; nothing is derived here.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import final

import numpy as np
import torch
from torch import Tensor, nn

from expunge import keyed
from expunge.errors import InputError, NotConverged, Refused
from expunge.maths import derivatives
from expunge.maths.conjugate_gradient import conjugate_gradient
from expunge.maths.nystrom import nystrom, preconditioner
from expunge.maths.solution import Solution
from expunge.objective.module import MICRO_BATCH, ModuleObjective
from expunge.objective.objective import Product
from expunge.rows import Rows, Table
from expunge.schema import Array, Column, Schema

MARGIN = 0.9  # of a tolerance that a solve aims at; the rest is for rounding
FINEST = 1e-10  # of the gradient's size: a finer tolerance is refused, as float64 may not reach it
MOST = 20_000  # iterations of conjugate gradient
DISAGREEMENT = 10.0  # times which the two measurements of a residual may differ from the truth


@final
class LinearisedObjective:
    """F(u; D) of a module linearised at its own weights. Rows carry the targets y (n, outputs), or (n,) for one.

    Attributes:
        dimension: of u, the parameters of the chosen layers. point: their fixed values, (d,) float64.
        strong_convexity: l2, on any rows; of no rows F is l2/2 ||u||^2.
    """

    def __init__(self, module: nn.Module, layers: tuple[str, ...], l2: float) -> None:
        """As the class says.

        Args:
            module: at the fixed weights. layers: beginnings of the names of parameters that get a u; () for all.

        Raises:
            InputError: no trainable parameter has such a name, or the module has batch statistics.
        """
        frozen = copy.deepcopy(module)
        names = [name for name, parameter in frozen.named_parameters() if parameter.requires_grad]
        for layer in layers:
            if not any(_of(name, layer) for name in names):
                raise InputError(f"No trainable parameter's name begins with {layer!r}; there are {names[:12]}.")
        for name, parameter in frozen.named_parameters():
            chosen = not layers or any(_of(name, layer) for layer in layers)
            parameter.requires_grad_(parameter.requires_grad and chosen)
        self._network = ModuleObjective(frozen, "squared", l2)
        self._other = ModuleObjective(frozen, "squared", l2, micro_batch=2 * MICRO_BATCH // 3)
        self.l2 = self.strong_convexity = self._network.l2
        self.dimension = self._network.dimension
        self.point = self._network.flat(dict(frozen.named_parameters()))

    def scores(self, u: Tensor, columns: Mapping[str, Array]) -> Tensor:
        """s_c + J_c u, (m, outputs)."""
        n = len(next(iter(columns.values()), ()))
        cuts = range(0, max(n, 1), MICRO_BATCH)
        parts = [{name: array[start : start + MICRO_BATCH] for name, array in columns.items()} for start in cuts]
        return torch.cat([torch.stack(self._tangent(u, part)).sum(0) for part in parts])

    def product(self, rows: Rows) -> Product:
        """The product v -> (A + l2 I) v over the rows."""
        if not len(rows):
            return lambda v: self.l2 * v
        return self._network.ggn(self.point, rows)

    def linear_term(self, rows: Rows) -> Tensor:
        """The gradient at u = 0: (1/n) sum J_c^T (s_c - y), (d,)."""
        if not len(rows):
            return torch.zeros_like(self.point)
        return self._network.gradient_sum(self.point, rows) / len(rows)

    def gradient(self, u: Tensor, rows: Rows) -> Tensor:
        """The gradient at u: the network's at targets y - J_c u, whose residual is that of the linearised model.

        Forward mode, and micro-batches of another size than the product's: its rounding is of another kind.
        """
        if not len(rows):
            return self.l2 * u

        def moved(table: Table) -> Table:
            along = self._tangent(u, table.columns)[1].cpu().numpy()
            return replace(table, y=np.asarray(table.y).reshape(along.shape) - along)

        shape = rows.schema.target.shape if rows.schema.target else ()
        schema = Schema(rows.schema.columns, Column("y", "f", (math.prod(shape),)))
        total = self._other.gradient_sum(self.point, rows.map(moved, schema, keep=False))
        return total / len(rows) + self.l2 * u

    def sketch(self, rows: Rows, rank: int) -> Tensor:
        """A S for a public S (d, rank) of orthonormal columns: what `preconditioner` needs, stable under rounding.

        The rank is d where that is less.
        """
        product, S = self.product(rows), _public(self.dimension, rank)
        return torch.stack([product(column) - self.l2 * column for column in S.T], 1)

    def preconditioner(self, sketch: Tensor) -> Product:
        """An approximation of the inverse Hessian from a sketch over rows that resemble those it is used for."""
        return preconditioner(*nystrom(_public(*sketch.shape).to(sketch), sketch), self.l2)

    def solve(self, rows: Rows, start: Tensor, tolerance: float, sketch: Tensor) -> Solution:
        """A point where the measured gradient's norm is at most `tolerance`, by preconditioned conjugate gradient.

        Raises:
            NotConverged: rounding or a limit of iterations stood in the way.
        """
        return self._solve(self.product(rows), self.linear_term(rows), start, tolerance, sketch)

    def minimise(self, rows: Rows, start: Tensor, tolerance: float, sketch: Tensor) -> Solution:
        """A point where the *true* gradient's norm is at most `tolerance`.

        It is measured twice: as the solver does, and by `gradient`. `DISAGREEMENT` times the difference is added.

        Raises:
            Refused: the tolerance is finer than float64 is trusted with. NotConverged: as for `solve`.
        """
        product, linear = self.product(rows), self.linear_term(rows)
        size = float(torch.linalg.vector_norm(linear))
        if tolerance < FINEST * size:
            raise Refused(f"A gradient of at most {tolerance:.2g} is promised, of {size:.2g} at the start: {_REMEDY}")
        solved = self._solve(product, linear, start, MARGIN * tolerance, sketch)
        first, second = product(solved.x) + linear, self.gradient(solved.x, rows)
        norms = [float(torch.linalg.vector_norm(v)) for v in (first, second, first - second)]
        residual = max(norms[:2]) + DISAGREEMENT * norms[2]
        if not residual <= tolerance:
            raise Refused(
                f"A gradient of at most {tolerance:.2g} is promised; two measurements are {norms[2]:.2g} apart and "
                f"vouch for {residual:.2g} only: {_REMEDY}"
            )
        return replace(solved, residual=residual, evaluations=solved.evaluations + 2)

    def _solve(self, product: Product, linear: Tensor, start: Tensor, tolerance: float, sketch: Tensor) -> Solution:
        """Conjugate gradient from the best multiple of `start`: a release is a minimiser and noise, so it is long."""
        along = float(start @ product(start))
        best = -float(linear @ start) / along if along > 0 else 0.0
        inverse = self.preconditioner(sketch)
        solved = conjugate_gradient(
            product, -linear, tol=tolerance, max_iterations=MOST, preconditioner=inverse, start=best * start
        )
        if not solved.converged:
            raise NotConverged(
                f"The gradient's norm stopped at {solved.residual:.2g} after {solved.iterations} iterations, and "
                f"{tolerance:.2g} is needed: raise l2, noise_std or the preconditioner's rank, or scale the columns."
            )
        return replace(solved, evaluations=solved.evaluations + 2)

    def _tangent(self, u: Tensor, columns: Mapping[str, Array]) -> tuple[Tensor, Tensor]:
        return derivatives.tangent(lambda w: self._network.scores(w, columns), self.point, u)


def _of(name: str, layer: str) -> bool:
    """Whether a parameter belongs to a layer: "parts.1" has "parts.1.weight" and not "parts.10.weight"."""
    return name == layer or name.startswith(layer.rstrip(".") + ".")


def scaled_classes(rows: Rows, scale: float) -> Rows:
    """Class codes as one-hot rows (n, classes) times `scale`; a regression's rows are returned as they are."""
    classes = rows.classes
    if not classes:
        return rows

    def one_hot(table: Table) -> Table:
        return replace(table, y=scale * np.eye(classes)[np.asarray(table.y)])

    return rows.map(one_hot, Schema(rows.schema.columns, Column("y", "f", (classes,))), keep=False)


def _public(dimension: int, rank: int) -> Tensor:
    """Orthonormal columns (dimension, rank) from fixed random signs."""
    rank = min(rank, dimension)
    words = np.arange(-(-dimension * rank // 64), dtype=np.uint64)
    bits = np.unpackbits(keyed.bits(0, ("sketch",), words).view(np.uint8))[: dimension * rank]
    signs = torch.from_numpy(2.0 * bits.reshape(dimension, rank) - 1.0)
    columns: Tensor = torch.linalg.qr(signs)[0]
    return columns


_REMEDY = (
    "float64 is not trusted with so many digits. Scale the columns, raise noise_std or l2, or begin a new vault (its "
    "releases count anew)."
)
