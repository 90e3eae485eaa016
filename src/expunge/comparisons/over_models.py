"""Scores of many models at once: tug of war, KLOM, and what they prove against a certificate's epsilon."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from expunge.audits.epsilon_bound import (
    LEAST,
    REPORTED,
    VOIDING,
    EpsilonBound,
    contradiction,
    directions,
    lower_bound,
)
from expunge.audits.metrics import Floats
from expunge.audits.scores.klom import klom, klom_null
from expunge.audits.scores.tug_of_war import tug_of_war
from expunge.certificate import Certificate, Certified
from expunge.comparisons.compared import Beside
from expunge.comparisons.models import Seen

KINDS = ("forgotten", "retained", "test")


def over_models(
    certificate: Certificate,
    before: Sequence[Seen],
    after: Sequence[Seen],
    references: Sequence[Seen],
    drawn: int,
) -> dict[str, Any]:
    """Tug of war, KLOM, and a lower bound on epsilon, each where there are models enough; `drawn` references differ."""
    found: dict[str, Any] = {}
    if references and after[0].on["retained"].classes and all(kind in after[0].on for kind in KINDS):
        honest = _triple([float(np.mean([seen.quality(kind) for seen in references])) for kind in KINDS])

        def tow(side: Sequence[Seen]) -> float:
            return float(np.mean([tug_of_war(_triple([seen.quality(k) for k in KINDS]), honest) for seen in side]))

        found["tow"] = Beside(tow(after), tow(before))
    if len(after) > 1 and drawn > 1:
        oracles = _margins(references)
        found["klom"] = Beside(*(float(klom(_margins(side), oracles).mean()) for side in (after, before)))
        found["klom_null"] = klom_null(len(after), len(oracles))
    if isinstance(certificate, Certified) and min(len(after), drawn) >= LEAST:
        found["epsilon_bound"] = _bound(certificate, after, references, REPORTED)
    return found


def told_apart(certificate: Certificate, after: Sequence[Seen], references: Sequence[Seen]) -> str:
    """The sentence that voids a certificate: the models are told apart better than it allows; "" where they are not."""
    if not isinstance(certificate, Certified):
        return ""
    return contradiction(certificate, _bound(certificate, after, references, VOIDING)) or ""


def _bound(certificate: Certified, after: Sequence[Seen], references: Sequence[Seen], level: float) -> EpsilonBound:
    forgot, never_saw = directions(_margins(after), _margins(references))
    attack = "margins of the forgotten rows"
    return lower_bound(forgot, never_saw, delta=certificate.delta, level=level, attack=attack)


def _margins(side: Sequence[Seen]) -> Floats:
    return np.stack([seen.margins("forgotten") for seen in side])


def _triple(values: Sequence[float]) -> tuple[float, float, float]:
    one, two, three = values
    return one, two, three
