r"""Newton shift: from the minimiser of all rows to that of the retained ones, in one step, and noise by curvature.

With F_r the mean loss of the retained rows plus `l2/2 ||w||^2` and B its curvature (Gauss-Newton, damping added),

    S(w) = w - B^-1 grad F_r(w) + n,   n ~ N(0, Sigma),   Sigma B Sigma = tradeoff Sigma_h.

If F_r is quadratic the step ends at its minimiser, from any w. Sigma minimises the Forgetting Lagrangian, the loss that
noise costs plus `tradeoff` times the divergence it leaves (`maths.curvature_noise`), for an error of the step
N(0, Sigma_h) with Sigma_h = error_std^2 B^-p: for p = 0, Sigma = sqrt(tradeoff) error_std B^{-1/2}, that is a sample

    n = (tradeoff error_std^2)^{1/4} B^{-1/4} xi.

`learn` adds the same noise under its own curvature: a point beside a Gaussian would be told apart at sight. Only the
noised weights are kept, and the next step starts there: the full gradient takes earlier noise out again.

Differs from the paper (Watanabe 2023, on Golatkar et al. 2020) in:
1. The mean loss with l2 takes the place of the sum of losses (assumption 1.1 holds for sums).
2. The full retained gradient at the released weights; w need not minimise anything, as the proof needs only F_r
   quadratic.
3. B is the Gauss-Newton matrix: B must be positive definite, which the Hessian of a network is not.
4. Three shapes of Sigma_h, which are closed forms in the eigenvectors of B. "curvature" (p = 1) is the model under
   which the covariance B^-1 of Golatkar et al.'s published notebook would be right.

Guarantee: none proved; the divergence left is estimated under a Gaussian model of the error
Models: linear models with a convex loss, and networks
Strong: one step, exact for quadratic losses, and noise spread where it costs the loss least
Weak: what the noise hides rests on an error that is assumed
Paper: Watanabe 2023, Golatkar et al. 2020
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import inf
from typing import ClassVar

import torch
from torch import Tensor

from expunge.certificate import Uncertified
from expunge.errors import InputError
from expunge.keyed import Purpose
from expunge.learners.convex import Convex
from expunge.learners.differentiable import Differentiable
from expunge.learners.learner import Training
from expunge.maths.curvature import Curvature, Spectral
from expunge.maths.curvature_noise import NoiseLaw, expected_divergence, optimal_law
from expunge.method import Forgetting, Method, Release, check_step
from expunge.noise import NoiseKey
from expunge.objective.curvature import curvature, shaped_noise
from expunge.rows import Rows
from expunge.schema import Array

PURPOSE: Purpose = ("newton_shift",)
UNCERTIFIED = Uncertified(
    "The distance to a model learned without the rows is estimated (quadratic loss, Gaussian error), not proved."
)


@dataclass(frozen=True, eq=False)
class NewtonShiftRecord:
    """The model as it was released, noise included, and nothing else."""

    training: Training


@dataclass(frozen=True)
class NewtonShift(Method[NewtonShiftRecord]):
    """One Newton step to the minimiser of the retained rows, and noise of the optimal covariance.

    Args:
        learner: trains the model; its penalty and loss are those of the step.
        tradeoff: lambda of the Forgetting Lagrangian: loss given up for a nat of divergence.
        error_std: sigma_h, how far the step is expected to end from retraining, on each weight.
        error: the shape of that error: "isotropic" (Sigma_h = error_std^2 I), "curvature" (error_std^2 B^-1, equal
            loss in every direction) or "gradient" (error_std^2 B^-2, a solver that stops at a gradient's norm).
        damping: kappa of B + kappa I; networks need some.
        dense_limit: weights up to which B is a matrix; above it the step is taken by conjugate gradient, the noise by
            Lanczos.
        curvature_rows: rows that B is taken over, a keyed sample; 0 for all. The gradient is always over all.
    """

    features_may_change: ClassVar[bool] = True
    learner: Differentiable = field(default_factory=Convex)
    tradeoff: float = 1e-3
    error_std: float = 1e-4
    error: str = "isotropic"
    damping: float = 0.0
    dense_limit: int = 2000
    curvature_rows: int = 0

    def __post_init__(self) -> None:
        optimal_law(self.tradeoff, self.error_std, self.error)
        if not 0 <= self.damping < inf:
            raise InputError(f"damping is {self.damping}; give 0 for a convex loss with l2, such as 0.1 for a network.")
        if self.dense_limit < 0 or self.curvature_rows < 0:
            raise InputError(f"dense_limit={self.dense_limit}, curvature_rows={self.curvature_rows}: give 0 or more.")

    def learn(self, rows: Rows, *, seed: int, noise: NoiseKey) -> NewtonShiftRecord:
        """Train on all rows, then add noise under the curvature there.

        Raises:
            InputError: the rows do not fit the learner. NotConverged: training stopped, or B is not positive definite.
        """
        started = self.learner.start(rows.schema, seed, PURPOSE)
        return self._noised(self.learner.train(started, rows, seed=seed, purpose=PURPOSE), rows, noise)

    def adopt(self, weights: Mapping[str, Tensor], rows: Rows, *, seed: int, noise: NoiseKey) -> NewtonShiftRecord:
        """Add noise to a model trained elsewhere, under its curvature over `rows`."""
        del seed
        return self._noised(self.learner.adopt(rows.schema, weights), rows, noise)

    def forget(
        self, record: NewtonShiftRecord, retained: Rows, forgotten: Rows, *, noise: NoiseKey
    ) -> Forgetting[NewtonShiftRecord]:
        """One Newton step on the retained rows from the last release, and fresh noise.

        Raises:
            MustRetrain: no row is left. NotConverged: B is not positive definite; raise the damping.
        """
        check_step(retained, forgotten)
        if not len(forgotten):
            return Forgetting(record, UNCERTIFIED, {})
        return self._shifted(record, retained, noise)

    def extend(
        self, record: NewtonShiftRecord, retained: Rows, added: Rows, *, noise: NoiseKey
    ) -> Forgetting[NewtonShiftRecord]:
        """The same step on the retained and the added rows together."""
        return self._shifted(record, retained.and_rows(added), noise)

    def release(self, record: NewtonShiftRecord) -> Release:
        """The learner's release of the noised model."""
        return self.learner.release(record.training)

    def predict(self, release: Release, columns: Mapping[str, Array]) -> Tensor:
        """The learner's predictions."""
        return self.learner.predict(release, columns)

    def _law(self) -> NoiseLaw:
        return optimal_law(self.tradeoff, self.error_std, self.error)

    def _curvature(self, training: Training, w: Tensor, rows: Rows) -> Curvature:
        return curvature(
            self.learner.objective(training), w, rows, form="exact", damping=self.damping,
            dense_limit=self.dense_limit, most=self.curvature_rows,
        )  # fmt: skip

    def _noised(self, training: Training, rows: Rows, noise: NoiseKey) -> NewtonShiftRecord:
        w = self.learner.flat(training)
        B = self._curvature(training, w, rows)
        return self._kept(training, shaped_noise(w, B, self._law(), noise))

    def _shifted(self, record: NewtonShiftRecord, rows: Rows, noise: NoiseKey) -> Forgetting[NewtonShiftRecord]:
        """The step, its noise under the same B, and what is left to learn by the gradient where it ended."""
        training, law = record.training, self._law()
        objective, w = self.learner.objective(training), self.learner.flat(training)
        gradient = objective.gradient(w, rows)
        B = self._curvature(training, w, rows)
        centre = w - B.power(-1, gradient)
        left = objective.gradient(centre, rows)
        nats = law.divergence(B, left)
        stats = {
            "gradient_before": float(torch.linalg.vector_norm(gradient)),
            "gradient_after": float(torch.linalg.vector_norm(left)),
            "divergence_nats": nats,
            "divergence_knats": nats / 1000,
        }
        if isinstance(B, Spectral):
            stats["expected_nats"] = expected_divergence(B, self.tradeoff, self.error_std, self.error)
        after = self._kept(training, shaped_noise(centre, B, law, noise))
        return Forgetting(after, UNCERTIFIED, stats)

    def _kept(self, training: Training, w: Tensor) -> NewtonShiftRecord:
        """The noised model without counters: how long training took depends on rows that may leave."""
        moved = self.learner.moved(training, w)
        return NewtonShiftRecord(replace(moved, steps=0, epochs=0, visits=0))
