"""One call: both worlds trained, told apart, and said in words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from audit_toys import Overfit, rows_of

from expunge.audits.single_rows import audit_single_rows, least_spread
from expunge.errors import InputError
from expunge.rows import Rows

ROWS = rows_of(80, 1, mislabelled=12)
IDS = ROWS.ids[:12].tolist()


def test_an_exact_method_passes_where_doing_nothing_is_seen(tmp_path: Path) -> None:
    told: list[str] = []
    found = audit_single_rows(
        Overfit(), ROWS, IDS, models=8, scratch=tmp_path, progress=lambda what, _done, _of: told.append(what)
    )
    assert found.nothing.accuracy > 0.9
    assert found.p_nothing <= 2 / 200
    assert found.p_after > 0.01
    assert found.verdict.startswith("Models that forgot these rows look like models that never saw them")
    assert "show nothing" not in found.verdict
    assert found.null.by_row.shape == (12,)
    assert set(told) == {"forgetting", "retraining references"}
    assert len(list(tmp_path.rglob("*.json"))) == 8 * 3


def test_a_planted_no_op_and_rows_pushed_away_are_told() -> None:
    for fault in ("nothing", "invert"):
        found = audit_single_rows(Overfit(fault=fault), ROWS, IDS, models=8)
        assert found.p_after <= 2 / 200, fault
        assert found.verdict.startswith("Models that forgot these rows are told from models that never saw them")


def test_rows_that_show_nothing_are_said_to() -> None:
    found = audit_single_rows(Overfit(fault="nothing"), ROWS, IDS, models=8)
    blind = replace(found, p_after=0.4, p_nothing=0.3)
    assert "So do models that forgot nothing" in blind.verdict


def test_what_is_refused() -> None:
    with pytest.raises(InputError, match="at least 8"):
        audit_single_rows(Overfit(), ROWS, IDS, models=7)
    with pytest.raises(InputError, match="some must stay"):
        audit_single_rows(Overfit(), ROWS, ROWS.ids.tolist(), models=8)


def test_the_least_spread_has_the_unit_of_the_margins() -> None:
    assert least_spread(np.full((3, 2), -5.0), 3) == 0.01
    assert least_spread(np.full((3, 2), -5e-4), 0) == pytest.approx(5e-6)
    assert least_spread(np.zeros((3, 2)), 0) == 0.01
    assert Rows.of(np.zeros((2, 1)), np.zeros(2)).classes == 0
