"""Mixed-linear forgetting: a network trained on rows that stay, and a linear model around it for rows that may leave.

*Core* rows are never forgotten: they alone train the network's weights w_c. *User* rows train weights u of the network
made linear at w_c, over all parameters or some layers, by squared loss (class codes as one-hot rows times a scale):

    s(u; x) = s_c(x) + J_c(x) u,      F(u) = (1/2N) sum_i ||s(u; x_i) - y_i||^2 + l2/2 ||u||^2.

F is quadratic, with the same Hessian (1/N) sum J_c^T J_c + l2 I at every u. To forget, the retained user rows' F is
minimised again from the last release, u <- u - H_r^-1 grad F_r(u) by preconditioned conjugate gradient, until
||grad F_r(u)|| <= l2 * distance_t / 2, hence ||u - u_r*|| <= distance_t / 2: l2 is known, whatever the network. Noise
is added; without user rows u is noise alone. The preconditioner knows core rows and w_c only, so it stays.

Differs from the paper in:
1. The gradient is that of the linearised model, not of the network; l2 stands in the Hessian too.
2. The step is solved to a measured residual, under a Nystrom preconditioner of the core's curvature (SGD there).
3. The noise has a fixed std s (not s^2) and covers what is left; every release counts and both sides err.

Guarantee: certified (epsilon, delta) for all releases together, of user rows; core rows stay
Models: any torch network, linearised around weights that are not to be forgotten
Strong: deep networks under a certificate without an assumed constant; any batch, any sequence
Weak: core rows cannot leave; less accurate than fine-tuning where the core is small
Paper: Golatkar et al. 2021
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import inf

import torch
from torch import Tensor

from expunge.budget import Budget
from expunge.certificate import Certified
from expunge.errors import InputError, Refused
from expunge.learners.linearised_network import linearised, predicted, released, trained
from expunge.learners.marked_rows import parted, users_after, users_only
from expunge.learners.sgd import Sgd
from expunge.maths.privacy import residual_tolerance
from expunge.method import Forgetting, Method, Release, check_step
from expunge.noise import NoiseKey, add_noise
from expunge.objective.linearised import LinearisedObjective, scaled_classes
from expunge.rows import Rows
from expunge.schema import Array

CHECKED = "The core weights owe nothing to user rows: no row marked core can be forgotten (checked)."
GIVEN = "The core weights were given from elsewhere and owe nothing to these rows (asserted)."
ASSUMPTIONS = (
    "The linearised model under squared loss and l2 is quadratic: l2 is the only constant used (structural).",
    "The residual was measured in float64 by two routes, ten times their difference added for rounding (measured).",
    "The noise key came from the operating system, was used once, and is erased with the commit (operational).",
    "Hyperparameters, the columns, the marks and the number of classes owe nothing to the forgotten rows.",
)
REFERENCE = "the network trained on the core rows, and around it the minimiser on the retained user rows"


@dataclass(frozen=True, eq=False)
class MixedLinearRecord:
    """`core`: the network. `weights`: the released u (d,), noise included; `number`: of that release.

    `core_rows`: how many trained it; 0 if given. `sketch`: (d, rank), the curvature over the core rows, or over the
    user rows if the core was given, times a public matrix.
    """

    core: Release
    weights: Tensor
    sketch: Tensor
    core_rows: int
    number: int


Step = Forgetting[MixedLinearRecord]
Stats = Mapping[str, float]


@dataclass(frozen=True)
class MixedLinear(Method[MixedLinearRecord]):
    """Certified forgetting of user rows for a network whose core rows stay.

    Args:
        epsilon, delta: what all releases after a deletion together may spend. max_epsilon: a larger one is refused.
        noise_std: standard deviation of the noise on every released coordinate of u.
        l2: of user rows' mean loss. core: trains the network, under `core_seed`. core_column: marks core rows by 1.
        layers: beginnings of the names of parameters that are linearised ("parts.9", say); () for all.
        target_scale: what the one-hot row of a class is multiplied by. rank: of the preconditioner.
    """

    epsilon: float = 1.0
    delta: float = 1e-5
    noise_std: float = 0.01
    l2: float = 1e-3
    core: Sgd = field(default_factory=Sgd)
    core_seed: int = 0
    core_column: str = "core"
    layers: tuple[str, ...] = ()
    target_scale: float = 5.0
    rank: int = 100
    max_epsilon: float = 10.0

    def __post_init__(self) -> None:
        self._budget()
        for name, value in (("l2", self.l2), ("target_scale", self.target_scale), ("rank", self.rank)):
            if not 0 < value < inf:
                raise InputError(f"{name} is {value}; a positive, finite number is needed.")
        if self.core.loss in ("logistic", "multilabel_logistic"):
            raise InputError(f"core.loss is {self.core.loss!r}; one score a class is read: use 'cross_entropy'.")

    def learn(self, rows: Rows, *, seed: int, noise: NoiseKey) -> MixedLinearRecord:  # noqa: ARG002
        """Train the core on core rows, then minimise over the user rows; `seed` decides nothing.

        Raises:
            InputError: no row is marked core, or the rows do not fit. Refused, NotConverged: see `forget`.
        """
        core, users = parted(rows, self.core_column)
        zero = self._beginning(trained(self.core, core, self.core_seed), core, len(core))
        return self._solved(zero, users, noise)[0]

    def adopt(self, weights: Mapping[str, Tensor], rows: Rows, *, seed: int, noise: NoiseKey) -> MixedLinearRecord:  # noqa: ARG002
        """Minimise around a network trained elsewhere, on none of these rows: all are user rows. `seed` is not used.

        Raises:
            InputError: a row is marked core, or a name or shape is not the network's.
        """
        users = users_only(rows, self.core_column)
        core = self.core.release(self.core.adopt(users.schema, weights))
        return self._solved(self._beginning(core, users, 0), users, noise)[0]

    def forget(self, record: MixedLinearRecord, retained: Rows, forgotten: Rows, *, noise: NoiseKey) -> Step:
        """Minimise over the retained user rows from the last release.

        Raises:
            MustRetrain: a core row is to be forgotten. InputError: the core rows are not the record's. Refused: the
                tolerance is finer than float64 is trusted with. NotConverged: l2 is too small.
        """
        check_step(retained, forgotten)
        if not len(forgotten):
            return Forgetting(record, self._certificate(record), {})
        return self._step(record, retained, forgotten, noise)

    def extend(self, record: MixedLinearRecord, retained: Rows, added: Rows, *, noise: NoiseKey) -> Step:
        """Minimise over both from the last release; new core rows raise MustRetrain."""
        return self._step(record, retained.and_rows(added), added, noise)

    def settle(self, record: MixedLinearRecord, retained: Rows) -> MixedLinearRecord:
        """Where the core was given from elsewhere, sketch the curvature over the retained rows anew."""
        if record.core_rows:
            return record
        return replace(record, sketch=self._beginning(record.core, users_only(retained, self.core_column), 0).sketch)

    def release(self, record: MixedLinearRecord) -> Release:
        """The noisy u, the core's weights as bits (they have no noise and owe nothing to user rows), and settings."""
        return released(record.core, record.weights, self.layers)

    def predict(self, release: Release, columns: Mapping[str, Array]) -> Tensor:
        """Log-probabilities (m, classes), the softmax of the linear scores; or values (m, outputs) of a regression."""
        return predicted(self.core, release, {name: columns[name] for name in columns if name != self.core_column})

    def minimiser(self, rows: Rows, *, tol: float = 1e-12) -> Tensor:
        """The minimiser over the user rows, around a core trained on the core rows, to a gradient's norm of `tol`.

        Raises:
            Refused: no row is marked core: a core given from elsewhere cannot be found from the rows.
        """
        core, users = parted(rows, self.core_column, optional=True)
        if not len(core):
            raise Refused("No row is marked core: the core was given from elsewhere, and the rows do not tell it.")
        zero = self._beginning(trained(self.core, core, self.core_seed), core, len(core))
        targets = scaled_classes(users, self.target_scale)
        return self._around(zero.core).solve(targets, zero.weights, tol, zero.sketch).x

    def centre(self, release: Release, noise: NoiseKey) -> Tensor:
        """The released u without its noise; exact up to the grid it was rounded to."""
        u = release.tensors["weights"]
        return u - add_noise(torch.zeros_like(u), self.noise_std, noise)

    def _budget(self) -> Budget:
        return Budget(self.epsilon, self.delta, self.noise_std, self.max_epsilon)

    def _certificate(self, record: MixedLinearRecord) -> Certified:
        notes = (CHECKED if record.core_rows else GIVEN, *ASSUMPTIONS)
        return self._budget().certificate(record.number, record.weights.numel(), notes, reference=REFERENCE)

    def _around(self, core: Release) -> LinearisedObjective:
        return linearised(self.core, core, self.layers, self.l2)

    def _beginning(self, core: Release, like: Rows, core_rows: int) -> MixedLinearRecord:
        objective = self._around(core)
        sketch = objective.sketch(scaled_classes(like, self.target_scale), self.rank)
        return MixedLinearRecord(core, torch.zeros_like(objective.point), sketch, core_rows, 0)

    def _step(self, record: MixedLinearRecord, rows: Rows, changed: Rows, noise: NoiseKey) -> Step:
        after, stats = self._solved(record, users_after(rows, changed, self.core_column, record.core_rows), noise)
        return Forgetting(after, self._certificate(after), stats)

    def _solved(self, record: MixedLinearRecord, users: Rows, noise: NoiseKey) -> tuple[MixedLinearRecord, Stats]:
        """The record after release `noise.release`: minimised over `users` from the last one, and noised."""
        if noise.release <= record.number:
            raise InputError(f"The noise is of release {noise.release}; one after {record.number} is needed.")
        tolerance = residual_tolerance(self._budget().distance(noise.release, len(record.weights)), 1.0, self.l2)
        targets = scaled_classes(users, self.target_scale)
        solved = self._around(record.core).minimise(targets, record.weights, tolerance, record.sketch)
        after = replace(record, weights=add_noise(solved.x, self.noise_std, noise), number=noise.release)
        stats = {"iterations": float(solved.iterations), "passes": float(solved.evaluations)}
        return after, {**stats, "residual": solved.residual, "tolerance": tolerance}
