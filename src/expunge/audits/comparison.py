"""Every figure an audit has that needs no certificate: measures, attacks, scores, distances, exposure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from expunge.audits import metrics
from expunge.audits.answers import log_confidences, margins
from expunge.audits.attacks import membership, roc
from expunge.audits.audit import Apart, Attack, Exposure, Measure, OverModels
from expunge.audits.candidates import Outputs
from expunge.audits.metrics import Floats
from expunge.audits.over_models import over_models
from expunge.audits.panel import Panel, Seen, Subject, panel_of
from expunge.audits.scores.certifiability import certifiability
from expunge.audits.scores.consistency import equal_predictions, kl, weight_distance
from expunge.audits.scores.effectiveness import effectiveness
from expunge.audits.scoring import scores
from expunge.audits.utility import worse
from expunge.rows import Rows

EXPOSED = 500  # forgotten rows whose single losses are kept, evenly spread over the ids' order
Of = Callable[[Seen, Seen], float | None]


@dataclass(frozen=True, eq=False)
class Comparison:
    """What `compare` found; a broken model (worse than retraining on retained or test rows) has no scores."""

    measures: tuple[Measure, ...]
    attacks: tuple[Attack, ...]
    apart: tuple[Apart, ...]
    exposure: Exposure | None
    scores: tuple[Measure, ...] = ()
    over_models: tuple[OverModels, ...] = ()

    @property
    def broken(self) -> bool:
        """Whether the model is worse on retained or on test rows than retraining explains."""
        return any(worse(measure) for measure in self.measures)


def compare(subject: Subject, retained: Rows, forgotten: Rows, test: Rows | None) -> Comparison:
    """Every measure, attack, score and distance of the models.

    Raises:
        InputError: there is nothing to compare on: no retained or no forgotten row.
    """
    return compared(panel_of(subject, retained, forgotten, test))


def compared(panel: Panel) -> Comparison:
    """The same of models that were asked already."""
    measures = [measure for name in panel.after.on for measure in _alone_on(panel, name)]
    measures += _pairs(panel, "test" if "test" in panel.after.on else "retained")
    found = Comparison(tuple(measures), _attacks(panel), _apart(panel), _exposure(panel))
    if found.broken:
        return found
    return Comparison(found.measures, found.attacks, found.apart, found.exposure, scores(panel), over_models(panel))


def _alone_on(panel: Panel, rows: str) -> list[Measure]:
    """The measures of one model on one set of rows."""
    after = panel.after.on[rows]
    if after.classes:
        kinds: list[tuple[str, Callable[[Outputs], float]]] = [("accuracy", _accuracy), ("loss", _loss)]
    elif after.clusters is not None:
        kinds = [("distance", _rmse)]
    else:
        kinds = [("rmse", _rmse), ("r2", _r2)]
    return [panel.alone(f"{name} on {rows}", lambda seen: of(seen.on[rows])) for name, of in kinds]  # noqa: B023


def _pairs(panel: Panel, rows: str) -> list[Measure]:
    """The measures of two models: consistency, effectiveness, certifiability."""
    after = panel.after.on[rows]
    quality = _accuracy if after.classes else _rmse

    def effective(one: Seen, other: Seen) -> float:
        return effectiveness(quality(one.on[rows]), quality(other.on[rows]))

    def certifiable(one: Seen, other: Seen) -> float:
        return certifiability(quality(one.on["forgotten"]), quality(other.on["forgotten"]))

    def weights(one: Seen, other: Seen) -> float | None:
        return weight_distance(one.candidate.tensors, other.candidate.tensors)

    def equal_clusters(one: Seen, other: Seen) -> float | None:
        left, right = one.on[rows].clusters, other.on[rows].clusters
        return None if left is None or right is None else metrics.adjusted_rand(left, right)

    kinds: list[tuple[str, Of, Literal["low", "high"]]] = [
        (f"effectiveness on {rows}", effective, "low"),
        ("certifiability", certifiable, "low"),
    ]
    if after.clusters is None:
        kinds.append(("weight distance", weights, "low"))
    else:  # models under other seeds number the same clusters otherwise
        kinds.append((f"equal clusters on {rows}", equal_clusters, "high"))
    if after.classes:
        kinds += [
            (f"equal predictions on {rows}", lambda a, b: equal_predictions(_of(a, rows), _of(b, rows)), "high"),
            (f"kl on {rows}", lambda a, b: kl(_of(a, rows), _of(b, rows)), "low"),  # the one that is not symmetric
        ]
    else:
        kinds.append((f"prediction gap on {rows}", lambda a, b: metrics.rmse(_of(a, rows), _of(b, rows)), "low"))
    found = [panel.pair(name, of, nearer, symmetric=not name.startswith("kl ")) for name, of, nearer in kinds]
    return [measure for measure in found if measure is not None]


def _attacks(panel: Panel) -> tuple[Attack, ...]:
    """Membership inference by every feature, the strongest first; empty without test rows."""
    if "test" not in panel.after.on:
        return ()
    asked = {id(seen): (_features(seen.on["forgotten"]), _features(seen.on["test"])) for seen in panel.everyone}
    found = _calibrated_attack(panel) if len(panel.references) > 1 else []
    for feature in sorted(asked[id(panel.after)][0], key=lambda name: name != membership.MARGIN):

        def area(seen: Seen, feature: str = feature) -> float:
            members, others = asked[id(seen)]
            return roc.auc(members[feature], others[feature])

        members, others = (side[feature] for side in asked[id(panel.after)])
        measure = panel.alone(f"auc by {feature}", area)
        found.append(_attack(panel, feature, measure, roc.auc_interval(members, others)))
    return tuple(found)


def _calibrated_attack(panel: Panel) -> list[Attack]:
    asked = {id(seen): (margins(seen.on["forgotten"]), margins(seen.on["test"])) for seen in panel.everyone}
    sides = [np.stack([asked[id(seen)][side] for seen in panel.references]) for side in (0, 1)]
    everyone = [np.stack([asked[id(seen)][side] for seen in panel.pool]) for side in (0, 1)]
    places = {id(seen): place for place, seen in enumerate(panel.references)}
    classes = panel.after.on["test"].classes
    # Squared errors have a unit: one per cent of the usual error is the step.
    step = membership.RESOLUTION * (1.0 if classes else float(np.median(np.abs(sides[1]))) or 1.0)

    def area(seen: Seen) -> float:
        return membership.calibrated_auc(*asked[id(seen)], (sides[0], sides[1]), step, places.get(id(seen)))

    def pooled(place: int) -> float:
        """Every model against all others, audited ones included: what the p-value is of."""
        own = (everyone[0][place], everyone[1][place])
        return membership.calibrated_auc(*own, (everyone[0], everyone[1]), step, place)

    own = [membership.calibrated(m, side, step) for m, side in zip(asked[id(panel.after)], sides, strict=True)]
    measure = panel.alone(f"auc by {membership.CALIBRATED}", area, pooled)
    return [_attack(panel, membership.CALIBRATED, measure, roc.auc_interval(own[0], own[1]))]


def _attack(panel: Panel, feature: str, measure: Measure, interval: tuple[float, float]) -> Attack:
    m, n = len(panel.after.on["forgotten"].y), len(panel.after.on["test"].y)
    return Attack(feature, measure, interval, roc.smallest_detectable(m, n))


def _apart(panel: Panel) -> tuple[Apart, ...]:
    """The distance to the model retrained on the same seed, beside that of doing nothing."""
    if panel.retrained is None:
        return ()
    again = panel.retrained.candidate.tensors
    own, nothing = (weight_distance(seen.candidate.tensors, again) for seen in (panel.after, panel.before))
    return () if own is None or nothing is None else (Apart("released weights", own, nothing),)


def _exposure(panel: Panel) -> Exposure | None:
    """Single losses of the forgotten rows; None where nobody learned again."""
    rest = panel.references or ([] if panel.retrained is None else [panel.retrained])
    if not rest:
        return None
    before, after = (log_confidences(seen.on["forgotten"]) for seen in (panel.before, panel.after))
    others = np.stack([log_confidences(seen.on["forgotten"]) for seen in rest])
    keep = np.unique(np.linspace(0, len(after) - 1, min(EXPOSED, len(after))).astype(np.int64))
    ranks = [membership.exposure_rank(own, others)[keep] for own in (before, after)]
    losses = [-values[keep] for values in (before, after, np.median(others, axis=0))]
    return Exposure(*(tuple(map(float, values)) for values in (*losses, *ranks)))


def _of(seen: Seen, rows: str) -> Floats:
    return seen.on[rows].values


def _accuracy(seen: Outputs) -> float:
    return metrics.accuracy(seen.values, seen.y)


def _loss(seen: Outputs) -> float:
    return metrics.mean_loss(seen.values, seen.y)


def _rmse(seen: Outputs) -> float:
    return metrics.rmse(seen.values, seen.y)


def _r2(seen: Outputs) -> float:
    return metrics.r2(seen.values, seen.y)


def _features(seen: Outputs) -> dict[str, Floats]:
    if seen.classes:
        return membership.features(seen.values, seen.y)
    return {"loss" if seen.clusters is None else "distance": log_confidences(seen)}
