"""Places of rows: by owner, balanced, and independent of who else is there."""

from __future__ import annotations

import numpy as np
from scipy.stats import chisquare

from expunge import keyed
from expunge.learners.dealing import Dealing
from expunge.rows import Rows


def test_consecutive_ids_spread_evenly_over_shards_and_slices() -> None:
    dealing = Dealing(3, shards=10, slices=5)
    owners = keyed.keys_of(range(20_000))
    cells = dealing.shards_of(owners) * 5 + dealing.slices_of(owners)
    counts = np.bincount(cells, minlength=50)
    assert counts.sum() == 20_000
    assert chisquare(counts).pvalue > 0.001
    assert counts.std() > 5  # hashed, not dealt in turn


def test_few_consecutive_ids_reach_every_slice() -> None:
    counts = np.bincount(Dealing(7, 1, 3).slices_of(keyed.keys_of(range(120))), minlength=3)
    assert counts.min() > 20


def test_all_rows_of_a_subject_lie_in_one_slice() -> None:
    rows = Rows.of(np.zeros((60, 1)), [0, 1] * 30, subjects=[i % 7 for i in range(60)])
    dealing = Dealing(1, 4, 3)
    table = rows.table()
    places = dict[str, set[tuple[int, int]]]()
    for subject, shard, piece in zip(
        table.subjects if table.subjects is not None else (),
        dealing.shards_of(table.owners),
        dealing.slices_of(table.owners),
        strict=True,
    ):
        places.setdefault(str(subject), set()).add((int(shard), int(piece)))
    assert len(places) == 7
    assert all(len(where) == 1 for where in places.values())


def test_shards_and_slices_are_independent_and_seeded() -> None:
    owners = keyed.keys_of(range(5000))
    dealing = Dealing(1, 5, 5)
    assert abs(np.corrcoef(dealing.shards_of(owners), dealing.slices_of(owners))[0, 1]) < 0.05
    assert (Dealing(2, 5, 5).shards_of(owners) != dealing.shards_of(owners)).mean() > 0.7


def test_first_slices_are_the_smallest_touched() -> None:
    rows = Rows.of(np.zeros((40, 1)), [0, 1] * 20, subjects=[i // 10 for i in range(40)])
    dealing = Dealing(8, 3, 4)
    owners = rows.table().owners
    expected = {
        int(s): int(dealing.slices_of(owners)[dealing.shards_of(owners) == s].min())
        for s in np.unique(dealing.shards_of(owners))
    }
    assert max(expected.values()) > 1
    assert dealing.first_slices(rows) == expected


def test_parts_hold_every_row_once_and_only_of_the_shards_asked_for() -> None:
    rows = Rows.of(np.arange(40)[:, None], [0, 1] * 20)
    dealing = Dealing(4, 3, 4)
    parts = dealing.parts(rows, [0, 1, 2])
    assert sorted(np.concatenate([part.ids for part in parts.values()])) == sorted(rows.ids)
    assert sorted(dealing.parts(rows, [1])) == [1]


def test_no_shard_reads_no_row() -> None:
    rows = Rows.of(np.zeros((4, 1)), [0, 1, 0, 1]).map(lambda _: 1 / 0, Rows.of([1.0]).schema)  # type: ignore[arg-type,return-value]
    assert Dealing(1, 2, 2).parts(rows, []) == {}
