r"""Certified unlearning for networks: norm-bounded training, one damped Newton step, noise [Zhang et al. 2024].

Training keeps ||w|| <= C (the learner's `norm_bound`). To forget, with L the mean loss plus `l2/2 ||w||^2` on the
retained rows, exactly as trained, H its Hessian at the last release w* and P the projection into the ball,

    w~ = P(w* - (H + damping I)^-1 grad L(w*)),     release w~ + noise_std xi

    ||w~ - w'|| <= (2 C (M C + damping) + G + r) / (damping + lambda_min)       (maths/constrained_newton.py)

for retraining's w': M is the Lipschitz constant of the Hessian on the ball, G the norm of the gradient where retraining
ends, r the linear solve's residual. Doing nothing is bounded by 2 C. Where lambda_min <= M C, as in every network
trained to be of use, the bound is no smaller: *vacuous*, and the step answers `Uncertified` with both numbers.

Differs from the paper and its code in:
1. The reference is noised too: nothing noisy can be certified against retraining without noise (delta = 1).
2. G and r stand in the bound: the paper takes retraining to end at a stationary point inside the ball, and r = 0.
3. The damping must exceed -lambda_min, not ||H||. LiSSA's every batch Hessian, damping included, must be <= `scale`.
4. The penalty is squared in the step as in training; the code's is not (no curvature along w).
5. Noise is added at every request, from a fresh secret key; the code's sequential script added none.
6. The step starts at the last release and ends in the ball, where w' lies: the projection brings it no further.
7. The Gaussian mechanism is the exact one, and half the distance of this release's share of the budget is used.

Guarantee: certified under asserted constants where the bound fits; for useful networks it is vacuous, and says so
Models: any torch module whose weights are kept in a ball
Strong: a few products with the Hessian, no training
Weak: on mislabelled rows hardly better than doing nothing
Paper: Zhang et al. 2024
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import inf
from typing import ClassVar, Literal

import torch
from torch import Tensor

from expunge import keyed
from expunge.budget import Budget
from expunge.certificate import Basis, Certificate, Uncertified, View
from expunge.errors import InputError
from expunge.keyed import Purpose
from expunge.learners.learner import Training
from expunge.learners.sgd import BUFFER, Sgd
from expunge.maths.constrained_newton import into_ball
from expunge.method import Forgetting, Method, Release, check_learnable, check_size, check_step
from expunge.noise import NoiseKey, add_noise
from expunge.objective.newton_step import by_conjugate_gradient, by_lissa
from expunge.objective.step_bound import StepBound, step_bound
from expunge.rows import Rows
from expunge.schema import Array

PURPOSE: Purpose = ("certified-deep",)
ASSUMPTIONS = (
    "The Hessian is Lipschitz on the ball with the asserted constant (asserted; sampled points did not refute it).",
    "Retraining ends with a gradient of at most the asserted norm (asserted; learning itself did).",
    "The least eigenvalue was bounded by Lanczos from a keyed direction: wrong with probability 1e-9 (measured).",
    "Each release has its own certificate: one whose step answered that nothing was proved is not covered.",
    "The noise key came from the operating system, was used once, and is erased with the commit (operational).",
)
ROUNDING = 1 + 1e-6  # of norms that training bounds in float32


@dataclass(frozen=True, eq=False)
class CertifiedDeepRecord:
    """`training`: at release `number`, noise included. `stationary`: whether learning met the asserted G."""

    seed: int
    size: int
    number: int
    training: Training
    stationary: bool


@dataclass(frozen=True)
class CertifiedDeep(Method[CertifiedDeepRecord]):
    """One damped Newton step for a network in a ball; certified where constants you assert make the bound small.

    Args:
        learner: the training; its `norm_bound` is C. damping: added to the Hessian; above minus its least eigenvalue.
        epsilon, delta, noise_std, max_epsilon: the budget of all releases after a deletion, and the noise on each.
        hessian_lipschitz: M, asserted on the ball; infinite: none. gradient_bound: G, asserted of every training.
        solver: "cg" or "lissa". tol, max_iterations: of conjugate gradient, relative to the gradient.
        scale, depth, runs, batch_size: of LiSSA. lanczos_steps: products for the least eigenvalue, where M is asserted.
    """

    features_may_change: ClassVar[bool] = True
    learner: Sgd = field(default_factory=lambda: Sgd(norm_bound=20.0))
    damping: float = 1.0
    epsilon: float = 1.0
    delta: float = 1e-5
    noise_std: float = 1e-3
    max_epsilon: float = 10.0
    hessian_lipschitz: float = inf
    gradient_bound: float = inf
    solver: Literal["cg", "lissa"] = "cg"
    tol: float = 1e-3
    max_iterations: int = 200
    scale: float = 20.0
    depth: int = 200
    runs: int = 4
    batch_size: int = 64
    lanczos_steps: int = 60

    def __post_init__(self) -> None:
        self._budget()
        if not 0 <= self.damping < inf:
            raise InputError(f"damping={self.damping} was given; expected a number of at least 0, such as 1.0.")
        for name in ("hessian_lipschitz", "gradient_bound"):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name}={getattr(self, name)} was given; assert a number of at least 0, or leave it.")
        for name in ("tol", "max_iterations", "scale", "depth", "runs", "batch_size", "lanczos_steps"):
            if not 0 < getattr(self, name) < inf:
                raise InputError(f"{name}={getattr(self, name)} was given, and a positive number was expected.")
        if self.solver not in ("cg", "lissa"):
            raise InputError(f"solver={self.solver!r} was given; expected 'cg' or 'lissa'.")

    def learn(self, rows: Rows, *, seed: int, noise: NoiseKey) -> CertifiedDeepRecord:
        """Train within the ball, and add noise. Raises what the learner raises."""
        check_learnable(rows)
        started = self.learner.start(rows.schema, seed, PURPOSE)
        training = self.learner.train(started, rows, seed=seed, purpose=PURPOSE)
        return self._first(training, rows, seed, noise)

    def adopt(self, weights: Mapping[str, Tensor], rows: Rows, *, seed: int, noise: NoiseKey) -> CertifiedDeepRecord:
        """Start from a module trained elsewhere, projected into the ball. Raises what the learner raises."""
        check_learnable(rows)
        return self._first(self.learner.adopt(rows.schema, weights), rows, seed, noise)

    def forget(
        self, record: CertifiedDeepRecord, retained: Rows, forgotten: Rows, *, noise: NoiseKey
    ) -> Forgetting[CertifiedDeepRecord]:
        """One step from the last release on the retained rows.

        Raises:
            MustRetrain: no row is left. NotConverged: damping or scale is too small. Refused: M is refuted.
        """
        check_step(retained, forgotten)
        check_size(record.size, retained, forgotten)
        if not len(forgotten):
            return Forgetting(record, Uncertified("No row was to be forgotten, so nothing is promised."), {})
        objective, radius = self.learner.objective(record.training), self.learner.norm_bound
        w = into_ball(self.learner.flat(record.training), radius)
        purpose = (*PURPOSE, "step", record.number)
        start = torch.from_numpy(keyed.normals(record.seed, purpose, (len(w),))).to(w.device)
        if self.solver == "cg":
            step = by_conjugate_gradient(
                objective, w, retained, damping=self.damping, tol=self.tol, max_iterations=self.max_iterations,
                start=start,
            )  # fmt: skip
        else:
            step = by_lissa(
                objective, w, retained, damping=self.damping, scale=self.scale, depth=self.depth, runs=self.runs,
                batch_size=self.batch_size, seed=record.seed, purpose=purpose,
            )  # fmt: skip
        centre = into_ball(w - step.x, radius)
        bound = step_bound(
            objective, w, centre, retained, step, norm_bound=radius * ROUNDING, damping=self.damping,
            hessian_lipschitz=self.hessian_lipschitz, gradient_bound=self.gradient_bound, start=start,
            lanczos_steps=self.lanczos_steps,
        )  # fmt: skip
        after = self._released(replace(record, size=len(retained)), centre, noise)
        return Forgetting(after, self._promise(record, bound, noise.release, len(w)), {**step.figures, **bound.figures})

    def release(self, record: CertifiedDeepRecord) -> Release:
        """The module's noisy weights, and its buffers."""
        return self.learner.release(record.training)

    def predict(self, release: Release, columns: Mapping[str, Array]) -> Tensor:
        """Scores (m, outputs): log-probabilities for a classification, values for a regression."""
        return self.learner.predict(release, columns)

    def _budget(self) -> Budget:
        return Budget(self.epsilon, self.delta, self.noise_std, self.max_epsilon)

    def _first(self, training: Training, rows: Rows, seed: int, noise: NoiseKey) -> CertifiedDeepRecord:
        w = into_ball(self.learner.flat(training), self.learner.norm_bound)
        gradient = self.learner.objective(training).gradient(w, rows)
        met = float(torch.linalg.vector_norm(gradient)) <= self.gradient_bound
        return self._released(CertifiedDeepRecord(seed, len(rows), 0, training, met), w, noise)

    def _released(self, record: CertifiedDeepRecord, centre: Tensor, noise: NoiseKey) -> CertifiedDeepRecord:
        """The record after release `noise.release` of these weights: only the noisy ones are kept."""
        if noise.release <= record.number:
            raise InputError(f"The noise is of release {noise.release}; one after {record.number} is needed.")
        training = self.learner.moved(record.training, add_noise(centre, self.noise_std, noise))
        return replace(record, number=noise.release, training=training)

    def _promise(self, record: CertifiedDeepRecord, bound: StepBound, release: int, coordinates: int) -> Certificate:
        budget = self._budget()
        distance = 0.0 if bound.vacuous else budget.distance(release, coordinates)
        if why := bound.too_large(distance, self.noise_std):
            return Uncertified(why)
        if not record.stationary:
            return Uncertified(f"Learning ended with a gradient above gradient_bound={self.gradient_bound:.3g}.")
        if any(name.startswith(BUFFER) for name in record.training.tensors):
            return Uncertified("The module has buffers: statistics of the forgotten rows would stay in them.")
        return budget.certificate(
            release, coordinates, ASSUMPTIONS, basis=Basis.ASSUMED, view=View.ONE_RELEASE,
            reference="the norm-bounded training on the retained rows alone",
            doing_nothing_meets_it=bound.doing_nothing <= distance,
        )  # fmt: skip
