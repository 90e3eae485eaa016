r"""The distributions of naive Bayes from exact sums: parameters, and log-likelihoods of rows under each class.

Variances come from `n sum x^2 - (sum x)^2` in exact integers: nothing cancels, and a constant column has variance 0.
Parameters of a class without rows are placeholders; `posterior` gives such a class the probability `ABSENT`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from expunge.maths.exact_sums import ExactSums
from expunge.maths.level_counts import LevelCounts

ABSENT = 1e-12  # the probability of a class without rows: no log-probability is infinite

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def prior(counts: Tensor, uniform: bool) -> Tensor:
    """`log(n_c / n)`, or that of equal shares over the classes seen, (classes,)."""
    shares = (counts > 0).long() if uniform else counts
    return (shares.clamp(min=1).double() / shares.sum()).log()


def gaussian(numbers: Ints, sums: ExactSums, squares: ExactSums, share: float, least: float) -> tuple[Tensor, Tensor]:
    """Means and variances (classes, p) of `numbers` (classes, p) numbers.

    To every variance is added `share` of the largest variance of a column over all classes, and `least`; or 1, where
    that is 0. A class that lacks every number of a column has its mean and variance over all classes.
    """
    total, means, variances = numbers.sum(0), *_moments(numbers, sums, squares)
    all_means, all_variances = _moments(total, sums.sum(0), squares.sum(0))
    added = share * float(all_variances.max(initial=0.0)) + least or 1.0
    lacking = numbers == 0
    means, variances = np.where(lacking, all_means, means), np.where(lacking, all_variances, variances)
    return torch.from_numpy(means), torch.from_numpy(variances + added)


def _moments(numbers: Ints, sums: ExactSums, squares: ExactSums) -> tuple[Floats, Floats]:
    each = np.maximum(numbers, 1)
    spread = ExactSums.of(each) * squares - sums * sums
    return sums.over(each), spread.rounded() / each / each


def multinomial(sums: ExactSums, smoothing: float) -> Tensor:
    """`log((sum_j + a) / (sum of all + p a))`, (classes, p)."""
    p = sums.shape[1]
    total = sums.sum(1).rounded()[:, None] + p * smoothing
    return torch.from_numpy(np.log(sums.rounded() + smoothing) - np.log(total))


def bernoulli(counts: Ints, ones: ExactSums, smoothing: float) -> Tensor:
    """`log P(1)` and `log P(0)`, (2, classes, p), with P(1) = (ones + a) / (n + 2 a)."""
    seen, total = ones.rounded(), counts[:, None] + 2 * smoothing
    share = (seen + smoothing) / total
    return torch.from_numpy(np.stack([np.log(share), np.log1p(-share)]))


def categorical(seen: LevelCounts, alphabet: tuple[str, ...], smoothing: float) -> Tensor:
    """`log((count + a) / (count of the class + L a))`, (L, classes), of the L levels of an alphabet."""
    place = {level: k for k, level in enumerate(alphabet)}
    counts = np.zeros((len(alphabet), seen.counts.shape[1]))
    counts[[place[level] for level in seen.levels]] = seen.counts.numpy()
    total = counts.sum(0, keepdims=True) + len(alphabet) * smoothing
    return torch.from_numpy(np.log(counts + smoothing) - np.log(total))


def of_numbers(model: str, x: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
    """Log-likelihoods of numbers (n, p) under each class, (n, classes); a missing number (NaN) says nothing."""
    match model:
        case "multinomial":
            return x @ parameters["log_probability"].T
        case "bernoulli":  # zeros and ones
            one, zero = parameters["log_probability"]
            known: Tensor = x @ (one - zero).T + zero.sum(1)
            return known
        case "gaussian" | "mixed":
            means, variances = parameters["mean"], parameters["variance"]
            constants = (2 * math.pi * variances).log()
            each = [
                ((x - mean) ** 2 / variance + constant).nan_to_num(nan=0.0).sum(1) / -2
                for mean, variance, constant in zip(means, variances, constants, strict=True)
            ]
            return torch.stack(each, 1)
        case _:  # all columns are levels
            return x.new_zeros(len(x), 1)


def level_log_likelihood(texts: NDArray[Any], alphabet: tuple[str, ...], log_probability: Tensor) -> Tensor:
    """Texts (n,) under each class, (n, classes), of `log_probability` (levels, classes); 0 for an unknown level."""
    place = {level: k for k, level in enumerate(alphabet)}
    levels, which = np.unique(texts, return_inverse=True)
    where = np.array([place.get(level, len(alphabet)) for level in levels.tolist()], dtype=np.int64)
    with_unknown = torch.cat([log_probability, log_probability.new_zeros(1, log_probability.shape[1])])
    each: Tensor = with_unknown[torch.from_numpy(where[which])]
    return each


def posterior(joint: Tensor, present: Tensor) -> Tensor:
    """Log-probabilities (n, classes) from log prior + log-likelihood; those of classes without rows are log ABSENT."""
    seen = torch.log_softmax(joint.masked_fill(~present, -math.inf), 1)
    return seen.masked_fill(~present, math.log(ABSENT))
