"""Reports: audits as a table for the terminal and as one self-contained HTML page."""

from __future__ import annotations

from expunge.reports.html import render, write_report
from expunge.reports.table import HEADINGS, ReportRow, comparison_rows

__all__ = ["HEADINGS", "ReportRow", "comparison_rows", "render", "write_report"]
