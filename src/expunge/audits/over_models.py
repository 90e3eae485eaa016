"""Figures of many models that forgot beside many that never saw the rows: KLOM, forgetting quality, bounds on epsilon.

They need `repeats`: the model under audit alone is one draw of its law.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from expunge.audits.answers import margins
from expunge.audits.audit import OverModels
from expunge.audits.epsilon_bound import LEAST, EpsilonBound, directions, lower_bound
from expunge.audits.metrics import Floats
from expunge.audits.panel import Panel, Seen
from expunge.audits.scores.forgetting_quality import forgetting_quality, quality_null, row_epsilons
from expunge.audits.scores.klom import klom, klom_null

JUDGED = 200  # forgotten rows whose epsilon enters forgetting quality, evenly spread


def over_models(panel: Panel) -> tuple[OverModels, ...]:
    """KLOM on every set of rows and forgetting quality on the forgotten; empty with fewer than 4 models on a side."""
    befores = [panel.before, *(before for before, _ in panel.repeats)]
    count, references = len(panel.audited), len(panel.references)
    if min(count, references) < LEAST:
        return ()
    null = klom_null(count, references)
    found = []
    for name in panel.after.on:
        before, after, oracles = (_margins(side, name) for side in (befores, panel.audited, panel.references))
        first, second = (float(klom(side, oracles).mean()) for side in (before, after))
        found.append(OverModels(f"klom on {name}", first, second, null))
    before, after, oracles = (_margins(side, "forgotten") for side in (befores, panel.audited, panel.references))
    rows = np.unique(np.linspace(0, after.shape[1] - 1, min(JUDGED, after.shape[1])).astype(np.int64))
    first, second = (
        forgetting_quality(row_epsilons(side[:, rows], oracles[:, rows]), count) for side in (before, after)
    )
    return (*found, OverModels("forgetting quality", first, second, quality_null(count, references)))


def bound(panel: Panel, *, delta: float, level: float) -> EpsilonBound | None:
    """The better of two bounds on epsilon, each at half the error: by margins of forgotten rows, and by the weights.

    The attack on the weights looks along what doing nothing leaves: the mean weights of models that still hold the rows
    minus those of models that never saw them, both at even places, where events are chosen. None with too few models.
    """
    sides = (panel.audited, panel.references)
    if min(map(len, sides)) < LEAST:
        return None
    forgot, never_saw = (_margins(side, "forgotten") for side in sides)
    numbers = {"margins of the forgotten rows": directions(forgot, never_saw)}
    befores = [panel.before, *(before for before, _ in panel.repeats)]
    weights = [_weights(side) for side in (*sides, befores)]
    known = [part for part in weights if part is not None]
    if len(known) == 3 and len({part.shape[1] for part in known}) == 1:
        left = known[2][0::2].mean(axis=0) - known[1][0::2].mean(axis=0)
        numbers["weights along what doing nothing leaves"] = (known[0] @ left, known[1] @ left)
    each = 1 - (1 - level) / len(numbers)
    bounds = [lower_bound(*pair, delta=delta, level=each, attack=name) for name, pair in numbers.items()]
    return replace(max(bounds, key=lambda found: (found.epsilon, found.mu)), level=level)


def _margins(side: Sequence[Seen], rows: str) -> Floats:
    return np.stack([margins(seen.on[rows]) for seen in side])


def _weights(side: Sequence[Seen]) -> Floats | None:
    """All floating-point tensors of each model as one row, (N, d); None where their shapes differ or there are none."""
    found = []
    for seen in side:
        tensors = {name: t for name, t in seen.candidate.tensors.items() if t.is_floating_point()}
        flat = [tensors[name].detach().double().cpu().numpy().reshape(-1) for name in sorted(tensors)]
        found.append(np.concatenate(flat) if flat else np.zeros(0))
    return np.stack(found) if len({len(one) for one in found}) == 1 and len(found[0]) else None
