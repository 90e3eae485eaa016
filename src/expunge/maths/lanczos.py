"""Lanczos: the extreme eigenvalues of a symmetric matrix that is known by its products.

Ritz values lie inside the spectrum: the smallest one is never below the smallest eigenvalue, so it is no lower bound.
From a start uniform on the sphere, after k products in d dimensions, the gap to either end exceeds a share e of the
spread (largest - smallest eigenvalue) with probability at most

    1.648 sqrt(d) exp(-(2k - 1) sqrt(e))              (Kuczynski & Wozniakowski 1992, theorem 4.2)

whatever the matrix is, provided that the start was drawn without looking at it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from expunge.errors import InputError, NotConverged

RISK = 1e-9  # probability that a bound on an end of the spectrum is wrong
EXHAUSTED = 1e-10  # of the matrix: a smaller new direction is rounding
ROUNDED = 1e-15  # of the matrix: of a product, and of making it orthogonal


@dataclass(frozen=True)
class Spectrum:
    """The ends of a spectrum.

    Attributes:
        smallest, largest: Ritz values, both inside the spectrum. steps: products taken.
        least, most: bounds outside it, each with probability 1 - RISK; infinite where the steps were too few.
    """

    smallest: float
    largest: float
    steps: int
    least: float
    most: float


def lanczos(matvec: Callable[[Tensor], Tensor], start: Tensor, *, steps: int) -> Spectrum:
    """The ends of the spectrum of a symmetric matrix, from `steps` products at most (Golub & Van Loan 10.1).

    Every direction is made orthogonal to all before it, twice: in floating point the three-term recurrence would lose
    that, and show eigenvalues several times. It keeps (steps, d) numbers.

    Args:
        matvec: v (d,) -> A v. start: (d,), from independent normals where `least` and `most` shall mean anything.

    Raises:
        InputError: no step, or a start of zero. NotConverged: a product is not finite.
    """
    length = float(torch.linalg.vector_norm(start))
    if steps < 1 or not 0 < length < math.inf:
        raise InputError(f"{steps} steps from a start of length {length} were asked for; give one or more, from one.")
    steps = min(steps, len(start))
    basis = torch.empty((steps, len(start)), dtype=start.dtype, device=start.device)
    diagonal: list[float] = []
    beside: list[float] = []
    basis[0] = start / length
    for k in range(steps):
        product = matvec(basis[k])
        diagonal.append(float(torch.dot(basis[k], product)))
        if not math.isfinite(diagonal[-1]):
            raise NotConverged(f"Lanczos met a product that is not finite, at step {k}: look at the model's weights.")
        known = basis[: k + 1]
        for _ in range(2):
            product = product - known.T @ (known @ product)
        rest = float(torch.linalg.vector_norm(product))
        if k + 1 == steps or rest <= EXHAUSTED * max(abs(a) for a in (*diagonal, *beside)):
            break
        beside.append(rest)
        basis[k + 1] = product / rest
    T = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
    if beside:
        T += torch.diag(torch.tensor(beside, dtype=torch.float64), 1)
        T += torch.diag(torch.tensor(beside, dtype=torch.float64), -1)
    ritz = torch.linalg.eigvalsh(T)
    smallest, largest, taken = float(ritz[0]), float(ritz[-1]), len(diagonal)
    out = beyond(largest - smallest, len(start), taken)
    size = max(abs(smallest), abs(largest))
    if taken == len(start):  # every eigenvalue
        out = EXHAUSTED * size
    elif taken < steps:  # a subspace that the matrix leaves by `rest` only
        out = min(out, missed(rest + ROUNDED * size, len(start)))
    return Spectrum(smallest, largest, taken, smallest - out, largest + out)


def missed(rest: float, dimension: int, risk: float = RISK) -> float:
    """How far from the Ritz values an eigenvalue may lie where Lanczos ended with a new direction of length `rest`.

    With v its eigenvector, A Q = Q T + rest q e^T gives |v^T start| times that distance <= rest; and normals give
    |v^T start| <= x ||start|| with probability at most x sqrt(2 d / pi). At both ends together: 1 - risk.
    """
    return rest * math.sqrt(2 * dimension / math.pi) * 2 / risk


def beyond(spread: float, dimension: int, steps: int, risk: float = RISK) -> float:
    """How far an eigenvalue may lie outside the Ritz values, with probability 1 - risk at both ends together.

    With e the share of the theorem for risk/2 at each end, the true spread is at most spread / (1 - 2e), and each end
    is missed by at most e times that; infinite for e >= 1/2.
    """
    root = math.log(2 * 1.648 * math.sqrt(dimension) / risk) / (2 * steps - 1)
    share = root * root
    return share * spread / (1 - 2 * share) if share < 0.5 else math.inf
