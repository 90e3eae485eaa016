"""When a restart is due."""

from __future__ import annotations

import math

import pytest

from expunge.errors import InputError
from expunge.maths.restart import calibrated, disparity, restart_due


def test_disparity_lies_between_zero_and_one() -> None:
    assert disparity(0.9, 0.9) == 0
    assert disparity(0.0, 0.4) == 1
    assert disparity(0.9, 0.6) == disparity(0.6, 0.9) == pytest.approx(0.2)
    assert disparity(0.0, 0.0) == 0


def test_a_proportion_is_found_again() -> None:
    assert calibrated([(0.01, 0.03), (0.02, 0.06)]) == pytest.approx(3)
    assert calibrated([(0.0, 0.5), (0.1, 0.2)]) == pytest.approx(2)  # a trial that moved no test row says nothing


def test_a_restart_is_due_above_the_threshold_and_stays_due() -> None:
    assert not restart_due([], 2.0, 0.0)
    assert not restart_due([0.01, 0.05], 2.0, 0.1)
    assert restart_due([0.01, 0.051], 2.0, 0.1)
    assert restart_due([0.2, 0.0], 2.0, 0.1)
    assert not restart_due([1.0], 5.0, math.inf)


def test_bad_figures_are_refused() -> None:
    with pytest.raises(InputError, match="No trial deletion moved"):
        calibrated([(0.0, 0.1)])
    with pytest.raises(InputError, match="at least 0"):
        calibrated([(-0.1, 0.1)])
    with pytest.raises(InputError, match="calibration=-1"):
        restart_due([0.1], -1, 0.1)
