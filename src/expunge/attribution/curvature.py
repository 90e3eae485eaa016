"""The inverse curvature H^-1 at a trained model: factored where it is small and convex, else by products.

    linear models       H = Hessian of F, Cholesky up to `dense_limit` parameters
    everything else     H = G + damping I, G the Gauss-Newton matrix of F (l2 included), by conjugate gradient

G is positive semi-definite where the Hessian of a network is not, and at a fitted model it is close to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from expunge import keyed
from expunge.errors import InputError
from expunge.maths import woodbury
from expunge.maths.matrix_function import matrix_function
from expunge.objective import Objective
from expunge.objective.newton_step import by_gauss_newton, damped
from expunge.rows import Rows


@dataclass(frozen=True)
class Curvature:
    """How H is taken and inverted.

    Args:
        damping: added to a Gauss-Newton matrix; linear models with l2 > 0 take none.
        dense_limit: parameters up to which a linear model's Hessian is factored.
        tol: of conjugate gradient and Lanczos, relative. max_iterations: of either.
    """

    damping: float = 1e-2
    dense_limit: int = 4000
    tol: float = 1e-4
    max_iterations: int = 1000

    def __post_init__(self) -> None:
        if self.damping < 0 or self.dense_limit < 0 or not 0 < self.tol < 1 or self.max_iterations < 1:
            raise InputError(f"{self}: damping and dense_limit of at least 0, tol in (0, 1), max_iterations >= 1.")

    def inverse(self, objective: Objective, w: Tensor, rows: Rows) -> Callable[[Tensor], Tensor]:
        """The product b (d,) -> H^-1 b, H over `rows`.

        Raises:
            NotConverged: H is singular (l2 = 0 and damping = 0), or the iterations were not enough.
        """
        if self._dense(objective):
            factor = woodbury.cholesky(objective.hessian(w, rows))
            return lambda b: woodbury.solve(factor, b)
        damping, limits = self._damping(objective), {"tol": self.tol, "max_iterations": self.max_iterations}
        return lambda b: by_gauss_newton(objective, w, rows, b, damping=damping, **limits).x  # type: ignore[arg-type]

    def probes(self, objective: Objective, w: Tensor, rows: Rows, *, count: int, seed: int) -> list[Tensor]:
        """`count` keyed normal vectors (d,) of covariance H^-1.

        Raises:
            NotConverged: see `inverse`.
        """
        drawn = keyed.normals(seed, ("attribution", "probes"), (count, objective.dimension))
        normals = torch.from_numpy(drawn).to(w.device)
        if self._dense(objective):
            factor = woodbury.cholesky(objective.hessian(w, rows))
            return list(torch.linalg.solve_triangular(factor.T, normals.T, upper=True).T)
        product = damped(objective.ggn(w, rows), self._damping(objective))
        limits = {"tol": self.tol, "max_iterations": self.max_iterations}
        return [matrix_function(product, xi, torch.rsqrt, **limits) for xi in normals]  # type: ignore[arg-type]

    def _dense(self, objective: Objective) -> bool:
        return objective.strong_convexity > 0 and objective.dimension <= self.dense_limit

    def _damping(self, objective: Objective) -> float:
        return 0.0 if objective.strong_convexity > 0 else self.damping
