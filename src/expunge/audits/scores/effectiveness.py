"""Effectiveness: what forgetting cost on test rows."""

from __future__ import annotations


def effectiveness(own: float, retrained: float) -> float:
    """|M^U - M^*|, M a performance on test rows; 0 is best (Mercuri et al. 2022, section 2; slides lost the minus)."""
    return abs(own - retrained)
