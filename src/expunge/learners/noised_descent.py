"""How a training that was followed ends: as it is, with noise under an error bound you assert, or measured.

    none       the weights themselves; nothing is proved of the error
    assumed    `error_bound` is asserted of the weights' error in *each* request; after k requests since learning the
               sum k * error_bound must fit half of the release's distance, and the noise is added. `learn` errs by
               nothing. An error that the steps themselves estimate to be larger refutes it: learn again.
    measured   convex linear models with l2 > 0: whatever the trajectory's error, the solve goes on from its end, over
               all rows, until ||grad F|| <= l2 * distance / 2. `learn` ends the same way: both sides meet their half.

The trajectory stays in the record without noise, so certificates hold for releases, not for the stored state.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Literal

import torch
from torch import Tensor

from expunge.budget import Budget
from expunge.certificate import Basis, Certificate, Uncertified, View
from expunge.errors import InputError, MustRetrain
from expunge.keyed import Purpose
from expunge.learners.descent import Descent
from expunge.learners.learner import Training
from expunge.maths.privacy import residual_tolerance
from expunge.method import Release
from expunge.models import Linear
from expunge.noise import NoiseKey, add_noise
from expunge.objective import LinearObjective
from expunge.objective.bounds import a_priori_distance
from expunge.objective.minimise import minimise, minimise_within
from expunge.rows import Rows

Ending = Literal["none", "assumed", "measured"]
UNCERTIFIED = Uncertified(
    "Most gradients were approximated, and their error was estimated at the exact steps, not bounded: nothing was "
    "proved of what is left of the forgotten rows, in the release or in the recorded gradients."
)
_STATED = (
    "The noise key came from the operating system, was used once, and is erased with the commit (operational).",
    "Hyperparameters, the columns and the number of classes are public: they owe nothing to the forgotten rows.",
    "The stored state is not covered: the record keeps the gradients followed, without noise.",
)
ASSUMED = (
    "No request errs by more than error_bound in the followed weights, and errors of requests add up (asserted).",
    "The errors seen at exact steps do not refute error_bound; that is no proof of it (estimated).",
    *_STATED,
)
MEASURED = (
    "The loss is convex and every parameter, the intercept too, is penalised by l2 (structural).",
    "The residual was measured in float64 over all retained rows, rounding included (measured).",
    *_STATED,
)


@dataclass(frozen=True)
class NoisedDescent:
    """The end of a followed training. `learner`: the training. The rest as the methods say that use it."""

    learner: Descent
    ending: Ending
    error_bound: float
    budget: Budget
    dense_limit: int

    def __post_init__(self) -> None:
        if self.ending not in ("none", "assumed", "measured"):
            raise InputError(f"certificate={self.ending!r} was given; expected 'none', 'assumed' or 'measured'.")
        if self.ending == "assumed" and not self.error_bound < inf:
            raise InputError("certificate='assumed' was given without a bound: assert a finite error_bound.")
        if self.ending == "measured" and not isinstance(self.learner.model, Linear):
            raise InputError(
                f"certificate='measured' needs a strongly convex objective, and {type(self.learner.model).__name__} "
                "gives none: use Linear, or certificate='assumed' under a bound that you assert."
            )

    def released(self, start: Training, w: Tensor, rows: Rows, noise: NoiseKey) -> tuple[Tensor, dict[str, float]]:
        """The weights to release, noise included, and figures of the finishing solve.

        Raises:
            NotConverged, Refused: the tolerance is out of reach of the solver, or of float64.
        """
        if self.ending == "none":
            return w, {}
        stats: dict[str, float] = {}
        if self.ending == "measured":
            tolerance = residual_tolerance(self.budget.distance(noise.release, len(w)), 1.0, self.learner.l2)
            objective = self._linear(start)
            solved = minimise_within(objective, rows, w, tolerance=tolerance, dense=len(w) <= self.dense_limit)
            w, stats = solved.x, {"finishing_passes": float(solved.passes), "residual": solved.residual}
            stats["tolerance"] = tolerance
        return add_noise(w, self.budget.noise_std, noise), stats

    def check_capacity(self, requests: int, release: int, coordinates: int) -> None:
        """Raise MustRetrain where the asserted errors of all requests since learning are more than may be."""
        if self.ending != "assumed":
            return
        allowed = self.budget.distance(release, coordinates) / 2
        if not requests * self.error_bound <= allowed:
            raise MustRetrain(
                f"After {requests} request(s) the weights may be {requests * self.error_bound:.3g} off (error_bound), "
                f"and release {release} allows {allowed:.3g}: learn again."
            )

    def promise(
        self, start: Training, weights: Tensor, release: int, retained: int, changed: Rows, error: float, moved: float
    ) -> Certificate:
        """What a step is worth.

        Args:
            weights: of the last release. retained: rows left. changed: those that left.
            error, moved: of the followed weights: the estimated error, and the distance from the old ones.

        Raises:
            MustRetrain: the estimated error refutes the asserted one.
        """
        if self.ending == "none":
            return UNCERTIFIED
        distance = self.budget.distance(release, len(weights))
        if self.ending == "measured":
            a_priori = a_priori_distance(self._linear(start), weights, retained, changed)
            return self.budget.certificate(
                release, len(weights), MEASURED, view=View.TRANSCRIPT, doing_nothing_meets_it=a_priori <= distance
            )
        if error > self.error_bound:
            raise MustRetrain(
                f"error_bound={self.error_bound:.3g} was asserted, and the errors seen at exact steps amount to "
                f"{error:.3g}: the assertion is refuted; learn again, and assert a larger one or shorten the period."
            )
        return self.budget.certificate(
            release, len(weights), ASSUMED, basis=Basis.ASSUMED, view=View.TRANSCRIPT,
            reference="the same training on the retained rows alone, under the same seed",
            doing_nothing_meets_it=moved + self.error_bound <= distance / 2,
        )  # fmt: skip

    def reference(self, rows: Rows, purpose: Purpose, tol: float) -> Tensor:
        """The centre that learning on `rows` comes near, flat: the minimiser, or the training's end.

        Raises:
            InputError: it depends on the seed, or nothing is claimed of it.
        """
        start = self.learner.start(rows.schema, 0, purpose)
        if self.ending == "measured":
            objective = self._linear(start)
            return minimise(
                objective, rows, objective.start(0), tol=tol, dense=objective.dimension <= self.dense_limit
            ).x
        if self.ending == "none" or not isinstance(self.learner.model, Linear) or self.learner.batches > 1:
            raise InputError("What this method comes near depends on the seed of its training; no minimiser is known.")
        return self.learner.flat(self.learner.train(start, rows, seed=0, purpose=purpose))

    def centre(self, release: Release, noise: NoiseKey) -> Tensor:
        """The weights of a release without their noise, flat, up to the grid; themselves where none was added.

        Raises:
            InputError: noise was added to a model that is not linear.
        """
        if self.ending == "none":
            return torch.cat([tensor.reshape(-1).double() for tensor in release.tensors.values()])
        if not isinstance(self.learner.model, Linear):
            raise InputError("Of noisy releases, only a linear model's has a centre that can be told.")
        weights = torch.cat([release.tensors["weight"], release.tensors["bias"][:, None]], 1).reshape(-1)
        return weights - add_noise(torch.zeros_like(weights), self.budget.noise_std, noise)

    def _linear(self, start: Training) -> LinearObjective:
        objective = self.learner.objective(start)
        if not isinstance(objective, LinearObjective):
            raise InputError("A measured residual bounds the distance of a linear model only.")
        return objective
