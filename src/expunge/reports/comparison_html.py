"""A comparison as one self-contained HTML page: nothing is fetched, no script runs, and it can be mailed."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2

from expunge import __version__
from expunge.comparisons.compared import Compared
from expunge.errors import InputError
from expunge.reports import comparison_plots as plots
from expunge.reports.compared import blocks, left_out, remarks, requests
from expunge.reports.html import style

KEYS = {
    "before": ("before", "before (doing nothing)"),
    "after": ("after", "after forgetting"),
    "again": ("again", "a model that never saw the rows"),
    "band": ("band", "99 % of models that never saw them"),
}
READING = (
    """Every figure of two models is between a model that forgot and its twin, learned again on the rest under the same
    seed; in brackets, the same for the model to which nothing was done. Areas, tug of war and KLOM are held against
    models learned again under other seeds.""",
    """Seconds are processor seconds of one thread, all measured in this run. Preparation is what learning cost beyond
    plain training; a method pays after so many requests.""",
    "A certificate is proved; all else here is measured, and an attack that fails proves nothing about the next.",
)


def write_comparison(path: Path, found: Sequence[Compared], *, data: str, title: str = "Forgetting, compared") -> None:
    """Write the page.

    Args:
        found: in the order of forget sets, and of methods in each. data: the rows, in words.

    Raises:
        InputError: nothing was compared.
    """
    path.write_text(render_comparison(found, data=data, title=title), encoding="utf-8")


def render_comparison(found: Sequence[Compared], *, data: str, title: str = "Forgetting, compared") -> str:
    """The page as text; equal comparisons give equal bytes."""
    if not found:
        raise InputError("A comparison needs at least one method.")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    source = resources.files("expunge.reports").joinpath("comparison.html.j2").read_text(encoding="utf-8")
    shown = [each for each in found if not each.refused]
    return environment.from_string(source).render(
        title=title,
        style=style(),
        data=data,
        introduction=_introduction(shown),
        parts=[_part(place, request, shown) for place, request in enumerate(requests(shown))],
        boundary={each.label for each in found if each.boundary},
        left_out=left_out(found),
        keys=KEYS,
        reading=READING,
        version=__version__,
    )


def _introduction(shown: Sequence[Compared]) -> str:
    if not shown:
        return "No method applies to these rows."
    one = shown[0]
    return (
        f"Each method learned under {one.seeds} seed{'s' * (one.seeds > 1)} and forgot; beside it stand "
        f"{one.references} models learned again with seeds of their own. Where learning draws nothing, these are "
        "one and the same."
    )


def _part(place: int, request: str, shown: Sequence[Compared]) -> dict[str, Any]:
    own = [each for each in shown if each.request == request]
    exact = plots.exact_ones(own)
    drift = "Ten requests instead of one; beside each model, its twin learned again on what is left by then." + (
        f" Nought after every request: {', '.join(exact)}." if exact else ""
    )
    name = str(place)
    figures = [
        ("Is a forgotten row still recognised?", plots.attack_dots(own, name), ("before", "after", "band"), _ATTACK),
        ("Speed against accuracy lost", plots.speed_and_loss(own, name), (), _SPEED),
        ("How far from learning again?", plots.distances(own, name), (), _DISTANCE),
        ("Error after k requests", plots.drift(own), (), drift),
        ("Privacy against noise", plots.privacy_and_noise(own), (), _PRIVACY),
        ("When does it pay?", plots.pays(own, name), (), _PAYS),
        ("Membership, at every threshold", plots.curves(own, name), ("before", "after", "again"), _CURVES),
        ("The forgotten rows, one by one", plots.exposures(own, name), ("before", "after", "again"), _EXPOSURE),
    ]
    return {"request": f"Forgetting {request}", "blocks": blocks(own), "remarks": remarks(own), "figures": figures}


_ATTACK = "An attack tells forgotten rows from rows no model ever saw. What matters is the grey band, not 0.5."
_SPEED = "On test rows, beside the model learned again. Right and low is good; 0 loses nothing."
_DISTANCE = "Distance of the weights to those learned again under the same seed; noise taken off where it can be told."
_PRIVACY = "The same method with less and with more noise; where no point stands, no certificate was issued."
_PAYS = "Preparation and requests together. Below the line, the method costs less than retraining each time."
_CURVES = "Both scales are logarithmic: what counts is whether an attacker is ever sure. The line is chance."
_EXPOSURE = "A row that is remembered has a smaller loss than in models that never saw it."
