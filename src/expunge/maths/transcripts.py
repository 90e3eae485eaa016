r"""What the releases of a vault tell together: noise drawn afresh for each, or carried from release to release.

Release t publishes Y_t = b_t + Z_t, and so does the life without the rows, with its own centre b_t'. Let
e_t = b_t - b_t', ||e_t|| <= r_t. For a deletion at release s, somebody sees Y_s, Y_(s+1), ...

Independent: Z_t = tau_t xi_t. The log-likelihood ratio of the transcript is normal with variance mu^2,

    mu^2 = sum over t >= s of (||e_t|| / tau_t)^2.

Carried: Z_t = Z_(t-1) + sigma_t xi_t. The transcript is Y_s and its increments Y_t - Y_(t-1), which tell the same; the
noise of Y_s has variance v_s = sigma_1^2 + ... + sigma_s^2 and is independent of every later increment. So

    mu^2 = ||e_s||^2 / v_s + sum over t > s of (||e_t - e_(t-1)|| / sigma_t)^2     (after Yin & Xia 2026)

for *every* s: each release may be the first after somebody's deletion. Always ||e_t - e_(t-1)|| <= r_t + r_(t-1).
Given what was seen from s on, xi_t is fresh, so requests after s may depend on it. The request of s itself may not
depend on Y_(s-1): given Y_(s-1), only sigma_s of the noise of Y_s is new.

The schedule: with c_t = sqrt(6) / (pi t), whose squares sum to 1, sigma_t = noise_std c_t and v_t = noise_std^2 A_t^2,
A_t^2 = c_1^2 + ... + c_t^2 < 1: the noise never exceeds noise_std. A budget mu is met for every s by

    r_t = mu noise_std c_(t+1)^2 / 2,

since r_t + r_(t-1) <= mu noise_std c_t^2 makes each later term at most (mu c_t)^2, and r_s <= mu noise_std A_s^2 the
first one (mu A_s)^2: together mu^2. Where releases u + 1..t - 1 are skipped, the increment has the variance
v_t - v_u >= noise_std^2 c_(u+1)^2, and the terms stay below (mu^2/noise_std^2) (v_t - v_u).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from expunge.errors import InputError
from expunge.maths.privacy import compose, release_share


def independent_mu(errors: Sequence[float], stds: Sequence[float]) -> float:
    """The mu of a transcript with fresh noise.

    Args:
        errors: r_t, at least the distance of the centres, from the deletion on. stds: tau_t.
    """
    _check(errors, stds)
    return compose(_over(error, std) for error, std in zip(errors, stds, strict=True))


def carried_mu(
    errors: Sequence[float], increments: Sequence[float], first: int, differences: Sequence[float] | None = None
) -> float:
    """The mu of a transcript with carried noise, for a deletion at release `first`.

    Args:
        errors: r_1, r_2, ... increments: sigma_1, sigma_2, ... (Z_1 = sigma_1 xi_1).
        differences: d_1, d_2, ..., at least ||e_t - e_(t-1)|| (d_1 is not used); by default r_t + r_(t-1).

    Raises:
        InputError: the lengths differ, a number is negative, or there is no such release.
    """
    moved = consecutive(errors) if differences is None else differences
    _check(errors, increments)
    _check(moved, increments)
    if not 1 <= first <= len(errors):
        raise InputError(f"Release {first} is not among the {len(errors)} given; they are counted from 1.")
    start = _over(errors[first - 1], math.hypot(*increments[:first]))
    later = (_over(d, sigma) for d, sigma in zip(moved[first:], increments[first:], strict=True))
    return compose((start, *later))


def worst_carried_mu(
    errors: Sequence[float], increments: Sequence[float], differences: Sequence[float] | None = None
) -> float:
    """The largest `carried_mu` of a deletion at any of the releases."""
    return max(carried_mu(errors, increments, s, differences) for s in range(1, len(errors) + 1))


def consecutive(errors: Sequence[float]) -> tuple[float, ...]:
    """r_t + r_(t-1), and r_1 first: what ||e_t - e_(t-1)|| can be at most."""
    return tuple(error + before for error, before in zip(errors, (0.0, *errors), strict=False))


def carried_variance_share(release: int) -> float:
    """A_t^2: the variance of the carried noise at release t, as a share of noise_std^2; below 1."""
    return math.fsum(release_share(j) ** 2 for j in range(1, release + 1))


def increment_std(noise_std: float, release: int, before: int = 0) -> float:
    """Standard deviation of the noise that release `release` adds to that of release `before` (0: to none)."""
    if not 0 <= before < release:
        raise InputError(f"Release {release} cannot carry on the noise of release {before}.")
    return noise_std * math.sqrt(math.fsum(release_share(j) ** 2 for j in range(before + 1, release + 1)))


def carried_share(release: int) -> float:
    """c_(t+1)^2 / 2: what the centres may be apart at release t, as a share of mu noise_std."""
    return release_share(release + 1) ** 2 / 2


def _over(distance: float, std: float) -> float:
    if distance == 0:
        return 0.0
    return distance / std if std > 0 else math.inf


def _check(numbers: Sequence[float], stds: Sequence[float]) -> None:
    if len(numbers) != len(stds):
        raise InputError(f"{len(numbers)} distances and {len(stds)} standard deviations: give one of each a release.")
    if not all(number >= 0 for number in (*numbers, *stds)):
        raise InputError("A distance or a standard deviation is negative or not a number; give numbers of at least 0.")
