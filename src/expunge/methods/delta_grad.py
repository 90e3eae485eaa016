r"""DeltaGrad: follow the recorded training without the rows, by gradients mostly approximated [Wu et al. 2020].

Training is plain gradient descent on keyed batches (learners/descent.py), and the mean loss gradient g_t of each of its
T steps is recorded. To forget, the training without the rows is followed from its start, v = w^U_t - w_t away from the
old one; b_t rows were in batch B_t, R_t of them leave:

    exact step (t < burn_in, then every period-th)
        g^U = mean over B_t \ R_t of grad l_i(w^U_t)
        pair s = v, y = [mean over all of B_t of grad l_i(w^U_t)] - g_t + l2 v;  the last `memory` pairs make B
    other steps (only the rows of R_t are read)
        g^U = (b_t (g_t + B v - l2 v) - sum over R_t of grad l_i(w^U_t)) / (b_t - |R_t|)
    w^U_{t+1} = (1 - eta l2) w^U_t - eta g^U                              B: the BFGS Hessian (maths/compact_bfgs.py)

The g^U replace the record: the next request starts from them. Rows are learned likewise, with the other sign. Where a
pair has no positive curvature, or B v is longer than `lipschitz` |v|, the step is exact. With `period=1` all are, and
forgetting equals learning without the rows, bit for bit.

Differs from the paper and its code in:
1. Each row's batch is drawn by its own key, so the reference is `learn` itself on what is left; sizes are binomial. A
   batch that loses all its rows is skipped as learning skips it; the code then goes on with the wrong cached step.
2. Only gradients are kept: the weights are their running sum, bit for bit, so the record is half as large (a quarter in
   float32) and v has no rounding of its own.
3. Steps at which v = 0 need no pair: until a row that leaves is met, cached gradients are the exact ones.
4. The curvature guard is obeyed (the code computes a flag and ignores it); pairs that repeat one another are dropped.
5. `target_error` sets the period by the errors seen at exact steps (maths/exact_steps.py).
6. `certificate`: "assumed" adds noise under an error bound that you assert. "measured" (convex linear models) goes on
   from w^U_T, in `learn` and `forget` alike, until the residual on all rows meets its half of the distance.

Guarantee: none (audited only), or certified with noise: measured for convex models, under an asserted bound for others
Models: linear models, or any torch module, trained by plain gradient descent
Strong: several times faster than retraining, and on convex models within about a hundredth of doing nothing's gap
Weak: keeps the gradients of every step, and comes less near on networks
Paper: Wu, Dobriban & Davidson 2020
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf

from torch import Tensor

from expunge.budget import Budget
from expunge.errors import InputError
from expunge.keyed import Purpose
from expunge.learners.descent import Descent
from expunge.learners.descent_recording import Trajectory, recorded
from expunge.learners.followed_descent import followed
from expunge.learners.noised_descent import Ending, NoisedDescent
from expunge.maths.exact_steps import ExactSteps
from expunge.maths.secants import Secants
from expunge.method import Forgetting, Method, Release, check_learnable, check_size, check_step
from expunge.methods.retrain import EXACT
from expunge.noise import NoiseKey
from expunge.rows import Rows
from expunge.schema import Array

PURPOSE: Purpose = ("delta-grad",)


@dataclass(frozen=True, eq=False)
class DeltaGradRecord:
    """`weights`: the release, flat, noise included. `trajectory`: secret, without noise. `requests`: since learning."""

    seed: int
    size: int
    number: int
    requests: int
    weights: Tensor
    trajectory: Trajectory


@dataclass(frozen=True)
class DeltaGrad(Method[DeltaGradRecord]):
    """Follow the recorded training without the rows.

    Args:
        learner: the training. period: T_0, steps from one exact one to the next. burn_in: j_0, exact steps at first.
        memory: pairs kept. target_error: of the weights, as a share of doing nothing's; then the period follows it.
        curvature_floor: pairs of less curvature are not taken. lipschitz: of the gradient of F, if known.
        certificate: "none", "assumed" (give `error_bound`: of the weights, in each request) or "measured".
        epsilon, delta, noise_std, max_epsilon: the budget of all releases after a deletion, and the noise on each.
        dense_limit: parameters up to which "measured" finishes with Newton steps; above it by L-BFGS.
    """

    learner: Descent = field(default_factory=Descent)
    period: int = 5
    burn_in: int = 10
    memory: int = 4
    conjugate: bool = True
    target_error: float | None = None
    curvature_floor: float = 1e-8
    lipschitz: float = inf
    certificate: Ending = "none"
    error_bound: float = inf
    epsilon: float = 1.0
    delta: float = 1e-5
    noise_std: float = 0.01
    max_epsilon: float = 10.0
    dense_limit: int = 4000

    def __post_init__(self) -> None:
        for name in ("period", "memory"):
            if not getattr(self, name) >= 1:
                raise InputError(f"{name}={getattr(self, name)} was given, and at least 1 was expected.")
        for name in ("burn_in", "curvature_floor"):
            if not 0 <= getattr(self, name) < inf:
                raise InputError(f"{name}={getattr(self, name)} was given, and a number of at least 0 was expected.")
        for name in ("target_error", "lipschitz", "error_bound"):
            if not (getattr(self, name) is None or getattr(self, name) > 0):
                raise InputError(f"{name}={getattr(self, name)} was given, and a positive number was expected.")
        self._ending()

    def learn(self, rows: Rows, *, seed: int, noise: NoiseKey) -> DeltaGradRecord:
        """Train, and record the gradient of every step.

        Raises:
            InputError: the rows cannot be learned from. NotConverged: training diverged.
        """
        check_learnable(rows)
        start = self.learner.start(rows.schema, seed, PURPOSE)
        trajectory, w = recorded(self.learner, start, rows, seed, PURPOSE)
        weights, _ = self._ending().released(start, w, rows, noise)
        return DeltaGradRecord(seed, len(rows), self._number(noise), 0, weights, trajectory)

    def forget(
        self, record: DeltaGradRecord, retained: Rows, forgotten: Rows, *, noise: NoiseKey
    ) -> Forgetting[DeltaGradRecord]:
        """Follow the training without the rows; the trajectory followed replaces the record's.

        Raises:
            MustRetrain: no row is left, or the asserted error no longer fits. InputError: not the record's rows.
        """
        check_step(retained, forgotten)
        check_size(record.size, retained, forgotten)
        return self._step(record, retained, forgotten, len(forgotten), noise)

    def extend(
        self, record: DeltaGradRecord, retained: Rows, added: Rows, *, noise: NoiseKey
    ) -> Forgetting[DeltaGradRecord]:
        """Follow the training with the added rows, the same way.

        Raises:
            InputError: these are not the record's rows, or an id is among them already.
        """
        check_size(record.size, retained)
        return self._step(record, retained.and_rows(added), added, -len(added), noise)

    def release(self, record: DeltaGradRecord) -> Release:
        """The model's weights, noise included; the gradients stay."""
        return self.learner.release(self.learner.moved(record.trajectory.start, record.weights))

    def predict(self, release: Release, columns: Mapping[str, Array]) -> Tensor:
        """Scores (m, outputs): log-probabilities for a classification, values for a regression."""
        return self.learner.predict(release, columns)

    def minimiser(self, rows: Rows, *, tol: float = 1e-12) -> Tensor:
        """What a certificate says the release is near, on `rows`; InputError where it depends on the seed."""
        return self._ending().reference(rows, PURPOSE, tol)

    def centre(self, release: Release, noise: NoiseKey) -> Tensor:
        """The released weights without their noise, flat; InputError where a network's were noised."""
        return self._ending().centre(release, noise)

    def _ending(self) -> NoisedDescent:
        budget = Budget(self.epsilon, self.delta, self.noise_std, self.max_epsilon)
        return NoisedDescent(self.learner, self.certificate, self.error_bound, budget, self.dense_limit)

    def _number(self, noise: NoiseKey) -> int:
        return 0 if self.certificate == "none" else noise.release  # without noise, releases have no number

    def _step(
        self, record: DeltaGradRecord, rows: Rows, changed: Rows, gone: int, noise: NoiseKey
    ) -> Forgetting[DeltaGradRecord]:
        """The record of `rows`, those there are after `changed` left (gone > 0) or joined (gone < 0)."""
        ending, size, start = self._ending(), len(record.weights), record.trajectory.start
        if gone and self.certificate != "none" and noise.release <= record.number:
            raise InputError(f"The noise is of release {noise.release}; one after {record.number} is needed.")
        if not gone:
            nothing = ending.promise(start, record.weights, record.number, len(rows), changed, 0.0, 0.0)
            return Forgetting(record, EXACT if self._exact else nothing, {})
        ending.check_capacity(record.requests + 1, noise.release, size)
        now, left = (self.learner.gradients(start, part, record.seed, PURPOSE) for part in (rows, changed))
        trajectory, w, stats = followed(
            self.learner, record.trajectory, now, left, 1 if gone > 0 else -1,
            schedule=ExactSteps(self.burn_in, self.period, self.target_error), all_exact=self._exact,
            secants=Secants(
                self.memory, floor=self.curvature_floor, lipschitz=self.lipschitz, conjugate=self.conjugate
            ),
        )  # fmt: skip
        weights, finishing = ending.released(start, w, rows, noise)
        error = stats["estimated_share"] * stats["moved"]
        made = ending.promise(start, record.weights, noise.release, len(rows), changed, error, stats["moved"])
        promise, requests = (EXACT, 0) if self._exact else (made, record.requests + 1)
        after = DeltaGradRecord(record.seed, len(rows), self._number(noise), requests, weights, trajectory)
        return Forgetting(after, promise, stats | finishing)

    @property
    def _exact(self) -> bool:
        """Whether every step is evaluated and nothing added: then forgetting is learning again."""
        return self.period == 1 and self.target_error is None and self.certificate == "none"
