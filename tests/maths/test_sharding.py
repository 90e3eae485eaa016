"""Expected costs of sharded training, held against counting what seeded dealings really cost."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from expunge import keyed
from expunge.errors import InputError
from expunge.learners.dealing import Dealing
from expunge.maths.sharding import (
    Cost,
    expected_cost,
    expected_empty,
    expected_spread,
    plan,
    shards_touched,
    slice_epochs,
)

ROWS, SEEDS = 300, 400


def counted(seed: int, deletions: int, shards: int, slices: int, epochs: int) -> tuple[int, int, int]:
    """Shards touched, rows read again and visits of one dealing, by going through every step of every shard."""
    keys, dealing = keyed.keys_of(range(ROWS)), Dealing(seed, shards, slices)
    shard, piece = dealing.shards_of(keys), dealing.slices_of(keys)
    leaves = np.arange(ROWS) < deletions
    touched = read = visits = 0
    for s in range(shards):
        hit = piece[leaves & (shard == s)]
        if len(hit):
            touched, read = touched + 1, read + int((~leaves & (shard == s)).sum())
            for r, e in list(enumerate(slice_epochs(epochs, slices)))[hit.min() :]:
                visits += e * int((~leaves & (shard == s) & (piece <= r)).sum())
    return touched, read, visits


@pytest.mark.parametrize(
    ("deletions", "shards", "slices", "epochs"),
    [(1, 4, 3, 6), (1, 1, 1, 1), (7, 5, 4, 10), (30, 5, 2, 3), (100, 20, 5, 1), (3, 1, 6, 9)],
)
def test_expected_costs_are_the_means_of_simulated_dealings(
    deletions: int, shards: int, slices: int, epochs: int
) -> None:
    told = expected_cost(ROWS, deletions, shards, slices, epochs)
    seen = np.array([counted(seed, deletions, shards, slices, epochs) for seed in range(SEEDS)])
    error = seen.std(axis=0) / math.sqrt(SEEDS)
    assert (np.abs(seen.mean(axis=0) - [told.shards, told.rows, told.visits]) <= 4 * error + 1e-9).all()
    assert told.checkpoints == shards * slices


@pytest.mark.parametrize("slices", [1, 2, 5, 9])
def test_one_row_costs_the_share_of_the_paper_where_every_step_has_as_many_epochs(slices: int) -> None:
    epochs = 3 * (slices + 1) // 2 if slices % 2 else 3 * (slices + 1)  # a = 2 epochs / (R + 1) is whole
    assert len(set(slice_epochs(epochs, slices))) == 1
    assert expected_cost(1000, 1, 8, slices, epochs).share == pytest.approx((2 / 3 + 1 / (3 * slices)) / 8)


def test_shards_touched_by_hand() -> None:
    assert shards_touched(10, 1) == pytest.approx(1)
    assert shards_touched(2, 2) == pytest.approx(1.5)
    assert shards_touched(1, 5) == 1
    assert shards_touched(5, 0) == 0
    assert shards_touched(10**9, 3) == pytest.approx(3)


def test_nothing_costs_nothing_and_batches_add_up() -> None:
    assert expected_cost(100, 0, 5, 2, 3) == Cost(0, 0, 0, 0, 10)
    one_by_one = [expected_cost(100 - k, 1, 5, 2, 3).visits for k in range(4)]
    assert expected_cost(100, 4, 5, 2, 3, batch=1).visits == pytest.approx(sum(one_by_one))
    odd = expected_cost(100, 5, 5, 2, 3, batch=2)
    assert odd.shards == pytest.approx(2 * shards_touched(5, 2) + 1)
    assert expected_cost(100, 4, 5, 2, 3).visits < sum(one_by_one)


def test_more_shards_and_more_slices_cost_less_and_larger_batches_more() -> None:
    for shards, slices in itertools.product((1, 4, 16), (1, 3)):
        here = expected_cost(1000, 8, shards, slices, 12).share
        assert expected_cost(1000, 8, 2 * shards, slices, 12).share < here
        assert expected_cost(1000, 8, shards, 2 * slices, 12).share <= here + 1e-12
        assert expected_cost(1000, 16, shards, slices, 12).share >= here


def test_a_plan_is_the_fewest_shards_that_come_down_to_the_share() -> None:
    chosen = plan(10_000, 100, epochs=10, share=0.1, least_rows=200, batch=1)
    assert chosen.cost == expected_cost(10_000, 100, chosen.shards, chosen.slices, 10, 1)
    assert chosen.cost.share <= 0.1
    for slices in range(1, 21):
        assert expected_cost(10_000, 100, chosen.shards - 1, slices, 10, 1).share > 0.1
    for slices in range(1, chosen.slices):
        assert expected_cost(10_000, 100, chosen.shards, slices, 10, 1).share > 0.1


def test_a_plan_that_cannot_be_says_what_is_possible() -> None:
    with pytest.raises(InputError, match="the least is"):
        plan(1000, 500, epochs=10, share=0.1, least_rows=100)
    with pytest.raises(InputError, match=r"share=1\.5"):
        plan(1000, 5, epochs=10, share=1.5, least_rows=100)
    with pytest.raises(InputError, match="least_rows=0"):
        plan(1000, 5, epochs=10, share=0.5, least_rows=0)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"rows": 0}, "rows=0"),
        ({"deletions": -1}, "deletions=-1"),
        ({"deletions": 100}, "leave none"),
        ({"shards": 0}, "shards=0"),
        ({"slices": 0}, "slices=0"),
        ({"epochs": 0}, "epochs=0"),
        ({"batch": 0}, "batch=0"),
    ],
)
def test_wrong_numbers_are_refused(wrong: dict[str, int], says: str) -> None:
    given = {"rows": 100, "deletions": 3, "shards": 2, "slices": 2, "epochs": 3} | wrong
    with pytest.raises(InputError, match=says):
        expected_cost(**given)


def test_sizes_and_empty_slices_scatter_as_expected() -> None:
    owners = np.repeat(np.arange(60), np.arange(60) % 4 + 1)
    keys = keyed.keys_of(owners.tolist())
    sizes = np.array([np.bincount(Dealing(seed, 6, 1).shards_of(keys), minlength=6)[0] for seed in range(SEEDS)])
    spread = expected_spread(float((np.bincount(owners) ** 2).sum()), 6)
    assert sizes.mean() == pytest.approx(len(owners) / 6, abs=4 * spread / math.sqrt(SEEDS))
    assert sizes.std() == pytest.approx(spread, rel=4 / math.sqrt(2 * SEEDS))
    few = keyed.keys_of(range(20))
    empty = [(np.bincount(Dealing(seed, 12, 1).shards_of(few), minlength=12) == 0).sum() for seed in range(SEEDS)]
    assert np.mean(empty) == pytest.approx(expected_empty(20, 12), abs=4 * np.std(empty) / math.sqrt(SEEDS))
    assert expected_empty(3, 1) == 0


@pytest.mark.parametrize(("epochs", "slices"), [(20, 1), (9, 3), (1, 5), (3, 10), (30, 7)])
def test_no_step_is_left_without_an_epoch(epochs: int, slices: int) -> None:
    given = slice_epochs(epochs, slices)
    assert len(given) == slices
    assert min(given) >= 1
