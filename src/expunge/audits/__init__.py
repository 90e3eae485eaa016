"""Audits: what was measured, beside what doing nothing and retraining would have given."""

from __future__ import annotations

from expunge.audits.audit import Apart, Attack, Audit, Claim, Costs, Exposure, Measure
from expunge.audits.candidates import Candidate, predictor, released, scored
from expunge.audits.checkpoints import audit_models, read_checkpoint
from expunge.audits.metrics import Band
from expunge.audits.step import AuditSummary, Step
from expunge.audits.step_audit import audit_step

__all__ = [
    "Apart",
    "Attack",
    "Audit",
    "AuditSummary",
    "Band",
    "Candidate",
    "Claim",
    "Costs",
    "Exposure",
    "Measure",
    "Step",
    "audit_models",
    "audit_step",
    "predictor",
    "read_checkpoint",
    "released",
    "scored",
]
