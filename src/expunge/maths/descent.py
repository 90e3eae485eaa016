r"""Projected gradient descent on a ball, in numbers: its rate, how far a row moves its goal, what noise that takes.

F(w) = mean loss + m/2 ||w||^2 over the ball ||w|| <= radius, m-strongly convex and beta-smooth there; every row's loss
is L-Lipschitz. With the step 2/(m + beta) each projected step contracts towards the minimiser on the ball by

    gamma = (beta - m) / (beta + m),    which is b / (b + 2m) where beta = b + m and b is the loss's own smoothness

(Neel, Roth & Sharifi-Malvajerdi 2021: the second form is that of regularised descent, which is the same descent).

How far k rows move that minimiser. Let v and v' be the minimisers on the ball over n rows (F) and over n - k of them
(F'). Each obeys <grad F(v), u - v> >= 0 and <grad F'(v'), u - v'> >= 0 for every u in the ball. F is m-strongly convex,

    m ||v' - v||^2 <= <grad F(v') - grad F(v), v' - v> <= <grad F(v'), v' - v>,
    n grad F(v') = (n - k) grad F'(v') + sum over the k rows of (grad loss_u(v') + m v'),

and <grad F'(v'), v' - v> <= 0, hence ||v' - v|| <= k (L + m ||v'||) / (m n): projected or not, and with n, the larger
number of rows, below. Put v' and F' first and the same lines give k (L + m ||v||) / (m (n - k)). Lastly m ||v'|| <= L:
take u = 0 in <grad F'(v'), u - v'> >= 0.

The paper has 4 L / (m n) for one row, n the rows at the start, valid while half of them are left.
"""

from __future__ import annotations

import math

from expunge.errors import InputError
from expunge.maths.losses import CrossEntropy, Huber, Logistic, Loss, MultilabelLogistic, Squared
from expunge.maths.privacy import mu_of

GRID = 2.0**-20  # of a standard deviation: the coarsest that a release is rounded to


def contraction(strong_convexity: float, smoothness: float) -> float:
    """The rate gamma = (beta - m) / (beta + m) of one projected step of 2 / (m + beta)."""
    _check_curvature(strong_convexity, smoothness)
    return (smoothness - strong_convexity) / (smoothness + strong_convexity)


def loss_constants(loss: Loss, outputs: int, row: float, radius: float, target: float) -> tuple[float, float, float]:
    """(slope, curvature, at_zero) of a loss over ||W|| <= radius and rows with ||(x, 1)|| <= row, ||y|| <= target.

    slope bounds the norm of the derivative by the scores, curvature its second derivative (spectral), at_zero the loss
    at zero weights. A row's gradient s (x, 1)^T has the norm ||s|| ||(x, 1)||, so L = slope * row, and the loss's own
    smoothness is b = curvature * row^2. The softmax's curvature is a covariance of unit vectors: at most 1/2.

    Raises:
        InputError: no such constants are known of this loss.
    """
    match loss:
        case CrossEntropy():
            return math.sqrt(2), 0.5, math.log(outputs)
        case Logistic():
            return 1.0, 0.25, math.log(2)
        case MultilabelLogistic():
            return math.sqrt(outputs), 0.25, outputs * math.log(2)
        case Huber(threshold):
            slope = threshold * math.sqrt(outputs)
            return slope, 1.0, min(target * target / 2, slope * target)
        case Squared():
            return radius * row + target, 1.0, target * target / 2
        case _:
            raise InputError(f"No Lipschitz constant is known of {loss!r}: take one of the listed convex losses.")


def farthest_minimiser(radius: float, lipschitz: float, at_zero: float, strong_convexity: float) -> float:
    """How long the minimiser on the ball can be: the least of radius, L/m and sqrt(2 at_zero / m).

    The second is the module's last line; the third is m/2 ||v||^2 <= F(v) <= F(0).
    """
    return min(radius, lipschitz / strong_convexity, math.sqrt(2 * at_zero / strong_convexity))


def linear_iterations(start: float, target: float, rate: float) -> int:
    """The fewest steps T with rate^T start <= target.

    Raises:
        InputError: the target is not positive, or the rate not in [0, 1).
    """
    if not (target > 0 and 0 <= rate < 1):
        raise InputError(f"A distance of {target:.3g} at a rate of {rate} is reached in no number of steps.")
    if start <= target:
        return 0
    slack = 1 + 1e-12 + 1e-15 / (1 - rate)  # 1 - rate is known to a rounding of 1
    return 1 if rate == 0 else math.ceil(math.log(start / target) / -math.log(rate) * slack)


def sublinear_iterations(start: float, target: float, strong_convexity: float, smoothness: float) -> int:
    """The fewest steps T with sqrt(beta / (m T)) start <= target: all that a smooth convex descent is known to do.

    Steps of 1/beta give F(w_T) - F* <= beta ||w_0 - w*||^2 / (2T) (Beck & Teboulle 2009, theorem 3.1), and m/2 ||w_T -
    w*||^2 is at most that. `weak` descent uses it: at distances that shrink as 1/t it takes T_t in proportion to t^2.
    """
    _check_curvature(strong_convexity, smoothness)
    if not target > 0:
        raise InputError(f"A distance of {target:.3g} is reached in no number of steps.")
    return 0 if start <= target else math.ceil(smoothness / strong_convexity * (start / target) ** 2 * (1 + 1e-12))


def moved(rows: int, changed: int, gradient: float, strong_convexity: float, *, published: bool = False) -> float:
    """How far `changed` rows, removed or added, move the minimiser on the ball; rows: n, the larger number.

    k (L + m ||v'||) / (m n), or the paper's 4 k L / (m n).

    Args:
        gradient: L + m ||v'||, the norm of a row's gradient with its share of the penalty, at most.

    Raises:
        InputError: more than half of the rows change, for which the paper's bound does not speak.
    """
    if published and 2 * changed > rows:
        raise InputError(f"{changed} of {rows} rows change; the published bound holds up to half of them.")
    return (4 if published else 1) * changed * gradient / (strong_convexity * rows)


def moved_by_replacing(slots: int, replaced: int, lipschitz: float, strong_convexity: float) -> float:
    """2 j L / (m B): `replaced` of B slots hold other rows; the penalty is the same before and after, and cancels."""
    return 2 * replaced * lipschitz / (strong_convexity * slots)


def steady_error(sensitivity: float, rate: float, iterations: int) -> float:
    """gamma^I s / (1 - gamma^I): what ||w_i - w_i*|| <= gamma^I (||w_(i-1) - w_(i-1)*|| + s) never exceeds."""
    if iterations < 1:
        raise InputError(f"{iterations} iterations were given; at least one is needed.")
    return sensitivity * rate**iterations / -math.expm1(iterations * math.log(rate))


def first_iterations(iterations: int, diameter: float, rows: int, lipschitz: float, m: float, rate: float) -> int:
    """T_1 = I + log(D m n / (2 L)) / log(1/gamma): after them the induction of `steady_error` has begun (Neel 2021)."""
    return iterations + max(0, math.ceil(math.log(diameter * m * rows / (2 * lipschitz)) / -math.log(rate)))


def published_noise_std(
    iterations: int, *, rows: int, lipschitz: float, strong_convexity: float, rate: float, epsilon: float, delta: float
) -> float:
    """The paper's noise for I steps an update, secret state (Neel 2021).

    4 sqrt(2) L gamma^I / (m n (1 - gamma^I) (sqrt(ln 1/delta + epsilon) - sqrt(ln 1/delta))). It counts
    one release, by the paper's own accounting (zero-concentrated), which is valid for every epsilon.
    """
    gap = math.sqrt(math.log(1 / delta) + epsilon) - math.sqrt(math.log(1 / delta))
    return math.sqrt(2) * steady_error(4 * lipschitz / (strong_convexity * rows), rate, iterations) / gap


def noise_std_after(iterations: int, sensitivity: float, rate: float, epsilon: float, delta: float) -> float:
    """2 gamma^I s / ((1 - gamma^I) mu): the same with any sensitivity and the exact Gaussian curve; both sides err."""
    return 2 * steady_error(sensitivity, rate, iterations) / mu_of(epsilon, delta)


def perfect_noise_std(
    iterations: int, *, rows: int, lipschitz: float, strong_convexity: float, rate: float, epsilon: float, delta: float
) -> float:
    """The paper's noise where no state is secret (Neel 2021, perfect unlearning).

    8 L gamma^I / (m n (1 - gamma^I) (sqrt(2 ln(2/delta) + 3 epsilon) - sqrt(2 ln(2/delta) + 2 epsilon)))
    """
    tail = 2 * math.log(2 / delta)
    gap = math.sqrt(tail + 3 * epsilon) - math.sqrt(tail + 2 * epsilon)
    return 2 * steady_error(4 * lipschitz / (strong_convexity * rows), rate, iterations) / gap


def perfect_least_iterations(coordinates: int, rate: float, epsilon: float, delta: float) -> float:
    """The least I that `perfect_noise_std` is proved for (Neel 2021, perfect unlearning).

    log(sqrt(2p) / ((1 - gamma) (sqrt(2 ln(2/delta) + epsilon) - sqrt(2 ln(2/delta))))) / log(1/gamma)
    """
    tail = 2 * math.log(2 / delta)
    gap = math.sqrt(tail + epsilon) - math.sqrt(tail)
    return math.log(math.sqrt(2 * coordinates) / ((1 - rate) * gap)) / -math.log(rate)


def perfect_iterations(iterations: int, update: int, coordinates: int, rate: float, delta: float) -> int:
    """T_i = I + ceil(log log(4 p i / delta) / log(1/gamma)): the noise of the start must be undone too (Neel 2021)."""
    return iterations + math.ceil(math.log(math.log(4 * coordinates * update / delta)) / -math.log(rate))


def noise_length(noise_std: float, coordinates: int, probability: float) -> float:
    """What the noise of a release, its grid included, is longer than with at most this probability q; inf for q = 0.

    s (sqrt p + sqrt(2 ln 1/q)): a norm is 1-Lipschitz, so it exceeds its mean, at most sqrt p, by r with probability at
    most e^(-r^2/2).
    """
    if probability == 0:
        return math.inf
    return noise_std * (math.sqrt(coordinates) * (1 + GRID) + math.sqrt(2 * math.log(1 / probability)))


def tail_share(tail: float, epsilon: float, update: int) -> float:
    """The probability that release `update` may give to a long noise: tail / (1 + e^epsilon) * 6 / (pi t)^2.

    Two processes that leave a certified pair with probability q on either side cost (1 + e^epsilon) q of delta; over
    all releases the shares sum to tail.
    """
    return tail / (1 + math.exp(epsilon)) * 6 / (math.pi * update) ** 2


def strong_regularisation(coordinates: int, epsilon: float, rows: int, iterations: int) -> float:
    """The m that balances bias and noise of strong descent (T_i = I), up to a factor: (sqrt p / (eps n I))^(2/5)."""
    return float((math.sqrt(coordinates) / (epsilon * rows * iterations)) ** 0.4)


def weak_regularisation(coordinates: int, epsilon: float, rows: int, iterations: int) -> float:
    """The same for weak descent (T_i = i^2 I, the 1/T rate alone): (sqrt p / (eps n sqrt I))^(1/2)."""
    return math.sqrt(math.sqrt(coordinates) / (epsilon * rows * math.sqrt(iterations)))


def bootstrap_size(rows: int, exponent: float) -> int:
    """K = B = n^(xi/2), the number of subsets and of slots in each; an update touches about n^(xi - 1) slots.

    Raises:
        InputError: xi is outside [1, 4/3], for which the paper speaks.
    """
    if not (rows >= 1 and 1 <= exponent <= 4 / 3 + 1e-12):
        raise InputError(f"xi is {exponent} for {rows} rows; give one from 1 to 4/3, and at least one row.")
    return max(1, round(math.pow(rows, exponent / 2)))


def _check_curvature(strong_convexity: float, smoothness: float) -> None:
    if not 0 < strong_convexity <= smoothness < math.inf:
        raise InputError(f"Curvatures from {strong_convexity} to {smoothness} were given; 0 < m <= beta is needed.")
