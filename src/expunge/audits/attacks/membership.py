"""Population membership inference: are the forgotten rows recognised, compared with rows the model never saw?

The attacker scores each row by one feature of the model's output, oriented in advance so that a higher score says
"was trained on", and the area under the ROC curve tells forgotten rows from test rows. The number alone means nothing:
forgotten rows may be harder or easier than test rows (mislabelled ones lie far below 0.5 in an honest model). What
counts is where it lies in the band of models retrained without them, beside the model to which nothing was done.

With two references or more there is a stronger attack, and it is the one verdicts rest on: each row's margin is
compared with that row's mean margin among models that never saw it, which takes its difficulty away (Watson et al.
2022, section 3; LiRA without shadow models that did see it). An honest model then gives about 0.5, mislabelled or not.

Features: loss, confidence, entropy, modified entropy (Song & Mittal 2021, equation 6) and margin (the logit-scaled
confidence phi of Carlini et al. 2022, equation 4). Loss, confidence and margin order rows alike, so their areas agree
up to ties of rounding; the margin is computed in logarithms and has none.
"""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp

from expunge.audits.attacks.roc import auc
from expunge.maths.performance import LOG_FLOOR, Floats, Integers

MARGIN, CALIBRATED = "margin", "calibrated margin"
RESOLUTION = 0.01  # in logits: a smaller change of odds is nobody's evidence, and counts as a tie


def features(log_p: Floats, y: Integers) -> dict[str, Floats]:
    """Each feature of each row, (n,), higher for a member.

    Args:
        log_p: log-probabilities (n, classes); -inf allowed. y: class codes (n,).
    """
    rows = np.arange(len(y))
    of_y = log_p[rows, y]
    p = np.exp(log_p)
    others = log_p.copy()
    others[rows, y] = -np.inf
    with np.errstate(divide="ignore", invalid="ignore"):
        log_not_y = logsumexp(others, axis=1) if log_p.shape[1] > 1 else np.full(len(y), -np.inf)
        not_p = np.maximum(1.0 - p, np.finfo(np.float64).tiny)
        entropy = -np.sum(np.where(p > 0, p * np.where(p > 0, log_p, 0.0), 0.0), axis=1)
        off_y = np.where(np.arange(log_p.shape[1]) == y[:, None], 0.0, p * np.log(not_p))
        modified = -np.exp(log_not_y) * np.maximum(of_y, np.log(np.finfo(np.float64).tiny)) - off_y.sum(axis=1)
    return {
        "loss": of_y,
        "confidence": p[rows, y],
        "entropy": -entropy,
        "modified entropy": -modified,
        MARGIN: of_y - log_not_y,
    }


def clipped_margins(log_p: Floats, y: Integers) -> Floats:
    """The margin of each row, (n,), cut off where a probability passes 1e-12: always finite."""
    return np.asarray(np.clip(features(log_p, y)[MARGIN], LOG_FLOOR, -LOG_FLOOR), dtype=np.float64)


def calibrated(own: Floats, references: Floats, resolution: float) -> Floats:
    """How much surer the model is of each row (n,) than models that never saw it, in whole steps of `resolution`.

    Args:
        own: margins (n,). references: the same (K, n) of models that never saw the rows.
    """
    return np.asarray(np.round((own - references.mean(axis=0)) / resolution), dtype=np.float64)


def calibrated_auc(
    members: Floats, others: Floats, references: tuple[Floats, Floats], resolution: float, itself: int | None = None
) -> float:
    """`auc` of calibrated scores, each time with one reference left out, on average.

    Args:
        members, others: margins (m,), (n,). references: of the same rows, (K, m) and (K, n).
        itself: where the model is one of the references: which one, and the only one left out. So audited models and
            references are compared with equally many others.
    """
    count = len(references[0])
    areas = []
    for left_out in range(count) if itself is None else [itself]:
        rest = [np.delete(side, left_out, axis=0) for side in references]
        scores = [calibrated(own, side, resolution) for own, side in zip((members, others), rest, strict=True)]
        areas.append(auc(*scores))
    return float(np.mean(areas))


def exposure_rank(own: Floats, references: Floats) -> Floats:
    """For each row, the share of references that are less sure of it than the model: near 1 for a remembered row.

    Args:
        own: a feature (n,) of the audited model. references: the same (K, n) of models that never saw the row.
    """
    below = (references < own).sum(axis=0) + 0.5 * (references == own).sum(axis=0)
    return np.asarray(below / len(references), dtype=np.float64)
