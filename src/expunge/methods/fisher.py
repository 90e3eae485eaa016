r"""Fisher forgetting: natural-gradient steps on the retained rows, and noise shaped by the Fisher information.

The forgotten rows leave in mini-batches; with D' the rows left after each, F the Fisher information of the mean
loss on them plus `l2 + damping`, g the *full* gradient of `mean loss + l2/2 ||w||^2` on D',

    w <- w - F^-1 g + noise_std F^{-1/4} xi.

The model released first carries noise_std F^{-1/4} xi as well: the covariance noise_std^2 F^{-1/2} is the optimal one
for an isotropic error (`newton_shift`), 1/F is not. As the gradient is over all of D', what a step leaves and what
earlier noise added is taken out by the next.
With `scrub`, no step: clamped noise (F + 1e-8)^{-1/4} xi alone hides what was learned (Golatkar et al. 2020).
    form "exact"      F = Gauss-Newton matrix: by Cholesky, or above `dense_limit` by products; Lanczos for the noise
    form "empirical"  second moment of gradients at the given labels: another matrix, with far worse steps
    form "diagonal", "kronecker"   of the exact one; the step's length is then the exact minimiser along its direction

Differs from the papers (Golatkar et al. 2020; Mahadevan & Mathioudakis 2021, algorithm 5) in:
1. Mean loss with l2, whose curvature is in F; damping. The Fisher information is exact, not from given labels.
2. The noise has the exponent -1/4 everywhere, and fresh noise replaces the last: only the release is kept.
3. Scrubbing: variances F^{-1/2} for the notebook's 1/F, clamped by layer as there; no class's row is overwritten.
4. Approximate forms choose the length of the step by one Gauss-Newton product: F^-1 of a part of F can overshoot.
5. A small linear model keeps its F; the rows of a first mini-batch are taken out of it, and `settle` takes it anew.

Guarantee: none proved; the divergence left is estimated for a quadratic loss
Models: linear models with a convex loss, and networks (plain linear and convolution layers for "kronecker")
Strong: a full gradient, so errors and noise do not add up over requests; works at a million weights
Weak: scrubbing adds noise upon noise; networks that were stopped early move to another place than retraining
Paper: Golatkar et al. 2020, Mahadevan & Mathioudakis 2021
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import inf

import numpy as np
import torch
from torch import Tensor

from expunge.certificate import Uncertified
from expunge.errors import InputError
from expunge.keyed import Purpose
from expunge.learners.convex import Convex
from expunge.learners.differentiable import Differentiable
from expunge.learners.learner import Training
from expunge.maths.curvature import Curvature, Diagonal, factored
from expunge.maths.curvature_noise import NoiseLaw
from expunge.method import Forgetting, Method, Release, check_step
from expunge.noise import NoiseKey
from expunge.objective import Objective
from expunge.objective.curvature import FORMS, curvature, scrubbed, shaped_noise
from expunge.objective.kept_hessian import KeptHessian, kept_hessian
from expunge.rows import Rows
from expunge.schema import Array

PURPOSE: Purpose = ("fisher",)
EXPONENT = -0.25  # of F in a sample of the noise; the covariance has twice that
UNCERTIFIED = Uncertified(
    "The distance to a model learned without the rows is estimated for a quadratic loss, not proved."
)
APPROXIMATE = ("diagonal", "kronecker")


@dataclass(frozen=True, eq=False)
class FisherRecord:
    """The model as it was released, noise included; `kept`: F over the rows in use, at these very weights."""

    training: Training
    kept: KeptHessian | None = None


@dataclass(frozen=True)
class Fisher(Method[FisherRecord]):
    """Natural-gradient forgetting with noise F^{-1/4}.

    Args:
        learner: trains the model; its penalty and loss are those of the step.
        noise_std: sigma, the scale of the noise. batch_size: m', rows forgotten in one step; 0 takes all at once.
        form: "exact", "empirical", "diagonal" or "kronecker". damping: added to F; networks need some.
        scrub: noise alone, no step; for "diagonal". dense_limit: weights up to which the first two make a matrix.
        curvature_rows: rows that F is taken over, a keyed sample; 0 for all. The gradient is always over all.
    """

    learner: Differentiable = field(default_factory=Convex)
    noise_std: float = 1e-3
    batch_size: int = 0
    form: str = "exact"
    damping: float = 0.0
    scrub: bool = False
    dense_limit: int = 2000
    curvature_rows: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.noise_std < inf:
            raise InputError(f"noise_std is {self.noise_std}; a positive number was expected, such as 1e-3.")
        for name in ("batch_size", "dense_limit", "curvature_rows"):
            if (value := vars(self)[name]) < 0:
                raise InputError(f"{name}={value} was given; 0 or more was expected.")
        if self.form not in FORMS:
            raise InputError(f"There is no form {self.form!r}; choose one of {', '.join(FORMS)}.")
        if not 0 <= self.damping < inf:
            raise InputError(f"damping is {self.damping}; give 0 for a convex loss with l2, 0.1, say, for a network.")
        if self.scrub and self.form != "diagonal":
            raise InputError(f"scrub clamps the variance of each weight: give form='diagonal', not {self.form!r}.")

    def learn(self, rows: Rows, *, seed: int, noise: NoiseKey) -> FisherRecord:
        """Train on all rows, then add noise by the Fisher information there.

        Raises:
            InputError: rows, learner and form do not fit. NotConverged: F is not positive definite; raise the damping.
        """
        started = self.learner.start(rows.schema, seed, PURPOSE)
        return self._noised(self.learner.train(started, rows, seed=seed, purpose=PURPOSE), rows, noise)

    def adopt(self, weights: Mapping[str, Tensor], rows: Rows, *, seed: int, noise: NoiseKey) -> FisherRecord:
        """Add noise to a model trained elsewhere, by its Fisher information over `rows`."""
        del seed
        return self._noised(self.learner.adopt(rows.schema, weights), rows, noise)

    def forget(
        self, record: FisherRecord, retained: Rows, forgotten: Rows, *, noise: NoiseKey
    ) -> Forgetting[FisherRecord]:
        """A step for each mini-batch of forgotten rows, in the order of their keys, from the last release.

        Raises:
            MustRetrain: no row is left. NotConverged: F is not positive definite; raise the damping.
        """
        check_step(retained, forgotten)
        if not len(forgotten):
            return Forgetting(record, UNCERTIFIED, {})
        return self._stepped(record, list(self._left(retained, forgotten)), noise, still=self.scrub)

    def extend(self, record: FisherRecord, retained: Rows, added: Rows, *, noise: NoiseKey) -> Forgetting[FisherRecord]:
        """One step on the retained and the added rows together, also under `scrub`: noise alone learns nothing."""
        return self._stepped(record, [(retained.and_rows(added), None)], noise, still=False)

    def settle(self, record: FisherRecord, retained: Rows) -> FisherRecord:
        """F anew, at the release over these rows, where it is a matrix that later steps take rows out of."""
        if self.form != "exact" or self.curvature_rows:
            return record
        objective, w = self.learner.objective(record.training), self.learner.flat(record.training)
        return replace(record, kept=kept_hessian(objective, w, retained, dense_limit=self.dense_limit))

    def release(self, record: FisherRecord) -> Release:
        """The learner's release of the noised model."""
        return self.learner.release(record.training)

    def predict(self, release: Release, columns: Mapping[str, Array]) -> Tensor:
        """The learner's predictions."""
        return self.learner.predict(release, columns)

    def _left(self, retained: Rows, forgotten: Rows) -> Iterator[tuple[Rows, Rows]]:
        """The rows that are left after each mini-batch, and those gone by then; a scrubbing has one."""
        rank, m = np.argsort(np.argsort(forgotten.keys)), len(forgotten)
        size = (0 if self.scrub else self.batch_size) or m
        for end in range(size, m, size):
            yield retained.and_rows(forgotten.select(rank >= end)), forgotten.select(rank < end)
        yield retained, forgotten

    def _noised(self, training: Training, rows: Rows, noise: NoiseKey) -> FisherRecord:
        objective, w = self.learner.objective(training), self.learner.flat(training)
        shape, law = self._shape(objective, self._curvature(objective, w, rows)), NoiseLaw(self.noise_std, EXPONENT)
        return self.settle(self._kept(training, shaped_noise(w, shape, law, noise)), rows)

    def _stepped(
        self, record: FisherRecord, left: list[tuple[Rows, Rows | None]], noise: NoiseKey, *, still: bool
    ) -> Forgetting[FisherRecord]:
        """A step (none if `still`) and noise for each of `left`; what remains to learn is judged at the last centre."""
        objective, w = self.learner.objective(record.training), self.learner.flat(record.training)
        law = NoiseLaw(self.noise_std, EXPONENT)
        for number, (rows, gone) in enumerate(left):
            F = self._curvature(objective, w, rows, None if number else record.kept, gone)
            centre = w if still else w - self._step(objective, w, rows, F)
            shape = self._shape(objective, F)
            w = shaped_noise(centre, shape, law, noise, "release" if rows is left[-1][0] else f"batch {number}")
        gradient = objective.gradient(centre, left[-1][0])
        nats = law.divergence(F, gradient, shape=shape if self.scrub else None)
        stats = {"steps": float(number + 1), "gradient": float(torch.linalg.vector_norm(gradient))}
        stats |= {"divergence_nats": nats, "divergence_knats": nats / 1000}
        return Forgetting(self._kept(record.training, w), UNCERTIFIED, stats)

    def _step(self, objective: Objective, w: Tensor, rows: Rows, F: Curvature) -> Tensor:
        gradient = objective.gradient(w, rows)
        step = F.power(-1, gradient)
        if self.form not in APPROXIMATE:
            return step
        bent = objective.ggn(w, rows)(step) + self.damping * step
        return step * (gradient @ step) / (step @ bent)

    def _curvature(
        self, objective: Objective, w: Tensor, rows: Rows, kept: KeptHessian | None = None, gone: Rows | None = None
    ) -> Curvature:
        if kept is not None and gone is not None:
            return factored(kept.without(objective, w, gone), self.damping)
        return curvature(
            objective, w, rows, form=self.form, damping=self.damping, dense_limit=self.dense_limit,
            eigenvectors=False, most=self.curvature_rows,
        )  # fmt: skip

    def _shape(self, objective: Objective, F: Curvature) -> Curvature:
        return scrubbed(objective, F) if self.scrub and isinstance(F, Diagonal) else F

    def _kept(self, training: Training, w: Tensor) -> FisherRecord:
        """The noised model without counters: how long training took depends on rows that may leave."""
        return FisherRecord(replace(self.learner.moved(training, w), steps=0, epochs=0, visits=0))
