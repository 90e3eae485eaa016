"""`audit_step`: one forgetting step held against its certificate, against retraining, and against doing nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from expunge.audits import verdict
from expunge.audits.audit import Audit, Costs
from expunge.audits.candidates import Candidate, released
from expunge.audits.claims import check, prove, unchanged
from expunge.audits.comparison import compared
from expunge.audits.panel import Subject, panel_of
from expunge.audits.references import Progress, learn, retrain
from expunge.audits.step import Step
from expunge.audits.stored_releases import Learned
from expunge.audits.unlearned import Unlearned, unlearn
from expunge.certificate import Exact
from expunge.features import Pipeline
from expunge.method import Method, Release
from expunge.noise import NoiseKey
from expunge.rows import Rows


def audit_step(
    step: Step,
    test: Rows | None,
    *,
    references: int = 5,
    repeats: int = 0,
    scratch: Path | None = None,
    jobs: int | None = 1,
    progress: Progress | None = None,
    warm: Callable[[], object] | None = None,
) -> Audit:
    """Audit one step.

    Args:
        test: rows the models never saw; without them there is no attack and no accuracy on test.
        references: how many models to retrain with independent seeds (the band needs 2; the protocol asks for 20).
        repeats: how many more models to learn from all rows and to make forget these, with seeds and noise of their
            own. The audited release is one draw; its law (KLOM, a lower bound on epsilon) takes several.
        scratch: a folder in which references are kept; it must be purged as the vault is. None keeps none.
        jobs: processes at a time; None leaves it to `joblib.parallel_config`.
        progress: called with (what, done, of how many).
        warm: learns again starting from the old model, to be timed; None where the method knows no such thing.
    """
    tell = progress or (lambda _what, _done, _of: None)
    number = step.noise.release if step.noise is not None else 1
    tell("learning again", 0, 1)
    # An exact step is repeated under its own key, for its bytes are compared; any other gets noise of its own.
    key = step.noise if step.noise is not None and isinstance(step.certificate, Exact) else NoiseKey.fresh(number)
    retrained = learn(step.method, step.retained, step.seed, key)
    warm_seconds = None if warm is None else _seconds(warm)
    tell("learning again", 1, 1)
    others = retrain(
        step.method,
        step.retained,
        seed=step.seed,
        count=references,
        number=number,
        scratch=scratch,
        jobs=jobs,
        progress=progress,
    )
    again = unlearn(
        step.method,
        step.retained.and_rows(step.forgotten),
        step.forgotten.ids,
        seed=step.seed,
        count=repeats,
        scratch=scratch,
        jobs=jobs,
        progress=progress if repeats else None,
    )
    tell("checking the certificate", 0, 1)
    finding = check(step, retrained, key)
    tell("checking the certificate", 1, 1)
    tell("comparing", 0, 1)
    panel = panel_of(_subject(step, retrained, others, again), step.retained, step.forgotten, test)
    found = compared(panel)
    proved, disproofs, exceeded = prove(panel, step.certificate)
    tell("comparing", 1, 1)
    found = replace(found, apart=(*finding.apart, *found.apart))
    contradictions = (*finding.contradictions, *disproofs)
    claim = replace(finding.claim, confirmed=False) if disproofs else finding.claim
    raised = verdict.flags(found, unchanged(step)) + ((verdict.EXCEEDED,) if exceeded else ())
    return Audit(
        subject=_named(step.method),
        certificate=step.certificate,
        retained=len(step.retained),
        forgotten=len(step.forgotten),
        test=0 if test is None else len(test),
        references=references,
        measures=found.measures,
        attacks=found.attacks,
        apart=found.apart,
        claim=claim,
        costs=_costs(step, retrained.seconds, warm_seconds),
        exposure=found.exposure,
        contradictions=contradictions,
        flags=raised,
        verdict=verdict.verdict(found, claim, contradictions, raised, references),
        scores=found.scores,
        repeats=repeats,
        over_models=found.over_models,
        bound=proved,
    )


def _subject(step: Step, retrained: Learned, others: Sequence[Learned], again: Sequence[Unlearned]) -> Subject:
    def model(release: Release) -> Candidate:
        return released(step.method, release)

    return Subject(
        model(step.before),
        model(step.after),
        model(retrained.release),
        [model(other.release) for other in others],
        [(model(one.before.release), model(one.after.release)) for one in again],
    )


def _costs(step: Step, cold: float, warm: float | None) -> Costs:
    """`stats` may hold "seconds", "preparation_seconds" and "record_bytes"."""
    record_bytes = step.stats.get("record_bytes")
    return Costs(
        step.stats.get("seconds"),
        cold,
        warm,
        step.stats.get("preparation_seconds"),
        None if record_bytes is None else int(record_bytes),
        sum(tensor.numel() * tensor.element_size() for tensor in step.after.tensors.values()),
    )


def _named(method: Method[Any]) -> str:
    return _named(method.method) if isinstance(method, Pipeline) else type(method).__name__


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
