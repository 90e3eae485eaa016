"""Privacy accounting: what Gaussian noise buys when two centres lie within a known distance.

Two releases N(c, s^2 I) and N(c', s^2 I) with ||c - c'|| <= distance are mu-GDP with mu = distance / s (Dong, Roth & Su
2022), which is exactly a curve delta(epsilon) (Balle & Wang 2018, theorem 8). Everything here is a pure function of
numbers, good to 1e-9; inverse functions take the safe end of their last interval. docs/certificates.md derives each
bound.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from scipy.special import erfcx, ndtr

from expunge.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

SMALL_MU = 1e-5  # below, the difference of two Mills ratios is taken by its derivative


def gaussian_delta(epsilon: float, mu: float) -> float:
    """The exact delta at `epsilon` of mu-GDP, Phi(mu/2 - epsilon/mu) - e^epsilon Phi(-mu/2 - epsilon/mu).

    With a, b = epsilon/mu -+ mu/2, phi(a) = e^epsilon phi(b), hence delta = phi(a) (M(a) - M(b)), M the Mills ratio
    Phi(-z)/phi(z): no e^epsilon is ever formed, so nothing overflows (Balle & Wang 2018, theorem 8).

    Raises:
        InputError: epsilon or mu is negative or not a number.
    """
    return math.exp(_log_delta(epsilon, mu))


def mu_of(epsilon: float, delta: float) -> float:
    """The largest mu whose curve passes under (epsilon, delta).

    Raises:
        InputError: epsilon is not positive and finite, or delta not between 0 and 1.
    """
    _check_pair(epsilon, delta)
    target = math.log(delta)
    return _bracket(lambda mu: _log_delta(epsilon, mu) > target)[0]


def epsilon_of(mu: float, delta: float) -> float:
    """The smallest epsilon >= 0 with delta(epsilon) <= delta under mu-GDP.

    Raises:
        InputError: mu is negative or not a number, or delta not between 0 and 1.
    """
    _check_nonnegative("mu", mu)
    _check_delta(delta)
    target = math.log(delta)
    if math.isinf(mu):
        return math.inf
    if _log_delta(0.0, mu) <= target:
        return 0.0
    return _bracket(lambda epsilon: _log_delta(epsilon, mu) <= target)[1]


def epsilon_curve(mu: float, deltas: Iterable[float]) -> tuple[float, ...]:
    """`epsilon_of(mu, delta)` for each delta: the whole trade-off that one pair only samples."""
    return tuple(epsilon_of(mu, delta) for delta in deltas)


def noise_std_for(distance: float, epsilon: float, delta: float) -> float:
    """The least noise on every coordinate that makes centres `distance` apart (epsilon, delta)-indistinguishable."""
    _check_nonnegative("distance", distance)
    return distance / mu_of(epsilon, delta)


def classic_noise_multiplier(epsilon: float, delta: float) -> float:
    """sqrt(2 ln(1.25/delta)) / epsilon, for comparison only: proved for epsilon <= 1, and false above about 8."""
    _check_pair(epsilon, delta)
    return math.sqrt(2 * math.log(1.25 / delta)) / epsilon


def compose(mus: Iterable[float]) -> float:
    """The mu of releases with fresh noise, each chosen after seeing those before: sqrt(sum mu_t^2).

    Exact for Gaussians, also adaptively (Dong, Roth & Su 2022, corollary 3.3).
    """
    spent = list(mus)
    for mu in spent:
        _check_nonnegative("mu", mu)
    return math.hypot(*spent)


def release_share(release: int) -> float:
    """The share of mu that release number t = 1, 2, ... may spend: sqrt(6) / (pi t).

    Its squares sum to 1 over all t, so the releases from any one on compose to less than mu, however many follow.

    Raises:
        InputError: the release number is below 1.
    """
    if release < 1:
        raise InputError(f"The release number is {release}; releases are counted from 1.")
    return math.sqrt(6) / (math.pi * release)


def residual_tolerance(noise_std: float, mu: float, strong_convexity: float) -> float:
    """The gradient norm at which a solve may stop: strong_convexity * noise_std * mu / 2.

    The centres' distance is noise_std * mu. Retraining, the reference, stops short of the minimiser just as forgetting
    does: each side gets half.
    """
    _check_nonnegative("noise_std", noise_std)
    _check_nonnegative("mu", mu)
    _check_positive("strong_convexity", strong_convexity)
    return strong_convexity * noise_std * mu / 2


def distance_from_residual(gradient_norm: float, strong_convexity: float) -> float:
    """||w - w*|| <= ||grad F(w)|| / strong_convexity, for any w and any such F; no Lipschitz constant is needed."""
    _check_nonnegative("gradient_norm", gradient_norm)
    _check_positive("strong_convexity", strong_convexity)
    return gradient_norm / strong_convexity


def projected_distance(step: float, step_size: float, strong_convexity: float, smoothness: float) -> float:
    """||w - w*|| <= ||w - w+|| / (step_size * strong_convexity) on a convex set, w+ = Proj(w - step_size grad F(w)).

    Args:
        step: ||w - w+||. step_size: at most 2 / (smoothness + strong_convexity).
        strong_convexity, smoothness: bounds of the curvature of F over the set.

    Raises:
        InputError: the step size is too large for w -> w+ to be a contraction by 1 - step_size * strong_convexity.
    """
    _check_nonnegative("step", step)
    _check_positive("step_size", step_size)
    _check_positive("strong_convexity", strong_convexity)
    if not step_size * (smoothness + strong_convexity) <= 2 * (1 + 1e-12):
        limit = 2 / (smoothness + strong_convexity)
        raise InputError(f"The step size is {step_size:.3g}; the bound holds up to 2/(smoothness + mu) = {limit:.3g}.")
    return step / (step_size * strong_convexity)


def doing_nothing_distance(
    gradient_sum: float, retained: int, forgotten: int, strong_convexity: float, residual: float = 0.0
) -> float:
    """How far the untouched weights w lie from the retained rows' minimiser, at most.

    From n_r grad F_r(w) = n grad F(w) - sum over the forgotten rows of grad f_u(w), the distance is at most
    (n * residual + ||that sum||) / (n_r * strong_convexity).

    Args:
        gradient_sum: norm of the sum of the forgotten rows' gradients at w, each with its own l2 * w.
        retained, forgotten: how many rows. residual: ||grad F(w)|| over all of them.
    """
    _check_nonnegative("gradient_sum", gradient_sum)
    _check_positive("strong_convexity", strong_convexity)
    if retained < 1:
        raise InputError(f"{retained} rows are retained; a distance to their minimiser needs at least one.")
    return ((retained + forgotten) * residual + gradient_sum) / (retained * strong_convexity)


def two_release_exposure(before: Tensor, after: Tensor, noise_std: float) -> float:
    """The mu with which someone who holds both releases tells that something left: ||before - after|| / (sqrt(2) s).

    No certificate of single releases covers it, and exact retraining has it too. From noisy releases the expected
    square exceeds that of the centres by their dimension: an upward estimate.
    """
    _check_nonnegative("noise_std", noise_std)
    moved = float(before.double().dist(after.double()))
    if moved == 0:
        return 0.0
    return moved / (math.sqrt(2) * noise_std) if noise_std > 0 else math.inf


def _log_delta(epsilon: float, mu: float) -> float:
    """Log of the Balle-Wang delta; -inf where it is 0 or too small for a float."""
    _check_nonnegative("epsilon", epsilon)
    _check_nonnegative("mu", mu)
    if mu == 0 or math.isinf(epsilon):
        return -math.inf
    if math.isinf(mu):
        return 0.0
    centre = epsilon / mu
    a, b = centre - mu / 2, centre + mu / 2
    if mu < SMALL_MU:  # M(a) - M(b) = -mu M'(centre) up to a factor 1 + O(mu^2), and M'(z) = z M(z) - 1
        slope = 1 - centre * _mills(centre) if centre < 1e3 else (centre**2 + 3) ** -1.0
        return _log(mu * slope) + _log_phi(a)
    if a < 0:
        return _log(float(ndtr(-a)) - math.exp(_log_phi(a)) * _mills(b))
    return _log(_mills(a) - _mills(b)) + _log_phi(a)


def _mills(z: float) -> float:
    return math.sqrt(math.pi / 2) * float(erfcx(z / math.sqrt(2)))


def _log_phi(z: float) -> float:
    return -z * z / 2 - math.log(2 * math.pi) / 2


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf


def _bracket(above: Callable[[float], bool]) -> tuple[float, float]:
    """Neighbouring floats around the point from which a monotone `above` is true."""
    low, high = 0.0, 1.0
    while not above(high) and high < 1e300:
        low, high = high, high * 2
    while low == 0 and high > 1e-300 and above(high / 2):
        high /= 2
    low = max(low, high / 2)
    while low < (middle := low + (high - low) / 2) < high:
        low, high = (low, middle) if above(middle) else (middle, high)
    return low, high


def _check_pair(epsilon: float, delta: float) -> None:
    if not 0 < epsilon < math.inf:
        raise InputError(f"epsilon is {epsilon}; a positive finite number is needed, such as 1.0.")
    _check_delta(delta)


def _check_delta(delta: float) -> None:
    if not 0 < delta < 1:
        raise InputError(f"delta is {delta}; a number between 0 and 1 is needed, well below 1 over the number of rows.")


def _check_nonnegative(name: str, value: float) -> None:
    if not value >= 0:
        raise InputError(f"{name} is {value}; a number of at least 0 is needed.")


def _check_positive(name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise InputError(f"{name} is {value}; a positive finite number is needed.")
