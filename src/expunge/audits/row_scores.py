"""How unusual and how much remembered each row is: what hard forget sets are chosen by.

How influential it is, `expunge.attribution` says.

outlierness    Mahalanobis distance to the mean of the row's class, under a covariance pooled within classes
memorisation   mean of p_y over models trained with the row - mean of p_y over models trained without it
               (Feldman & Zhang 2020, equation 1, with p_y in place of 1[correct]: it has no steps)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from expunge import keyed
from expunge.audits.attacks.lira import Mask
from expunge.audits.metrics import Floats
from expunge.errors import InputError
from expunge.rows import Rows
from expunge.schema import Array

SHRINKAGE = 0.1  # of the covariance towards a multiple of the identity
WIDE = 2000  # numbers in a row above which only variances are taken


def outlierness(rows: Rows) -> Floats:
    """Distance of each row from its class's mean, (n,), in standard deviations of rows about their class's mean.

    Numbers count as they are (missing ones as the mean), a text column as minus the log of its value's share. The
    covariance is shrunk by a tenth towards a multiple of the identity; above 2,000 numbers only variances are taken.

    Raises:
        InputError: there is no row.
    """
    if not len(rows):
        raise InputError("There is no row to look for outliers in; give at least one.")
    table = rows.table()
    x = np.concatenate([_numbers(table.columns[name]) for name in sorted(table.columns)], axis=1)
    known = np.isfinite(x)
    mean = np.where(known, x, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    x = np.where(known, x, mean)
    scale = x.std(axis=0)
    x = x[:, scale > 0] / scale[scale > 0]
    if rows.classes:
        for code in np.unique(rows.y):
            x[rows.y == code] -= x[rows.y == code].mean(axis=0)
    else:
        x -= x.mean(axis=0)
    if x.shape[1] > WIDE:
        variance = x.var(axis=0)
        shrunk = (1 - SHRINKAGE) * variance + SHRINKAGE * variance.mean()
        return np.asarray(np.sqrt((x**2 / np.where(shrunk > 0, shrunk, 1.0)).sum(axis=1)), dtype=np.float64)
    covariance = x.T @ x / len(x)
    covariance *= 1 - SHRINKAGE
    covariance.flat[:: len(covariance) + 1] += SHRINKAGE * np.trace(covariance) / (1 - SHRINKAGE) / max(1, len(x.T))
    if not x.shape[1] or not covariance.any():
        return np.zeros(len(x))
    return np.asarray(np.sqrt((x * np.linalg.solve(covariance, x.T).T).sum(axis=1)), dtype=np.float64)


def memorisation(log_confidences: Floats, inside: Mask) -> Floats:
    """How much surer of each row models are that were trained with it, (rows,), in [-1, 1].

    Args:
        log_confidences: log p_y of shadow models, (models, rows). inside: which learned which row, (models, rows).

    Raises:
        InputError: a row is in no model, or in all.
    """
    p, one, other = np.exp(log_confidences), inside.sum(axis=0), (~inside).sum(axis=0)
    if not (one.all() and other.all()):
        raise InputError("A row is in every shadow model or in none: train more of them (two a row are the least).")
    means = [np.where(side, p, 0.0).sum(axis=0) / count for side, count in ((inside, one), (~inside, other))]
    return np.asarray(means[0] - means[1], dtype=np.float64)


def highest(scores: Floats, keys: keyed.Keys, count: int) -> NDArray[np.int64]:
    """Positions of the `count` highest scores, highest first; ties go by key."""
    return np.lexsort((keys, -scores))[:count]


def _numbers(column: Array) -> Floats:
    """A column as numbers (n, width); text as minus the log of its value's share of the rows."""
    if column.dtype.kind != "T":
        return np.asarray(column, dtype=np.float64).reshape(len(column), -1)
    flat = column.reshape(len(column), -1)
    return np.stack([_rarity(flat[:, place]) for place in range(flat.shape[1])], axis=1)


def _rarity(values: Array) -> Floats:
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray(-np.log(counts[which] / len(values)), dtype=np.float64)
