r"""Learn with differential privacy, so that a request needs nothing done: the boundary case of forgetting.

Minimises the mean loss plus `l2/2 ||w||^2` over every parameter, rows longer than `row_norm` scaled down to it, and
releases `w + noise_std * xi`: output perturbation. Without k of the n rows the minimiser lies at most

    k S,   S = (G + min(G, sqrt(2 l2 c))) / (l2 n)

away, G bounding a row's gradient and c its loss at zero weights (docs/certificates.md). Both solves stop within
e = 1e-4 noise_std of their minimisers. So the t releases that have held these rows, t the number of the release that is
live, are mu_k-GDP with

    mu_k = sqrt(t) (k S + 2 e) / noise_std

whatever is or is not done on a request, n the fewest rows that any of the t had. `forget` counts, and says what all
rows forgotten since learning cost together. When rows come, all are learned again.

Differs from the paper (Chaudhuri, Monteleoni & Sarwate 2011, algorithm 1) in:
1. Gaussian noise and Gaussian differential privacy, in which k rows cost exactly k times the mu of one.
2. Every parameter is penalised, the intercept too, and rows beyond `row_norm` are scaled down, not excluded.
3. Solves that stop early are charged, and the loss at zero shortens the bound 2 G / (l2 n) by up to a half.

Guarantee: certified (epsilon, delta) for all releases ever made, growing with the rows forgotten
Models: linear models with a convex loss of bounded slope
Strong: nothing to do on a request, and releases made before it are covered too
Weak: far more noise than any other certificate, and a budget that runs out
Paper: Chaudhuri et al. 2011, Dong et al. 2022
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import hypot, inf, sqrt

from torch import Tensor

from expunge.budget import Budget
from expunge.certificate import Basis, Certified, View
from expunge.errors import InputError, MustRetrain, Refused
from expunge.learners.bounded_rows import bounds, clipped, scaled
from expunge.learners.inputs import inputs_and_outputs
from expunge.maths.floating_point import RELEASES, under_true_noise
from expunge.maths.privacy import mu_of
from expunge.maths.sensitivity import machine_epsilon, output_sensitivity
from expunge.method import Forgetting, Method, Release, check_learnable, check_size, check_step
from expunge.noise import GRID_BITS, NoiseKey, add_noise
from expunge.objective import LinearObjective
from expunge.objective.linear_release import linear_predictions
from expunge.objective.minimise import minimise_within
from expunge.rows import Rows
from expunge.schema import Array

SOLVED = 1e-4  # how near its minimiser a solve comes, in standard deviations of the noise
LEAST = 0.01  # epsilon: below it machine noise would be most of what is promised
ASSUMPTIONS = (
    "The loss is convex with a bounded slope, and every parameter, the intercept too, is penalised by l2 (structural).",
    "Every row was scaled down to row_norm, which was chosen without looking at the rows (structural; operational).",
    "The residual was measured in float64 over all rows, rounding included (measured).",
    "The noise key came from the operating system, was used once, and was erased with the commit (operational).",
    "Hyperparameters, the columns, the number of classes, of rows and of forgotten rows are public.",
    "It covers all rows forgotten since the model was last learned, together; the stored rows' folder is not covered.",
)


@dataclass(frozen=True, eq=False)
class DifferentialPrivacyRecord:
    """`weights`: the release (outputs, inputs + 1), of that `number`; of `size` rows learned, `forgotten` have left.

    `least`: the fewest rows of a release so far. Only a record that rows came to knows it: `forget` then learns itself.
    """

    weights: Tensor
    size: int
    least: int
    forgotten: int
    number: int


Step = Forgetting[DifferentialPrivacyRecord]


@dataclass(frozen=True)
class DifferentialPrivacy(Method[DifferentialPrivacyRecord]):
    """Linear models of the column `x`, learned once with differential privacy; forgetting leaves them as they are.

    Args:
        epsilon, delta: what one row may cost in one release: less noise than that takes is refused.
        noise_std: standard deviation of the noise on every released coordinate.
        row_norm: the length (Euclidean) that longer rows of `x` are scaled down to. It must not come from the rows.
        l2: lambda of `lambda/2 ||w||^2`, added to the mean loss; every parameter is penalised.
        loss: "cross_entropy", "logistic" (two classes, one output), "multilabel_logistic" or "huber".
        max_epsilon: when the rows forgotten cost more together, the model must be learned again.
        dense_limit: parameters up to which a Hessian is used; above it L-BFGS solves without one.
    """

    epsilon: float = 1.0
    delta: float = 1e-5
    noise_std: float = 0.5
    row_norm: float = 1.0
    l2: float = 1e-2
    loss: str = "cross_entropy"
    max_epsilon: float = 10.0
    dense_limit: int = 4000

    def __post_init__(self) -> None:
        Budget(self.epsilon, self.delta, self.noise_std, self.max_epsilon)
        for name, value in (("l2", self.l2), ("row_norm", self.row_norm)):
            if not 0 < value < inf:
                raise InputError(f"{name} is {value}; the sensitivity needs a positive one.")
        if self.loss not in (known := bounds(1)):
            raise InputError(f"The loss is {self.loss!r}; a bounded slope is needed: one of {', '.join(known)}.")

    def learn(self, rows: Rows, *, seed: int, noise: NoiseKey) -> DifferentialPrivacyRecord:
        """Minimise from zero, which needs no `seed`, and add noise.

        Raises:
            Refused: it is too little, for float64 or (at release 1) for `epsilon`. InputError: the rows do not fit.
        """
        del seed
        check_learnable(rows)
        inputs, scores = inputs_and_outputs(rows.schema)
        objective = LinearObjective(self.loss, self.l2, inputs, 1 if self.loss == "logistic" else scores)
        self._check_noise(self.sensitivity(len(rows), objective.outputs), objective.dimension, noise.release)
        solved = minimise_within(
            objective, clipped(rows, self.row_norm), objective.start(0),
            tolerance=self.l2 * SOLVED * self.noise_std, dense=objective.dimension <= self.dense_limit,
        )  # fmt: skip
        weights = add_noise(objective.matrix(solved.x), self.noise_std, noise)
        return DifferentialPrivacyRecord(weights, len(rows), len(rows), 0, noise.release)

    def forget(self, record: DifferentialPrivacyRecord, retained: Rows, forgotten: Rows, *, noise: NoiseKey) -> Step:
        """The same release; the rows are counted. MustRetrain where they cost more than `max_epsilon` together."""
        check_step(retained, forgotten)
        check_size(record.size - record.forgotten, retained, forgotten)
        after = replace(record, forgotten=record.forgotten + len(forgotten)) if len(forgotten) else record
        try:
            certificate = self._certificate(after)
        except MustRetrain:
            if record.least == record.size:
                raise
            return self._anew(record, retained, noise)
        return Forgetting(after, certificate, {"rows_visited": 0, "epsilon": certificate.epsilon})

    def extend(self, record: DifferentialPrivacyRecord, retained: Rows, added: Rows, *, noise: NoiseKey) -> Step:
        """All rows learned again. The releases before had fewer rows, of which each weighed more: that is kept."""
        check_size(record.size - record.forgotten, retained)
        return self._anew(record, retained.and_rows(added), noise)

    def remember(
        self, learned: DifferentialPrivacyRecord, before: DifferentialPrivacyRecord
    ) -> DifferentialPrivacyRecord:
        """How few rows the releases before had, for a record learned again."""
        return replace(learned, least=min(learned.least, before.least))

    def release(self, record: DifferentialPrivacyRecord) -> Release:
        """The noisy weights (outputs, inputs + 1), intercepts last, the loss, and the length rows are scaled to."""
        return Release({"weights": record.weights}, {"loss": self.loss, "row_norm": self.row_norm})

    def predict(self, release: Release, columns: Mapping[str, Array]) -> Tensor:
        """Log-probabilities (m, classes), or values (m, outputs) for "huber"; rows are scaled as in training."""
        return linear_predictions(release, scaled(columns, release.settings["row_norm"]))

    def sensitivity(self, rows: int, outputs: int) -> float:
        """S: how far one of `rows` rows moves the minimiser at most, with `outputs` scores."""
        slope, at_zero = bounds(outputs)[self.loss]
        return output_sensitivity(rows=rows, l2=self.l2, gradient=slope * hypot(self.row_norm, 1), at_zero=at_zero)

    def _check_noise(self, sensitivity: float, size: int, release: int) -> None:
        if release > RELEASES:
            raise Refused(f"Release {release} is past the {RELEASES:,} that can be charged: begin a new vault.")
        mu = mu_of(*under_true_noise(self.epsilon, self.delta, size, GRID_BITS, releases=release))
        needed = sensitivity / (mu - 2 * SOLVED) if mu > 2 * SOLVED else inf
        if release == 1 and self.noise_std < needed:
            raise Refused(
                f"noise_std is {self.noise_std:g}; epsilon={self.epsilon:g} and delta={self.delta:g} for one row take "
                f"at least {needed:.4g} here. Give that, or raise epsilon, l2 or the number of rows."
            )

    def _anew(self, record: DifferentialPrivacyRecord, rows: Rows, noise: NoiseKey) -> Step:
        """A release of these rows beside those before: whoever never had other rows makes the same."""
        if noise.release <= record.number:
            raise InputError(f"The noise is of release {noise.release}; one after {record.number} is needed.")
        learned = self.learn(rows, seed=0, noise=noise)
        promise = self._certified(learned, 2 * SOLVED * self.noise_std, 1, View.ONE_RELEASE)
        return Forgetting(self.remember(learned, record), promise, {"rows_visited": len(rows)})

    def _certificate(self, record: DifferentialPrivacyRecord) -> Certified:
        moved = max(record.forgotten, 1) * self.sensitivity(record.least, len(record.weights))
        return self._certified(record, moved + 2 * SOLVED * self.noise_std, record.number, View.LIFETIME)

    def _certified(self, record: DifferentialPrivacyRecord, distance: float, releases: int, view: View) -> Certified:
        size, spent = record.weights.numel(), sqrt(releases) * distance / self.noise_std
        epsilon = machine_epsilon(spent, self.delta, size, GRID_BITS, releases, LEAST)
        if view is View.LIFETIME and epsilon > self.max_epsilon:
            raise MustRetrain(
                f"The rows forgotten since the model was learned cost epsilon {epsilon:.3g} together, more than "
                f"max_epsilon={self.max_epsilon:g}: learn again on the retained rows."
            )
        return Certified(
            epsilon=epsilon, delta=self.delta, distance=distance, noise_std=self.noise_std, basis=Basis.CHECKED,
            mu=mu_of(*under_true_noise(epsilon, self.delta, size, GRID_BITS, releases=releases)), view=view,
            assumptions=ASSUMPTIONS, doing_nothing_meets_it=view is View.LIFETIME,
            reference="the same learning without any of the forgotten rows, its own noise included",
        )  # fmt: skip
