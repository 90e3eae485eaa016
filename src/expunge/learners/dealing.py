"""Rows dealt into shards and slices by a keyed hash of their owner.

A row's place depends on the seed and its subject (its id where it has none) and on nothing else: nothing is reshuffled
when rows leave or arrive, and all rows of a person lie together. Sizes are binomial.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from expunge import keyed
from expunge.keyed import Keys
from expunge.learners.inputs import in_memory
from expunge.rows import Rows, Table
from expunge.schema import Array


@dataclass(frozen=True)
class Dealing:
    """The places of all rows there are or will be, under one seed."""

    seed: int
    shards: int
    slices: int

    def shards_of(self, owners: Keys) -> Array:
        """The shard of each owner's rows, (n,)."""
        return keyed.integers(self.seed, ("sisa", "shard"), owners, self.shards)

    def slices_of(self, owners: Keys) -> Array:
        """The slice of each owner's rows, (n,)."""
        return keyed.integers(self.seed, ("sisa", "slice"), owners, self.slices)

    def first_slices(self, rows: Rows) -> dict[int, int]:
        """For each shard that one of these rows belongs to: the first slice that one belongs to."""
        first: dict[int, int] = {}
        for table in rows.tables():
            for shard, piece in zip(self.shards_of(table.owners), self.slices_of(table.owners), strict=True):
                first[int(shard)] = min(int(piece), first.get(int(shard), self.slices))
        return first

    def parts(self, rows: Rows, shards: Collection[int]) -> dict[int, Table]:
        """The rows of each of these shards in memory; `rows` is read once, and not at all for no shard."""
        pieces: dict[int, list[Table]] = {shard: [] for shard in shards}
        for table in rows.tables() if shards else ():
            dealt = self.shards_of(table.owners)
            for shard, tables in pieces.items():
                tables.append(table.take(np.flatnonzero(dealt == shard)))
        return {shard: in_memory(tables, rows.schema).table() for shard, tables in pieces.items()}
