"""Rows that look like rows known to be bad: the nearest to any of them, column by column on one scale.

    score_i = -min_b || (x_i - x_b) / spread ||,       spread: each column's standard deviation over all rows

No model is asked, so it works with every method; a model's features can be given in place of `x` (a `Pipeline`'s, or
the outputs of a network's last layer but one).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch

from expunge.attribution.ranking import Ranking
from expunge.errors import InputError
from expunge.learners.inputs import matrix
from expunge.maths.nearest import nearest
from expunge.rows import Rows


def nearest_to(rows: Rows, bad: Iterable[str | int], *, same_target: bool = False) -> Ranking:
    """Rows ranked by their distance to the nearest bad one; those that are bad themselves come first, at distance 0.

    Args:
        rows: with numbers in the column `x`. bad: ids among them.
        same_target: whether only a bad row of the same target counts (others are then as far as the farthest row).

    Raises:
        InputError: no bad row is given, one is not among the rows, or there is no column `x` of finite numbers.
    """
    names = list(bad)
    if not names:
        raise InputError("No bad row was given to compare with; give the ids of at least one.")
    known = rows.only(names)
    x, theirs = (matrix(part.columns, torch.float64).numpy() for part in (rows, known))
    spread = x.std(axis=0)
    scaled = 1.0 / np.where(spread > 0, spread, 1.0)
    if not same_target:
        return Ranking.of("nearest", rows, -nearest(x * scaled, [theirs * scaled], 1, "euclidean")[0][:, 0])
    distances = np.full(len(rows), -1.0)
    for target in np.unique(known.y, axis=0):
        mine, those = rows.y == target, known.y == target
        distances[mine] = nearest(x[mine] * scaled, [theirs[those] * scaled], 1, "euclidean")[0][:, 0]
    return Ranking.of("nearest", rows, -np.where(distances < 0, distances.max(), distances))
