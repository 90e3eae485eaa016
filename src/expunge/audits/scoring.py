"""The scores of the literature on the models of an audit: each with doing nothing, the retrained model and its null.

They need a classification with test rows. Where a score wants the accuracy of an attack, it gets the area under the ROC
curve of the margin, which is 1/2 by chance too.
"""

from __future__ import annotations

from collections.abc import Callable

from expunge.audits import metrics
from expunge.audits.attacks import membership, roc
from expunge.audits.audit import Measure
from expunge.audits.panel import Panel, Seen
from expunge.audits.scores.accuracy_gaps import average_gap, unlearning_accuracy
from expunge.audits.scores.adaptive_unlearning import adaptive_unlearning_score
from expunge.audits.scores.nomus import nomus
from expunge.audits.scores.output_distance import activation_distance, jensen_shannon
from expunge.audits.scores.tug_of_war import tug_of_war


def scores(panel: Panel) -> tuple[Measure, ...]:
    """Every score that the models of one audit allow; empty without test rows or classes."""
    if "test" not in panel.after.on or not panel.after.on["test"].classes:
        return ()
    figures = {id(seen): _figures(seen) for seen in panel.everyone}
    before = figures[id(panel.before)]

    def of(seen: Seen) -> dict[str, float]:
        return figures[id(seen)]

    def war(first: str) -> Callable[[Seen, Seen], float]:
        def play(seen: Seen) -> tuple[float, float, float]:
            return of(seen)[first], of(seen)["RA"], of(seen)["TA"]

        return lambda one, other: tug_of_war(play(one), play(other))

    def forgotten(distance: Callable[[metrics.Floats, metrics.Floats], float]) -> Callable[[Seen, Seen], float]:
        return lambda one, other: distance(one.on["forgotten"].values, other.on["forgotten"].values)

    def adaptive(seen: Seen) -> float:
        return adaptive_unlearning_score(before["TA"], of(seen)["TA"], 1 - of(seen)["UA"])

    found = [
        panel.pair("tug of war", war("UA"), "high"),
        panel.pair("tug of war, attack", war("MIA"), "high"),
        panel.pair("average gap", lambda one, other: average_gap(of(one), of(other))),
        panel.pair("activation distance on forgotten", forgotten(activation_distance)),
        panel.pair("jensen-shannon on forgotten", forgotten(jensen_shannon)),
        panel.alone("adaptive unlearning score", adaptive),
        panel.alone("nomus", lambda seen: nomus(of(seen)["TA"], of(seen)["MIA"])),
    ]
    return tuple(measure for measure in found if measure is not None)


def _figures(seen: Seen) -> dict[str, float]:
    """UA, RA, TA and MIA of one model."""
    accuracy = {name: metrics.accuracy(rows.values, rows.y) for name, rows in seen.on.items()}
    margins = [membership.clipped_margins(seen.on[name].values, seen.on[name].y) for name in ("forgotten", "test")]
    return {
        "UA": unlearning_accuracy(accuracy["forgotten"]),
        "RA": accuracy["retained"],
        "TA": accuracy["test"],
        "MIA": roc.auc(margins[0], margins[1]),
    }
