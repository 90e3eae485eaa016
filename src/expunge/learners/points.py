"""Rows as the points that a clustering reads, dealt to the leaves of its tree by a keyed hash of their owner.

A row's leaf depends on the seed and its subject (its id where it has none) and on nothing else: rows that leave or
arrive move no other, and all rows of a person lie in one leaf.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from expunge import keyed
from expunge.errors import InputError
from expunge.learners.inputs import matrix
from expunge.maths.quantised_k_means import Points
from expunge.rows import Rows
from expunge.schema import Array

LARGEST = 1e100  # of a number in x: squares must not overflow


def dealt(
    rows: Rows, seed: int, leaves: int, wanted: Collection[int] | None = None, columns: int | None = None
) -> dict[int, Points]:
    """The points of each of the `wanted` leaves (None: of those that have any); where none is wanted, no row is read.

    Raises:
        InputError: see `coordinates`.
    """
    parts: dict[int, list[Points]] = {leaf: [] for leaf in wanted or ()}
    for table in rows.tables() if wanted is None or wanted else ():
        x, place = coordinates(table.columns, columns), keyed.integers(seed, ("k-means", "leaf"), table.owners, leaves)
        for leaf in np.unique(place).tolist() if wanted is None else wanted:
            here = np.flatnonzero(place == leaf)
            parts.setdefault(leaf, []).append(Points(x[here], np.ones(len(here)), table.keys[here]))
    return {leaf: Points.joined(part) for leaf, part in parts.items()}


def coordinates(columns: Mapping[str, Array], width: int | None = None) -> NDArray[np.float64]:
    """Column `x` as (n, p) in float64, without -0.0; p must be `width` where that is given.

    Raises:
        InputError: there is no column x, it is text or of another width, or a number is NaN, infinite or beyond 1e100.
    """
    x = np.asarray(matrix(columns, torch.float64).numpy() + 0.0)
    if width is not None and x.shape[1] != width:
        raise InputError(
            f"Rows of {x.shape[1]} numbers were given, and the centroids have {width}: give the same columns."
        )
    if x.size and np.abs(x).max() > LARGEST:
        raise InputError(
            f"A number beyond {LARGEST:g} was given, and its square would overflow: scale the column down."
        )
    return x
