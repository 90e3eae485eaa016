"""Plots of audits as inline SVG: text stays text, colours follow the page, and equal audits give equal bytes."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from expunge.audits import Audit
from expunge.certificate import Certified
from expunge.maths.privacy import epsilon_curve
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
)
from expunge.reports.table import ReportRow, times


def attack_plot(rows: Sequence[ReportRow]) -> Markup | None:
    """Membership attack: the area of each model on the grey band of retrained ones; None where no attack has power."""
    shown = [row for row in rows if row.auc is not None and row.auc_has_power]
    if not shown:
        return None
    with mpl.rc_context(STYLE):
        figure, axes = lines([f"{row.label}: {row.request}" for row in shown])
        for place, row in enumerate(shown):
            if row.null_low is not None and row.null_high is not None:
                # A band narrower than its own outline would not be seen.
                low, high = min(row.null_low, row.null_high - 0.004), row.null_high
                axes.barh(place, high - low, left=low, height=0.42, color=BAND, linewidth=0)
            dot(axes, row.auc_before, place, BEFORE)
            dot(axes, row.auc, place, AFTER)
        axes.axvline(0.5, color=FAINT, linewidth=0.8, linestyle=(0, (3, 3)), zorder=0)
        low, high = axes.get_xlim()
        axes.set_xlim(min(low - 0.01, 0.45), max(high + 0.01, 0.6))
        axes.set_xlabel("area under the ROC curve; 0.5 is chance")
        return svg(figure, "attack")


def distance_plot(rows: Sequence[ReportRow]) -> Markup | None:
    """Distance to retraining as a share of doing nothing; None where nothing was compared."""
    shown = [(f"{row.label}: {row.request}", row.distance_share) for row in rows if row.distance_share is not None]
    if not shown:
        return None
    with mpl.rc_context(STYLE):
        return svg(shares_of_nothing(shown), "distance")


def speed_plot(rows: Sequence[ReportRow]) -> Markup | None:
    """How many times faster forgetting was than learning again, cold and warm; None where no time was measured."""
    shown = [row for row in rows if row.speed_up is not None]
    if not shown:
        return None
    with mpl.rc_context(STYLE):
        figure, axes = lines([f"{row.label}: {row.request}" for row in shown])
        axes.set_xscale("log")
        known = [v for row in shown for v in (row.speed_up, row.warm_speed_up) if v]
        axes.set_xlim(min([0.5, *(v / 2 for v in known)]), max([5.0, *(v * 5 for v in known)]))
        for place, row in enumerate(shown):
            assert row.speed_up is not None
            axes.plot([1, row.speed_up], [place, place], color=BAND, linewidth=3, solid_capstyle="butt", zorder=1)
            dot(axes, row.warm_speed_up, place, AGAIN)
            dot(axes, row.speed_up, place, AFTER)
            most = max(row.speed_up, row.warm_speed_up or 0.0, 1.0)
            axes.annotate(
                times(row.speed_up), (most, place), (7, 0), textcoords="offset points", va="center", fontsize=8
            )
        axes.axvline(1.0, color=FAINT, linewidth=0.8)
        axes.set_xlabel("times faster than learning again")
        return svg(figure, "speed")


def quality_plot(rows: Sequence[ReportRow]) -> Markup | None:
    """Accuracy (or root mean squared error) before, after and retrained."""
    shown = [row for row in rows if row.quality_after is not None and row.quality == rows[0].quality]
    if not shown:
        return None
    with mpl.rc_context(STYLE):
        figure, axes = lines([f"{row.label}: {row.request}" for row in shown])
        for place, row in enumerate(shown):
            values = (row.quality_before, row.quality_retrained, row.quality_after)
            known = [value for value in values if value is not None]
            axes.plot([min(known), max(known)], [place, place], color=BAND, linewidth=3, zorder=1)
            for value, colour, lift in zip(values, (BEFORE, AGAIN, AFTER), (-0.14, 0.14, 0.0), strict=True):
                dot(axes, value, place + lift, colour)
        low, high = axes.get_xlim()
        middle, reach = (low + high) / 2, max((high - low) / 2 * 1.15, 0.005)
        axes.set_xlim(middle - reach, middle + reach)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel(rows[0].quality)
        return svg(figure, "quality")


def privacy_plot(audits: Sequence[tuple[str, str, Audit]]) -> Markup | None:
    """The whole curve epsilon(delta) behind each certificate, with the pair it states; None without a certificate."""
    found: dict[tuple[float, float, float], str] = {}
    for label, _, audit in audits:
        if isinstance(audit.certificate, Certified):
            known = found.setdefault((audit.certificate.mu, audit.certificate.epsilon, audit.certificate.delta), label)
            if label not in known.split(", "):
                found[audit.certificate.mu, audit.certificate.epsilon, audit.certificate.delta] = f"{known}, {label}"
    if not found:
        return None
    deltas = np.logspace(-10, -1, 60)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 2.6), layout="constrained")
        axes = figure.add_subplot()
        for place, ((mu, epsilon, delta), label) in enumerate(found.items()):
            axes.plot(deltas, epsilon_curve(mu, map(float, deltas)), color=AFTER, linewidth=1.8)
            axes.plot(delta, epsilon, "o", color=AFTER, markersize=7)
            axes.annotate(
                f"{label}: ε {epsilon:g} at δ {delta:g}",
                (1, 0.98 - 0.1 * place),
                xycoords="axes fraction",
                ha="right",
                va="top",
                fontsize=8.5,
                parse_math=False,
            )
        axes.set_xscale("log")
        axes.set_ylim(bottom=0)
        axes.set_xlabel("δ")
        axes.set_ylabel("ε")
        axes.grid(color=FAINT, linewidth=0.6)
        axes.set_axisbelow(True)
        return svg(figure, "privacy")


def exposure_plot(audits: Sequence[tuple[str, str, Audit]]) -> Markup | None:
    """The loss of every forgotten row before, after and retrained: a remembered row lies left of where it belongs."""
    shown = [(f"{label}: {request}", audit.exposure) for label, request, audit in audits if audit.exposure is not None]
    if not shown:
        return None
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, MARGIN + 1.05 * len(shown)), layout="constrained")
        axes = figure.add_subplot()
        for place, (label, exposure) in enumerate(shown):
            sides = ((exposure.before, BEFORE, -0.17), (exposure.after, AFTER, 0.06), (exposure.retrained, AGAIN, 0.29))
            for values, colour, lift in sides:
                # Golden-ratio steps spread rows evenly in height, the same way every time.
                heights = place + lift + 0.14 * ((np.arange(len(values)) * 0.618034) % 1.0 - 0.5)
                few = len(values) < 4
                points(axes, np.maximum(values, 1e-4), heights, colour, 6.0 if few else 2.8, 1.0 if few else 0.6)
            axes.annotate(
                label,
                (0, place - 0.42),
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
        return svg(figure, "exposure")
