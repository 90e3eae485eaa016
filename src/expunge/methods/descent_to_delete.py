r"""Descent-to-delete: forget by a few more steps of the gradient descent that learned, and add noise.

Projected full-batch descent on F(w) = mean loss + `l2/2 ||w||^2` over a ball. m = l2; beta and L are theorems for a
public `radius` and `row_norm`. A step contracts by gamma = (beta - m) / (beta + m). The noise is fixed first; release t
takes the fewest steps that bring it within half of the budget's distance, rounding included (the reference errs too):

    T = log(start / (distance_t / 2 - floor)) / log(1/gamma),    start >= ||w_0 - w_t*||,    release w_T + noise

    perfect            w_0: the last release, projected; keeps nothing else    start: ||w_0|| + the longest minimiser
    secret             w_0: the last w_T, which it keeps                       start: last distance / 2 + moved
    weak_regularised   the same, updates at the rate sqrt(beta / (m T)), steps 1/beta; strong_regularised is secret

moved, for k of n rows: 4 k L / (m n) ("published") or k (L + m ||v||) / (m n) ("tight", proved in `maths.descent`);
"measured" stops when gamma ||w - w+|| / (eta m) says so, wherever it started.

Differs from the paper in:
1. Algorithm 8's loop `t < T_i` runs T_i - 1 steps; here T, from the *published* weights, with eta = 2 / (m + beta).
2. All later releases count: T grows as log t / log(1/gamma), weak as t^2, the paper's T_i = i^2 I. Its m is our l2.
3. The start of `perfect` is bounded with certainty; with high probability, as in the paper, where `tail` pays for it.
   n is that of the step: the first one would tell what left.

Guarantee: certified (epsilon, delta) for all releases together
Models: linear models with a convex loss
Strong: gradients only, nothing secret is kept, and the number of steps is known in advance
Weak: needs a public bound of the rows, and passes in proportion to its square over l2
Paper: Neel, Roth & Sharifi-Malvajerdi 2021
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf

from torch import Tensor

from expunge.budget import Budget
from expunge.certificate import Basis, Certified, View
from expunge.errors import InputError, MustRetrain
from expunge.learners.inputs import inputs_and_outputs
from expunge.maths.descent import moved, noise_length, tail_share
from expunge.method import Forgetting, Method, Release, check_learnable, check_size, check_step
from expunge.noise import NoiseKey, add_noise
from expunge.objective import LinearObjective
from expunge.objective.linear_release import centre_of, linear_predictions, linear_release
from expunge.objective.projected_descent import Ball, ball, check_public_bounds, descended, minimiser_on_ball
from expunge.rows import Rows
from expunge.schema import Array

CHOICES = {
    "variant": ("perfect", "secret", "strong_regularised", "weak_regularised"),
    "calibration": ("published", "tight", "measured"),
}
ASSUMPTIONS = (
    "The loss is convex and every parameter, the intercept too, is penalised by l2 (structural).",
    "Every row and target is within row_norm and target_norm, which with radius are public numbers (checked).",
    "The noise key came from the operating system, was used once, and is erased with the commit (operational).",
    "Hyperparameters, the columns and the number of classes are public: they owe nothing to the forgotten rows.",
)
NOT_STATE = "The stored state is not covered: the record keeps the weights without their noise."
MEASURED = "The last step was measured in float64 over all retained rows, rounding included."


@dataclass(frozen=True, eq=False)
class DescentToDeleteRecord:
    """`weights`: release `number` (outputs, inputs + 1), of `size` rows. `secret`: those without noise, (d,)."""

    weights: Tensor
    number: int
    size: int
    secret: Tensor | None


@dataclass(frozen=True)
class DescentToDelete(Method[DescentToDeleteRecord]):
    """Certified forgetting by projected gradient descent, for linear models of the column `x` with a convex loss.

    Args:
        epsilon, delta, noise_std, l2, loss, max_epsilon: as for CertifiedNewton. variant, calibration: see the module.
        radius: of the ball of weights. row_norm, target_norm: bound every row's norm, and that of y ("squared",
            "huber"). All are public. tail: the share of delta that "perfect" may spend on its start's noise being long.
    """

    epsilon: float = 1.0
    delta: float = 1e-5
    noise_std: float = 0.01
    l2: float = 1e-2
    loss: str = "cross_entropy"
    variant: str = "perfect"
    calibration: str = "measured"
    radius: float = 10.0
    row_norm: float = 1.0
    target_norm: float | None = None
    tail: float = 0.0
    max_epsilon: float = 10.0

    def __post_init__(self) -> None:
        check_public_bounds(self.loss, self.l2, self.radius, self.row_norm, self.target_norm)
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise InputError(f"{name} is {getattr(self, name)!r}; give one of {', '.join(known)}.")
        if not 0 <= self.tail <= 0.05 or (self.tail and self.variant != "perfect"):
            raise InputError(f"tail is {self.tail}; give a share of delta from 0 to 0.05, for variant='perfect' only.")
        self._budget()

    def learn(self, rows: Rows, *, seed: int, noise: NoiseKey) -> DescentToDeleteRecord:
        """Descend from zero; the minimiser is unique, so `seed` has nothing to decide.

        Raises:
            InputError: a row is longer than row_norm. Refused: float64 cannot vouch for the distance.
        """
        del seed
        check_learnable(rows)
        within = self._ball(rows)
        return self._descended(None, within, rows, within.objective.start(0), inf, noise)[0]

    def adopt(self, weights: Mapping[str, Tensor], rows: Rows, *, seed: int, noise: NoiseKey) -> DescentToDeleteRecord:
        """Descend from "weight" (outputs, inputs) and "bias" (outputs,) trained elsewhere, to the same distance."""
        del seed
        check_learnable(rows)
        within = self._ball(rows)
        return self._descended(None, within, rows, within.objective.trained_elsewhere(weights), inf, noise)[0]

    def forget(
        self, record: DescentToDeleteRecord, retained: Rows, forgotten: Rows, *, noise: NoiseKey
    ) -> Forgetting[DescentToDeleteRecord]:
        """Descend on the retained rows. MustRetrain: none is left, or too few for the published bound."""
        check_step(retained, forgotten)
        check_size(record.size, retained, forgotten)
        return self._changed(record, retained, len(forgotten), noise)

    def extend(
        self, record: DescentToDeleteRecord, retained: Rows, added: Rows, *, noise: NoiseKey
    ) -> Forgetting[DescentToDeleteRecord]:
        """Descend on both."""
        check_size(record.size, retained)
        return self._changed(record, retained.and_rows(added), len(added), noise)

    def release(self, record: DescentToDeleteRecord) -> Release:
        """The noisy weights (outputs, inputs + 1), intercepts last, and the loss that turns scores into predictions."""
        return linear_release(record.weights, self.loss)

    def predict(self, release: Release, columns: Mapping[str, Array]) -> Tensor:
        """Log-probabilities (m, classes), or values (m, outputs) for "squared" and "huber"."""
        return linear_predictions(release, columns)

    def minimiser(self, rows: Rows, *, tol: float = 1e-12) -> Tensor:
        """The minimiser on the ball, flat, to a gradient's norm of `tol`: what an audit holds a centre against."""
        return minimiser_on_ball(self._ball(rows), rows, tol=tol)

    def centre(self, release: Release, noise: NoiseKey) -> Tensor:
        """The released weights without their noise, flat; exact up to the grid they were rounded to."""
        return centre_of(release, self.noise_std, noise)

    def _budget(self) -> Budget:
        return Budget(self.epsilon, self.delta * (1 - self.tail), self.noise_std, self.max_epsilon)

    def _ball(self, rows: Rows) -> Ball:
        inputs, targets = inputs_and_outputs(rows.schema)
        objective = LinearObjective(self.loss, self.l2, inputs, 1 if self.loss == "logistic" else targets)
        return ball(objective, radius=self.radius, row_norm=self.row_norm, target_norm=self.target_norm)

    def _changed(
        self, record: DescentToDeleteRecord, rows: Rows, changed: int, noise: NoiseKey
    ) -> Forgetting[DescentToDeleteRecord]:
        if not changed:
            return Forgetting(record, self._promise(record, nothing=False), {})
        within, n, published = self._ball(rows), max(record.size, len(rows)), self.calibration == "published"
        if published and 2 * changed > n:
            raise MustRetrain(f"{changed} of {n} rows change at once; the published bound speaks of half at most.")
        row = moved(n, changed, within.gradient(published=published), self.l2, published=published)
        size, share = record.weights.numel(), tail_share(self.tail * self.delta, self.epsilon, record.number)
        near = row + self._budget().distance(record.number, size) / 2
        near += noise_length(self.noise_std, size, share) if record.secret is None else 0.0
        at = record.weights if record.secret is None else record.secret
        after, stats = self._descended(record, within, rows, at, near, noise)
        nothing = moved(n, changed, within.gradient(), self.l2) <= self._budget().distance(after.number, size)
        return Forgetting(after, self._promise(after, nothing=nothing), stats)

    def _descended(
        self, record: DescentToDeleteRecord | None, within: Ball, rows: Rows, w: Tensor, near: float, noise: NoiseKey
    ) -> tuple[DescentToDeleteRecord, dict[str, float]]:
        """Release `noise.release`: descended on `rows` from w, which lies within `near` of the minimiser."""
        if record and noise.release <= record.number:
            raise InputError(f"The noise is of release {noise.release}; one after {record.number} is needed.")
        at, half = within.project(w.reshape(-1)), self._budget().distance(noise.release, w.numel()) / 2
        start = min(near, within.farthest(at))
        how = {"weak": bool(record) and self.variant == "weak_regularised", "measured": self.calibration == "measured"}
        w, steps = descended(within, rows, at, farthest=start, distance=half, **how)
        weights = add_noise(within.objective.matrix(w), self.noise_std, noise)
        stats = {"passes": float(steps), "gradients": float(steps * len(rows)), "start": start, "allowed": half}
        return DescentToDeleteRecord(weights, noise.release, len(rows), None if self.variant == "perfect" else w), stats

    def _promise(self, record: DescentToDeleteRecord, *, nothing: bool) -> Certified:
        basis, how = (Basis.MEASURED, (MEASURED,)) if self.calibration == "measured" else (Basis.CHECKED, ())
        view, state = (View.STATE, ()) if self.variant == "perfect" else (View.TRANSCRIPT, (NOT_STATE,))
        promise = self._budget().certificate(
            record.number, record.weights.numel(), (*ASSUMPTIONS, *how, *state), basis=basis, view=view,
            reference=f"the minimiser on the retained rows within radius {self.radius}", doing_nothing_meets_it=nothing,
        )  # fmt: skip
        return replace(promise, delta=self.delta)
