"""One line of a comparison, as data: every score of a method on a forget set, beside doing nothing."""

from __future__ import annotations

from dataclasses import dataclass

from expunge.audits.epsilon_bound import EpsilonBound
from expunge.audits.metrics import Band
from expunge.audits.scores.consistency import share_of_nothing
from expunge.audits.scores.efficiency import break_even, speed_up
from expunge.certificate import Certificate, Certified, Exact
from expunge.comparisons.attacked import Attacked

UNCERTAIN = 0.1  # of the seconds of a training: smaller differences are those of two runs of one thing


@dataclass(frozen=True)
class Beside:
    """A score after forgetting, and the same score of doing nothing."""

    after: float
    nothing: float


@dataclass(frozen=True)
class Costs:
    """Processor seconds of one thread, and bytes.

    Attributes:
        forget, again: of the step and of learning again, both in this run. learn: of all rows.
        plain: of plain training on the retained rows; None where the method trains no learner of its own.
        record_bytes, release_bytes: what is kept in order to forget, and what is served.
    """

    forget: float
    again: float
    learn: float
    plain: float | None
    record_bytes: int
    release_bytes: int

    @property
    def efficiency(self) -> float:
        """T(h^*) / T(h^U)."""
        return speed_up(self.again, self.forget)

    @property
    def preparation(self) -> float | None:
        """What `learn` cost beyond plain training; less than a tenth of that is no more than seconds can tell: 0."""
        if self.plain is None:
            return None
        beyond = self.learn - self.plain
        return beyond if beyond > UNCERTAIN * self.plain else 0.0

    @property
    def break_even(self) -> float | None:
        """Requests after which the preparation has paid off, beside plain retraining."""
        if self.plain is None or self.preparation is None:
            return None
        if not self.preparation and self.forget <= (1 + UNCERTAIN) * self.plain:
            return 0.0
        return break_even(self.preparation, self.plain, self.forget)


@dataclass(frozen=True)
class Level:
    """What one level of noise gives: the epsilon certified (None: no certificate), and the quality on test rows."""

    noise_std: float
    epsilon: float | None
    quality: float | None
    refused: str = ""


@dataclass(frozen=True)
class Drift:
    """The error of outputs after so many requests (rows in all), and that of doing nothing."""

    requests: int
    rows: int
    after: float
    nothing: float


@dataclass(frozen=True)
class Compared:
    """One method on one forget set. Where `refused` is not empty, nothing else was measured.

    Attributes:
        label, request: in words. boundary: whether it is a row that every comparison has.
        certificate: of the first seed's step. relearned: why the method learned again instead, or "".
        confirmed: whether the facts confirm the certificate (None: not checkable), `how` in words.
        contradictions: what voids it. flags: failures, and limits of what was measured.
        retained, forgotten, seeds: how many. references: how many models; `drawn`: how many differ.
        costs: medians over the seeds. quality_name: "accuracy", "rmse" or "distance".
        quality: on test rows (retained ones without), before; after; again; and the references' band.
        accuracies: of the models after and of the references' means, on (forgotten, retained, test) rows.
        effectiveness, theta, equal, kl, certifiability: see `Beside`; None where they mean nothing.
        theta_what: whose distance `theta` is. information: bound on I(D_u; h^U) in nats, None: none known.
        tow: tug of war. klom: mean over forgotten rows, beside its null for so many models.
        epsilon_bound: what the models prove against the certificate, where there are models enough.
        exposure: losses of single forgotten rows before, after, and in the median reference.
    """

    label: str
    request: str
    boundary: bool
    refused: str = ""
    certificate: Certificate | None = None
    relearned: str = ""
    confirmed: bool | None = None
    how: str = ""
    contradictions: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    retained: int = 0
    forgotten: int = 0
    seeds: int = 0
    references: int = 0
    drawn: int = 0
    costs: Costs | None = None
    quality_name: str = ""
    quality_on: str = ""
    quality: tuple[float, float, float] | None = None
    band: Band | None = None
    accuracies: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    effectiveness: Beside | None = None
    theta: Beside | None = None
    theta_what: str = ""
    equal: Beside | None = None
    kl: Beside | None = None
    certifiability: Beside | None = None
    information: float | None = None
    tow: Beside | None = None
    klom: Beside | None = None
    klom_null: float | None = None
    attack: Attacked | None = None
    exposure: tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]] | None = None
    drift: tuple[Drift, ...] = ()
    levels: tuple[Level, ...] = ()
    epsilon_bound: EpsilonBound | None = None

    @property
    def kind(self) -> str:
        """The type of the step: "exact", "certified", "none" or "learned again"."""
        if self.relearned:
            return "learned again"
        match self.certificate:
            case Exact():
                return "exact"
            case Certified():
                return "certified"
        return "none"

    @property
    def theta_share(self) -> float | None:
        """Distance to the twin as a share of what doing nothing leaves."""
        return None if self.theta is None else share_of_nothing(self.theta.after, self.theta.nothing)
