"""`audit_step`: one forgetting step held against its certificate, against retraining, and against doing nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from expunge.audits import verdict
from expunge.audits.audit import Audit, Costs
from expunge.audits.candidates import released
from expunge.audits.claims import check, unchanged
from expunge.audits.comparison import Comparison, Subject, compare
from expunge.audits.references import Progress, learn, retrain
from expunge.audits.step import Step
from expunge.certificate import Exact
from expunge.features import Pipeline
from expunge.method import Method
from expunge.noise import NoiseKey
from expunge.rows import Rows


def audit_step(
    step: Step,
    test: Rows | None,
    *,
    references: int = 5,
    scratch: Path | None = None,
    jobs: int | None = 1,
    progress: Progress | None = None,
    warm: Callable[[], object] | None = None,
) -> Audit:
    """Audit one step.

    Args:
        test: rows the models never saw; without them there is no attack and no accuracy on test.
        references: how many models to retrain with independent seeds (the band needs 2; the protocol asks for 20).
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
    tell("checking the certificate", 0, 1)
    finding = check(step, retrained, key)
    tell("checking the certificate", 1, 1)
    tell("comparing", 0, 1)
    models = [released(step.method, release) for release in (step.before, step.after, retrained.release)]
    subject = Subject(models[0], models[1], models[2], [released(step.method, other.release) for other in others])
    compared = compare(subject, step.retained, step.forgotten, test)
    tell("comparing", 1, 1)
    compared = Comparison(compared.measures, compared.attacks, (*finding.apart, *compared.apart), compared.exposure)
    raised = verdict.flags(compared, unchanged(step))
    return Audit(
        subject=_named(step.method),
        certificate=step.certificate,
        retained=len(step.retained),
        forgotten=len(step.forgotten),
        test=0 if test is None else len(test),
        references=references,
        measures=compared.measures,
        attacks=compared.attacks,
        apart=compared.apart,
        claim=finding.claim,
        costs=Costs(step.stats.get("seconds"), retrained.seconds, warm_seconds, step.stats.get("preparation_seconds")),
        exposure=compared.exposure,
        contradictions=finding.contradictions,
        flags=raised,
        verdict=verdict.verdict(compared, finding.claim, finding.contradictions, raised, references),
    )


def _named(method: Method[Any]) -> str:
    return _named(method.method) if isinstance(method, Pipeline) else type(method).__name__


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
