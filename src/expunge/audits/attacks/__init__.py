"""Attacks: what somebody who sees a model, or two releases of one, can tell of the rows it learned from."""

from __future__ import annotations

from expunge.audits.attacks import membership, reconstruction, roc

__all__ = [
    "membership",
    "reconstruction",
    "roc",
]
