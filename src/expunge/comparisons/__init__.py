"""Comparisons: any methods on one data set, each beside doing nothing, learning again and a private model."""

from __future__ import annotations

from expunge.comparisons.boundary import boundary_methods
from expunge.comparisons.case import Case
from expunge.comparisons.compared import Compared
from expunge.comparisons.comparison import Entry, Measured, Plan, compare
from expunge.comparisons.running import Workers
from expunge.comparisons.summary import summarise

__all__ = [
    "Case",
    "Compared",
    "Entry",
    "Measured",
    "Plan",
    "Workers",
    "boundary_methods",
    "compare",
    "summarise",
]
