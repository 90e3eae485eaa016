r"""Certified removal: one Newton step a request, and an account of what the steps leave (Guo et al. 2020).

The paper's *sum* loss over n rows, with lambda = `l2` (of the mean loss, as everywhere) and b = 0 for output noise:

    L_b(w) = sum_i loss(w^T x_i, y_i) + lambda n/2 ||w||^2 + b^T w
    forget:  w <- w + H_r^-1 Delta,  Delta = sum over the rows that leave of (grad loss + lambda w),  H_r of those left
    beta <- beta + bound >= ||grad L_b(w)|| over the n_r rows left,  so  ||w - w_r*|| <= beta / (lambda n_r)
    output     release w + noise, fresh each time; budget: beta / (lambda n_r) within half of this release's distance
    objective  b ~ N(0, noise_std^2 I) once, release w; budget: noise_std epsilon / sqrt(2 ln(1.5/delta))

`maths.newton_residual` has the bounds: all are charged, `bound` decides. Past the budget a solve follows the step.

Differs from the paper in:
1. "output" is ours, and what is proved: noise on both sides, all later releases charged, requests that may look.
2. |loss'''| <= 1/(6 sqrt 3) and Taylor's half replace gamma = 1/4; the bound is taken row by row (`per_sample`).
3. Training, solves and rounding are charged; ||X||_2 is an eigenvalue's; theorem 1 has ||Delta|| <= 2C + ||b||/n.
4. An exhausted budget solves again with the *same* b: a new one after an event that hangs on b conditions its law.

Guarantee: certified (epsilon, delta) for all releases together with output noise; none proved as published
Models: linear models with a logistic (binary or one against the rest) or squared loss
Strong: one Newton step for any batch, exact for least squares
Weak: bounds add up until a new solve, and the record keeps noiseless weights
Paper: Guo et al. 2020
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from expunge.budget import Budget
from expunge.certificate import Basis, Certificate, Uncertified, View
from expunge.errors import InputError
from expunge.learners.inputs import inputs_and_outputs
from expunge.maths.newton_residual import objective_budget
from expunge.method import Forgetting, Method, Release, check_learnable, check_size, check_step
from expunge.noise import NoiseKey, add_noise
from expunge.objective import LinearObjective
from expunge.objective.bounds import a_priori_distance
from expunge.objective.heads import LOSSES, heads_for, predictions
from expunge.objective.linear_release import centre_of
from expunge.objective.minimise import minimise
from expunge.objective.removal_account import BOUNDS, Account, opened
from expunge.rows import Rows
from expunge.schema import Array

ASSUMPTIONS = (
    "The loss is convex, every parameter is penalised by l2, and its third derivative is bounded (theorems).",
    "What each Newton step leaves was bounded from the retained rows or row_norm, rounding included (checked).",
    "The stored state is not covered: the record keeps the weights without their noise.",
    "The noise key came from the operating system, was used once, and is erased with the commit (operational).",
    "Hyperparameters, the columns and the number of classes are public: they owe nothing to the forgotten rows.",
)
AS_PUBLISHED = Uncertified(
    "The published proof takes the law of b - u(b) for that of b (no Jacobian, a residual independent of b), and the "
    "requests must not depend on earlier releases, which all hold the same b."
)


@dataclass(frozen=True, eq=False)
class CertifiedRemovalRecord:
    """`weights` (outputs, inputs and the intercept): release `number`. `account`: a secret."""

    weights: Tensor
    number: int
    account: Account


@dataclass(frozen=True)
class CertifiedRemoval(Method[CertifiedRemovalRecord]):
    """Certified removal for linear models of the column `x`.

    Args:
        epsilon, delta, noise_std, l2, max_epsilon: as for CertifiedNewton; with "objective" the noise is that of b.
        loss: "logistic" (two classes, one output), "one_vs_rest" (a logistic head for each class) or "squared".
        bound: "per_sample", "data_dependent", "published" or "worst_case" (which needs `row_norm`).
        perturbation: "output" or "objective". intercept: whether rows get a constant 1 (the paper's have none).
        row_norm: a public bound of every row's norm, without the constant; longer rows are refused.
        tol: the mean gradient's norm at which a solve stops. dense_limit: parameters up to which Hessians are formed.
    """

    epsilon: float = 1.0
    delta: float = 1e-5
    noise_std: float = 0.01
    l2: float = 1e-3
    loss: str = "logistic"
    bound: str = "per_sample"
    perturbation: str = "output"
    intercept: bool = True
    row_norm: float | None = None
    tol: float = 1e-10
    max_epsilon: float = 10.0
    dense_limit: int = 4000

    def __post_init__(self) -> None:
        self._budget()
        if not (0 < self.l2 < math.inf and 0 < self.tol < math.inf):
            raise InputError(f"l2={self.l2} and tol={self.tol} were given; both must be positive: try 1e-3 and 1e-10.")
        for name, known in {"loss": LOSSES, "bound": BOUNDS, "perturbation": ("output", "objective")}.items():
            if (given := vars(self)[name]) not in known:
                raise InputError(f"{name} is {given!r}; it is one of {', '.join(known)}.")
        if not (self.bound != "worst_case" if self.row_norm is None else 0 < self.row_norm < math.inf):
            raise InputError(f"row_norm is {self.row_norm}; the worst case needs a public, positive one: try 1.0.")

    def learn(self, rows: Rows, *, seed: int, noise: NoiseKey) -> CertifiedRemovalRecord:
        """Minimise L_b from zero to `tol`. The minimiser is unique: no `seed`.

        Raises:
            InputError: a row is longer than row_norm, or does not fit the loss. Refused: float64 cannot vouch for it.
        """
        del seed
        check_learnable(rows)
        objective, rows = self._objective(rows)
        linear = objective.start(0)
        if self.perturbation == "objective":
            linear = self.noise_std * torch.from_numpy(noise.normals("objective", tuple(linear.shape)))
        budget = self._allowed(noise, objective, rows)
        account = opened(objective, rows, linear, budget, self.tol, self.row_norm, dense_limit=self.dense_limit)
        return self._released(account, objective, noise)

    def forget(
        self, record: CertifiedRemovalRecord, retained: Rows, forgotten: Rows, *, noise: NoiseKey
    ) -> Forgetting[CertifiedRemovalRecord]:
        """One Newton step for the whole batch; a solve after it where beta passes the budget (stats["resolved"]).

        Raises:
            MustRetrain: no row is left. NotConverged, Refused: the solve fails.
        """
        check_step(retained, forgotten)
        check_size(record.account.size, retained, forgotten)
        if not len(forgotten):
            return Forgetting(record, self._promise(record, nothing=False), {})
        return self._changed(record, retained, forgotten, 1, noise)

    def extend(
        self, record: CertifiedRemovalRecord, retained: Rows, added: Rows, *, noise: NoiseKey
    ) -> Forgetting[CertifiedRemovalRecord]:
        """The same step towards rows that came, under the same bounds."""
        check_size(record.account.size, retained)
        return self._changed(record, retained.and_rows(added), added, -1, noise)

    def settle(self, record: CertifiedRemovalRecord, retained: Rows) -> CertifiedRemovalRecord:
        """Factor the Hessian anew at the record's weights: what an older factor knew of the forgotten rows goes."""
        return replace(record, account=record.account.with_anchor(*self._objective(retained)))

    def release(self, record: CertifiedRemovalRecord) -> Release:
        """The weights, intercepts last if there are any, and how scores become predictions."""
        return Release({"weights": record.weights}, {"loss": self.loss, "intercept": self.intercept})

    def predict(self, release: Release, columns: Mapping[str, Array]) -> Tensor:
        """Log-probabilities (m, classes), or values (m, outputs) for "squared"."""
        return predictions(release.tensors["weights"], columns, **release.settings)

    def minimiser(self, rows: Rows, *, tol: float = 1e-12) -> Tensor:
        """The minimiser on `rows` without b, to a gradient's norm of `tol`; flat."""
        objective, rows = self._objective(rows)
        return minimise(objective, rows, objective.start(0), tol=tol, dense=objective.dimension <= self.dense_limit).x

    def centre(self, release: Release, noise: NoiseKey) -> Tensor:
        """The released weights without their noise, flat, up to the grid; InputError with "objective"."""
        if self.perturbation == "objective":
            raise InputError("b is in the objective: the release has no noise of its own to take off.")
        return centre_of(release, self.noise_std, noise)

    def _budget(self) -> Budget:
        return Budget(self.epsilon, self.delta, self.noise_std, self.max_epsilon)

    def _objective(self, rows: Rows) -> tuple[LinearObjective, Rows]:
        return heads_for(rows, *inputs_and_outputs(rows.schema), self.loss, self.l2, intercept=self.intercept)

    def _allowed(self, noise: NoiseKey, objective: LinearObjective, rows: Rows) -> float:
        if self.perturbation == "objective":
            return objective_budget(self.noise_std, self.epsilon, self.delta)
        return self.l2 * len(rows) * self._budget().distance(noise.release, objective.dimension) / 2

    def _changed(
        self, record: CertifiedRemovalRecord, after: Rows, changed: Rows, sign: int, noise: NoiseKey
    ) -> Forgetting[CertifiedRemovalRecord]:
        if noise.release <= record.number:
            raise InputError(f"The noise is of release {noise.release}; one after {record.number} is needed.")
        (objective, rows), few = self._objective(after), self._objective(changed)[1]
        budget = self._allowed(noise, objective, rows)
        account, stats = record.account.changed(objective, rows, few, sign, self.bound, budget, tol=self.tol)
        if self.perturbation == "objective":
            stats |= {"claimed_epsilon": self.epsilon, "claimed_delta": self.delta}
        moved = a_priori_distance(objective, record.weights.reshape(-1), len(rows), few)
        nothing, record = moved <= 2 * budget / (self.l2 * len(rows)), self._released(account, objective, noise)
        return Forgetting(record, self._promise(record, nothing=nothing and sign > 0), stats)

    def _released(self, account: Account, objective: LinearObjective, noise: NoiseKey) -> CertifiedRemovalRecord:
        weights = add_noise(objective.matrix(account.centre), self.noise_std * (self.perturbation == "output"), noise)
        return CertifiedRemovalRecord(weights, noise.release, account)

    def _promise(self, record: CertifiedRemovalRecord, *, nothing: bool) -> Certificate:
        if self.perturbation == "objective":
            return AS_PUBLISHED
        return self._budget().certificate(
            record.number, record.weights.numel(), ASSUMPTIONS,
            basis=Basis.CHECKED, view=View.TRANSCRIPT, doing_nothing_meets_it=nothing,
        )  # fmt: skip
