r"""One Newton step of a linear model, away from rows that leave: how far it ends from the minimiser of those that stay.

    w~ = w^ + H_r^-1 G / n_r,    G = sum over the m rows that left of g_u(w^),  g_u = grad loss_u + l2 w

(means over n_r = n - m rows, H_r with l2). With r = ||grad F(w^)|| over all n rows, n_r grad F_r(w^) = n grad F(w^)
- G, so grad F_r(w~) = n/n_r grad F(w^) + remainder, and where the Hessian is M-Lipschitz, at least l2,

    ||w~ - w_r*|| <= (n/n_r r + M/2 ||step||^2) / l2,    ||step|| <= m L / (l2 n_r) where each ||g_u(w^)|| <= L.

With m <= n/2, 1/n_r^2 <= 4/n^2 turns the second part into 2 M m^2 L^2 / (l2^3 n^2) (Sekhari et al. 2021, theorem 3).

The constants are theorems for rows with ||(x, 1)|| <= R. A row's Hessian is C(z) (x) x x^T at the scores z = W x, so
M = T R^3, T the Lipschitz constant of the curvature C (spectral norm):

    logistic, multilabel    T = sup |(sigma(1 - sigma))'| = max p(1-p)(1-2p) = 1/(6 sqrt 3);  C is diagonal
    cross-entropy           D^3 logsumexp [u, v, v] is the third central moment of u, v over the classes; a symmetric
                            form is largest on the diagonal (Banach), a unit u has range at most sqrt 2, and a third
                            central moment on a range r is at most r^3/(6 sqrt 3), met by two points:
                            T = 2 sqrt 2/(6 sqrt 3), for any number of classes
    squared                 T = 0: the step is exact
    Huber                   the curvature jumps: no T

Slopes s of the losses obey ||s|| <= S, so ||g_u(w^)|| <= S R + l2 ||w^||; and l2 w^ = grad F(w^) - mean of s x^T gives
l2 ||w^|| <= S R + r: hence L = 2 S R + r, with no constant of the data.
"""

from __future__ import annotations

import math

from expunge.errors import InputError
from expunge.maths.floating_point import ELEMENTARY, rounding
from expunge.maths.losses import CrossEntropy, Logistic, Loss, MultilabelLogistic, Squared

THIRD_LOGISTIC = 1 / (6 * math.sqrt(3))


def curvature_lipschitz(loss: Loss) -> float:
    """T of the module: how fast the loss's curvature changes with the scores, at most; inf where it jumps."""
    match loss:
        case Logistic() | MultilabelLogistic():
            return THIRD_LOGISTIC
        case CrossEntropy():
            return 2 * math.sqrt(2) * THIRD_LOGISTIC
        case Squared():
            return 0.0
        case _:
            return math.inf


def largest_slope(loss: Loss, outputs: int) -> float:
    """S of the module: the norm of the loss's derivative by the scores, at most; inf for an unbounded one."""
    match loss:
        case Logistic():
            return 1.0
        case MultilabelLogistic():
            return math.sqrt(outputs)
        case CrossEntropy():
            return math.sqrt(2)
        case _:
            return math.inf


def largest_curvature(loss: Loss, outputs: int) -> float:
    """The Frobenius norm of the loss's curvature (k, k), at most; it has a trace of at most 1 for cross-entropy."""
    match loss:
        case Logistic() | MultilabelLogistic():
            return math.sqrt(outputs) / 4
        case CrossEntropy():
            return 1.0
        case _:
            return math.sqrt(outputs)


def published_distance(
    loss: Loss, *, row: float, outputs: int, l2: float, learned: int, forgotten: int, residual: float
) -> float:
    """The distance gamma = 2 M m^2 L^2 / (l2^3 n^2), and what the fit's own residual adds: n/n_r r / l2.

    Args:
        row: R, at least the norm of any row with its constant 1. learned: n, rows of the fit. forgotten: m since then.
        residual: r, the norm of the gradient at the fit, at most.

    Raises:
        InputError: more than half of the rows are gone, for which the theorem does not speak.
    """
    if not 0 <= 2 * forgotten <= learned:
        raise InputError(f"{forgotten} of {learned} rows are gone; the published bound holds up to half of them.")
    lipschitz = curvature_lipschitz(loss) * row * row * row  # a power of floats raises where a product is inf
    if lipschitz == 0:
        gamma = 0.0
    else:
        gradient = 2 * largest_slope(loss, outputs) * row + residual
        longest = forgotten * gradient / (l2 * learned)
        gamma = 2 * lipschitz * longest * longest / l2
    return gamma + learned / (learned - forgotten) * residual / l2


def step_distance(loss: Loss, *, row: float, step: float, l2: float) -> float:
    """M ||step||^2 / (2 l2): the same bound with the step that was taken in place of the longest one."""
    lipschitz = curvature_lipschitz(loss) * row * row * row
    return lipschitz * step * step / (2 * l2) if lipschitz else 0.0


def hessian_rounding(
    loss: Loss, *, row: float, weight: float, inputs: int, outputs: int, learned: int, forgotten: int, l2: float
) -> float:
    """Upper bound on the error (Frobenius) of H_r in float64: a mean Hessian, down-dated in at most `forgotten` steps.

    A mean of curvature times x x^T over n rows errs by gamma_n C R^2, by the scores' rounding times T R^2, and by the
    curvature's own elementary functions; the sums that left err alike; a down-date rounds four times.
    """
    large, third = largest_curvature(loss, outputs), curvature_lipschitz(loss)
    scores = rounding(inputs + 8) * row * weight
    of_scores = 0.0 if third == 0 else min(third, 1.0) * math.sqrt(outputs) * scores * row * row
    each = rounding(learned + outputs + 2 * ELEMENTARY) * large * row * row + of_scores
    whole = large * row * row + l2 * math.sqrt(inputs * outputs)
    total = (learned + forgotten) * each + learned * rounding(4 * forgotten + 4) * whole
    return total / (learned - forgotten)
