"""What a row weighs: how far one moves a minimiser at most, how it is kept from moving it more, what many cost.

Pure functions; docs/certificates.md derives the bounds.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from expunge.errors import InputError
from expunge.maths.floating_point import under_true_noise
from expunge.maths.privacy import epsilon_of

ROUNDED_UP = 1 + 1e-9  # a computed norm times this is at least the true one


def output_sensitivity(*, rows: int, l2: float, gradient: float, at_zero: float) -> float:
    """How far one row, added or removed, moves the minimiser of the mean loss plus `l2/2 ||w||^2`, at most.

        S = (G + min(G, sqrt(2 l2 c))) / (l2 n),   n the larger number of rows

    Let v be the minimiser without k of the n rows. There n grad F is the sum of those k rows' gradients, each with its
    own l2 v; F is l2-strongly convex, so the k rows move it by at most k (G + l2 ||v||) / (l2 n). And l2 ||v|| <= G, as
    l2 v is minus a mean of gradients; and l2/2 ||v||^2 <= F(v) <= F(0) <= c without these rows. So k rows: k S.

    Args:
        rows: n. gradient: G, at least the norm of any row's loss gradient at any weights. at_zero: c, the largest loss
            of a row at zero weights, where no loss is negative; inf where it has no bound.

    Raises:
        InputError: one of them is out of range.

    Reference: Chaudhuri, Monteleoni & Sarwate 2011, lemma 7 and corollary 8: 2 G / (l2 n).
    """
    if rows < 1 or not (0 < l2 < math.inf and 0 <= gradient < math.inf and at_zero >= 0):
        raise InputError(
            f"{rows} rows, l2 {l2}, gradient {gradient} and loss at zero {at_zero} were given: a sensitivity needs a "
            "row, a positive l2 and a bounded gradient."
        )
    return (gradient + min(gradient, math.sqrt(2 * l2 * at_zero))) / (l2 * rows)


def within_norm(x: Tensor, row_norm: float) -> Tensor:
    """Rows `x` (n, p), those whose Euclidean norm may exceed `row_norm` scaled down to it; a zero row stays zero."""
    largest = x.abs().amax(1, keepdim=True)
    unit = x / torch.where(largest > 0, largest, 1.0)  # so that no square overflows
    norm = torch.linalg.vector_norm(unit, dim=1, keepdim=True) * ROUNDED_UP
    return torch.where(norm * largest > row_norm, unit * (row_norm / norm.clamp(min=1.0)), x)


def machine_epsilon(mu: float, delta: float, coordinates: int, grid_bits: int, releases: int, least: float) -> float:
    """The epsilon, `least` or more, that mu-GDP releases keep at `delta` when their noise is that of float64.

    It makes room for what `under_true_noise` charges. inf where none does.
    """
    epsilon = max(least, epsilon_of(mu, delta))
    while math.isfinite(epsilon):
        try:
            true_epsilon, true_delta = under_true_noise(epsilon, delta, coordinates, grid_bits, releases=releases)
        except InputError:
            return math.inf
        needed = epsilon_of(mu, true_delta)
        if needed <= true_epsilon:
            break
        epsilon = (needed + epsilon - true_epsilon) * ROUNDED_UP
    return epsilon
