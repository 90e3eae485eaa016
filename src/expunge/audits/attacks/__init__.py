"""Attacks: what somebody who sees a model, or two releases of one, can tell of the rows it learned from."""

from __future__ import annotations

from expunge.audits.attacks import lira, membership, reconstruction, rmia, roc, u_lira

__all__ = [
    "lira",
    "membership",
    "reconstruction",
    "rmia",
    "roc",
    "u_lira",
]
