"""From outcomes to one line of a comparison: every score of a method on a forget set, beside doing nothing.

The twin of a model is the one learned again on the retained rows under the same seed; scores of two models are between
it and its twin, means over the seeds. Where the references stand, `attacked.py` and the band of the quality say.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from expunge import record
from expunge.audits import metrics, verdict
from expunge.audits.metrics import Band
from expunge.audits.scores.certifiability import certifiability
from expunge.audits.scores.consistency import equal_predictions, kl, share_of_nothing
from expunge.audits.scores.effectiveness import effectiveness
from expunge.audits.scores.efficiency import break_even, speed_up
from expunge.audits.scores.information import information_bound
from expunge.audits.scores.klom import klom, klom_null
from expunge.audits.scores.tug_of_war import tug_of_war
from expunge.audits.utility import falls_short
from expunge.certificate import Certificate, Certified, Exact, may_stay
from expunge.comparisons.attacked import Attacked, attacked
from expunge.comparisons.comparison import Measured
from expunge.comparisons.models import Seen
from expunge.comparisons.store import Outcome
from expunge.features.pipeline import needs_target

UNCERTAIN = 0.1  # of the seconds of a training: smaller differences are those of two runs of one thing
SHOWN = 500  # forgotten rows whose single losses are shown


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
        retained, forgotten, seeds: how many. references: how many models, of which `drawn` were computed.
        costs: medians over the seeds. quality_name: "accuracy", "rmse" or "distance".
        quality: on test rows (retained ones without), before; after; again; and the references' band.
        accuracies: of the models after and of the references' means, on (forgotten, retained, test) rows.
        effectiveness, theta, equal, kl, certifiability: see `Beside`; None where they mean nothing.
        theta_what: whose distance `theta` is. information: bound on I(D_u; h^U) in nats, None: none known.
        tow: tug of war. klom: mean over forgotten rows, beside its null for so many models.
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


def summarise(measured: Measured) -> Compared:
    """All scores of one entry on one case."""
    entry, case, steps = measured.entry, measured.case, measured.steps
    head = Compared(entry.label, case.words, entry.boundary)
    if refusal := next((why for outcome in (*steps, *measured.references) if (why := _refusal(outcome))), ""):
        return _with(head, refused=refusal)
    clusters = not needs_target(entry.method)
    before, after, again = (
        [Seen.of(case, _part(outcome, which), clusters=clusters) for outcome in steps]
        for which in ("before", "after", "again")
    )
    references = [Seen.of(case, outcome.arrays, clusters=clusters) for outcome in measured.references]
    on = "test" if "test" in case.on else "retained"
    facts = [outcome.facts for outcome in steps]
    certificate: Certificate = record.decode(facts[0]["certificate"], {})
    bound = information_bound(certificate)
    quality = tuple(float(np.mean([seen.quality(on) for seen in side])) for side in (before, after, again))
    found = _with(
        head,
        certificate=certificate,
        relearned=facts[0]["relearned"],
        confirmed=facts[0]["claim"]["confirmed"],
        how=facts[0]["claim"]["how"],
        contradictions=tuple(dict.fromkeys(text for each in facts for text in each["contradictions"])),
        retained=int((~case.gone).sum()),
        forgotten=int(case.gone.sum()),
        seeds=len(steps),
        references=len(references),
        drawn=measured.drawn,
        costs=_costs(facts),
        quality_name=after[0].quality_name,
        quality_on=on,
        quality=quality,
        band=Band.of([seen.quality(on) for seen in references]),
        accuracies=_accuracies(after, references),
        information=bound if math.isfinite(bound) else None,
        attack=attacked(before, after, references, measured.drawn),
        exposure=_exposure(before[0], after[0], references or again),
        drift=_drift(measured.sequence),
        levels=tuple(_level(noise, outcome, measured, on, clusters) for noise, outcome in measured.noised),
        **_between(before, after, again, on),
        **_theta(facts),
        **_over_models(before, after, references, measured.drawn),
    )
    return _with(found, flags=_flags(found, any(each["unchanged"] for each in facts)))


def _with(compared: Compared, **changes: Any) -> Compared:
    return Compared(**{**vars(compared), **changes})


def _refusal(outcome: Outcome) -> str:
    return str(outcome.facts.get("refused") or outcome.facts.get("failed") or "")


def _part(outcome: Outcome, which: str) -> dict[str, Any]:
    return {name.partition("/")[2]: array for name, array in outcome.arrays.items() if name.startswith(f"{which}/")}


def _costs(facts: Sequence[Mapping[str, Any]]) -> Costs:
    seconds = {name: [each["seconds"][name] for each in facts] for name in ("forget", "again", "learn", "plain")}
    plain = None if None in seconds["plain"] else median(seconds["plain"])
    sizes = facts[0]["bytes"]
    return Costs(
        median(seconds["forget"]), median(seconds["again"]), median(seconds["learn"]), plain,
        int(sizes["record"]), int(sizes["release"]),
    )  # fmt: skip


def _accuracies(
    after: Sequence[Seen], references: Sequence[Seen]
) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Mean qualities on forgotten, retained and test rows, of the models after and of the references."""
    kinds = ("forgotten", "retained", "test")
    if not references or any(kind not in after[0].on for kind in kinds):
        return None
    own, honest = (
        tuple(float(np.mean([seen.quality(kind) for seen in side])) for kind in kinds) for side in (after, references)
    )
    return own, honest


def _between(before: Sequence[Seen], after: Sequence[Seen], again: Sequence[Seen], on: str) -> dict[str, Beside]:
    """Scores of two models: each model and its twin."""

    def beside(score: Callable[[Seen, Seen], float]) -> Beside:
        return Beside(*(float(np.mean([score(*pair) for pair in zip(s, again, strict=True)])) for s in (after, before)))

    found = {
        "effectiveness": beside(lambda one, twin: effectiveness(one.quality(on), twin.quality(on))),
        "certifiability": beside(lambda one, twin: certifiability(one.quality("forgotten"), twin.quality("forgotten"))),
    }
    first = after[0].on[on]
    if first.classes:
        found["equal"] = beside(lambda one, twin: equal_predictions(one.on[on].values, twin.on[on].values))
        found["kl"] = beside(lambda one, twin: kl(one.on[on].values, twin.on[on].values))
    elif first.clusters is not None:
        found["equal"] = beside(lambda one, twin: _equal_clusters(one, twin, on))
    return found


def _equal_clusters(one: Seen, twin: Seen, on: str) -> float:
    first, second = one.on[on].clusters, twin.on[on].clusters
    assert first is not None
    assert second is not None
    return metrics.adjusted_rand(first, second)


def _theta(facts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    apart = [each["apart"][0] for each in facts if each["apart"]]
    if not apart:
        return {}
    distances = (float(np.mean([float(each[name]) for each in apart])) for name in ("after", "nothing"))
    return {"theta": Beside(*distances), "theta_what": apart[0]["what"]}


def _over_models(
    before: Sequence[Seen], after: Sequence[Seen], references: Sequence[Seen], drawn: int
) -> dict[str, Any]:
    """Tug of war, and KLOM where there are models enough."""
    found: dict[str, Any] = {}
    kinds = ("forgotten", "retained", "test")
    if references and after[0].on["retained"].classes and all(kind in after[0].on for kind in kinds):
        honest = [float(np.mean([seen.quality(kind) for seen in references])) for kind in kinds]

        def tow(side: Sequence[Seen]) -> float:
            each = [tug_of_war(_triple([seen.quality(k) for k in kinds]), _triple(honest)) for seen in side]
            return float(np.mean(each))

        found["tow"] = Beside(tow(after), tow(before))
    if len(after) > 1 and drawn > 1:
        oracles = np.stack([seen.margins("forgotten") for seen in references])
        sides = [np.stack([seen.margins("forgotten") for seen in side]) for side in (after, before)]
        found["klom"] = Beside(*(float(klom(side, oracles).mean()) for side in sides))
        found["klom_null"] = klom_null(len(after), len(oracles))
    return found


def _triple(values: Sequence[float]) -> tuple[float, float, float]:
    one, two, three = values
    return one, two, three


def _exposure(
    before: Seen, after: Seen, rest: Sequence[Seen]
) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
    losses = [seen.losses("forgotten") for seen in (before, after)]
    losses.append(np.median(np.stack([seen.losses("forgotten") for seen in rest]), axis=0))
    keep = np.unique(np.linspace(0, len(losses[0]) - 1, min(SHOWN, len(losses[0]))).astype(np.int64))
    one, two, three = (tuple(map(float, values[keep])) for values in losses)
    return one, two, three


def _drift(sequence: Outcome | None) -> tuple[Drift, ...]:
    if sequence is None or _refusal(sequence):
        return ()
    return tuple(Drift(int(e["requests"]), int(e["rows"]), e["after"], e["nothing"]) for e in sequence.facts["errors"])


def _level(noise: float, outcome: Outcome, measured: Measured, on: str, clusters: bool) -> Level:
    if why := _refusal(outcome):
        return Level(noise, None, None, why)
    certificate = record.decode(outcome.facts["certificate"], {})
    seen = Seen.of(measured.case, _part(outcome, "after"), clusters=clusters)
    epsilon = certificate.epsilon if isinstance(certificate, Certified) else None
    return Level(noise, epsilon, seen.quality(on), outcome.facts["relearned"])


def _flags(found: Compared, unchanged: bool) -> tuple[str, ...]:
    """Failures, and limits of what was measured, by the names that audits use."""
    raised = []
    if unchanged and found.certificate is not None and not may_stay(found.certificate):
        raised.append(verdict.UNCHANGED)
    attack, band = found.attack, found.band
    if attack is not None and not attack.has_power:
        raised.append(verdict.NO_POWER)
    elif attack is not None:
        low, high = attack.null
        if attack.auc > high + verdict.AUC_MARGIN:
            raised.append(verdict.RECOGNISED)
        elif attack.auc < low - verdict.AUC_MARGIN:
            raised.append(verdict.OVERFORGOTTEN)
        elif low - verdict.AUC_MARGIN <= attack.before <= high + verdict.AUC_MARGIN:
            raised.append(verdict.UNTOLD)
    if band is not None and found.quality is not None and falls_short(found.quality_name, found.quality[1], band):
        raised.append(verdict.UTILITY)
    if found.theta_share is not None and found.theta_share >= 1:
        raised.append(verdict.NOTHING)
    return tuple(raised)
