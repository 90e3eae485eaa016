"""From outcomes to one line of a comparison: every score of a method on a forget set, beside doing nothing.

The twin of a model is the one learned again on the retained rows under the same seed; scores of two models are between
it and its twin, means over the seeds. Where the references stand, `attacked.py` and the band of the quality say.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np

from expunge import record
from expunge.audits import metrics, verdict
from expunge.audits.metrics import Band
from expunge.audits.scores.certifiability import certifiability
from expunge.audits.scores.consistency import equal_predictions, kl
from expunge.audits.scores.effectiveness import effectiveness
from expunge.audits.scores.information import information_bound
from expunge.audits.utility import falls_short
from expunge.certificate import Certificate, Certified, may_stay
from expunge.comparisons.attacked import attacked
from expunge.comparisons.compared import Beside, Compared, Costs, Drift, Level
from expunge.comparisons.comparison import Measured
from expunge.comparisons.models import Seen
from expunge.comparisons.over_models import over_models, told_apart
from expunge.comparisons.store import Outcome
from expunge.features.pipeline import needs_target

SHOWN = 500  # forgotten rows whose single losses are shown


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
        **over_models(certificate, before, after, references, measured.drawn),
    )
    void = None if found.epsilon_bound is None else told_apart(certificate, after, references)
    if void:
        found = _with(found, contradictions=(*found.contradictions, void))
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
