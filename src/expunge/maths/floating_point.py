"""What float64 can be trusted with: rounding in a mean gradient, and machine noise beside a true Gaussian.

A residual is measured by arithmetic that rounds, and a certificate needs an upper bound of the true one. Below,
u = 2^-53 and gamma_k = k u / (1 - k u), which bounds the relative error of k roundings in a row, hence of a sum or
inner product of k terms in *any* order (Higham 2002, lemma 3.1 and section 3.1): blocked, pairwise, threaded and fused
multiply-add sums are covered.
"""

from __future__ import annotations

import math

from expunge.errors import InputError

UNIT = 2.0**-53
TAIL = 1e-18  # the probability with which machine noise may cost more than `under_true_noise` charges
RELEASES = 10_000  # charged in advance; a budget refuses any release beyond
ELEMENTARY = 16  # roundings charged to one exp, log or division: libraries promise 4 and deliver 1


def rounding(count: int) -> float:
    """gamma_count = count u / (1 - count u).

    Raises:
        InputError: so many roundings that no bound is left (about 9e15).
    """
    if not 0 <= count * UNIT < 1:
        raise InputError(f"{count} roundings in a row leave no bound; float64 allows up to {int(1 / UNIT):,}.")
    return count * UNIT / (1 - count * UNIT)


def gradient_floor(
    *,
    rows: int,
    inputs: int,
    outputs: int,
    row_norm: float,
    weight_norm: float,
    l2: float,
    slope: float,
    curvature: float = 1.0,
) -> float:
    """Upper bound on ||computed - true|| for the gradient (1/n) sum_i x_i s_i^T + l2 W of a linear model in float64.

    s_i = the loss's derivative by the scores z_i = x_i W. Three errors add up, R = row_norm, B = weight_norm:

    1. scores: |z - z^| <= gamma_p R |W_k| in each output; the loss's own shifts (a maximum, a logarithm) are at most 8
       more roundings of numbers no larger. A derivative that is `curvature`-Lipschitz passes on
       curvature gamma_{p+8} R B.
    2. the derivative: exponentials, a sum over k outputs, a division, a subtraction: gamma_{k+16} (1 + slope).
    3. the sum: n products, n - 1 additions, a division, the addition of l2 W: gamma_{n+3} (R S + l2 B), where
       S = slope plus errors 1 and 2 bounds ||s_i^||.

    Errors 1 and 2 enter multiplied by R. All are worst cases, reached by no known data: errors measured
    on softmax regressions are 5,000 to 300,000 times smaller.

    Args:
        rows: n, or the fewer additions a term goes through in a sum made in chunks. inputs: p, the intercept's constant
            included. outputs: k, scores a row. row_norm: at least max ||x_i||, intercept's constant included.
        weight_norm: ||W||, Frobenius. l2: of the mean loss. slope: at least max ||s_i|| (sqrt(2) for cross-entropy, 1
            for logistic, Huber's threshold, the largest ||z - y|| for squared loss). curvature: at least the largest
            second derivative by the scores (1/2 for cross-entropy, 1/4 for logistic, 1 for squared and Huber).
    """
    for name, value in (("row_norm", row_norm), ("weight_norm", weight_norm), ("l2", l2), ("slope", slope)):
        if not 0 <= value < math.inf:
            raise InputError(f"{name} is {value}; a finite number of at least 0 is needed to bound rounding.")
    scores = curvature * rounding(inputs + 8) * row_norm * weight_norm
    derivative = rounding(outputs + ELEMENTARY) * (1 + slope)
    each = scores + derivative
    return row_norm * each + rounding(rows + 3) * (row_norm * (slope + each) + l2 * weight_norm)


def true_norm(measured: float, floor: float, dimension: int) -> float:
    """The largest norm that a gradient (d,) measured as `measured`, each step of it rounded, can truly have."""
    return measured * (1 + rounding(dimension + 3)) + floor


def under_true_noise(
    epsilon: float, delta: float, coordinates: int, grid_bits: int, *, releases: int = RELEASES
) -> tuple[float, float]:
    """The (epsilon, delta) to prove for true Gaussian noise, so that machine noise meets the pair given.

    Both are rounded to a grid of 2^-grid_bits standard deviations (or up to twice finer); rounding w + noise to a float
    and then to the grid is a function of that exact sum, so it costs nothing. Up to 10 standard deviations the borders
    of a cell are met by the machine's normal with an error of at most 100 u: 7 u |xi| for the inverse distribution
    function, u |xi| for the product, 2 u for the uniform, a fifth to spare. The probability of a cell is then right to
    the factor e^+-k, k = 200 u 2^(grid_bits + 1). Over N = coordinates * releases independent cells the log ratios,
    each within k and of mean at most k^2, stay below K = N k^2 + k sqrt(2 N ln(1/TAIL)) but with probability TAIL
    (Azuma). Once for either side: (epsilon', delta') under true noise gives epsilon' + 2 K and
    e^K delta' + (1 + e^(epsilon' + 2 K)) (TAIL + N 2^-75), the last for what lies beyond 10 standard deviations.

    Raises:
        InputError: nothing is left of epsilon or delta, or the grid is so fine (above 24 bits) that tails have holes.
    """
    if coordinates < 0 or releases < 0 or not 0 <= grid_bits <= 24:
        raise InputError(
            f"coordinates {coordinates}, releases {releases} and grid_bits {grid_bits} are given; none may be "
            "negative, and grid_bits at most 24."
        )
    cells, each = coordinates * releases, 200 * UNIT * 2.0 ** (grid_bits + 1)
    ratio = cells * each**2 + each * math.sqrt(2 * cells * math.log(1 / TAIL))
    log_missed = epsilon + math.log1p(math.exp(-epsilon)) + math.log(TAIL + cells * 2.0**-75)  # log of the last term
    left = delta - math.exp(log_missed) if log_missed < 0 else 0.0
    if not (epsilon > 2 * ratio and left > 0):
        raise InputError(
            f"epsilon={epsilon} and delta={delta} are beyond what noise in float64 can promise for {coordinates} "
            f"coordinates: it costs {2 * ratio:.2g} of epsilon and {delta - left:.2g} of delta. Change them."
        )
    return epsilon - 2 * ratio, left * math.exp(-ratio)
