"""Audits: what was measured, beside what doing nothing and retraining would have given."""

from __future__ import annotations

from expunge.audits import attacks
from expunge.audits.answers import Answers, answers, answers_of
from expunge.audits.audit import Apart, Attack, Audit, Claim, Costs, Exposure, Measure
from expunge.audits.candidates import Candidate, predictor, released, scored
from expunge.audits.checkpoints import audit_models, read_checkpoint
from expunge.audits.forget_sets import Chooser, ForgetSet, forget_set
from expunge.audits.metrics import Band
from expunge.audits.shadows import Shadows, train_shadows
from expunge.audits.step import AuditSummary, Step
from expunge.audits.step_audit import audit_step
from expunge.audits.unlearned import Unlearned, unlearn

__all__ = [
    "Answers",
    "Apart",
    "Attack",
    "Audit",
    "AuditSummary",
    "Band",
    "Candidate",
    "Chooser",
    "Claim",
    "Costs",
    "Exposure",
    "ForgetSet",
    "Measure",
    "Shadows",
    "Step",
    "Unlearned",
    "answers",
    "answers_of",
    "attacks",
    "audit_models",
    "audit_step",
    "forget_set",
    "predictor",
    "read_checkpoint",
    "released",
    "scored",
    "train_shadows",
    "unlearn",
]
