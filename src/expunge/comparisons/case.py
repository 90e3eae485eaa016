"""A case: rows to learn, the rows that are to be forgotten, and the rows on which models are looked at."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from expunge import keyed
from expunge.comparisons.content import rows_digest
from expunge.errors import InputError
from expunge.rows import Rows

SHOWN = 2000  # rows of each kind that outputs are kept of, unless told


@dataclass(frozen=True, eq=False)
class Case:
    """One forget set on one set of rows.

    Attributes:
        words: the request in words. rows: all rows that are learned. gone: mask (n,) of those to be forgotten.
        test: rows that no model learns. on: the rows that outputs are kept of, by kind: "forgotten", "retained" and
            "test", each the whole kind or a keyed sample of it.
    """

    words: str
    rows: Rows
    gone: np.ndarray[tuple[int], np.dtype[np.bool_]]
    on: dict[str, Rows]

    @classmethod
    def of(cls, words: str, rows: Rows, ids: list[str], test: Rows, *, shown: int = SHOWN, seed: int = 0) -> Case:
        """The case of forgetting `ids`; `seed` draws the samples that models are looked at on.

        Raises:
            InputError: nothing would be forgotten, or nothing left.
        """
        gone = np.isin(rows.keys, keyed.keys_of(ids))
        if not gone.any() or gone.all():
            raise InputError(f"{words}: {int(gone.sum())} of {len(rows)} rows would leave; some must, and some stay.")
        kinds = {"forgotten": rows.select(gone), "retained": rows.select(~gone), "test": test}
        on = {kind: _sample(part, shown, seed, kind) for kind, part in kinds.items() if len(part)}
        return cls(words, rows, gone, on)

    @cached_property
    def retained(self) -> Rows:
        """The rows that stay."""
        return self.rows.select(~self.gone)

    @cached_property
    def forgotten(self) -> Rows:
        """The rows that are to be forgotten."""
        return self.rows.select(self.gone)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the rows, which of them leave, and where models are looked at."""
        parts = [rows_digest(self.rows), hashlib.sha256(self.gone.tobytes()).hexdigest()]
        parts += [f"{kind}:{rows_digest(rows)}" for kind, rows in sorted(self.on.items())]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _sample(rows: Rows, most: int, seed: int, kind: str) -> Rows:
    if len(rows) > most:
        chosen = np.zeros(len(rows), dtype=np.bool_)
        chosen[keyed.k_smallest(seed, ("comparison", kind), rows.keys, most)] = True
        rows = rows.select(chosen)
    return Rows.from_table(rows.table(), rows.schema.classes)
