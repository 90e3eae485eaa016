"""A bootstrap that follows its rows: slots drawn with replacement, kept uniform as rows leave and come.

Slots hold positions among the rows in the order of their keys: (K, B) integers in [0, n). Each is uniform on the n rows
and independent of all others. When rows leave, the slots that held none of them are, given that, uniform on the
survivors; the others are drawn anew from the survivors. When a rows come, each slot goes to one of them, any alike,
with probability a/n: an old row keeps it with probability (1 - a/n) / (n - a) = 1/n. So after each step the slots have
the law of a bootstrap drawn afresh, provided that the rows were chosen without knowledge of the slots.

Reference: Neel, Roth & Sharifi-Malvajerdi 2021, reservoir sampling with replacement.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from expunge.errors import InputError

Keys = NDArray[np.uint64]
Slots = NDArray[np.int64]
Uniforms = NDArray[np.float64]


def drawn(uniforms: Uniforms, rows: int) -> Slots:
    """Slots of the shape of `uniforms` (in [0, 1]), each any of `rows` positions alike.

    Raises:
        InputError: there is no row.
    """
    if rows < 1:
        raise InputError("A bootstrap needs at least one row to draw from.")
    return np.minimum((uniforms * rows).astype(np.int64), rows - 1)


def after_leaving(slots: Slots, before: Keys, stay: Keys, uniforms: Uniforms) -> tuple[Slots, NDArray[np.bool_]]:
    """The slots among the rows that stay, and which of them were drawn anew.

    Args:
        slots: (K, B) positions in the order of `before` (n,), the keys before the step; `stay`: those that stay.
    """
    held, survivors = np.sort(before)[slots], np.sort(stay)
    anew = ~np.isin(held, survivors)
    return np.where(anew, drawn(uniforms, len(survivors)), np.searchsorted(survivors, held)), anew


def after_coming(
    slots: Slots, before: Keys, added: Keys, uniforms: Uniforms, which: Uniforms
) -> tuple[Slots, NDArray[np.bool_]]:
    """The slots among all rows, and which of them went to an added one.

    Args:
        slots: as for `after_leaving`. uniforms: decide whether a slot changes hands; which: to whom.
    """
    everyone = np.sort(np.concatenate([before, added]))
    anew = uniforms < len(added) / len(everyone)
    held = np.where(anew, np.sort(added)[drawn(which, len(added))], np.sort(before)[slots])
    return np.searchsorted(everyone, held), anew
