"""Rows kept within a norm, and losses of bounded slope on them: what bounds the weight of any one row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import inf, log, sqrt

import torch

from expunge.learners.inputs import matrix
from expunge.maths.sensitivity import within_norm
from expunge.rows import Rows
from expunge.schema import Array


def clipped(rows: Rows, row_norm: float) -> Rows:
    """The rows with `x` scaled down to `row_norm` where it is longer, block by block as they are read."""
    return rows.map(lambda table: replace(table, columns=scaled(table.columns, row_norm)), rows.schema, keep=False)


def scaled(columns: Mapping[str, Array], row_norm: float) -> dict[str, Array]:
    """The columns with `x` as float64, rows beyond `row_norm` scaled down to it."""
    x = within_norm(matrix(columns, torch.float64), row_norm)
    return {**columns, "x": x.numpy().reshape(columns["x"].shape)}


def bounds(outputs: int) -> dict[str, tuple[float, float]]:
    """Of each loss with `outputs` scores: the largest norm of its slope, and its largest value at zero scores."""
    return {
        "cross_entropy": (sqrt(2), log(outputs)),
        "huber": (sqrt(outputs), inf),
        "logistic": (1.0, log(2)),
        "multilabel_logistic": (sqrt(outputs), outputs * log(2)),
    }
