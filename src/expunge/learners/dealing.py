"""Rows dealt into shards and slices by a keyed hash of their owner.

A row's place depends on the seed and its subject (its id where it has none) and on nothing else: nothing is reshuffled
when rows leave or arrive, and all rows of a person lie together. Sizes are binomial: a place that evened them out would
depend on who else is there, and a row that leaves would move others into shards that never saw them.

Two variations keep that property. Dealt by "row", each row's own id decides, so that an owner of very many rows does
not fill one shard alone. With a *prone* column, rows marked there (not 0) share the last `prone_shards` shards among
themselves: still a function of the row's owner and its own mark, which the rows that stay are given in both worlds.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from expunge import keyed
from expunge.errors import InputError
from expunge.keyed import Keys
from expunge.learners.inputs import in_memory
from expunge.rows import Rows, Table
from expunge.schema import Array


@dataclass(frozen=True)
class Dealing:
    """The places of all rows there are or will be, under one seed.

    Args:
        shards: all of them; the last `prone_shards` are for rows marked in `prone_column`.
        by: "owner" or "row".
    """

    seed: int
    shards: int
    slices: int
    by: str = "owner"
    prone_column: str = ""
    prone_shards: int = 0

    def __post_init__(self) -> None:
        for name, value in (("shards", self.shards), ("slices", self.slices)):
            if value < 1:
                raise InputError(f"{name}={value} was given, and at least 1 was expected.")
        if self.by not in ("owner", "row"):
            raise InputError(f"deal_by={self.by!r} was given; expected 'owner' or 'row'.")
        if bool(self.prone_column) != bool(self.prone_shards) or not 0 <= self.prone_shards < self.shards:
            raise InputError(
                f"prone_column={self.prone_column!r} and prone_shards={self.prone_shards} were given: give both or "
                f"neither, and leave some of the {self.shards} shards to the other rows."
            )

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What any certificate on rows dealt like this assumes, in words."""
        if not self.prone_column:
            return ()
        public = f"Marks in the column {self.prone_column!r}, by which rows were placed, are public"
        return (f"{public}: those of the rows that stay owe nothing to the forgotten rows.",)

    def shards_of(self, owners: Keys) -> Array:
        """The shard of each owner's rows that are not prone, (n,)."""
        return keyed.integers(self.seed, ("sisa", "shard"), owners, self.shards - self.prone_shards)

    def slices_of(self, owners: Keys) -> Array:
        """The slice of each owner's rows, (n,)."""
        return keyed.integers(self.seed, ("sisa", "slice"), owners, self.slices)

    def places(self, table: Table) -> tuple[Array, Array]:
        """The shard and the slice of each row, (n,) both.

        Raises:
            InputError: the prone column is absent, text, or not a number.
        """
        names = table.owners if self.by == "owner" else table.keys
        shards = self.shards_of(names)
        if self.prone_shards:
            apart = keyed.integers(self.seed, ("sisa", "prone shard"), names, self.prone_shards)
            shards = np.where(self._prone(table), self.shards - self.prone_shards + apart, shards)
        return shards, self.slices_of(names)

    def first_slices(self, rows: Rows) -> dict[int, int]:
        """For each shard that one of these rows belongs to: the first slice that one belongs to."""
        first: dict[int, int] = {}
        for table in rows.tables():
            for shard, piece in zip(*self.places(table), strict=True):
                first[int(shard)] = min(int(piece), first.get(int(shard), self.slices))
        return first

    def parts(self, rows: Rows, shards: Collection[int]) -> dict[int, Table]:
        """The rows of each of these shards in memory; `rows` is read once, and not at all for no shard."""
        pieces: dict[int, list[Table]] = {shard: [] for shard in shards}
        for table in rows.tables() if shards else ():
            dealt, _ = self.places(table)
            for shard, tables in pieces.items():
                tables.append(table.take(np.flatnonzero(dealt == shard)))
        return {shard: in_memory(tables, rows.schema).table() for shard, tables in pieces.items()}

    def _prone(self, table: Table) -> Array:
        column = table.columns.get(self.prone_column)
        if column is None or column.dtype.kind not in "biuf" or column.ndim > 1 or np.isnan(column).any():
            raise InputError(
                f"The column {self.prone_column!r} marks rows that are likely to leave, with one number a row, 0 for "
                f"no: it is absent, text or not a number in some row. The columns given are {sorted(table.columns)}."
            )
        return np.asarray(column != 0)
