"""Rewind-to-delete: how far K steps without the rows bring a checkpoint back to retraining (Mu & Klabjan 2024).

Full-batch gradient descent with a step eta on the mean loss of n rows, every row's gradient of norm at most G. Learning
takes T steps; forgetting m rows goes back to the weights after T - K of them and takes K steps on the retained rows;
retraining takes T steps on the retained rows, from the same start. While one trains on all rows and the other on the
retained, their gradients at one point differ by at most 2 m G / n, since

    grad F - grad F_r = (1/n) sum over forgotten of g_u - (m/n) grad F_r.

A step on one objective stretches a distance by at most s, so after T - K steps they are apart by at most
(2 eta m G / n) (1 + s + ... + s^(T-K-1)), and after K more by s^K times that. s = 1 + eta L for any L-smooth loss, 1
for a convex one with eta <= 2/L, max(1 - eta mu, eta L - 1) for a mu-strongly convex one.

Every formula is for full batches. Mini-batches add a term of their own, and no formula here covers them.
"""

from __future__ import annotations

import math

from expunge.errors import InputError


def nonconvex_distance(
    rows: int, forgotten: int, gradient: float, step: float, smoothness: float, steps: int, rewound: int
) -> float:
    """(2 m G / (n L)) ((1 + eta L)^(T-K) - 1) (1 + eta L)^K; infinite where that overflows.

    Args:
        rows, forgotten: n and m. gradient: G. step: eta. smoothness: L. steps: T. rewound: K.

    Raises:
        InputError: a number is out of range.
    """
    _check(rows, forgotten, gradient, step, smoothness, steps, rewound)
    growth = math.log1p(step * smoothness)
    try:
        h = math.expm1(growth * (steps - rewound)) * math.exp(growth * rewound)
    except OverflowError:
        return math.inf
    return 2 * forgotten * gradient / (rows * smoothness) * h


def convex_distance(
    rows: int, forgotten: int, gradient: float, step: float, smoothness: float, steps: int, rewound: int
) -> float:
    """2 eta m G (T - K) / n, for convex losses and eta <= 2/L: a step on one objective brings no two points apart.

    Args:
        rows, forgotten: n and m. gradient: G. step: eta. smoothness: L. steps: T. rewound: K.

    Raises:
        InputError: a number is out of range, or the step is longer than 2/L.
    """
    _check(rows, forgotten, gradient, step, smoothness, steps, rewound)
    if step * smoothness > 2:
        raise InputError(f"The step is {step:.3g}; this bound holds up to 2/L = {2 / smoothness:.3g}.")
    return 2 * step * forgotten * gradient * (steps - rewound) / rows


def strongly_convex_distance(
    rows: int,
    forgotten: int,
    gradient: float,
    step: float,
    smoothness: float,
    steps: int,
    rewound: int,
    strong_convexity: float,
) -> float:
    """(2 eta m G / n) s^K (1 - s^(T-K)) / (1 - s) with s = max(1 - eta mu, eta L - 1), for eta < 2/L.

    Args:
        rows, forgotten: n and m. gradient: G. step: eta. smoothness: L. steps: T. rewound: K. strong_convexity: mu.

    Raises:
        InputError: a number is out of range, or a step does not contract.
    """
    _check(rows, forgotten, gradient, step, smoothness, steps, rewound)
    s = max(1 - step * strong_convexity, step * smoothness - 1)
    if not (0 < strong_convexity <= smoothness and s < 1):
        raise InputError(
            f"mu = {strong_convexity:.3g}, L = {smoothness:.3g} and the step {step:.3g} do not make a step contract: "
            "0 < mu <= L and a step below 2/L are needed."
        )
    return 2 * step * forgotten * gradient / rows * s**rewound * (1 - s ** (steps - rewound)) / (1 - s)


def _check(
    rows: int, forgotten: int, gradient: float, step: float, smoothness: float, steps: int, rewound: int
) -> None:
    if not (0 <= forgotten < rows and 0 <= rewound <= steps):
        raise InputError(f"{forgotten} of {rows} rows and {rewound} of {steps} steps: give m < n and K <= T.")
    if not (gradient >= 0 and step > 0 and smoothness > 0):
        raise InputError(f"G, eta and L are {gradient}, {step}, {smoothness}; G >= 0 and positive others are needed.")
