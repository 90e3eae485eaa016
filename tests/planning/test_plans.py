"""Routes: costs foretold from small runs, what each guarantees, what is closed and why, and which one is taken."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest

from expunge.errors import InputError
from expunge.learners.convex import Convex
from expunge.learners.sgd import Sgd
from expunge.methods import (
    CertifiedNewton,
    CertifiedRemoval,
    DareForest,
    DifferentialPrivacy,
    FineTune,
    NearestNeighbours,
    Retrain,
    Sisa,
)
from expunge.models import Mlp
from expunge.noise import NoiseKey
from expunge.planning import Live, Route, choose, routes
from expunge.planning.pilots import pilot, pilots, sizes
from expunge.planning.scaling import FACTOR, Law
from expunge.rows import Rows

sys.path.insert(0, str(Path(__file__).parents[1] / "audits"))


def rows_of(n: int) -> Rows:
    x = np.random.default_rng(1).normal(size=(n, 3))
    y = (x[:, 0] + 0.5 * np.random.default_rng(2).normal(size=n) > 0).astype(int)
    return Rows.of(x, y, classes=2)


ROWS = rows_of(1200)


def test_laws_through_runs_are_found_again() -> None:
    law = Law.through([100, 200, 400], [0.5 * n**1.5 for n in (100, 200, 400)])
    assert law.slope == pytest.approx(1.5)
    assert law.at(3000) == pytest.approx(0.5 * 3000**1.5)
    assert Law.through([100, 200], [3.0, 1.0]).slope == 0
    assert Law.through([100], [3.0]).at(1000) == pytest.approx(30.0)
    overhead = Law.through([100, 200, 400], [1.0 + n / 100 for n in (100, 200, 400)])
    assert overhead.slope < 1
    assert 0.5 < overhead.at(4000) / 41.0 < 1
    slowing = Law.through([100, 200, 400], [math.log(n) for n in (100, 200, 400)])
    assert 1 < slowing.at(4000) / math.log(4000) < 2
    assert Law.through([100, 200], [0.0, 0.0]).at(1000) == 0.0
    assert Law.through([10, 20], [1.0, 2.0**9]).slope == 3
    assert Law.through([10, 100, 200, 400], [9.0, 1.0, 2.0, 4.0]).slope == pytest.approx(1.0)  # the last three
    assert "far" in Law.through([100], [1.0]).words(10_000)


def test_sizes_double_up_to_half_of_the_rows() -> None:
    assert list(sizes(10_000)) == [200, 400, 800, 1600, 3200]
    assert list(sizes(40)) == [10, 20]
    assert list(sizes(4)) == [2]


def test_what_is_foretold_from_half_of_the_rows_holds_within_the_stated_factor() -> None:
    """Rows visited, which stand for the seconds: of SISA, of training on, and of learning again."""
    network = Sgd(Mlp((3,)), epochs=2, batch_size=32)
    for method in (Sisa(network, 4, 2), FineTune(network), NearestNeighbours()):
        runs = pilots(method, ROWS, 10, seconds=60)
        law = Law.through([run.rows for run in runs], [run.touched for run in runs])
        whole = pilot(method, ROWS, 1000, 10)
        assert whole.touched / FACTOR <= law.at(1000) <= whole.touched * FACTOR or law.at(1000) == whole.touched == 0


def test_a_clock_of_visits_is_foretold_too() -> None:
    """Seconds by a clock that counts calls of the learner: a training twice as long costs twice as much."""
    ticks = iter(range(10**9))
    found = routes({"plain": Retrain(Convex())}, ROWS, 1, pilot_seconds=60, clock=lambda: float(next(ticks)))
    assert {route.how for route in found} == {"forget", "learn again"}
    assert all(route.seconds == 1.0 for route in found)


def test_every_route_says_what_it_guarantees() -> None:
    methods = {
        "newton": CertifiedNewton(),
        "neighbours": NearestNeighbours(),
        "on": FineTune(Convex()),
    }
    found = {(route.name, route.how): route for route in routes(methods, ROWS, 3, pilot_seconds=0.01)}
    assert found["newton", "forget"].guarantee == "certified"
    assert found["newton", "forget"].promise == "ε 1, δ 1e-5"
    assert found["neighbours", "forget"].guarantee == "exact"
    assert found["neighbours", "forget"].touched == 0
    assert found["on", "forget"].guarantee == "none"
    assert all(found[name, "learn again"].guarantee == "exact" for name in methods)
    assert min(route.cost for route in found.values() if route.cost is not None) == 0
    assert all("small runs up to" in route.basis for route in found.values())


def test_a_route_that_is_closed_says_why_and_learning_again_stays_open() -> None:
    private = DifferentialPrivacy(noise_std=5.0, max_epsilon=1.0)
    three = Rows.of(ROWS.columns["x"], np.arange(1200) % 3, classes=3)
    found = routes({"private": private, "removal": CertifiedRemoval()}, three, 300, pilot_seconds=0.01)
    closed = {route.name: route for route in found if route.closed}
    assert "MustRetrain" in closed["private"].closed
    assert "InputError" in closed["removal"].closed
    assert [route.how for route in found if not route.closed] == ["learn again"]
    assert found[-1].closed


def test_a_request_too_large_for_a_pilot_is_tried_with_the_same_share() -> None:
    assert pilot(NearestNeighbours(), ROWS, 100, 5).forgotten == 5
    assert pilot(NearestNeighbours(), ROWS, 100, 600).forgotten == 50


def test_a_vault_of_a_forest_foretells_the_nodes_that_are_rebuilt() -> None:
    method = DareForest(trees=3, max_depth=4)
    record = method.learn(ROWS, seed=0, noise=NoiseKey.fresh(1))
    gone = ROWS.only(["7", "8"])
    found = routes({"forest": method}, ROWS, 2, live=Live("forest", record, gone), pilot_seconds=0.01)
    forget = next(route for route in found if route.how == "forget")
    done = method.forget(record, ROWS.without(["7", "8"]), gone, noise=NoiseKey.fresh(2))
    assert forget.touched == sum(value for name, value in done.stats.items() if name.startswith("rows_"))
    assert "foretells" in forget.basis
    assert forget.prepared == 0


def test_another_method_beside_a_vaults_own_learns_without_the_rows() -> None:
    record = NearestNeighbours().learn(ROWS, seed=0, noise=NoiseKey.fresh(1))
    live = Live("neighbours", record, ROWS.only(["1"]))
    found = routes({"neighbours": NearestNeighbours(), "newton": CertifiedNewton()}, ROWS, 1, live=live)
    assert {(r.name, r.how) for r in found} == {
        ("neighbours", "forget"),
        ("neighbours", "learn again"),
        ("newton", "learn again"),
    }


QUICK = Route("on", "forget", "none", "none proved", 1.0)
FAIR = Route("newton", "forget", "certified", "ε 1", 2.0)
SLOW = Route("plain", "learn again", "exact", "itself", 30.0)
SHUT = Route("removal", "forget", closed="InputError: no")
ALL = [QUICK, FAIR, SLOW, SHUT]


@pytest.mark.parametrize(
    ("guarantee", "budget", "taken"),
    [
        ("none", None, QUICK),
        ("certified", None, FAIR),
        ("exact", None, SLOW),
        ("certified", 2.0, FAIR),
        ("exact", 10.0, None),
        ("certified", 0.5, None),
    ],
)
def test_the_quickest_route_that_is_strong_enough_and_fits_is_taken(
    guarantee: str, budget: float | None, taken: Route | None
) -> None:
    choice = choose(ALL, guarantee, budget)
    assert choice.route == taken
    if taken is None:
        assert "takes about" in choice.why
    else:
        assert taken.name in choice.why


def test_of_equally_quick_routes_the_strongest_is_taken() -> None:
    both = [Route("a", "forget", "none", "", 1.0), Route("b", "forget", "exact", "", 1.0)]
    assert choose(both).route == both[1]
    assert "would be quicker and guarantees less" in choose(ALL, "exact").why
    assert choose([SHUT], "exact").why == "No open route is exact; name more methods."


def test_a_wish_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(InputError, match="one of exact, certified and none, not 'strong'"):
        choose(ALL, "strong")
    with pytest.raises(InputError, match="-1 seconds; a positive number"):
        choose(ALL, "none", -1)
