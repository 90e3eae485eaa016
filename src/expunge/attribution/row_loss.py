"""Rows by their own loss: the plainest way to find mislabelled rows, and the baseline of all others.

Works with any method that gives log-probabilities or values. A model that knows its rows by heart gives mislabelled
rows a low loss, so this is weak where models are large.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from expunge.attribution.ranking import Ranking
from expunge.errors import InputError
from expunge.maths.performance import Floats, losses
from expunge.method import Method, Release
from expunge.rows import Rows


def row_loss(method: Method[Any], release: Release, rows: Rows) -> Ranking:
    """Rows ranked by loss: -log p of the row's class, or its squared error.

    Raises:
        InputError: the rows have no target.
    """
    if rows.schema.target is None:
        raise InputError("These rows have no target, so they have no loss.")
    parts = [_of(method, release, table, rows.classes) for table in rows.batches(4096)]
    return Ranking.of("loss", rows, np.concatenate(parts))


def _of(method: Method[Any], release: Release, table: Any, classes: int) -> Floats:
    outputs = method.predict(release, table.columns).double().cpu().numpy()
    if classes:
        return losses(outputs, table.y)
    return np.asarray(((outputs - table.y.reshape(len(table), -1)) ** 2).sum(axis=1))
