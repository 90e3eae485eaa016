"""One answer of several models.

    mean, weighted      log sum_s w_s p_s            w_s = 1/S, or the weights given as shares
    majority            log (v + sum_s p_s / S) / (S + 1),    v the votes for each class

Majority voting counts one vote more, shared out by the mean probabilities: it decides ties by confidence, cannot
overrule a lead of one vote, and keeps log-probabilities finite.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def combined(scores: Tensor, how: str, classes: bool, sizes: Sequence[int] | None = None) -> Tensor:
    """The answer (m, K) of S models to (S, m, K) scores.

    Args:
        how: "majority", "mean" or "weighted". classes: whether the scores are log-probabilities; else values.
        sizes: weights, one a model; default: all alike.
    """
    if how == "majority":
        return majority(scores)
    combine = mixture if classes else mean
    return combine(scores, torch.tensor(sizes or [1] * len(scores), dtype=scores.dtype))


def mean(scores: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean of values, (S, m, K) and (S,) to (m, K)."""
    return ((weights / weights.sum())[:, None, None] * scores).sum(0)


def mixture(scores: Tensor, weights: Tensor) -> Tensor:
    """Log-probabilities of the weighted mixture, (S, m, K) and (S,) to (m, K)."""
    return torch.logsumexp(scores + (weights / weights.sum()).log()[:, None, None], 0)


def majority(scores: Tensor) -> Tensor:
    """Log of the share of votes, ties decided as the module says, (S, m, K) to (m, K)."""
    shared = mixture(scores, scores.new_ones(len(scores)))
    votes = torch.nn.functional.one_hot(scores.argmax(-1), scores.shape[-1]).sum(0)
    return torch.logaddexp(votes.to(scores.dtype).log(), shared) - math.log(len(scores) + 1)
