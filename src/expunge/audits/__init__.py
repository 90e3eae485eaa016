"""Audits: what was measured, beside what doing nothing and retraining would have given."""

from __future__ import annotations

from expunge.audits import attacks
from expunge.audits.answers import Answers, answers_of, ask
from expunge.audits.audit import Apart, Attack, Audit, Claim, Costs, Exposure, Measure
from expunge.audits.candidates import Candidate, predictor, released, scored
from expunge.audits.checkpoints import audit_models, read_checkpoint
from expunge.audits.collateral import (
    Collateral,
    Departure,
    Subgroup,
    collateral_exposure,
    over_forgotten,
    subgroup_accuracy,
)
from expunge.audits.forget_sets import Chooser, ForgetSet, forget_set
from expunge.audits.metrics import Band
from expunge.audits.relearning import Relearning, relearn
from expunge.audits.shadows import Shadows, train_shadows
from expunge.audits.single_rows import SingleRows, audit_single_rows
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
    "Collateral",
    "Costs",
    "Departure",
    "Exposure",
    "ForgetSet",
    "Measure",
    "Relearning",
    "Shadows",
    "SingleRows",
    "Step",
    "Subgroup",
    "Unlearned",
    "answers_of",
    "ask",
    "attacks",
    "audit_models",
    "audit_single_rows",
    "audit_step",
    "collateral_exposure",
    "forget_set",
    "over_forgotten",
    "predictor",
    "read_checkpoint",
    "relearn",
    "released",
    "scored",
    "subgroup_accuracy",
    "train_shadows",
    "unlearn",
]
