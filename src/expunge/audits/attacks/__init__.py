"""Attacks: what somebody who sees a model, or two releases of one, can tell of the rows it learned from.

Each is a module of functions of arrays: log-probabilities (rows, classes) beside codes (rows,), or margins (models,
rows). `expunge.audits.ask` makes such arrays of models; `docs/attacks.md` says what each can show.
"""

from __future__ import annotations

from expunge.audits.attacks import (
    gradient_norm,
    lira,
    membership,
    reconstruction,
    rmia,
    roc,
    thresholds,
    two_model,
    u_lira,
)

__all__ = [
    "gradient_norm",
    "lira",
    "membership",
    "reconstruction",
    "rmia",
    "roc",
    "thresholds",
    "two_model",
    "u_lira",
]
