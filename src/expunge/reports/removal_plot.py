"""What forgetting the first rows of a ranking does, drawn: predicted against measured, beside random rows."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from expunge.attribution import Performance, Trial
from expunge.errors import InputError

# Okabe & Ito 2008: told apart with any colour vision; marks and lines differ too.
FORGOTTEN, RETRAINED, RANDOM, PREDICTED, NOTHING = "#0072B2", "#D55E00", "#707070", "#009E73", "#202020"
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "expunge",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def removal_plot(trials: Sequence[Trial], *, title: str = "") -> str:
    """A page of SVG, 4.6 inches wide: the loss, the accuracy, and predicted against measured change of the loss.

    Raises:
        InputError: nothing was tried.
    """
    if not trials:
        raise InputError("Nothing was tried, so there is nothing to draw: give at least one size.")
    score = "accuracy" if trials[0].before.accuracy is not None else "rmse"
    predicted = all(trial.predicted is not None for trial in trials)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.6, 2.7 * (2 + predicted)), layout="constrained")
        panels = figure.subplots(2 + predicted, 1)
        for axes, name in zip(panels, ("loss", score), strict=False):
            _against_rows(axes, trials, name)
        panels[0].legend(frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, title=title)
        if predicted:
            _against_measured(panels[2], trials)
        drawn = io.StringIO()
        FigureCanvasSVG(figure).print_svg(drawn, metadata={"Date": None})  # type: ignore[no-untyped-call]
    return drawn.getvalue()


def _against_rows(axes: Axes, trials: Sequence[Trial], name: str) -> None:
    sizes = [trial.rows for trial in trials]
    axes.axhline(_of(trials[0].before, name), color=NOTHING, linewidth=1, linestyle=":", label="before (doing nothing)")
    lines = (
        ("random rows forgotten", RANDOM, "s", "-", [trial.random for trial in trials]),
        ("learned without the rows", RETRAINED, "D", "-", [trial.retrained for trial in trials]),
        ("first rows forgotten", FORGOTTEN, "o", "-", [trial.forgotten for trial in trials]),
        ("predicted", PREDICTED, "x", "--", [trial.predicted for trial in trials if trial.predicted]),
    )
    for label, colour, marker, style, found in lines:
        if found:
            values = [_of(one, name) for one in found]
            size = 8 if marker == "D" else 5  # a diamond shows around the disc that lies on it
            fill = "none" if marker == "D" else colour
            axes.plot(
                sizes, values, style, color=colour, marker=marker, markersize=size, markerfacecolor=fill, label=label
            )
    axes.set_xlabel("rows forgotten")
    axes.set_ylabel(f"{name} on validation rows")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    if name == "accuracy":
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=1))


def _against_measured(axes: Axes, trials: Sequence[Trial]) -> None:
    guessed = [trial.predicted.loss - trial.before.loss for trial in trials if trial.predicted]
    measured = [trial.forgotten.loss - trial.before.loss for trial in trials]
    low, high = min(0.0, *guessed, *measured), max(0.0, *guessed, *measured)
    reach = 0.06 * (high - low or 1.0)
    axes.plot([low - reach, high + reach], [low - reach, high + reach], color=RANDOM, linewidth=1, linestyle=":")
    axes.plot(guessed, measured, "o", color=FORGOTTEN, markersize=5)
    for trial, x, y in ((trials[0], guessed[0], measured[0]), (trials[-1], guessed[-1], measured[-1])):
        axes.annotate(f"{trial.rows} rows", (x, y), (6, -9), textcoords="offset points", fontsize=8)
    axes.set_xlabel("predicted change of the loss")
    axes.set_ylabel("measured change of the loss")
    axes.margins(0.15)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(4))


def _of(performance: Performance, name: str) -> float:
    value = {"loss": performance.loss, "accuracy": performance.accuracy, "rmse": performance.rmse}[name]
    assert value is not None
    return value
