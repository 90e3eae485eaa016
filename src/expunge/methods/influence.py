r"""Influence: a Newton step along the gradients of the rows that leave, batch after batch.

At the minimiser of F(w; D) = (1/n) sum_i loss_i(w) + l2/2 ||w||^2, n' grad F(w; D') = -sum_u g_u(w) over the rows that
leave, g_u = grad loss_u + l2 w. So the Newton step on the n' rows D' that are left reads no gradient of theirs:

    for each batch U of up to `batch_size` rows:   D' <- D' \ U
        w <- w + H(w; D')^-1 (1/n') sum_u g_u(w)         gradient="removed"
        w <- w - H(w; D')^-1 grad F(w; D')               gradient="full": corrects whatever the steps before left

(1/n', not 1/|U|.) `noise_std` trains on F + noise_std b^T w / n with a secret normal b (Guo 2020). A linear model takes
the exact Hessian, by Cholesky or, above `dense_limit`, by conjugate gradient; a network Gauss-Newton plus `damping`.

Differs from the survey (Mercuri et al. 2022, algorithm 6) in:
1. Their step has no factor and is right for summed losses only; here losses are means.
2. Each row takes its share l2 w of the penalty along; without it a penalised model is led astray.
3. `gradient="full"` (their algorithm 5 with the Hessian): a start that has not converged is put right.
4. A small linear model keeps its Hessian; forgotten rows are taken out of it, at the weights it was taken at, and
   `settle` takes it anew. `keep_hessian=False` is as published. No matrix is inverted; batches follow row keys.

Guarantee: none
Models: linear models with a convex loss; networks by Gauss-Newton
Strong: no retained row is read where the Hessian is kept, and no gradient but those of the rows that leave
Weak: no certificate, and what one step leaves adds up over steps
Paper: Guo et al. 2020; Mahadevan & Mathioudakis 2021
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from expunge.certificate import Uncertified
from expunge.errors import InputError
from expunge.keyed import Purpose
from expunge.learners.convex import Convex
from expunge.learners.differentiable import Differentiable
from expunge.learners.learner import Training
from expunge.maths import woodbury
from expunge.method import Forgetting, Method, Release, check_learnable, check_size, check_step
from expunge.noise import NoiseKey
from expunge.objective import LinearObjective, Objective
from expunge.objective.anchor import Anchor, anchored
from expunge.objective.minimise import Solve
from expunge.objective.newton_step import by_gauss_newton
from expunge.objective.tilted import minimise_tilted
from expunge.rows import Rows
from expunge.schema import Array

PURPOSE: Purpose = ("influence",)
WHY = Uncertified(
    "A Newton step is not the minimiser, nothing here bounds what it leaves, and that adds up over batches and "
    "requests: certified-removal accounts for it, certified-newton measures it."
)


@dataclass(frozen=True, eq=False)
class InfluenceRecord:
    """The model, the number of its rows, b (d,) where training was perturbed and later steps need it, and a Hessian."""

    training: Training
    size: int
    perturbation: Tensor | None
    anchor: Anchor | None = None


@dataclass(frozen=True)
class Influence(Method[InfluenceRecord]):
    """Forgetting by influence, for anything with a gradient; empirical.

    Args:
        learner: Convex, or Sgd for networks.
        batch_size: rows a step takes away (m' of the papers); None for all of a request at once.
        gradient: "removed" (of the rows that leave) or "full" (of those that stay).
        noise_std: of the objective perturbation; convex losses only.
        keep_hessian: a linear model's, from request to request; False takes one for every batch.
        damping: added to a network's Gauss-Newton matrix.
        dense_limit: parameters up to which a linear model's Hessian is factored.
        cg_tol: of conjugate gradient, relative. cg_iterations: at most.
    """

    learns_plainly: ClassVar[bool] = True
    learner: Differentiable = field(default_factory=Convex)
    batch_size: int | None = None
    gradient: str = "removed"
    noise_std: float = 0.0
    keep_hessian: bool = True
    damping: float = 0.1
    dense_limit: int = 4000
    cg_tol: float = 1e-6
    cg_iterations: int = 2000

    def __post_init__(self) -> None:
        if (self.batch_size is not None and self.batch_size < 1) or self.gradient not in ("removed", "full"):
            given = f"batch_size={self.batch_size} and gradient={self.gradient!r} were given"
            raise InputError(f"{given}; batch_size is at least 1 (None: the whole request), gradient removed or full.")
        if not (0 <= self.noise_std < math.inf and 0 <= self.damping < math.inf):
            given = f"noise_std={self.noise_std} and damping={self.damping}"
            raise InputError(f"{given} were given; at least 0 is needed.")
        if not 0 < self.cg_tol < 1 or self.cg_iterations < 1:
            given = f"cg_tol={self.cg_tol} and cg_iterations={self.cg_iterations} were given"
            raise InputError(f"{given}; a number between 0 and 1 and at least 1 are needed: try 1e-6 and 2000.")
        if self.noise_std and not isinstance(self.learner, Convex):
            raise InputError("noise_std perturbs a convex objective; this learner's is not known to be one: give 0.")

    def learn(self, rows: Rows, *, seed: int, noise: NoiseKey) -> InfluenceRecord:
        """Train; with `noise_std`, then minimise under the perturbation. InputError, NotConverged: as the learner."""
        check_learnable(rows)
        started = self.learner.start(rows.schema, seed, PURPOSE)
        training = self.learner.train(started, rows, seed=seed, purpose=PURPOSE)
        if not self.noise_std:
            return self.settle(InfluenceRecord(training, len(rows), None), rows)
        w, objective = self.learner.flat(training), self.learner.objective(training)
        b = torch.from_numpy(noise.normals("perturbation", tuple(w.shape))).to(w.device)
        tilted = minimise_tilted(
            objective, rows, self.noise_std / len(rows) * b, w, dense=objective.dimension <= self.dense_limit
        )
        kept = b if self.gradient == "full" else None
        return self.settle(InfluenceRecord(self.learner.moved(training, tilted.x), len(rows), kept), rows)

    def adopt(self, weights: Mapping[str, Tensor], rows: Rows, *, seed: int, noise: NoiseKey) -> InfluenceRecord:
        """Start from a model trained elsewhere on these rows; it is taken to be at its minimum.

        Raises:
            InputError: a name or shape is not the learner's, or `noise_std` is set: b must be in the training.
        """
        check_learnable(rows)
        if self.noise_std:
            raise InputError("A model trained elsewhere has no known perturbation: give noise_std=0, or learn here.")
        del seed, noise
        return self.settle(InfluenceRecord(self.learner.adopt(rows.schema, weights), len(rows), None), rows)

    def forget(
        self, record: InfluenceRecord, retained: Rows, forgotten: Rows, *, noise: NoiseKey
    ) -> Forgetting[InfluenceRecord]:
        """One step a batch. Nothing is drawn.

        Raises:
            MustRetrain: no row is left. NotConverged: conjugate gradient did not solve for a step.
        """
        del noise
        check_step(retained, forgotten)
        check_size(record.size, retained, forgotten)
        if not len(forgotten):
            return Forgetting(record, WHY, {})
        objective, w = self.learner.objective(record.training), self.learner.flat(record.training)
        start, stats = w, {"batches": 0.0, "products": 0.0, "hessians": 0.0}
        batch = np.argsort(np.argsort(forgotten.keys)) // (self.batch_size or len(forgotten))
        for number in range(int(batch.max()) + 1):
            leaving = forgotten.select(batch == number)
            left = retained.and_rows(forgotten.select(batch > number)) if (batch > number).any() else retained
            downhill = self._downhill(objective, w, left, leaving, record.perturbation)
            solve = self._kept(record, objective, forgotten.select(batch <= number))
            step, products = (solve(downhill), 0) if solve else self._step(objective, w, left, downhill)
            w = w + step
            for name, count in (("batches", 1), ("products", products), ("hessians", not solve and not products)):
                stats[name] += count
        stats["moved"] = float(torch.linalg.vector_norm(w - start))
        after = InfluenceRecord(self.learner.moved(record.training, w), len(retained), record.perturbation)
        return Forgetting(after, WHY, stats)

    def settle(self, record: InfluenceRecord, retained: Rows) -> InfluenceRecord:
        """The Hessian anew, at these weights over these rows, where one is kept."""
        small, w = self._small_linear(self.learner.objective(record.training)), self.learner.flat(record.training)
        return replace(record, anchor=anchored(small, w, retained) if small else None)

    def release(self, record: InfluenceRecord) -> Release:
        """The model's weights."""
        return self.learner.release(record.training)

    def predict(self, release: Release, columns: Mapping[str, Array]) -> Tensor:
        """Scores (m, outputs)."""
        return self.learner.predict(release, columns)

    def _downhill(self, objective: Objective, w: Tensor, left: Rows, leaving: Rows, b: Tensor | None) -> Tensor:
        """Minus the gradient over the rows left, or what it is where the one before the batch left was zero."""
        if self.gradient == "removed":
            return (objective.gradient_sum(w, leaving) + len(leaving) * objective.l2 * w) / len(left)
        return -objective.gradient(w, left) - (0.0 if b is None else self.noise_std / len(left) * b)

    def _kept(self, record: InfluenceRecord, objective: Objective, gone: Rows) -> Solve | None:
        """The inverse of the kept Hessian without the rows gone; None where it is none, or not of the last weights."""
        small, anchor = self._small_linear(objective), record.anchor
        return anchor.inverse_without(small, gone) if small and anchor and anchor.rows == record.size else None

    def _small_linear(self, objective: Objective) -> LinearObjective | None:
        """The objective, if its Hessian is one to keep."""
        keep = self.keep_hessian and objective.dimension <= self.dense_limit
        return objective if keep and isinstance(objective, LinearObjective) else None

    def _step(self, objective: Objective, w: Tensor, left: Rows, downhill: Tensor) -> tuple[Tensor, int]:
        """The curvature over the rows left, inverse times `downhill`, and the products it took (0: a factor)."""
        convex = objective.strong_convexity > 0
        if convex and objective.dimension <= self.dense_limit:
            return woodbury.solve(woodbury.cholesky(objective.hessian(w, left)), downhill), 0
        solved = by_gauss_newton(
            objective, w, left, downhill,
            damping=0.0 if convex else self.damping, tol=self.cg_tol, max_iterations=self.cg_iterations,
        )  # fmt: skip
        return solved.x, solved.products
