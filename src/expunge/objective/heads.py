"""Linear heads that share their rows and nothing else: one logistic, one of each class against the rest, or squared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from torch import Tensor
from torch.nn.functional import logsigmoid

from expunge.errors import InputError
from expunge.objective.linear import LinearObjective
from expunge.objective.objective import outputs
from expunge.rows import Rows, Table
from expunge.schema import Array, Column

LOSSES = {"logistic": "logistic", "one_vs_rest": "multilabel_logistic", "squared": "squared"}


def heads_for(
    rows: Rows, inputs: int, targets: int, loss: str, l2: float, *, intercept: bool
) -> tuple[LinearObjective, Rows]:
    """The objective of a loss of `LOSSES`, and the rows with targets as it takes them."""
    objective = LinearObjective(LOSSES[loss], l2, inputs, 1 if loss == "logistic" else targets, intercept=intercept)
    return objective, one_against_rest(rows) if loss == "one_vs_rest" else rows


def predictions(weights: Tensor, columns: Mapping[str, Array], loss: str, *, intercept: bool) -> Tensor:
    """Log-probabilities (m, classes), or values (m, k) for "squared", under weights (k, q)."""
    k, q = weights.shape
    objective = LinearObjective(LOSSES[loss], 0.0, q - intercept, k, intercept=intercept)
    scores = objective.scores(weights.reshape(-1), columns)
    return log_probabilities(scores) if loss == "one_vs_rest" else outputs(scores, LOSSES[loss])


def one_against_rest(rows: Rows) -> Rows:
    """The same rows with the target (n, K) of 0 and 1 in the place of class codes.

    Raises:
        InputError: the target is not one of classes.
    """
    classes = rows.classes
    if not classes:
        raise InputError("The target has no classes to set against the rest: declare classes=, or take another loss.")

    def coded(table: Table) -> Table:
        y = None if table.y is None else np.eye(classes)[np.asarray(table.y).reshape(-1)]
        return replace(table, y=y)

    return rows.map(coded, replace(rows.schema, target=Column("y", "f", (classes,)), classes=()), keep=False)


def log_probabilities(scores: Tensor) -> Tensor:
    """Log of each head's probability over their sum, (m, K)."""
    heads = logsigmoid(scores)
    return heads - heads.logsumexp(1, keepdim=True)
