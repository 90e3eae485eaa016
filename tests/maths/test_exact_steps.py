"""When a trajectory is recomputed exactly."""

from __future__ import annotations

import math

import pytest

from expunge.maths.exact_steps import LONGEST, ExactSteps


def taken(schedule: ExactSteps, steps: int, error: float | None = None) -> tuple[list[int], ExactSteps]:
    """The exact steps of a run in which every prediction errs by `error` under a forcing of 1."""
    exact = []
    for step in range(steps):
        if schedule.is_due(step):
            exact.append(step)
            schedule = schedule.after(step, error, 1.0)
    return exact, schedule


@pytest.mark.parametrize(("burn_in", "period"), [(0, 3), (1, 1), (4, 3), (10, 5), (5, 20)])
def test_the_fixed_schedule_is_the_papers(burn_in: int, period: int) -> None:
    exact, _ = taken(ExactSteps(burn_in, period), 50, 0.1)
    assert exact == [t for t in range(50) if t < burn_in or (t - burn_in) % period == 0]


def test_a_step_that_the_approximation_was_refused_for_does_not_shift_the_others() -> None:
    schedule = ExactSteps(2, 5)
    for step in (0, 1, 2):
        schedule = schedule.after(step, 0.1, 1.0)
    refused = schedule.after(4, 0.1, 1.0)
    assert (refused.due, refused.last) == (schedule.due, 4)


def test_the_period_is_halved_above_the_target_and_grows_below_half_of_it() -> None:
    assert ExactSteps(0, 8, 0.1, error=0.9, force=1.0).next_period() == 4
    assert ExactSteps(0, 1, 0.1, error=0.9, force=1.0).next_period() == 1
    assert ExactSteps(0, 8, 0.1, error=0.15, force=1.0).next_period() == 8
    assert ExactSteps(0, 8, 0.1, error=0.05, force=1.0).next_period() == 9
    assert ExactSteps(0, LONGEST, 0.1, error=0.05, force=1.0).next_period() == LONGEST
    assert ExactSteps(0, 8, 0.1).next_period() == 8


def test_a_target_that_is_met_makes_exact_steps_rare_and_one_that_is_missed_frequent() -> None:
    rare, met = taken(ExactSteps(2, 4, 0.1), 100, 0.01)
    often, missed = taken(ExactSteps(2, 4, 0.1), 100, 1.0)
    fixed, _ = taken(ExactSteps(2, 4), 100, 1.0)
    assert len(rare) < len(fixed) < len(often)
    assert met.period > 4 > missed.period == 1


def test_the_estimated_share_is_the_mean_error_between_exact_steps_over_the_forcing() -> None:
    _, schedule = taken(ExactSteps(0, 5), 51, 0.2)
    assert schedule.estimated_share == pytest.approx(0.2 * 4 / 2 * 10 / 51, rel=0.05)
    assert math.isnan(ExactSteps(0, 5).estimated_share)
    _, exact = taken(ExactSteps(0, 1), 10, 0.2)
    assert exact.estimated_share == 0.0
