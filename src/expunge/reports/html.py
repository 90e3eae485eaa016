"""One self-contained HTML page of audits: nothing is fetched, no script runs, and it can be mailed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import jinja2
from markupsafe import Markup

from expunge import __version__
from expunge.audits import Audit, Measure
from expunge.audits.epsilon_bound import VOIDING, models_needed
from expunge.certificate import Certified, Exact
from expunge.errors import InputError
from expunge.reports import plots
from expunge.reports.table import HEADINGS, comparison_rows, guarantee, seconds, share, times

Labelled = tuple[str, str, Audit]  # the method's label, the request in words, the audit


def write_report(
    path: Path,
    audits: Sequence[Labelled],
    *,
    title: str = "Forgetting, audited",
    introduction: str = "",
    notes: Sequence[tuple[str, str]] = (),
) -> None:
    """Write the page.

    Args:
        audits: (label of the method, request in words, audit), in the order of the table.
        introduction: a paragraph under the title. notes: (heading, text) paragraphs at the end, such as what a receipt
            proved; text is escaped, never read as HTML.

    Raises:
        InputError: there is no audit.
    """
    path.write_text(render(audits, title=title, introduction=introduction, notes=notes), encoding="utf-8")


def render(
    audits: Sequence[Labelled],
    *,
    title: str = "Forgetting, audited",
    introduction: str = "",
    notes: Sequence[tuple[str, str]] = (),
) -> str:
    """The page as text; equal audits give equal bytes."""
    if not audits:
        raise InputError("A report needs at least one audit.")
    rows = comparison_rows(audits)
    warm = any(row.warm_speed_up is not None for row in rows)
    speeds = ("after: cold", "again: warm") if warm else ("after: cold",)
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters |= {"seconds": seconds, "share": share, "times": times, "number": _number, "where": _where}
    source = resources.files("expunge.reports").joinpath("report.html.j2").read_text(encoding="utf-8")
    return environment.from_string(source).render(
        title=title,
        style=style(),
        introduction=introduction,
        headings=HEADINGS,
        rows=rows,
        cards=[_card(label, request, audit) for label, request, audit in audits],
        details=audits,
        guarantee=guarantee,
        certified=[audit.certificate for _, _, audit in audits if isinstance(audit.certificate, Certified)],
        conditions=_conditions,
        least_p=_least_p,
        information=_information,
        needed=_needed,
        figures=[
            ("Is a forgotten row still recognised?", plots.attack_plot(rows), ("before", "after", "band"), _ATTACK),
            ("How far from retraining?", plots.distance_plot(rows), (), _DISTANCE),
            ("How much faster?", plots.speed_plot(rows), speeds, _SPEED),
            ("Does it still work?", plots.quality_plot(rows), ("before", "after", "again"), _QUALITY),
            ("What is promised?", plots.privacy_plot(audits), (), _PRIVACY),
            ("The forgotten rows, one by one", plots.exposure_plot(audits), ("before", "after", "again"), _EXPOSURE),
        ],
        keys={
            "before": ("before", "before (doing nothing)"),
            "after": ("after", "after forgetting"),
            "again": ("again", "retrained without the rows"),
            "band": ("band", "99 % of models that never saw them"),
            "after: cold": ("after", "against learning again"),
            "again: warm": ("again", "against learning on from the old model"),
        },
        notes=notes,
        version=__version__,
    )


def style() -> Markup:
    """The style sheet that every page carries."""
    return Markup(resources.files("expunge.reports").joinpath("style.css").read_text(encoding="utf-8"))  # noqa: S704


_ATTACK = "An attack tells forgotten rows from rows no model ever saw. What matters is the grey band, not 0.5."
_DISTANCE = "Distance of the weights to those retrained without the rows; noise taken off where its key still existed."
_SPEED = "Both times were measured in this run, on this machine."
_QUALITY = "On rows that no model was trained on, where such rows were given."
_PRIVACY = "The certificate's curve: for every δ, the ε that holds."
_EXPOSURE = "A row that is remembered has a smaller loss than in models that never saw it."


def _card(label: str, request: str, audit: Audit) -> dict[str, str]:
    """The badge of an audit: a word, a sign and a class of colour, so that none of them is needed alone."""
    if audit.contradictions:
        state, sign, word = "bad", "✕", "certificate void"
    elif set(audit.flags) - _LIMITS:
        state, sign, word = "warn", "!", ", ".join(flag for flag in audit.flags if flag not in _LIMITS)
    elif audit.claim.confirmed:
        state, sign, word = "good", "✓", "certificate confirmed"
    else:
        state, sign, word = "open", "?", "certificate not checked" if audit.certificate else "nothing claimed"
    return {"label": label, "request": request, "state": state, "sign": sign, "word": word}


_LIMITS = {"attack has no power", "attack passes doing nothing too"}  # limits of the audit, no failures of the model


def _conditions(audit: Audit) -> tuple[str, ...]:
    match audit.certificate:
        case Exact(conditions, assumptions):
            return (*conditions, *assumptions)
        case Certified():
            return audit.certificate.assumptions
        case _:
            return ()


def _least_p(audit: Audit) -> float:
    return min((m.calibration.least_p for m in audit.measures if m.calibration is not None), default=1.0)


def _needed(audit: Audit) -> int | None:
    """Models on each side without which no attack, however good, could contradict the certificate."""
    if not isinstance(audit.certificate, Certified):
        return None
    return models_needed(audit.certificate.epsilon, delta=audit.certificate.delta, level=VOIDING)


def _information(audit: Audit) -> float | None:
    found = audit.information()
    return found if math.isfinite(found) else None


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.4f}" if 1e-3 <= abs(value) < 1e4 or value == 0 else f"{value:.2e}"


def _where(measure: Measure) -> str:
    return measure.where or "–"
