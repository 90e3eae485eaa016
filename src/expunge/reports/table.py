"""One row of a comparison: what the terminal's table and the HTML report both show of one audit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from expunge.audits import Audit, Measure
from expunge.audits.verdict import NO_POWER
from expunge.certificate import Certificate, Certified, Exact, Uncertified

HEADINGS = (
    "method",
    "request",
    "guarantee",
    "forget",
    "retrain cold",
    "retrain warm",
    "speed-up (cold / warm)",
    "accuracy before / after / retrained",
    "distance, share of doing nothing",
    "attack AUC (99 % of retrained models)",
)


@dataclass(frozen=True)
class ReportRow:
    """One audit in one line; figures are None where they were not measured.

    Accuracy is on test rows unless a cell says otherwise.

    Attributes:
        label: of the method. request: in words ("one person", "50 mislabelled rows"). guarantee: in a few words.
        forget_seconds, cold_seconds, warm_seconds: of this run. speed_up, warm_speed_up: cold and warm over forgetting.
        quality: what the next three are ("accuracy", "rmse", "distance" to the nearest centroid; on test rows, else on
            retained ones).
        distance_share: distance to retraining over that of doing nothing, of `distance_what`.
        auc, auc_before, null_low, null_high: the membership attack and the retrain-against-retrain band.
        auc_has_power: whether so many forgotten rows could show anything.
        contradictions, flags, verdict: as in the audit.
    """

    label: str
    request: str
    guarantee: str
    forgotten: int
    forget_seconds: float | None
    cold_seconds: float | None
    warm_seconds: float | None
    speed_up: float | None
    warm_speed_up: float | None
    quality: str
    quality_before: float | None
    quality_after: float | None
    quality_retrained: float | None
    distance_share: float | None
    distance_what: str
    auc: float | None
    auc_before: float | None
    null_low: float | None
    null_high: float | None
    auc_has_power: bool
    contradictions: tuple[str, ...]
    flags: tuple[str, ...]
    verdict: str

    def cells(self) -> tuple[str, ...]:
        """The row as text under `HEADINGS`."""
        qualities = (self.quality_before, self.quality_after, self.quality_retrained)
        return (
            self.label,
            self.request,
            "VOID" if self.contradictions else self.guarantee,
            seconds(self.forget_seconds),
            seconds(self.cold_seconds),
            seconds(self.warm_seconds),
            times(self.speed_up) + ("" if self.warm_speed_up is None else f" / {times(self.warm_speed_up)}"),
            " / ".join(figure(value) for value in qualities) + ("" if self._is_accuracy() else f" {self.quality}"),
            share(self.distance_share),
            self._attack(),
        )

    def _is_accuracy(self) -> bool:
        return self.quality == "accuracy on test"

    def _attack(self) -> str:
        if self.auc is None:
            return "–"
        if not self.auc_has_power:
            return "no power"
        if self.null_low is None or self.null_high is None:
            return f"{self.auc:.3f}"
        return f"{self.auc:.3f} ({self.null_low:.3f}–{self.null_high:.3f})"


def comparison_rows(audits: Sequence[tuple[str, str, Audit]]) -> list[ReportRow]:
    """A row for each (label of the method, request in words, audit)."""
    return [_row(label, request, audit) for label, request, audit in audits]


def guarantee(certificate: Certificate | None) -> str:
    """A certificate in a few words."""
    match certificate:
        case Exact():
            return "exact"
        case Certified():
            return f"certified (ε {certificate.epsilon:g}, δ {certificate.delta:g})"
        case Uncertified():
            return "none proved"
        case None:
            return "none claimed"
        case _:
            assert_never(certificate)


def seconds(value: float | None) -> str:
    """A duration in the unit that suits it."""
    if value is None:
        return "–"
    if value < 1e-3:
        return f"{value * 1e6:.0f} µs"
    if value < 1:
        return f"{value * 1e3:.3g} ms"
    return f"{value:.3g} s" if value < 120 else f"{value / 60:.3g} min"


def times(value: float | None) -> str:
    """A ratio, as in "12×"."""
    if value is None:
        return "–"
    return f"{value:,.0f}×" if value >= 10 else f"{value:.1f}×" if value >= 1 else f"{value:.2g}×"


def share(value: float | None) -> str:
    """A share in per cent; a positive one never rounds to 0."""
    if value is None:
        return "–"
    if value == 0:
        return "0 %"
    if value < 1e-4:
        return "< 0.01 %"
    return f"{value * 100:.2g} %" if value < 0.1 else f"{value * 100:.0f} %"


def figure(value: float | None) -> str:
    """An accuracy or the like."""
    return "–" if value is None else f"{value:.3f}"


def _row(label: str, request: str, audit: Audit) -> ReportRow:
    quality = _quality(audit)
    attack = audit.attack()
    apart = audit.apart[0] if audit.apart else None
    band = None if attack is None else attack.auc.null
    return ReportRow(
        label=label,
        request=request,
        guarantee=guarantee(audit.certificate),
        forgotten=audit.forgotten,
        forget_seconds=audit.costs.forget,
        cold_seconds=audit.costs.cold,
        warm_seconds=audit.costs.warm,
        speed_up=audit.costs.speed_up,
        warm_speed_up=audit.costs.warm_speed_up,
        quality=quality.name,
        quality_before=quality.before,
        quality_after=quality.after,
        quality_retrained=quality.retrained,
        distance_share=None if apart is None else apart.share,
        distance_what="" if apart is None else apart.what,
        auc=None if attack is None else attack.auc.after,
        auc_before=None if attack is None else attack.auc.before,
        null_low=None if band is None else band.share[0],
        null_high=None if band is None else band.share[1],
        auc_has_power=attack is not None and NO_POWER not in audit.flags,
        contradictions=audit.contradictions,
        flags=audit.flags,
        verdict=audit.verdict,
    )


def _quality(audit: Audit) -> Measure:
    names = [f"{kind} on {rows}" for rows in ("test", "retained") for kind in ("accuracy", "rmse", "distance")]
    return next(measure for name in names if (measure := audit.measure(name)) is not None)
