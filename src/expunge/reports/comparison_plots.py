"""Drawings of a comparison: what an attack sees, speed, distance, drift, noise, single rows, and when a method pays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator

from expunge.comparisons.compared import Compared
from expunge.reports.drawing import (
    AFTER,
    AGAIN,
    BAND,
    BEFORE,
    FAINT,
    MARGIN,
    STYLE,
    WIDTH,
    dot,
    lines,
    points,
    shares_of_nothing,
    svg,
)  # fmt: skip
from expunge.reports.labelled import Series, finish, labelled

REQUESTS = np.unique(np.round(np.logspace(0, 3, 25)))
MOST = 1e4  # times faster: what does nothing at all is drawn there
LOWEST = 1e-4  # losses below are drawn there


def attack_dots(found: Sequence[Compared], name: str) -> Markup | None:
    """The area of each method on the grey band of its retrained models; None where no attack has power."""
    shown = [(each, each.attack) for each in found if each.attack is not None and each.attack.has_power]
    if not shown:
        return None
    with mpl.rc_context(STYLE):
        figure, axes = lines([each.label for each, _ in shown])
        for place, (_, attack) in enumerate(shown):
            low, high = attack.null
            low = min(low, high - 0.004)  # a band narrower than its own outline would not be seen
            axes.barh(place, high - low, left=low, height=0.42, color=BAND, linewidth=0)
            dot(axes, attack.before, place, BEFORE)
            dot(axes, attack.auc, place, AFTER)
        axes.axvline(0.5, color=FAINT, linewidth=0.8, linestyle=(0, (3, 3)), zorder=0)
        low, high = axes.get_xlim()
        axes.set_xlim(min(low - 0.01, 0.4), max(high + 0.01, 0.6))
        axes.set_xlabel("area under the ROC curve; 0.5 is chance")
        return svg(figure, f"attack-{name}")


def speed_and_loss(found: Sequence[Compared], name: str) -> Markup | None:
    """Times faster than learning again against quality lost on test rows, beside the model learned again."""
    series = []
    for each in found:
        if each.costs is None or each.quality is None or each.quality_name != found[0].quality_name:
            continue
        _, after, again = each.quality
        lost = (again - after) * 100 if each.quality_name == "accuracy" else after - again
        series.append(Series(each.label, [min(each.costs.efficiency, MOST)], [lost], each.boundary))
    if not series:
        return None
    with mpl.rc_context(STYLE):
        figure, axes = labelled(series, 3.1)
        axes.set_xscale("log")
        flat, heights = [one.x[0] for one in series], [one.y[0] for one in series]
        axes.set_xlim(min(flat) / 2, max(flat) * 2)
        reach = max(max(heights) - min(heights), 1e-3) * 0.12
        axes.set_ylim(min(heights) - reach, max(heights) + reach)
        axes.axhline(0, color=FAINT, linewidth=1.2)
        axes.axvline(1, color=FAINT, linewidth=1.2)
        axes.set_xlabel("times faster than learning again")
        accuracy = found[0].quality_name == "accuracy"
        axes.set_title(
            "accuracy lost, points" if accuracy else f"{found[0].quality_name} added", loc="left", fontsize=8.5
        )
        finish(figure, axes, series, joined=False)
        return svg(figure, f"speed-{name}")


def distances(found: Sequence[Compared], name: str) -> Markup | None:
    """Distance to the twin as a share of what doing nothing leaves; None where no weights can be compared."""
    shown = [(each.label, each.theta_share) for each in found if each.theta_share is not None]
    if not shown:
        return None
    with mpl.rc_context(STYLE):
        return svg(shares_of_nothing(shown), f"distance-{name}")


def drift(found: Sequence[Compared]) -> Markup | None:
    """The error of outputs after k requests, as a share of doing nothing's; None where no sequence was taken."""
    series, exact = [], []
    for each in found:
        known = [one for one in each.drift if one.nothing > 0]
        if not known:
            continue
        shares = [one.after / one.nothing for one in known]
        if all(value == 0 for value in shares):
            exact.append(each.label)
        else:
            series.append(Series(each.label, [one.requests for one in known], shares, each.boundary))
    if not series:
        return None
    with mpl.rc_context(STYLE):
        figure, axes = labelled(series)
        values = [value for one in series for value in one.y if value > 0]
        axes.set_yscale("log")
        axes.set_ylim(min(0.5, min(values) / 1.5), max(2.0, max(values) * 1.5))
        marks = sorted({x for one in series for x in one.x})
        axes.set_xscale("log")
        axes.set_xlim(marks[0] / 1.1, marks[-1] * 1.1)
        axes.set_xticks(marks, [f"{mark:g}" for mark in marks])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.axhline(1.0, color=BEFORE, linewidth=1.0)
        axes.set_xlabel("requests, one after another")
        axes.set_title("error, share of doing nothing", loc="left", fontsize=8.5)
        axes.yaxis.set_minor_formatter(NullFormatter())
        finish(figure, axes, series)
        return svg(figure, "drift")


def exact_ones(found: Sequence[Compared]) -> list[str]:
    """The methods whose error is nought after every request: on a logarithmic scale they have no place."""
    return [each.label for each in found if each.drift and all(one.after == 0 for one in each.drift)]


def privacy_and_noise(found: Sequence[Compared]) -> Markup | None:
    """Epsilon certified, and quality on test rows, at several levels of noise; None where no method adds any."""
    shown = [each for each in found if sum(level.quality is not None for level in each.levels) > 1]
    if not shown:
        return None
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 2.0 + 0.165 * len(shown) + 2.2))
        figures = [_levels(shown, "epsilon"), _levels(shown, "quality")]
        tall = figure.get_figheight()
        noise = [level.noise_std for each in shown for level in each.levels]
        for place, (series, what) in enumerate(zip(figures, ("ε certified", shown[0].quality_name), strict=True)):
            own = [one for one in series if one.x]
            bottom = 0.45 + (1 - place) * (tall / 2)
            axes = figure.add_axes(
                (0.52 / WIDTH, bottom / tall, (WIDTH - 0.52 - 1.45) / WIDTH, (tall / 2 - 0.78) / tall)
            )
            axes.grid(color=FAINT, linewidth=0.6)
            axes.set_axisbelow(True)
            axes.set_xscale("log")
            axes.set_xlim(min(noise) / 1.5, max(noise) * 1.5)
            values = [v for one in own for v in one.y]
            if values:
                reach = max(max(values) - min(values), 0.01) * 0.1
                axes.set_ylim(min(values) - reach, max(values) + reach)
            axes.set_title(what, loc="left", fontsize=8.5)
            if own:
                finish(figure, axes, own)
        axes.set_xlabel("standard deviation of the noise")
        return svg(figure, "privacy")


def _levels(shown: Sequence[Compared], what: Literal["epsilon", "quality"]) -> list[Series]:
    series = []
    for each in shown:
        values = [level.epsilon if what == "epsilon" else level.quality for level in each.levels]
        known = [(level.noise_std, v) for level, v in zip(each.levels, values, strict=True) if v is not None]
        series.append(Series(each.label, [x for x, _ in known], [y for _, y in known], each.boundary))
    return series


def curves(found: Sequence[Compared], name: str) -> Markup | None:
    """Membership ROC of each method, both scales logarithmic, one small drawing each."""
    shown = [(each.label, each.attack) for each in found if each.attack is not None and each.attack.has_power]
    if not shown:
        return None
    rows = -(-len(shown) // 2)
    with mpl.rc_context(STYLE | {"font.size": 8}):
        figure = Figure(figsize=(WIDTH, 0.35 + 1.5 * rows), layout="constrained")
        grid = figure.subplots(rows, 2, squeeze=False, sharex=True, sharey=True)
        for place, axes in enumerate(grid.ravel()):
            if place >= len(shown):
                axes.set_visible(False)
                continue
            label, attack = shown[place]
            axes.plot([1e-3, 1], [1e-3, 1], color=FAINT, linewidth=1.0, zorder=0)
            for curve, colour, width in (
                (attack.curve_again, AGAIN, 1.2),
                (attack.curve_before, BEFORE, 1.4),
                (attack.curve, AFTER, 1.6),
            ):
                axes.plot(curve.rates, np.maximum(curve.found, 1e-4), color=colour, linewidth=width)
            axes.set_title(label, fontsize=8.5, loc="left", parse_math=False)
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.set_xlim(1e-3, 1)
            axes.set_ylim(1e-3, 1.05)
            axes.set_xticks([1e-3, 1e-2, 1e-1, 1], ["0.1 %", "1 %", "10 %", "1"])
            axes.set_yticks([1e-3, 1e-2, 1e-1, 1], ["0.1 %", "1 %", "10 %", "1"])
            axes.minorticks_off()
            axes.tick_params(labelbottom=place + 2 >= len(shown))
            axes.grid(color=FAINT, linewidth=0.5)
        figure.supxlabel("never-seen rows wrongly accused", fontsize=8.5)
        figure.supylabel("forgotten rows found", fontsize=8.5)
        return svg(figure, f"roc-{name}")


def exposures(found: Sequence[Compared], name: str) -> Markup | None:
    """The loss of every forgotten row before, after, and in models that never saw it."""
    shown = [(each.label, each.exposure) for each in found if each.exposure is not None]
    if not shown:
        return None
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, MARGIN + 0.92 * len(shown)), layout="constrained")
        axes = figure.add_subplot()
        for place, (label, losses) in enumerate(shown):
            for values, colour, lift in zip(losses, (BEFORE, AFTER, AGAIN), (-0.14, 0.09, 0.32), strict=True):
                # Golden-ratio steps spread rows evenly in height, the same way every time.
                heights = place + lift + 0.14 * ((np.arange(len(values)) * 0.618034) % 1.0 - 0.5)
                few = len(values) < 4
                size, alpha = (6.0, 1.0) if few else (2.8, 0.6)
                points(axes, np.maximum(values, LOWEST), heights, colour, size, alpha)
            axes.annotate(
                label,
                (0, place - 0.4),
                xycoords=("axes fraction", "data"),
                fontsize=8.5,
                va="center",
                parse_math=False,
            )
        axes.set_xscale("log")
        axes.set_ylim(len(shown) - 0.5, -0.65)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("loss of one forgotten row")
        axes.grid(axis="x", color=FAINT, linewidth=0.6)
        axes.set_axisbelow(True)
        return svg(figure, f"exposure-{name}")


def pays(found: Sequence[Compared], name: str) -> Markup | None:
    """Seconds spent in all after so many requests, the preparation included, as a share of retraining each time."""
    series = []
    for each in found:
        costs = each.costs
        if costs is None or costs.preparation is None or not costs.plain:
            continue
        spent = (costs.preparation + REQUESTS * costs.forget) / (REQUESTS * costs.plain)
        series.append(
            Series(each.label, [float(k) for k in REQUESTS], [max(float(s), 1e-6) for s in spent], each.boundary)
        )
    series = [one for one in series if max(one.y) > 1e-5]
    if not series:
        return None
    with mpl.rc_context(STYLE):
        figure, axes = labelled(series)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlim(1, REQUESTS[-1])
        values = [value for one in series for value in one.y]
        axes.set_ylim(min(values) / 1.5, max(2.0, max(values) * 1.5))
        axes.axhline(1.0, color=AGAIN, linewidth=1.0)
        axes.set_xlabel("requests, one after another")
        axes.set_title("cost, share of plain retraining", loc="left", fontsize=8.5)
        thin = [Series(one.label, one.x[::6], one.y[::6], one.plain) for one in series]
        finish(figure, axes, thin)
        return svg(figure, f"pays-{name}")
