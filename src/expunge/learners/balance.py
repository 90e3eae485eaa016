"""How evenly rows were dealt into shards and slices, beside what hashing lets expect.

Hashing cannot be evened out without moving other rows when one leaves (`dealing.py`), so it is reported instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from expunge.learners.dealing import Dealing
from expunge.maths.sharding import expected_empty, expected_spread
from expunge.rows import Rows
from expunge.schema import Array

HEAVY = 0.5  # of an average shard, from which on one owner is heavy
SMALL = 0.5  # of an average shard, below which one is small


@dataclass(frozen=True, eq=False)
class Balance:
    """What stands where.

    Attributes:
        sizes: rows of each shard and slice, (S, R). owners: how many there are. heaviest: rows of the one with most.
        expected, spread: mean and standard deviation of a shard's rows under the hash (of those that are not prone).
        expected_empty: how many of all the S R slices no owner falls into, in expectation.
        missing: of each shard, the classes none of its rows has.
    """

    sizes: Array
    owners: int
    heaviest: int
    expected: float
    spread: float
    expected_empty: float
    missing: tuple[tuple[int, ...], ...]

    @property
    def shards(self) -> Array:
        """Rows of each shard, (S,)."""
        return np.asarray(self.sizes.sum(axis=1))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should know before learning, in words; nothing is wrong with the guarantee."""
        said = []
        shards, average = self.shards, float(self.sizes.sum() / len(self.sizes))
        if small := int((shards < SMALL * average).sum()):
            said.append(
                f"{small} of {len(shards)} shards have less than half of the average {average:.0f} rows (least "
                f"{shards.min()}): take fewer shards, aggregation='weighted', or least_rows to keep them from voting."
            )
        if self.heaviest > HEAVY * average:
            said.append(
                f"One owner has {self.heaviest} rows, and a shard {average:.0f} on average: deal_by='row' spreads "
                "them, at the price that forgetting this owner touches every shard."
            )
        if empty := int((self.sizes == 0).sum()):
            said.append(f"{empty} of {self.sizes.size} slices are empty ({self.expected_empty:.1f} expected).")
        if lacking := sum(bool(classes) for classes in self.missing):
            said.append(
                f"{lacking} of {len(shards)} shards lack a class, and vote as if it were next to impossible: take "
                "fewer shards, or aggregation='mean'."
            )
        return tuple(said)


def balance_of(dealing: Dealing, rows: Rows) -> Balance:
    """The balance of rows under a dealing, in one pass."""
    sizes = np.zeros((dealing.shards, dealing.slices), dtype=np.int64)
    seen = np.zeros((dealing.shards, rows.classes), dtype=bool)
    names = []
    for table in rows.tables():
        shards, slices = dealing.places(table)
        np.add.at(sizes, (shards, slices), 1)
        names.append(table.owners if dealing.by == "owner" else table.keys)
        if rows.classes and table.y is not None and table.y.ndim == 1:
            seen[shards, table.y.astype(np.int64)] = True
    counts = np.unique(np.concatenate(names), return_counts=True)[1] if names else np.zeros(0, dtype=np.int64)
    plain = dealing.shards - dealing.prone_shards
    apart = int(sizes[plain:].sum())
    share = 1 - apart / max(int(sizes.sum()), 1)  # of the rows that are not prone
    return Balance(
        sizes,
        len(counts),
        int(counts.max(initial=0)),
        float(sizes[:plain].sum() / plain),
        expected_spread(float((counts.astype(np.float64) ** 2).sum()) * share, plain),
        expected_empty(len(counts), dealing.shards * dealing.slices),
        tuple(tuple(np.flatnonzero(~row).tolist()) for row in seen),
    )
