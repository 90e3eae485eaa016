"""Series in one drawing, each with its name in a column on the right: names never overlap, however near the ends are.

Colours are those of Okabe & Ito (2008), told apart by colour-blind readers; where there are more series than colours,
dashes and markers go on telling them apart, and a thin line leads from each name to its series.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from expunge.reports.drawing import FAINT, INK, WIDTH

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", INK)
DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GAP = 0.165  # inches between two names
SPACE = 1.45  # inches for the names


@dataclass(frozen=True)
class Series:
    """Points of one method; `plain` is a boundary row, drawn thinner."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    plain: bool = False


def labelled(series: Sequence[Series], height: float = 2.9) -> tuple[Figure, Axes]:
    """A figure with room for the names; `finish` draws the series once the scales and limits are set."""
    tall = max(height, GAP * len(series) + 0.93)
    figure = Figure(figsize=(WIDTH, tall))
    left, bottom = 0.52, 0.48
    axes = figure.add_axes((left / WIDTH, bottom / tall, (WIDTH - left - SPACE) / WIDTH, (tall - bottom - 0.3) / tall))
    axes.grid(color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def finish(figure: Figure, axes: Axes, series: Sequence[Series], *, joined: bool = True) -> None:
    """Draw the series and their names; `joined` points are a line that is named at its end."""
    for place, one in enumerate(series):
        colour = COLOURS[place % len(COLOURS)]
        axes.plot(
            one.x,
            one.y,
            linestyle=DASHES[place // len(COLOURS) % len(DASHES)] if joined else "none",
            color=colour,
            linewidth=1.1 if one.plain else 1.7,
            marker=MARKERS[place % len(MARKERS)],
            markersize=4.5 if joined else 6.5,
            markerfacecolor="none" if one.plain else colour,
            zorder=3,
            clip_on=False,
        )
    ends = [axes.transLimits.transform(axes.transScale.transform((one.x[-1], one.y[-1]))) for one in series]
    frame = axes.get_position()
    tall, wide = frame.height * figure.get_figheight(), frame.width * figure.get_figwidth()
    heights = spread([float(end[1]) - 1e-6 * float(end[0]) for end in ends], GAP / tall)  # lines seldom cross
    for place, (one, end, where) in enumerate(zip(series, ends, heights, strict=True)):
        colour = COLOURS[place % len(COLOURS)]
        start = 1 + 0.06 / wide
        axes.plot(
            [float(end[0]), start, start + 0.12 / wide],
            [float(end[1]), where, where],
            transform=axes.transAxes,
            color=colour,
            linewidth=0.6,
            alpha=0.8,
            clip_on=False,
            zorder=1,
        )
        axes.annotate(
            one.label,
            (start + 0.16 / wide, where),
            xycoords="axes fraction",
            va="center",
            fontsize=8,
            color=INK,
            parse_math=False,
            annotation_clip=False,
        )


def spread(wanted: Sequence[float], gap: float) -> list[float]:
    """Heights (fractions, 0 to 1 where there is room) in the order of `wanted`, near them, at least `gap` apart."""
    order = np.argsort(np.clip(wanted, 0.0, 1.0), kind="stable")
    heights = np.clip(np.asarray(wanted, dtype=np.float64), 0.0, 1.0)[order]
    for place in range(1, len(heights)):
        heights[place] = max(heights[place], heights[place - 1] + gap)
    over = heights[-1] - 1.0 if len(heights) else 0.0
    if over > 0:
        heights[-1] = 1.0
        for place in range(len(heights) - 2, -1, -1):
            heights[place] = min(heights[place], heights[place + 1] - gap)
    found = np.empty_like(heights)
    found[order] = heights
    return [float(height) for height in found]
