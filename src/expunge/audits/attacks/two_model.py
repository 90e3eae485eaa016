r"""Two releases, before and after a deletion: whose answer changed? (Chen et al. 2021)

Retraining without a row changes what the model says of that row more than what it says of others, so whoever can ask
both releases tells who left, exact retraining or not: that is no failure of forgetting but of handing out both. Scores
of a row, higher for one that was deleted, p before and q after:

    margin drop          phi_before - phi_after       the label's log odds fell: the strongest where the label is known
    loss rise            log p_y - log q_y
    euclidean distance   || p - q ||_2                needs no label; the paper's best for well generalised models

The paper trains an attacker on features of both answers ("aggregations"), by deletions of its own; `learned` does
so with logistic regression. It compares with the same attacker on the old model alone by

    DegCount   the share of deleted rows of which the two-release attacker is surer
    DegRate    by how much surer it is on average

Differs from the paper in: the attacker is a logistic regression alone; deterministic scores stand beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from expunge.audits.attacks.membership import clipped_margins
from expunge.errors import InputError
from expunge.maths.performance import LOG_FLOOR, Floats, Integers

Aggregation = Literal["direct concatenation", "sorted concatenation", "direct difference", "sorted difference"]
MARGIN_DROP, LOSS_RISE, DISTANCE = "margin drop", "loss rise", "euclidean distance"


def changes(before: Floats, after: Floats, y: Integers) -> dict[str, Floats]:
    """Each score of each row, (n,), higher for one that was deleted in between.

    Args:
        before, after: log-probabilities of the two releases, (n, classes). y: class codes (n,).

    Raises:
        InputError: the shapes differ.
    """
    _check(before, after)
    rows = np.arange(len(y))
    of_y = [np.maximum(log_p[rows, y], LOG_FLOOR) for log_p in (before, after)]
    return {
        MARGIN_DROP: clipped_margins(before, y) - clipped_margins(after, y),
        LOSS_RISE: np.asarray(of_y[0] - of_y[1], dtype=np.float64),
        DISTANCE: np.asarray(np.linalg.norm(np.exp(before) - np.exp(after), axis=1), dtype=np.float64),
    }


def aggregated(before: Floats, after: Floats, how: Aggregation) -> Floats:
    """What an attacker is trained on: both posteriors, or their difference, each as it is or in the old one's order.

    Args:
        before, after: log-probabilities (n, classes).

    Returns:
        (n, 2 classes) for a concatenation, (n, classes) for a difference.
    """
    _check(before, after)
    p, q = np.exp(before), np.exp(after)
    if how.startswith("sorted"):
        order = np.argsort(-p, axis=1, kind="stable")
        p, q = np.take_along_axis(p, order, axis=1), np.take_along_axis(q, order, axis=1)
    return np.concatenate([p, q], axis=1) if how.endswith("concatenation") else p - q


def learned(deleted: Floats, others: Floats, judged: Floats) -> Floats:
    """The attacker's probability that each judged row was deleted, (n,).

    Args:
        deleted, others: features (rows, width) of rows whose fate is known: of deletions from models of one's own.
        judged: features (n, width) of the rows in question; none of them should be among the known ones.

    Raises:
        InputError: a side is empty, or widths differ.
    """
    from sklearn.linear_model import LogisticRegression  # slow to import
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if not len(deleted) or not len(others) or not deleted.shape[1] == others.shape[1] == judged.shape[1]:
        raise InputError(
            f"Features of shapes {deleted.shape}, {others.shape} and {judged.shape}: at least one row of each fate, "
            "and one width, are needed."
        )
    attacker = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1000))
    attacker.fit(np.concatenate([deleted, others]), np.repeat([1, 0], [len(deleted), len(others)]))
    return np.asarray(attacker.predict_proba(judged)[:, 1], dtype=np.float64)


@dataclass(frozen=True)
class Degradation:
    """How much more of the deleted rows two releases tell than the old one alone; `count` is a share, 0.5 is none."""

    count: float
    rate: float


def degradation(two: Floats, one: Floats) -> Degradation:
    """DegCount and DegRate.

    Args:
        two, one: the probability of membership that an attacker with both releases, and one with the old release, gives
            each deleted row, (n,).
    """
    return Degradation(float(np.mean((two > one) + 0.5 * (two == one))), float(np.mean(two - one)))


def _check(before: Floats, after: Floats) -> None:
    if before.shape != after.shape or before.ndim != 2:
        raise InputError(f"Answers of shapes {before.shape} and {after.shape}: give both as (rows, classes).")
