r"""Sekhari's one-step forgetting: a Newton step away from the original fit, for all rows that ever left it.

The fit w^ = argmin F(w; D) (mean loss plus `l2/2 ||w||^2`) is kept with its Hessian H. After m rows have left, in
however many requests, with g_u = grad loss_u + l2 w and h_u = hess loss_u + l2 I (each row has its share of l2)

    w~ = w^ + (1/(n-m)) H_r^-1 sum_u g_u(w^),    H_r = (n H - sum_u h_u) / (n-m),    release w~ + noise

The record and the rows that leave suffice. How far w~ may be from the minimiser w_r* must fit half of the distance of
this release (docs/certificates.md), else the capacity is used up: `MustRetrain`.

    published   2 M m^2 L^2 / (l2^3 n^2) and the fit's residual; M, L theorems for a public `row_norm` (maths.one_step)
    measured    ||grad F_r(w~)|| / l2 by one pass over the retained rows; no constant at all

Differs from the paper in:
1. Both sides err and all later releases count: half a distance that tightens as 1/t, not one release's, whole.
2. The fit's residual, the solve's and all rounding are added to the bound; `measured` is ours.
3. `noise="carried"` adds to the noise of the last release (Yin & Xia 2026; maths.transcripts).

Guarantee: certified (epsilon, delta) for all releases together; the stored state is not covered
Models: linear models with a convex loss
Strong: reads no retained row; one step for any history of requests
Weak: the record keeps the noiseless fit, and the published bound allows few deletions
Paper: Sekhari et al. 2021; Yin & Xia 2026 for carried noise
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from expunge.budget import Budget
from expunge.carried import Carried, carried_distance, carry_on, noised, with_carried_noise
from expunge.certificate import Basis, Certified, View
from expunge.errors import InputError, MustRetrain
from expunge.learners.inputs import inputs_and_outputs
from expunge.maths.one_step import curvature_lipschitz
from expunge.method import Forgetting, Method, Release, check_learnable, check_size, check_step
from expunge.noise import NoiseKey, add_noise
from expunge.objective import LinearObjective, loss_for
from expunge.objective.bounds import ADMITTED, a_priori_distance, magnitudes, too_long
from expunge.objective.down_dated import DownDated, fitted
from expunge.objective.linear_release import centre_of, linear_predictions, linear_release
from expunge.objective.minimise import minimise
from expunge.rows import Rows
from expunge.schema import Array

ASSUMPTIONS = (
    "The loss is convex and every parameter, the intercept too, is penalised by l2 (structural).",
    "The stored state is not covered: the record keeps the fit over rows that have left since, without noise.",
    "The noise key came from the operating system, was used once, and is erased with the commit (operational).",
    "Hyperparameters, the columns and the number of classes are public: they owe nothing to the forgotten rows.",
)
BASES = {
    "published": (Basis.CHECKED, "Every row learned is at most row_norm long, which is a public number (checked)."),
    "measured": (Basis.MEASURED, "The residual was measured in float64 over all retained rows, rounding included."),
}


@dataclass(frozen=True, eq=False)
class SekhariRecord:
    """`weights`: release `number` (outputs, inputs + 1). `state` and `carried` (where noise is) are secret."""

    weights: Tensor
    number: int
    state: DownDated
    carried: Carried | None


@dataclass(frozen=True)
class Sekhari(Method[SekhariRecord]):
    """One-step certified forgetting for linear models of the column `x` with a convex loss.

    Args:
        epsilon, delta, noise_std, l2, loss, max_epsilon: as for CertifiedNewton.
        bound: "published" (no retained row is read; needs `row_norm`) or "measured" (one pass over them).
        row_norm: a public bound of every row's norm. "measured" only reports the published bound with it.
        noise: "independent" for each release, or "carried" from release to release.
        tol: the fit's gradient norm; it stays in every bound. dense_limit: parameters at most, for a Hessian is kept.
    """

    epsilon: float = 1.0
    delta: float = 1e-5
    noise_std: float = 0.01
    l2: float = 1e-3
    loss: str = "cross_entropy"
    bound: str = "measured"
    row_norm: float | None = None
    noise: str = "independent"
    tol: float = 1e-10
    max_epsilon: float = 10.0
    dense_limit: int = 4000

    def __post_init__(self) -> None:
        self._budget()
        if not (0 < self.l2 < math.inf and 0 < self.tol < math.inf):
            raise InputError(f"l2={self.l2} and tol={self.tol} were given; both must be positive: try 1e-3 and 1e-10.")
        if self.bound not in BASES or self.noise not in ("independent", "carried"):
            raise InputError(f"bound={self.bound!r}, noise={self.noise!r}: published, measured; independent, carried.")
        needless = self.row_norm is None and self.bound == "measured"
        if not (needless or 0 < (self.row_norm or 0.0) < math.inf):
            raise InputError(f"row_norm is {self.row_norm}; the published bound needs a public one: try 1.0.")
        loss = loss_for(self.loss)
        if not loss.convex or (self.bound == "published" and math.isinf(curvature_lipschitz(loss))):
            raise InputError(f"{self.loss!r} is not convex, or has no Lipschitz curvature and needs bound='measured'.")

    def learn(self, rows: Rows, *, seed: int, noise: NoiseKey) -> SekhariRecord:
        """Minimise from zero, keep the Hessian there, and release with noise. The minimiser is unique: no `seed`.

        Raises:
            InputError: a row is longer than row_norm, or too many parameters. Refused: float64 cannot vouch for `tol`.
        """
        del seed
        check_learnable(rows)
        objective = self._objective(rows)
        if self.bound == "published" and (row := magnitudes(rows).row) > self._longest():
            raise InputError(too_long(self.row_norm or math.inf, row))
        allowed = self._distance(noise.release, objective.dimension) / 2
        state = fitted(objective, rows, tolerance=min(self.tol, self.l2 * allowed), dense_limit=self.dense_limit)
        return self._released(SekhariRecord(objective.matrix(state.fit), 0, state, None), state, state.fit, noise)

    def forget(
        self, record: SekhariRecord, retained: Rows, forgotten: Rows, *, noise: NoiseKey
    ) -> Forgetting[SekhariRecord]:
        """Step from the fit, away from all rows that ever left it.

        Raises:
            MustRetrain: the bound does not fit the budget any more (capacity used up), or no row is left.
        """
        check_step(retained, forgotten)
        check_size(record.state.size, retained, forgotten)
        if not len(forgotten):
            return Forgetting(record, self._promise(record, nothing=False), {})
        state = record.state.without(objective := self._objective(retained), forgotten)
        step = state.step()
        allowed = self._distance(noise.release, len(step)) / 2
        stats = {"passes": 0.0, "step": float(step.norm()), "allowed": allowed}
        if self.row_norm is not None:
            stats |= state.published(objective, step, self._longest())
        if self.bound == "measured":
            stats |= state.measured(objective, step, retained)
        if not (bound := stats[f"{self.bound}_bound"]) <= allowed:
            off = f"{state.learned - state.size} rows gone, the release may be {bound:.3g} off ({self.bound})"
            raise MustRetrain(f"With {off}, and {allowed:.3g} is allowed: the capacity of the fit is used up.")
        moved = a_priori_distance(objective, record.weights.reshape(-1), len(retained), forgotten)
        after = self._released(record, state, state.fit + step, noise)
        return Forgetting(after, self._promise(after, nothing=moved <= 2 * allowed), stats)

    def release(self, record: SekhariRecord) -> Release:
        """The noisy weights (outputs, inputs + 1), intercepts last, and the loss that turns scores into predictions."""
        return linear_release(record.weights, self.loss)

    def predict(self, release: Release, columns: Mapping[str, Array]) -> Tensor:
        """Log-probabilities (m, classes), or values (m, outputs) for "squared" and "huber"."""
        return linear_predictions(release, columns)

    def minimiser(self, rows: Rows, *, tol: float = 1e-12) -> Tensor:
        """The minimiser on `rows`, to a gradient's norm of `tol`; flat: what an audit holds a centre against."""
        objective = self._objective(rows)
        return minimise(objective, rows, objective.start(0), tol=tol, dense=True).x

    def centre(self, release: Release, noise: NoiseKey) -> Tensor:
        """The released weights without their noise, flat, up to the grid; InputError where noise is carried."""
        if self.noise == "carried":
            raise InputError("Carried noise is the sum of many keys' draws: take record.weights less record.carried.")
        return centre_of(release, self.noise_std, noise)

    def _budget(self) -> Budget:
        return Budget(self.epsilon, self.delta, self.noise_std, self.max_epsilon)

    def _longest(self) -> float:
        return ADMITTED * math.hypot(1.0, self.row_norm or 0.0)

    def _objective(self, rows: Rows) -> LinearObjective:
        inputs, targets = inputs_and_outputs(rows.schema)
        return LinearObjective(self.loss, self.l2, inputs, 1 if self.loss == "logistic" else targets)

    def _distance(self, release: int, coordinates: int) -> float:
        if self.noise == "carried":
            return carried_distance(self._budget(), release, coordinates)
        return self._budget().distance(release, coordinates)

    def _released(self, record: SekhariRecord, state: DownDated, centre: Tensor, noise: NoiseKey) -> SekhariRecord:
        if noise.release <= record.number:
            raise InputError(f"The noise is of release {noise.release}; one after {record.number} is needed.")
        flat = centre.reshape(record.weights.shape)
        if self.noise == "independent":
            return SekhariRecord(add_noise(flat, self.noise_std, noise), noise.release, state, None)
        carried = carry_on(record.carried, flat, self.noise_std, noise)
        return SekhariRecord(noised(flat, carried, self.noise_std), noise.release, state, carried)

    def _promise(self, record: SekhariRecord, *, nothing: bool) -> Certified:
        basis, assumption = BASES[self.bound]
        promise = self._budget().certificate(
            record.number, record.weights.numel(), (*ASSUMPTIONS, assumption),
            basis=basis, view=View.TRANSCRIPT, doing_nothing_meets_it=nothing,
        )  # fmt: skip
        return with_carried_noise(promise, self._budget(), record.carried) if record.carried else promise
