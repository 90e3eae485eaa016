"""Every method keeps the contract."""

from __future__ import annotations

import math

import pytest

from expunge.testing import check_method

from .subjects import MAY_LOSE_TO_DOING_NOTHING, SUBJECTS

CASES = [(method, name) for method, subjects in SUBJECTS.items() for name in subjects]
FORGET = ("row-3", "row-4", "row-17", "row-40")


@pytest.mark.parametrize(("method", "name"), CASES)
def test_method_keeps_the_contract(method: str, name: str) -> None:
    subject, rows = SUBJECTS[method][name]()
    report = check_method(subject, rows, FORGET, may_lose_to_doing_nothing=MAY_LOSE_TO_DOING_NOTHING.get(method, ""))
    assert report.do_nothing_gap > 0
    assert not math.isnan(report.substitution_gap)
    assert "the_forgotten_values_do_not_matter" in report.checks
