"""Residual-certified forgetting for convex models: solve again from the last release, measure, add noise.

Minimises the mean loss plus `l2/2 ||w||^2` over every parameter (intercept included) and releases `w + noise_std * xi`.
Because the objective F_r of the retained rows is l2-strongly convex, `||w - w_r*|| <= ||grad F_r(w)|| / l2` at any w,
whatever was done to reach it [Sekhari 2021 sets the frame; the measured residual replaces its bound]. With

    distance_t = noise_std * mu_t,   mu_t = mu(epsilon, delta) * sqrt(6) / (pi t)

every solve, in `learn` and in `forget` alike, goes on until `||grad F|| <= l2 * distance_t / 2`: the release and the
one learned without the rows both err, so each may use half. The squares of mu_t sum to mu^2 over t = 1, 2, ..., so all
releases from any deletion on are together (epsilon, delta)-indistinguishable from those of a life without the rows
(docs/certificates.md).

A forget is a chord Newton iteration: it starts at the last release, under the Hessian that `settle` took there over the
retained rows, down-dated exactly for the forgotten ones. No noiseless weights are kept.

Differs from the papers (Sekhari 2021; Guo 2020; Neel 2021) in:
1. The residual is measured, not bounded: no Lipschitz constant of the Hessian, no norm of the data is assumed.
2. The noise is fixed first and the solve iterated until it suffices: no budget runs out.
3. The Gaussian mechanism is the exact one (Balle & Wang 2018); both sides err and all later releases count.

Guarantee: certified (epsilon, delta) for all releases together
Models: linear models with a convex loss
Strong: any batch and any sequence, from one solve that starts at the last release
Weak: convex losses only, and noise on every weight
Paper: Sekhari et al. 2021, Guo et al. 2020, Neel et al. 2021
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf
from typing import ClassVar

from torch import Tensor

from expunge.budget import Budget
from expunge.errors import InputError
from expunge.learners.inputs import inputs_and_outputs
from expunge.maths.privacy import residual_tolerance
from expunge.method import Forgetting, Method, Release, check_step
from expunge.noise import NoiseKey, add_noise
from expunge.objective import LinearObjective
from expunge.objective.anchor import Anchor, anchored
from expunge.objective.bounds import a_priori_distance
from expunge.objective.linear_release import centre_of, linear_predictions, linear_release
from expunge.objective.minimise import Solve, minimise, minimise_within
from expunge.rows import Rows
from expunge.schema import Array

LOSSES = ("cross_entropy", "huber", "logistic", "multilabel_logistic", "squared")
ASSUMPTIONS = (
    "The loss is convex and every parameter, the intercept too, is penalised by l2 (structural).",
    "The residual was measured in float64 over all retained rows, rounding included (measured).",
    "The noise key came from the operating system, was used once, and is erased with the commit (operational).",
    "Hyperparameters, the columns and the number of classes are public: they owe nothing to the forgotten rows.",
)


@dataclass(frozen=True, eq=False)
class CertifiedNewtonRecord:
    """`weights`: the release (outputs, inputs + 1), noise included. `anchor`: the factored Hessian, or None.

    After `settle` the anchor is at the release itself, over the retained rows; before, at the release of the step
    before, over the forgotten rows too. `number` is that of the release.
    """

    weights: Tensor
    anchor: Anchor | None
    number: int


@dataclass(frozen=True)
class CertifiedNewton(Method[CertifiedNewtonRecord]):
    """Certified forgetting for linear models of the column `x` with a convex loss.

    Args:
        epsilon, delta: what all releases after a deletion together may spend.
        noise_std: standard deviation of the noise on every released coordinate.
        l2: lambda of `lambda/2 ||w||^2`, added to the mean loss; every parameter is penalised.
        loss: "cross_entropy", "logistic" (two classes, one output), "multilabel_logistic", "squared" or "huber".
        max_epsilon: a larger epsilon (after composition with noised features, say) is refused.
        dense_limit: parameters up to which a Hessian is kept; above it L-BFGS solves without one.
    """

    features_may_change: ClassVar[bool] = True
    epsilon: float = 1.0
    delta: float = 1e-5
    noise_std: float = 0.01
    l2: float = 1e-3
    loss: str = "cross_entropy"
    max_epsilon: float = 10.0
    dense_limit: int = 4000

    def __post_init__(self) -> None:
        self._budget()
        if not 0 < self.l2 < inf:
            raise InputError(f"l2 is {self.l2}; the bound divides by it: give a positive one, such as 1e-3.")
        if self.loss not in LOSSES:
            raise InputError(f"The loss is {self.loss!r}; a certificate needs a convex one of {', '.join(LOSSES)}.")

    def learn(self, rows: Rows, *, seed: int, noise: NoiseKey) -> CertifiedNewtonRecord:
        """Minimise from zero; see the module. The minimiser is unique, so `seed` has nothing to decide.

        Raises:
            InputError: the rows do not fit the loss. Refused: the noise is below what float64 can vouch for.
        """
        del seed
        objective = self._objective(rows)
        return self._learned(objective.matrix(objective.start(0)), rows, noise)

    def adopt(self, weights: Mapping[str, Tensor], rows: Rows, *, seed: int, noise: NoiseKey) -> CertifiedNewtonRecord:
        """Minimise from "weight" (outputs, inputs) and "bias" (outputs,) trained elsewhere, to the same tolerance."""
        del seed
        return self._learned(self._objective(rows).trained_elsewhere(weights), rows, noise)

    def forget(
        self, record: CertifiedNewtonRecord, retained: Rows, forgotten: Rows, *, noise: NoiseKey
    ) -> Forgetting[CertifiedNewtonRecord]:
        """Minimise on the retained rows from the last release, which is all that is left of the forgotten ones.

        Raises:
            MustRetrain: no row is left. NotConverged, Refused: as for `learn`.
        """
        check_step(retained, forgotten)
        budget, size = self._budget(), record.weights.numel()
        if not len(forgotten):
            return Forgetting(record, budget.certificate(record.number, size, ASSUMPTIONS), {})
        objective, anchor = self._objective(retained), record.anchor
        solve = anchor.without(objective, forgotten) if anchor else None
        after, stats = self._solved(record, retained, noise, solve)
        moved = a_priori_distance(objective, record.weights, len(retained), forgotten)
        nothing = moved <= budget.distance(after.number, size)
        promise = budget.certificate(after.number, size, ASSUMPTIONS, doing_nothing_meets_it=nothing)
        return Forgetting(after, promise, stats)

    def extend(
        self, record: CertifiedNewtonRecord, retained: Rows, added: Rows, *, noise: NoiseKey
    ) -> Forgetting[CertifiedNewtonRecord]:
        """Minimise on both from the last release; what earlier deletions were promised stays true by the schedule."""
        solve = record.anchor.solve if record.anchor else None
        after, stats = self._solved(record, retained.and_rows(added), noise, solve)
        return Forgetting(after, self._budget().certificate(after.number, after.weights.numel(), ASSUMPTIONS), stats)

    def settle(self, record: CertifiedNewtonRecord, retained: Rows) -> CertifiedNewtonRecord:
        """Anchor the curvature at the record's own release: what an older anchor knew of the forgotten rows goes."""
        objective = self._objective(retained)
        if objective.dimension > self.dense_limit:
            return replace(record, anchor=None)
        anchor = anchored(objective, record.weights.reshape(-1), retained)
        return replace(record, anchor=anchor)

    def release(self, record: CertifiedNewtonRecord) -> Release:
        """The noisy weights (outputs, inputs + 1), intercepts last, and the loss that turns scores into predictions."""
        return linear_release(record.weights, self.loss)

    def predict(self, release: Release, columns: Mapping[str, Array]) -> Tensor:
        """Log-probabilities (m, classes), or values (m, outputs) for "squared" and "huber"."""
        return linear_predictions(release, columns)

    def minimiser(self, rows: Rows, *, tol: float = 1e-12) -> Tensor:
        """The minimiser on `rows`, to a gradient's norm of `tol`; flat: what an audit holds a centre against."""
        objective = self._objective(rows)
        return minimise(objective, rows, objective.start(0), tol=tol, dense=objective.dimension <= self.dense_limit).x

    def centre(self, release: Release, noise: NoiseKey) -> Tensor:
        """The released weights without their noise, flat; exact up to the grid they were rounded to."""
        return centre_of(release, self.noise_std, noise)

    def _budget(self) -> Budget:
        return Budget(self.epsilon, self.delta, self.noise_std, self.max_epsilon)

    def _objective(self, rows: Rows) -> LinearObjective:
        inputs, targets = inputs_and_outputs(rows.schema)
        return LinearObjective(self.loss, self.l2, inputs, 1 if self.loss == "logistic" else targets)

    def _learned(self, start: Tensor, rows: Rows, noise: NoiseKey) -> CertifiedNewtonRecord:
        nothing_yet = CertifiedNewtonRecord(start, None, 0)
        return self.settle(self._solved(nothing_yet, rows, noise)[0], rows)

    def _solved(
        self, record: CertifiedNewtonRecord, rows: Rows, noise: NoiseKey, solve: Solve | None = None
    ) -> tuple[CertifiedNewtonRecord, dict[str, float]]:
        """The record after release `noise.release`: minimised on `rows` from the last one, and noised."""
        if noise.release <= record.number:
            raise InputError(f"The noise is of release {noise.release}; one after {record.number} is needed.")
        objective, distance = self._objective(rows), self._budget().distance(noise.release, record.weights.numel())
        tolerance = residual_tolerance(distance, 1.0, self.l2)
        solved = minimise_within(
            objective, rows, record.weights.reshape(-1), tolerance=tolerance,
            dense=objective.dimension <= self.dense_limit, solve=solve,
        )  # fmt: skip
        weights = add_noise(solved.x.reshape(record.weights.shape), self.noise_std, noise)
        stats = {"passes": float(solved.passes), "residual": solved.residual, "tolerance": tolerance}
        return replace(record, weights=weights, number=noise.release), stats
