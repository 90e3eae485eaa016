"""What is said of how rows were dealt."""

from __future__ import annotations

import numpy as np
import pytest

from expunge.learners.balance import balance_of
from expunge.learners.dealing import Dealing
from expunge.rows import Rows


def test_sizes_owners_and_missing_classes_are_counted() -> None:
    rows = Rows.of(np.zeros((60, 1)), [0, 1, 2] * 20, subjects=[f"s{i // 3}" for i in range(60)])
    dealing = Dealing(3, 4, 2)
    told = balance_of(dealing, rows)
    shards, slices = dealing.places(rows.table())
    assert told.sizes.tolist() == [[int(((shards == s) & (slices == r)).sum()) for r in range(2)] for s in range(4)]
    assert (told.owners, told.heaviest, told.expected) == (20, 3, 15.0)
    assert told.spread == pytest.approx(np.sqrt(20 * 9 / 4 * 3 / 4))
    assert told.missing == ((), (), (), ())
    assert balance_of(dealing, rows.select(rows.y != 1)).missing == ((1,),) * 4


def test_even_shards_are_passed_over_in_silence() -> None:
    assert balance_of(Dealing(1, 5, 4), Rows.of(np.zeros((2000, 1)), [0, 1] * 1000)).warnings == ()


def test_small_shards_heavy_owners_empty_slices_and_missing_classes_are_said() -> None:
    rows = Rows.of(np.zeros((40, 1)), [0, 1] * 20, subjects=["heavy"] * 15 + [f"s{i}" for i in range(25)])
    said = " ".join(balance_of(Dealing(1, 12, 4), rows).warnings)
    for part in ("less than half of the average", "One owner has 15 rows", "slices are empty", "lack a class"):
        assert part in said


def test_rows_dealt_one_by_one_have_no_heavy_owner() -> None:
    rows = Rows.of(np.zeros((400, 1)), [0, 1] * 200, subjects=["heavy"] * 300 + [f"s{i}" for i in range(100)])
    by_owner, by_row = (balance_of(Dealing(1, 4, 1, by), rows) for by in ("owner", "row"))
    assert by_owner.heaviest == 300
    assert by_row.heaviest == 1
    assert by_row.warnings == ()
    assert by_row.spread < by_owner.spread


def test_prone_rows_are_apart_from_what_is_expected_of_the_others() -> None:
    rows = Rows.of({"x": np.zeros((200, 1)), "p": np.arange(200) < 20}, [0, 1] * 100)
    told = balance_of(Dealing(1, 5, 1, "owner", "p", 1), rows)
    assert told.shards[4] == 20
    assert told.expected == 45.0
    assert told.spread == pytest.approx(np.sqrt(180 / 4 * 3 / 4))


def test_no_rows_and_a_regression_have_a_balance_too() -> None:
    rows = Rows.of(np.zeros((9, 1)), np.linspace(0, 1, 9))
    none = rows.select(np.zeros(9, dtype=bool))
    told = balance_of(Dealing(1, 2, 2), none)
    assert (told.owners, told.heaviest, told.shards.tolist()) == (0, 0, [0, 0])
    assert balance_of(Dealing(1, 2, 2), rows).missing == ((), ())
