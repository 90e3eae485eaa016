r"""Distributed descent: a secret bootstrap, descent on each of its subsets, and the noised mean of what they give.

K = B = `subsets` subsets of B slots, each slot any row alike. Subset k descends (projected, on a ball, as in
descent-to-delete) on the mean loss of its slots plus `l2/2 ||w||^2`; the release is mean_k w_k + noise. A row sits in
about K B / n = n^(xi - 1) slots for K = B = n^(xi/2), and only their subsets descend when it leaves.

Slots follow the rows by reservoir sampling (`maths.reservoir`): after each step they have the law of a bootstrap drawn
afresh, provided that the requests were chosen without looking at a release. Then life and reference can be given the
same slots from the deletion on, for as long as it lasts; given them, each w_k is within half a distance of the same
minimiser in both, so the means are within the distance, each release is Gaussian with fresh noise, and the releases
compose; a mixture over the slots costs nothing (docs/methods/distributed_descent.md).

A subset that j changed slots touch starts at its last w_k, at most its last distance and 2 j L / (m B) from the new
minimiser. Distances tighten as 1/t, so subsets are solved for a release ahead, and untouched ones wait until it passes.

Differs from the paper in:
1. The noise is fixed first; both sides err; all later releases count, as in descent-to-delete.
2. K = B is a public number: n^(xi/2) of the rows at hand would differ between the two lives (`maths.descent`).
3. Several rows at once: every slot that held one is drawn anew; each goes to one of a new rows with probability a/n.

Guarantee: certified (epsilon, delta) for all releases together, if requests never look at a release
Models: linear models with a convex loss
Strong: a request costs only the few subsets that hold the row
Weak: the mean of subsets is not the minimiser on all rows, and adaptive requests are not covered
Paper: Neel, Roth & Sharifi-Malvajerdi 2021; Zhang, Duchi & Wainwright 2013 for the mean
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import ndtr
from torch import Tensor

from expunge.budget import Budget
from expunge.certificate import Basis, Certified, View
from expunge.errors import InputError
from expunge.learners.inputs import in_key_order, inputs_and_outputs
from expunge.maths.descent import moved_by_replacing
from expunge.maths.floating_point import RELEASES, rounding
from expunge.maths.reservoir import Uniforms, after_coming, after_leaving, drawn
from expunge.method import Forgetting, Method, Release, check_learnable, check_size, check_step
from expunge.noise import NoiseKey, add_noise
from expunge.objective import LinearObjective
from expunge.objective.linear_release import linear_predictions, linear_release
from expunge.objective.projected_descent import Ball, ball, check_public_bounds, descended
from expunge.rows import Rows
from expunge.schema import Array

AHEAD = 16  # the least release that a subset is solved for
ASSUMPTIONS = (
    "This request and all before it were chosen without looking at any release: the bootstrap is secret and persists.",
    "The loss is convex and every parameter, the intercept too, is penalised by l2 (structural).",
    "Every row and target is within row_norm and target_norm, which with radius and subsets are public (checked).",
    "The stored state is not covered: the record keeps the bootstrap and weights without noise.",
    "Noise keys came from the operating system, were used once, and are erased with the commit (operational).",
    "Hyperparameters, the columns and the number of classes are public: they owe nothing to the forgotten rows.",
)
MEASURED = "The last step on every subset was measured in float64, rounding included."


@dataclass(frozen=True, eq=False)
class DistributedDescentRecord:
    """Release `number` of `size` rows; the rest is secret.

    Attributes:
        weights: the release (outputs, inputs + 1). models: w_k, (K, d). bounds: how far each is from its minimiser.
        slots: (K, B) positions among the rows in the order of their keys; they name nobody.
    """

    weights: Tensor
    number: int
    size: int
    models: Tensor
    bounds: Tensor
    slots: Tensor


@dataclass(frozen=True)
class DistributedDescent(Method[DistributedDescentRecord]):
    """Certified forgetting by descent on bootstrap subsets, for linear models of `x` with a convex loss.

    Args:
        epsilon, delta, noise_std, l2, loss, max_epsilon: as for CertifiedNewton.
        subsets: K = B; n^(xi/2) for a rough public n and xi from 1 to 4/3 (`maths.descent.bootstrap_size`).
        calibration: "tight" (the number of steps is known in advance) or "measured" (the last step says when).
        radius, row_norm, target_norm: as for DescentToDelete.
    """

    epsilon: float = 1.0
    delta: float = 1e-5
    noise_std: float = 0.1
    l2: float = 1e-2
    loss: str = "cross_entropy"
    subsets: int = 32
    calibration: str = "measured"
    radius: float = 10.0
    row_norm: float = 1.0
    target_norm: float | None = None
    max_epsilon: float = 10.0

    def __post_init__(self) -> None:
        self._budget()
        check_public_bounds(self.loss, self.l2, self.radius, self.row_norm, self.target_norm)
        if self.calibration not in ("tight", "measured") or self.subsets < 1:
            raise InputError(
                f"calibration={self.calibration!r}, subsets={self.subsets}: give tight or measured, 1 or more."
            )

    def learn(self, rows: Rows, *, seed: int, noise: NoiseKey) -> DistributedDescentRecord:
        """Draw the bootstrap and descend on every subset from zero. `seed`, which is public, has nothing to decide."""
        del seed
        check_learnable(rows)
        within = self._ball(rows)
        models = torch.zeros((self.subsets, within.objective.dimension), dtype=torch.float64)
        bounds = torch.full((self.subsets,), within.reach, dtype=torch.float64)
        slots = torch.from_numpy(drawn(self._uniforms(noise, "bootstrap"), len(rows)))
        nothing_yet = DistributedDescentRecord(within.objective.matrix(models[0]), 0, 0, models, bounds, slots)
        return self._descended(nothing_yet, slots.numpy(), np.zeros(slots.shape, dtype=bool), rows, noise)[0]

    def forget(
        self, record: DistributedDescentRecord, retained: Rows, forgotten: Rows, *, noise: NoiseKey
    ) -> Forgetting[DistributedDescentRecord]:
        """Draw anew the slots that held a forgotten row, and descend on their subsets. MustRetrain: no row is left."""
        check_step(retained, forgotten)
        check_size(record.size, retained, forgotten)
        if not len(forgotten):
            return Forgetting(record, self._promise(record), {})
        before = np.concatenate([retained.keys, forgotten.keys])
        uniforms = self._uniforms(noise, "survivors", record.slots)
        slots, anew = after_leaving(record.slots.numpy(), before, retained.keys, uniforms)
        after, stats = self._descended(record, slots, anew, retained, noise)
        return Forgetting(after, self._promise(after), stats)

    def extend(
        self, record: DistributedDescentRecord, retained: Rows, added: Rows, *, noise: NoiseKey
    ) -> Forgetting[DistributedDescentRecord]:
        """Give each slot to an added row with probability a/n, and descend on the subsets that changed."""
        check_size(record.size, retained)
        if not len(added):
            return Forgetting(record, self._promise(record), {})
        chances, which = (self._uniforms(noise, purpose, record.slots) for purpose in ("chances", "added"))
        slots, anew = after_coming(record.slots.numpy(), retained.keys, added.keys, chances, which)
        after, stats = self._descended(record, slots, anew, retained.and_rows(added), noise)
        return Forgetting(after, self._promise(after), stats)

    def release(self, record: DistributedDescentRecord) -> Release:
        """The noisy weights (outputs, inputs + 1), intercepts last, and the loss that turns scores into predictions."""
        return linear_release(record.weights, self.loss)

    def predict(self, release: Release, columns: Mapping[str, Array]) -> Tensor:
        """Log-probabilities (m, classes), or values (m, outputs) for "squared" and "huber"."""
        return linear_predictions(release, columns)

    def _budget(self) -> Budget:
        return Budget(self.epsilon, self.delta, self.noise_std, self.max_epsilon)

    def _ball(self, rows: Rows) -> Ball:
        inputs, targets = inputs_and_outputs(rows.schema)
        objective = LinearObjective(self.loss, self.l2, inputs, 1 if self.loss == "logistic" else targets)
        return ball(objective, radius=self.radius, row_norm=self.row_norm, target_norm=self.target_norm)

    def _uniforms(self, noise: NoiseKey, purpose: str, like: Tensor | None = None) -> Uniforms:
        shape = (self.subsets, self.subsets) if like is None else tuple(like.shape)
        return np.asarray(ndtr(noise.normals(purpose, shape)))

    def _descended(
        self, record: DistributedDescentRecord, slots: Array, anew: Array, rows: Rows, noise: NoiseKey
    ) -> tuple[DistributedDescentRecord, dict[str, float]]:
        """Release `noise.release`: the subsets that changed, or that were solved for no release so late, descend."""
        if noise.release <= record.number:
            raise InputError(f"The noise is of release {noise.release}; one after {record.number} is needed.")
        within, budget = self._ball(rows), self._budget()
        size, mean = record.weights.numel(), rounding(len(slots) + 3) * self.radius  # the mean rounds too
        ahead = min(RELEASES, max(AHEAD, 1 << (noise.release - 1).bit_length()))
        now, later = (budget.distance(release, size) / 2 - mean for release in (noise.release, ahead))
        table = in_key_order(within.check(rows))
        models, bounds, steps = record.models.clone(), record.bounds.clone(), 0
        moved = [moved_by_replacing(anew.shape[1], int(j), within.lipschitz, self.l2) for j in anew.sum(1)]
        touched = [k for k in range(len(slots)) if moved[k] or float(bounds[k]) > now]
        for k in touched:
            subset = Rows.from_table(table.take(slots[k]), rows.schema.classes)
            farthest = min(float(bounds[k]) + moved[k], within.farthest(models[k]))
            models[k], taken = descended(
                within, subset, models[k], farthest=farthest, distance=later,
                weak=False, measured=self.calibration == "measured",
            )  # fmt: skip
            bounds[k], steps = later, steps + taken
        weights = add_noise(within.objective.matrix(models.mean(0)), self.noise_std, noise)
        gradients = float(steps * slots.shape[1])
        stats = {"gradients": gradients, "subsets": float(len(touched)), "slots": float(anew.sum())}
        after = DistributedDescentRecord(weights, noise.release, len(rows), models, bounds, torch.from_numpy(slots))
        return after, stats

    def _promise(self, record: DistributedDescentRecord) -> Certified:
        basis, how = (Basis.MEASURED, (MEASURED,)) if self.calibration == "measured" else (Basis.CHECKED, ())
        return self._budget().certificate(
            record.number, record.weights.numel(), (*ASSUMPTIONS, *how), basis=basis, view=View.TRANSCRIPT,
            reference=f"the mean of the minimisers on {self.subsets} bootstrap subsets of the retained rows alone",
        )  # fmt: skip
