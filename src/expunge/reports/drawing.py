"""What all drawings share: colours that follow the page, a line for each method, dots by shape, and SVG as text.

Colours are written as placeholders and replaced by variables of the page's style sheet, so that one drawing suits a
light and a dark page; no meaning rests on colour alone. Labels stand above their line or in a column of their own:
a narrow window has no room for a left margin.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from expunge.reports.table import share

# placeholder -> variable of the page
INK, FAINT, BAND, BEFORE, AFTER, AGAIN = "#010101", "#020202", "#030303", "#040404", "#050505", "#060606"
PAGE = "#070707"
VARIABLES = {
    INK: "var(--ink)",
    FAINT: "var(--line)",
    BAND: "var(--band)",
    BEFORE: "var(--before)",
    AFTER: "var(--after)",
    AGAIN: "var(--again)",
    PAGE: "var(--card)",
}
WIDTH, LINE, MARGIN = 4.4, 0.58, 0.55  # inches
FARTHEST = 2.0  # shares beyond it are cut off, and labelled
STYLE: Any = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
}


def lines(labels: Sequence[str]) -> tuple[Figure, Axes]:
    """A figure with a line for each label, which stands above it."""
    figure = Figure(figsize=(WIDTH, MARGIN + LINE * len(labels)), layout="constrained")
    axes = figure.add_subplot()
    for place, label in enumerate(labels):
        axes.annotate(
            label,
            (0, place - 0.42),
            xycoords=("axes fraction", "data"),
            fontsize=8.5,
            va="center",
            parse_math=False,
        )
    axes.set_ylim(len(labels) - 0.6, -0.7)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def dot(axes: Axes, value: float | None, place: float, colour: str) -> None:
    """One model's figure; its shape tells which: ring (before), disc (after), diamond (again)."""
    if value is not None:
        points(axes, np.array([value]), np.array([place]), colour, 7.0, 1.0)


def points(axes: Axes, x: Any, y: Any, colour: str, size: float, alpha: float) -> None:
    """Models' figures as ring, disc or diamond; see `dot`."""
    marker = "D" if colour == AGAIN else "o"
    hollow = colour == BEFORE
    axes.plot(
        x,
        y,
        linestyle="none",
        marker=marker,
        markersize=size * (0.8 if marker == "D" else 1.0),
        markerfacecolor="none" if hollow else colour,
        markeredgecolor=colour,
        markeredgewidth=(1.8 if size > 4 else 0.8) if hollow else 0,
        alpha=alpha,
        zorder=4 if colour == AFTER else 3,
        clip_on=False,
    )


def svg(figure: Figure, name: str) -> Markup:
    """The figure as an SVG element for a page: no date, no address, ids of its own, colours by variable."""
    drawn = io.StringIO()
    FigureCanvasSVG(figure)
    with mpl.rc_context({"svg.hashsalt": f"expunge {name}"}):
        figure.savefig(drawn, format="svg", transparent=True, metadata={"Date": None})
    text = drawn.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", text)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{name}-", text)
    text = re.sub(r'^<svg [^>]*?viewBox="([^"]*)"[^>]*>', rf'<svg viewBox="\1" role="img" aria-label="{name}">', text)
    for placeholder, variable in VARIABLES.items():
        text = text.replace(placeholder, variable)
    return Markup(text)  # noqa: S704  (matplotlib escapes the labels)


def shares_of_nothing(shown: Sequence[tuple[str, float]]) -> Figure:
    """A bar for each labelled share of the distance that doing nothing leaves, with a line at 1."""
    end = min(max(1.05, *(1.1 * value for _, value in shown)), FARTHEST)
    figure, axes = lines([label for label, _ in shown])
    for place, (_, value) in enumerate(shown):
        drawn = min(value, end)
        axes.barh(place, drawn, height=0.3, color=AFTER, linewidth=0)
        inside = drawn > 0.7 * end
        axes.annotate(
            share(value) if value > 0 else "the same weights",
            (drawn, place),
            (-4 if inside else 4, 0),
            textcoords="offset points",
            va="center",
            ha="right" if inside else "left",
            color=PAGE if inside else INK,
            fontsize=8,
        )
    axes.axvline(1.0, color=BEFORE, linewidth=1.4)
    axes.set_xlim(0, end)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel("of the distance that doing nothing leaves")
    return figure
