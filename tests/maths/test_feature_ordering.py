"""FOCI: golden values of the R package, planted Markov blankets, the calibrated stop, groups and degenerate tables."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expunge import codec, foci
from expunge.errors import InputError
from expunge.maths.feature_ordering import threshold


def park_miller() -> tuple[np.ndarray, np.ndarray]:
    """The table of the golden values: 200 rows, 5 columns, and y = x0 x1 + 0.3 sin(6 x2)."""
    state, drawn = 1, []
    for _ in range(1000):
        state = 16807 * state % 2147483647
        drawn.append(state / 2147483647)
    x = np.array(drawn).reshape(200, 5)
    return x[:, 0] * x[:, 1] + 0.3 * np.sin(6 * x[:, 2]), x


@pytest.mark.parametrize(
    ("scale", "standardise", "cumulative"),
    [
        (1, "sd", (0.3572339308482712, 0.5894397359933999, 0.8307957698942473)),
        (1, "no", (0.3572339308482712, 0.5841896047401186, 0.8240456011400286)),
        ([1, 10, 100, 1, 1], "no", (0.3572339308482712, 0.4442361059026476, 0.4605865146628666)),
    ],
)
def test_values_of_the_r_package(scale: object, standardise: str, cumulative: tuple[float, ...]) -> None:
    y, x = park_miller()
    found = foci(y, x * np.array(scale), standardise=standardise)
    assert found.selected == (2, 0, 1)
    assert found.cumulative == pytest.approx(cumulative, abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([2, 3, 1000]))
def test_each_step_is_the_best_coefficient_of_all_that_are_left(seed: int, levels: int) -> None:
    generator = np.random.default_rng(seed)
    x = generator.integers(0, levels, (40, 5))
    y = x[:, 1] * x[:, 3] + generator.integers(0, 3, 40)
    found = foci(y, x, standardise="no")
    chosen: list[int] = []
    for feature, step in zip(found.selected, found.steps, strict=True):
        rest = [j for j in range(5) if j not in chosen]
        values = {j: codec(y, x[:, j], x[:, chosen] if chosen else None).statistic for j in rest}
        assert feature == max(rest, key=values.__getitem__)
        assert step == pytest.approx(values[feature], abs=1e-12)
        assert step > 0
        chosen.append(feature)
    assert found.cumulative == pytest.approx(
        [codec(y, x[:, chosen[: k + 1]]).statistic for k in range(len(chosen))], abs=1e-12
    )


def test_ways_to_search_agree() -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(300, 12))
    y = x[:, 0] * x[:, 1] + x[:, 2] ** 2
    found = foci(y, x)
    assert set(found.selected[:3]) == {0, 1, 2}
    assert foci(y, x, threads=4) == found
    assert foci(y, x, groups=[[j] for j in range(12)]) == found
    assert foci(y, x, ties="noise", seed=0).selected[:3] == found.selected[:3]
    assert foci(y, x, max_features=2).selected == found.selected[:2]
    assert foci(y, x, max_features=2).stopped == "max_features"
    assert set(foci(y, x, n_neighbors=2).selected[:3]) == {0, 1, 2}
    assert len(foci(y, x, stop="never").selected) == 12


def test_discrete_blankets_are_found_exactly() -> None:
    for seed in range(5):
        generator = np.random.default_rng(seed)
        x = generator.integers(0, 2, (500, 15))
        y = ((x[:, 0] & x[:, 1]) | x[:, 2]) ^ (generator.random(500) < 0.1)
        assert set(foci(y, x).selected[:3]) == {0, 1, 2}
        assert set(foci(y, x, stop="calibrated").selected) <= {0, 1, 2}


def test_pure_noise_is_over_selected_as_published_and_not_when_calibrated() -> None:
    published, calibrated = [], []
    for seed in range(12):
        generator = np.random.default_rng(seed)
        y, x = generator.normal(size=300), generator.normal(size=(300, 30))
        published.append(len(foci(y, x).selected))
        calibrated.append(len(foci(y, x, stop="calibrated").selected))
    assert np.mean(published) > 1
    assert sum(calibrated) <= 2
    assert threshold(1000, 100, 1, given=False) == pytest.approx(0.1036, abs=1e-3)


def test_the_calibrated_stop_asks_less_of_several_neighbours_and_still_refuses_noise() -> None:
    chosen, weak = [], []
    for seed in range(12):
        generator = np.random.default_rng(seed)
        x = generator.normal(size=(250, 12))
        chosen.append(len(foci(generator.normal(size=250), x, stop="calibrated", n_neighbors=5).selected))
        y = x[:, 0] + 1.5 * generator.normal(size=250)
        weak.append([foci(y, x, stop="calibrated", n_neighbors=m).selected[:1] == (0,) for m in (1, 5)])
    assert sum(chosen) <= 2
    assert np.sum(weak, axis=0)[1] > np.sum(weak, axis=0)[0] + 2
    five, one = (threshold(1000, 100, 1, given=True, several=m) for m in (5, 1))
    assert five == pytest.approx(one / 5**0.5)
    assert threshold(1000, 9, 1, given=False, several=50) == threshold(1000, 9, 1, given=False, several=10)


def test_a_group_is_chosen_as_one() -> None:
    generator = np.random.default_rng(0)
    x = generator.integers(0, 2, (400, 6))
    y = x[:, 2] ^ x[:, 3]
    found = foci(y, x, groups=[[0, 1], [2, 3], [4, 5]])
    assert found.selected == (1,)
    assert found.stopped == "what was chosen determines y"
    a, b = np.repeat([0, 1], 10), np.tile([0, 1], 10)
    both = foci(2 * a + b, np.column_stack([a, b]))
    assert both.selected == (0, 1)
    assert both.steps[1] == both.cumulative[1] == 1.0
    assert both.cumulative[0] == both.steps[0]
    part = foci(3 * a + b + np.arange(20) % 3, np.column_stack([a, b]), stop="never")
    assert part.cumulative[1] == pytest.approx(1 - (1 - part.steps[0]) * (1 - part.steps[1]), abs=1e-12)


def test_a_column_on_a_large_scale_does_not_hide_the_others() -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(60, 2))
    y = x[:, 0] + x[:, 1]
    assert foci(y, x * [1.0, 1e4]).cumulative == pytest.approx(foci(y, x).cumulative, abs=1e-12)
    assert foci(y, x * [1.0, 1e4], standardise="no") != foci(y, x, standardise="no")


def test_it_says_why_it_stops() -> None:
    generator = np.random.default_rng(1)
    x = generator.normal(size=(50, 2))
    assert foci(np.ones(50), x).stopped == "y is constant"
    assert foci(np.ones(50), x).selected == ()
    assert foci(generator.normal(size=50), np.ones((50, 3))).selected == ()
    repeated = np.repeat([[0, 1], [1, 1], [2, 0]], 5, axis=0)
    assert foci(repeated[:, 0], repeated).selected == (0,)
    assert foci(repeated[:, 0], repeated).stopped == "what was chosen determines y"
    assert "is not above 0" in foci(generator.normal(size=50), x).stopped


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stop": "soon"}, "stop='soon'"),
        ({"alpha": 0.0}, "alpha=0.0"),
        ({"max_features": 0}, "max_features=0"),
        ({"threads": 0}, "threads=0"),
        ({"groups": [[0], []]}, "Groups name"),
        ({"groups": [[0, 1], [1]]}, "Groups name"),
        ({"groups": [[7]]}, "Groups name"),
        ({"noise_scale": 0.5}, "smallest gaps"),
    ],
)
def test_bad_options_are_explained(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        foci(np.arange(10.0), np.ones((10, 2)), **options)  # type: ignore[arg-type]
