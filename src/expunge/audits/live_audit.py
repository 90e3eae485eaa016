"""`audit_live`: the state that a vault serves now, beside models retrained on the rows that are left.

The forgotten rows are gone, so nothing can be asked of them: no attack, no certifiability. What is left to ask is
whether the live model is one that learning these rows gives: as good on test rows, as far from the references as they
are from each other. What was forgotten is audited while it is forgotten, by `audit_step`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from expunge.audits import metrics
from expunge.audits.audit import Audit, Claim, Costs, Measure
from expunge.audits.calibration import Alternative, calibrate, calibrate_distances
from expunge.audits.candidates import Candidate, Outputs, outputs, released
from expunge.audits.comparison import Comparison
from expunge.audits.metrics import Band
from expunge.audits.references import Progress, retrain
from expunge.audits.scores.consistency import equal_predictions, kl, weight_distance
from expunge.audits.verdict import BROKEN, UTILITY, flags
from expunge.certificate import Certificate
from expunge.method import Method, Release
from expunge.rows import Rows

Of = Callable[[Outputs, Outputs], float]


def audit_live(
    method: Method[Any],
    release: Release,
    rows: Rows,
    test: Rows | None,
    *,
    seed: int,
    number: int,
    certificate: Certificate | None,
    claim: Claim,
    references: int = 5,
    scratch: Path | None = None,
    jobs: int | None = 1,
    progress: Progress | None = None,
) -> Audit:
    """Audit a live release.

    Args:
        rows: those the release was learned from. test: rows it never saw, or None. seed: the method's public seed.
        number: of the release. certificate: of the step that made it. claim: what came of holding it against the facts.
        references, scratch, jobs, progress: see `audit_step`.
    """
    others = retrain(
        method, rows, seed=seed, count=references, number=number, scratch=scratch, jobs=jobs, progress=progress
    )
    sets = {"retained": rows} | ({"test": test} if test is not None and len(test) else {})
    models = [released(method, release), *(released(method, other.release) for other in others)]
    measures: list[Measure] = []
    for name, part in sets.items():
        measures += _quality(name, [outputs(model, part) for model in models])
    last = list(sets)[-1]
    measures += _pairs(last, models, [outputs(model, sets[last]) for model in models])
    raised = flags(Comparison(tuple(measures), (), (), None), unchanged=False)
    contradictions = (claim.how,) if claim.confirmed is False else ()
    sentences = [f"VOID: {claim.how}" if contradictions else claim.how]
    if BROKEN in raised:
        where = "test" if UTILITY in raised else "retained"
        sentences.append(f"On {where} rows it is worse than any honest retraining explains.")
    sentences.append("No forgotten row is left to attack with; each step is audited by `work --audit`.")
    return Audit(
        subject=f"{type(method).__name__}, live",
        certificate=certificate,
        retained=len(rows),
        forgotten=0,
        test=0 if test is None else len(test),
        references=references,
        measures=tuple(measures),
        attacks=(),
        apart=(),
        claim=claim,
        costs=Costs(None, float(np.median([other.seconds for other in others])) if others else None),
        exposure=None,
        contradictions=contradictions,
        flags=raised,
        verdict=" ".join(sentences),
    )


def _quality(name: str, seen: Sequence[Outputs]) -> list[Measure]:
    """How good the live model (the first) is, beside the references."""
    kinds: dict[str, Callable[[Any, Any], float]]
    if seen[0].classes:
        kinds = {"accuracy": metrics.accuracy, "loss": metrics.mean_loss}
    elif seen[0].clusters is not None:
        kinds = {"distance": metrics.rmse}
    else:
        kinds = {"rmse": metrics.rmse, "r2": metrics.r2}
    found = []
    for kind, of in kinds.items():
        own, *others = (of(one.values, one.y) for one in seen)
        band = Band.of(others)
        found.append(Measure(f"{kind} on {name}", None, own, _median(others), band, calibrate([own], others)))
    return found


def _pairs(name: str, models: Sequence[Candidate], seen: Sequence[Outputs]) -> list[Measure]:
    """How far the live model lies from the references; the band is each of them against the others."""
    everyone = range(len(models))

    def measure(what: str, of: Callable[[int, int], float | None], further: Alternative = "greater") -> list[Measure]:
        values = [[0.0 if i == j else of(i, j) for j in everyone] for i in everyone]
        if len(models) < 2 or any(value is None for row in values for value in row):
            return []
        table = np.asarray(values, dtype=np.float64)
        medians = [float(np.median(np.delete(row, (0, k)))) for k, row in enumerate(table) if k and len(models) > 2]
        calibration = calibrate_distances(table, 1, further)
        return [Measure(what, None, float(np.median(table[0, 1:])), None, Band.of(medians), calibration)]

    clusters = [each.clusters for each in seen if each.clusters is not None]
    if clusters:  # models under other seeds number the same clusters otherwise
        found = measure(
            f"equal clusters on {name}", lambda i, j: metrics.adjusted_rand(clusters[i], clusters[j]), "less"
        )
    else:
        found = measure("weight distance", lambda i, j: weight_distance(models[i].tensors, models[j].tensors))
    if seen[0].classes:
        agree, apart = equal_predictions, kl
        found += measure(f"equal predictions on {name}", lambda i, j: agree(seen[i].values, seen[j].values), "less")
        return found + measure(f"kl on {name}", lambda i, j: apart(seen[i].values, seen[j].values))
    return found + measure(f"prediction gap on {name}", lambda i, j: metrics.rmse(seen[i].values, seen[j].values))


def _median(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if values else None
