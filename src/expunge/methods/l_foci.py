r"""L-FOCI unlearning: a Newton step in the slices of a network that the loss of the forgotten rows depends on.

Algorithm 1. For each row z that leaves,
    1   perturb it m times; record the loss l^j and the activation a^j of every slice (weights of an output feature)
    2   P = L-FOCI(l, a): slices chosen one after the other by conditional dependence (`expunge.foci`)
then in the union P of these blankets, for the u rows that leave and n - u that stay,
    3   H'_P = (n hess_P F(w; D) - sum_u hess_P f(w, z)) / (n - u)                                  (eq. 13)
    4   w_P <- w_P + (1/(n-u)) H'_P^-1 sum_u grad f(w, z)_P,  the other weights stay                (eqs. 14, 15)

f is the loss *with* its share l2/2 ||w||^2 of the penalty; H' is the retained rows' curvature, taken anew at each step.

Differs from the paper and its code in:
1. The published update is, in numbers, a gradient step: one Hessian is zero, the other has the wrong unit. Here it is
   exact, or a secant g g^T / (g^T s) solved by Woodbury; gradients hold l2 w and are summed, not averaged, over rows.
2. Selectors beside theirs: `l_foci_per_layer`, which helps, since a loss is a function of the last layer's outputs and
   those crowd the others out; `gradient_norm`, `random`, `all`, `cheapest` (one slice), to compare with.
3. Every kind of layer has slices (`objective.slices`), by name; each row has its blanket; ties are averaged.
4. Noise is on every coordinate. Lemma 1 and theorem 1 prove nothing: the residual is of order 1/n. A convex learner
   with `epsilon` is certified by its measured residual. `MustRetrain` where it is too large, or accuracy suffers.

Guarantee: none for networks; certified (epsilon, delta) by the measured residual for linear models, or a refusal
Models: any torch module, and linear models with a convex loss
Strong: one small step with the exact curvature of a block, for any layer; says which weights it touches
Weak: the weights it leaves alone keep what they learned; top gradients or all slices come nearer
Paper: Mehta et al. 2022, algorithm 1
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

from torch import Tensor

from expunge import keyed
from expunge.budget import Budget
from expunge.certificate import Certificate, Uncertified, View
from expunge.errors import InputError, MustRetrain
from expunge.keyed import Purpose
from expunge.learners.accuracy_guard import guarded
from expunge.learners.convex import Convex
from expunge.learners.differentiable import Differentiable
from expunge.learners.learner import Training
from expunge.learners.sgd import Sgd
from expunge.method import Forgetting, Method, Release, check_learnable, check_size, check_step
from expunge.noise import NoiseKey, add_noise
from expunge.objective import LinearObjective
from expunge.objective.block_rounds import Rounds, walked
from expunge.objective.measured_promise import measured_promise
from expunge.objective.minimise import minimise_within
from expunge.objective.perturbation import Perturbation
from expunge.objective.selection import Selection, sampled
from expunge.objective.slice_block import BlockSolver
from expunge.rows import Rows
from expunge.schema import Array

PURPOSE: Purpose = ("l-foci",)
LEAST = {"steps": 1, "rounds": 1, "curvature_rows": 0, "guard_rows": 1, "noise_std": 0.0}
WHY = Uncertified("The loss is not known to be convex, and weights outside the chosen slices were not changed at all.")
ASSUMPTIONS = (
    "The loss is convex and every parameter, the intercept too, is penalised by l2 (structural).",
    "The residual was measured in float64 over all retained rows, rounding included.",
    "The stored state is not covered: the record keeps the weights without noise.",
    "The noise key came from the operating system, was used once, and is erased with the commit (operational).",
    "Hyperparameters, the columns and the number of classes are public: they owe nothing to the forgotten rows.",
)


@dataclass(frozen=True, eq=False)
class LFociRecord:
    """The model, its rows and the seed; `released`: the same with noise (None without), of release `number`."""

    training: Training
    size: int
    seed: int
    number: int = 0
    released: Training | None = None


@dataclass(frozen=True)
class LFoci(Method[LFociRecord]):
    """Block-wise Newton forgetting.

    Args:
        learner: Sgd for networks, or Convex.
        selection: which slices. perturbation: of each row. solver: the block's curvature.
        gradient: "removed" (as published) or "full" (of the rows that stay). steps: Newton's; later ones take "full".
        rounds: of steps, each in slices chosen anew ("random": all get their turn).
        curvature_rows: retained rows the curvature is taken over, a keyed sample; 0 for all.
        noise_std: on every released weight. epsilon, delta, max_epsilon: of a certificate, for Convex; None for none.
        max_accuracy_drop: of the retained rows, beyond which a step is refused; 1: none is. guard_rows: a keyed sample.
    """

    learns_plainly: ClassVar[bool] = True
    learner: Differentiable = field(default_factory=Sgd)
    selection: Selection = field(default_factory=Selection)
    perturbation: Perturbation = field(default_factory=Perturbation)
    solver: BlockSolver = field(default_factory=BlockSolver)
    gradient: Literal["removed", "full"] = "removed"
    steps: int = 1
    rounds: int = 1
    curvature_rows: int = 0
    noise_std: float = 0.0
    epsilon: float | None = None
    delta: float = 1e-5
    max_epsilon: float = 10.0
    max_accuracy_drop: float = 0.05
    guard_rows: int = 1000

    def __post_init__(self) -> None:
        if self.gradient not in ("removed", "full"):
            raise InputError(f"gradient={self.gradient!r} was given; expected 'removed' or 'full'.")
        for name, least in LEAST.items():
            if not least <= vars(self)[name] < math.inf:
                raise InputError(f"{name}={vars(self)[name]} was given; expected at least {least}.")
        if not 0 < self.max_accuracy_drop <= 1:
            raise InputError(f"max_accuracy_drop={self.max_accuracy_drop} was given; expected above 0, at most 1.")
        if self.epsilon is not None:
            self._budget()
            if not isinstance(self.learner, Convex):
                raise InputError("epsilon was given, and only a Convex learner can be certified: leave it out.")

    def learn(self, rows: Rows, *, seed: int, noise: NoiseKey) -> LFociRecord:
        """Train; with `epsilon`, solve to the tolerance of the certificate. InputError, Refused: as the learner."""
        check_learnable(rows)
        started = self.learner.start(rows.schema, seed, PURPOSE)
        return self._learned(self.learner.train(started, rows, seed=seed, purpose=PURPOSE), rows, seed, noise)

    def adopt(self, weights: Mapping[str, Tensor], rows: Rows, *, seed: int, noise: NoiseKey) -> LFociRecord:
        """Start from a model trained elsewhere on these rows."""
        check_learnable(rows)
        return self._learned(self.learner.adopt(rows.schema, weights), rows, seed, noise)

    def forget(
        self, record: LFociRecord, retained: Rows, forgotten: Rows, *, noise: NoiseKey
    ) -> Forgetting[LFociRecord]:
        """One step in the union of the rows' blankets.

        Raises:
            MustRetrain: no slice was chosen, the step costs too much accuracy, or its residual does not fit the
                certificate's budget; the rows are then not forgotten. NotConverged: raise the solver's damping.
        """
        check_step(retained, forgotten)
        check_size(record.size, retained, forgotten)
        if not len(forgotten):
            return Forgetting(record, self._promised(record), {})
        objective, w = self.learner.objective(record.training), self.learner.flat(record.training)
        how = Rounds(self.selection, self.perturbation, self.solver, self.rounds, self.steps, self.gradient == "full")
        curved, seed = sampled(retained, record.seed, self.curvature_rows), keyed.subseed(record.seed, *PURPOSE)
        end = walked(objective, w, retained, forgotten, curved, how, seed)
        if end is None:
            raise MustRetrain("The loss of the forgotten rows depends on no slice: nothing would change.")
        after = end.w
        stats = {"slices": float(len(end.chosen)), "weights": float(end.touched.sum())}
        stats |= {"products": float(end.products), "clamped": float(end.clamped), "shift": end.shift}
        stats["moved"] = float((after - w).norm())
        moved = replace(record, training=self.learner.moved(record.training, after), size=len(retained))
        guard = sampled(retained, record.seed, self.guard_rows)
        stats |= guarded(self.learner, record.training, moved.training, guard, self.max_accuracy_drop)
        if self.epsilon is None or not isinstance(objective, LinearObjective):
            return Forgetting(self._noised(moved, after, noise), WHY, stats)
        promise, figures = measured_promise(
            objective, self._budget(), (w, after), (retained, forgotten), noise.release, ASSUMPTIONS
        )
        return Forgetting(self._noised(moved, after, noise), promise, stats | figures)

    def release(self, record: LFociRecord) -> Release:
        """The model's weights, with noise where there is some."""
        return self.learner.release(record.released or record.training)

    def predict(self, release: Release, columns: Mapping[str, Array]) -> Tensor:
        """The learner's predictions."""
        return self.learner.predict(release, columns)

    def _learned(self, training: Training, rows: Rows, seed: int, noise: NoiseKey) -> LFociRecord:
        objective, w = self.learner.objective(training), self.learner.flat(training)
        if self.epsilon is not None and isinstance(objective, LinearObjective):
            tolerance = objective.strong_convexity * self._budget().distance(noise.release, len(w)) / 2
            dense = objective.dimension <= self.solver.dense_limit
            w = minimise_within(objective, rows, w, tolerance=tolerance, dense=dense).x
            training = self.learner.moved(training, w)
        return self._noised(LFociRecord(replace(training, steps=0, visits=0), len(rows), seed), w, noise)

    def _noised(self, record: LFociRecord, w: Tensor, noise: NoiseKey) -> LFociRecord:
        if not self.noise_std:
            return record
        if noise.release <= record.number:
            raise InputError(f"The noise is of release {noise.release}; one after {record.number} is needed.")
        noised = self.learner.moved(record.training, add_noise(w, self.noise_std, noise))
        return replace(record, number=noise.release, released=noised)

    def _promised(self, record: LFociRecord) -> Certificate:
        size = len(self.learner.flat(record.training))
        if self.epsilon is None:
            return WHY
        return self._budget().certificate(record.number, size, ASSUMPTIONS, view=View.TRANSCRIPT)

    def _budget(self) -> Budget:
        return Budget(self.epsilon or 0.0, self.delta, self.noise_std, self.max_epsilon)
