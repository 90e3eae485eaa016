"""Three models and K references on three sets of rows, compared: every figure an audit has that needs no certificate.

`before` is doing nothing, `after` the model under audit, `retrained` learned without the rows on the same seed, the
references the same with independent seeds and fresh noise. Nothing here knows how any of them was made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from expunge.audits import metrics
from expunge.audits.attacks import membership, roc
from expunge.audits.audit import Apart, Attack, Exposure, Measure
from expunge.audits.candidates import Candidate, Outputs, outputs
from expunge.audits.metrics import Band, Floats
from expunge.audits.scores.certifiability import certifiability
from expunge.audits.scores.consistency import equal_predictions, kl, weight_distance
from expunge.audits.scores.effectiveness import effectiveness
from expunge.errors import InputError
from expunge.rows import Rows

EXPOSED = 500  # forgotten rows whose single losses are kept, evenly spread over the ids' order


@dataclass(frozen=True, eq=False)
class Subject:
    """The models of one audit; `references` may be empty, `retrained` None where nobody learned again."""

    before: Candidate
    after: Candidate
    retrained: Candidate | None
    references: Sequence[Candidate]


@dataclass(frozen=True, eq=False)
class Comparison:
    """What `compare` found."""

    measures: tuple[Measure, ...]
    attacks: tuple[Attack, ...]
    apart: tuple[Apart, ...]
    exposure: Exposure | None


@dataclass(frozen=True, eq=False)
class _Seen:
    """What one model says of each set of rows, and its tensors."""

    candidate: Candidate
    on: dict[str, Outputs]


def compare(subject: Subject, retained: Rows, forgotten: Rows, test: Rows | None) -> Comparison:
    """Every measure, attack and distance of the models.

    Raises:
        InputError: there is nothing to compare on: no retained or no forgotten row.
    """
    if not len(retained) or not len(forgotten):
        raise InputError(
            f"{len(retained)} retained and {len(forgotten)} forgotten rows were given; an audit needs both."
        )
    sets = {"retained": retained, "forgotten": forgotten} | ({"test": test} if test is not None and len(test) else {})

    def see(candidate: Candidate) -> _Seen:
        return _Seen(candidate, {name: outputs(candidate, rows) for name, rows in sets.items()})

    before, after = see(subject.before), see(subject.after)
    retrained = None if subject.retrained is None else see(subject.retrained)
    references = [see(candidate) for candidate in subject.references]
    table = _Table(before, after, retrained, references)
    measures = [measure for name in sets for measure in table.alone_on(name)]
    measures += table.pairs("test" if "test" in sets else "retained")
    return Comparison(tuple(measures), table.attacks(), table.apart(), table.exposure())


@dataclass(frozen=True, eq=False)
class _Table:
    before: _Seen
    after: _Seen
    retrained: _Seen | None
    references: Sequence[_Seen]

    def alone_on(self, rows: str) -> list[Measure]:
        """The measures of one model on one set of rows."""
        if self.after.on[rows].classes:
            kinds: list[tuple[str, Callable[[Outputs], float]]] = [("accuracy", _accuracy), ("loss", _loss)]
        elif self.after.on[rows].clusters is not None:
            kinds = [("distance", _rmse)]
        else:
            kinds = [("rmse", _rmse), ("r2", _r2)]
        return [self._alone(f"{name} on {rows}", lambda seen: of(seen.on[rows])) for name, of in kinds]  # noqa: B023

    def pairs(self, rows: str) -> list[Measure]:
        """The measures of two models: consistency, effectiveness, certifiability."""
        quality = _accuracy if self.after.on[rows].classes else _rmse

        def effective(one: _Seen, other: _Seen) -> float:
            return effectiveness(quality(one.on[rows]), quality(other.on[rows]))

        def certifiable(one: _Seen, other: _Seen) -> float:
            return certifiability(quality(one.on["forgotten"]), quality(other.on["forgotten"]))

        def weights(one: _Seen, other: _Seen) -> float | None:
            return weight_distance(one.candidate.tensors, other.candidate.tensors)

        kinds: list[tuple[str, Callable[[_Seen, _Seen], float | None]]] = [
            (f"effectiveness on {rows}", effective),
            ("certifiability", certifiable),
        ]
        if self.after.on[rows].clusters is None:
            kinds.append(("weight distance", weights))
        else:  # models under other seeds number the same clusters otherwise
            kinds.append((f"equal clusters on {rows}", lambda a, b: _equal_clusters(a.on[rows], b.on[rows])))
        if self.after.on[rows].classes:
            kinds += [
                (f"equal predictions on {rows}", lambda a, b: equal_predictions(_of(a, rows), _of(b, rows))),
                (f"kl on {rows}", lambda a, b: kl(_of(a, rows), _of(b, rows))),
            ]
        else:
            kinds.append((f"prediction gap on {rows}", lambda a, b: metrics.rmse(_of(a, rows), _of(b, rows))))
        return [measure for name, of in kinds if (measure := self._pair(name, of)) is not None]

    def attacks(self) -> tuple[Attack, ...]:
        """Membership inference by every feature, the strongest first; empty without test rows."""
        if "test" not in self.after.on:
            return ()
        scores = {id(seen): (_features(seen.on["forgotten"]), _features(seen.on["test"])) for seen in self._all()}
        found = self._calibrated_attack() if len(self.references) > 1 else []
        for feature in sorted(scores[id(self.after)][0], key=lambda name: name != membership.MARGIN):

            def area(seen: _Seen, feature: str = feature) -> float:
                members, others = scores[id(seen)]
                return roc.auc(members[feature], others[feature])

            members, others = (side[feature] for side in scores[id(self.after)])
            found.append(self._attack(feature, area, roc.auc_interval(members, others)))
        return tuple(found)

    def _calibrated_attack(self) -> list[Attack]:
        margins = {id(seen): (_margins(seen.on["forgotten"]), _margins(seen.on["test"])) for seen in self._all()}
        sides = [np.stack([margins[id(seen)][side] for seen in self.references]) for side in (0, 1)]
        places = {id(seen): place for place, seen in enumerate(self.references)}
        classes = self.after.on["test"].classes
        # Squared errors have a unit: one per cent of the usual error is the step.
        step = membership.RESOLUTION * (1.0 if classes else float(np.median(np.abs(sides[1]))) or 1.0)

        def area(seen: _Seen) -> float:
            return membership.calibrated_auc(*margins[id(seen)], (sides[0], sides[1]), step, places.get(id(seen)))

        own = [membership.calibrated(m, side, step) for m, side in zip(margins[id(self.after)], sides, strict=True)]
        return [self._attack(membership.CALIBRATED, area, roc.auc_interval(own[0], own[1]))]

    def _attack(self, feature: str, area: Callable[[_Seen], float], interval: tuple[float, float]) -> Attack:
        measure = self._alone(f"auc by {feature}", area)
        m, n = len(self.after.on["forgotten"].y), len(self.after.on["test"].y)
        return Attack(feature, measure, interval, roc.smallest_detectable(m, n))

    def apart(self) -> tuple[Apart, ...]:
        """The distance to the model retrained on the same seed, beside that of doing nothing."""
        if self.retrained is None:
            return ()
        own, nothing = (
            weight_distance(seen.candidate.tensors, self.retrained.candidate.tensors)
            for seen in (self.after, self.before)
        )
        return () if own is None or nothing is None else (Apart("released weights", own, nothing),)

    def exposure(self) -> Exposure | None:
        """Single losses of the forgotten rows; None where nobody learned again."""
        rest = self.references or ([] if self.retrained is None else [self.retrained])
        if not rest:
            return None
        before, after = (_row_scores(seen.on["forgotten"]) for seen in (self.before, self.after))
        others = np.stack([_row_scores(seen.on["forgotten"]) for seen in rest])
        keep = np.unique(np.linspace(0, len(after) - 1, min(EXPOSED, len(after))).astype(np.int64))
        ranks = [membership.exposure_rank(own, others)[keep] for own in (before, after)]
        losses = [-scores[keep] for scores in (before, after, np.median(others, axis=0))]
        return Exposure(*(tuple(map(float, values)) for values in (*losses, *ranks)))

    def _all(self) -> list[_Seen]:
        return [self.before, self.after, *([] if self.retrained is None else [self.retrained]), *self.references]

    def _alone(self, name: str, of: Callable[[_Seen], float]) -> Measure:
        again = None if self.retrained is None else of(self.retrained)
        return Measure(name, of(self.before), of(self.after), again, Band.of([of(seen) for seen in self.references]))

    def _pair(self, name: str, of: Callable[[_Seen, _Seen], float | None]) -> Measure | None:
        """Against the references (else the retrained model); the null band is each reference against the others."""
        against = self.references or ([] if self.retrained is None else [self.retrained])

        def median(seen: _Seen) -> float | None:
            values = [of(seen, other) for other in against if other is not seen]
            known = [value for value in values if value is not None]
            return float(np.median(known)) if known else None

        after = median(self.after)
        if after is None:
            return None
        null = [median(seen) for seen in self.references] if len(self.references) > 1 else []
        band = Band.of([value for value in null if value is not None])
        return Measure(
            name, median(self.before), after, None if self.retrained is None else median(self.retrained), band
        )


def _of(seen: _Seen, rows: str) -> Floats:
    return seen.on[rows].values


def _equal_clusters(one: Outputs, other: Outputs) -> float | None:
    if one.clusters is None or other.clusters is None:
        return None
    return metrics.adjusted_rand(one.clusters, other.clusters)


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
    return {"loss" if seen.clusters is None else "distance": _row_scores(seen)}


def _margins(seen: Outputs) -> Floats:
    """The margin of each row (minus the squared error for numbers), cut off where a probability passes 1e-12."""
    if not seen.classes:
        return _row_scores(seen)
    margin = membership.features(seen.values, seen.y)[membership.MARGIN]
    return np.clip(margin, metrics.LOG_FLOOR, -metrics.LOG_FLOOR)


def _row_scores(seen: Outputs) -> Floats:
    """Minus the loss of each row: higher for a row the model is surer of."""
    if seen.classes:
        return np.maximum(seen.values[np.arange(len(seen.y)), seen.y], metrics.LOG_FLOOR)
    return np.asarray(-((seen.values - seen.y) ** 2).sum(axis=1), dtype=np.float64)
