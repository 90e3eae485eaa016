"""A lower bound on epsilon from models: what an attack that was really run proves about a certificate.

N models that forgot and M that never saw the rows, each an independent draw of its release's law, noise and all, are
each reduced to one number. On half of the models an event is chosen, that the number lies in an interval or outside of
one; on the other half its errors are counted. With Clopper-Pearson upper limits FPR^, FNR^, each at 1 - alpha / 2,

    epsilon >= ln((1 - delta - FPR^) / FNR^),   epsilon >= ln((1 - delta - FNR^) / FPR^),
    mu >= Phi^-1(1 - FPR^) - Phi^-1(FNR^)

hold together with probability at least 1 - alpha: the first two are both directions of the definition for one event, so
taking the larger costs nothing more (Jagielski, Ullman & Oprea 2020; Nasr et al. 2023 for mu). The event must be chosen
on other models: chosen and judged on the same, two samples of one law "prove" epsilon 1.5.

A unit is a *model*, never a row: all rows of one release share one draw of its noise, so a thousand rows of one model
are one observation. And so few models prove little: with n on each judging side and no error at all, epsilon is at most

    ln((1 - delta - u) / u),   u = 1 - (alpha / 2)^(1 / n)

(`largest_provable`): at 95 % nothing from 5 judging models, 0.8 from 10, 2.6 from 50. A bound of 0 shows no privacy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from expunge.audits.error_rates import counts_inside, cut_points, epsilon_of_rates, mu_of_rates, upper_rate
from expunge.audits.metrics import Floats
from expunge.certificate import Certified, Exact
from expunge.errors import InputError

REPORTED = 0.95  # confidence of the bound that is shown
VOIDING = 0.9999  # confidence at which an audit calls a certificate false
LEAST = 4  # models on a side


@dataclass(frozen=True)
class EpsilonBound:
    """What `models` that forgot and `references` that never saw the rows prove.

    Attributes:
        epsilon, mu: lower bounds that hold together at confidence `level`. delta: at which epsilon is meant.
        largest_epsilon, largest_mu: what so many models could have proved without a single error.
        attack: what each model was reduced to, in words.
    """

    epsilon: float
    mu: float
    delta: float
    level: float
    models: int
    references: int
    largest_epsilon: float
    largest_mu: float
    attack: str = ""


def lower_bound(
    forgot: Floats, never_saw: Floats, *, delta: float, level: float = REPORTED, attack: str = ""
) -> EpsilonBound:
    """The bound from one number of each model, (N,) and (M,).

    Even places choose the event, odd places judge it: hand models over in the order they were made.

    Raises:
        InputError: fewer than 4 models on a side, a number that is none, or delta or level outside (0, 1).
    """
    for name, side in (("that forgot", forgot), ("that never saw the rows", never_saw)):
        if side.ndim != 1 or len(side) < LEAST or np.isnan(side).any():
            raise InputError(f"One number for each model {name} is needed, at least {LEAST}; shape {side.shape} given.")
    if not (0 <= delta < 1 and 0 < level < 1):
        raise InputError(f"delta={delta} and level={level} were given; both lie between 0 and 1.")
    low, high, speaks_for = _chosen(forgot[0::2], never_saw[0::2], delta)
    sides = [side[1::2] for side in (forgot, never_saw)]
    inside = [int(np.sum((low < side) & (side <= high))) for side in sides]
    sizes = [len(side) for side in sides]
    misses, alarms = (sizes[0] - inside[0], inside[1]) if speaks_for else (inside[0], sizes[1] - inside[1])
    epsilon, mu = _proved(misses, alarms, sizes, delta, level)
    most_epsilon, most_mu = largest_provable(*sizes, delta=delta, level=level)
    return EpsilonBound(epsilon, mu, delta, level, len(forgot), len(never_saw), most_epsilon, most_mu, attack)


def largest_provable(
    judging: int, judging_references: int, *, delta: float, level: float = REPORTED
) -> tuple[float, float]:
    """The largest (epsilon, mu) that can be proved with so many models left to judge on each side: no error at all."""
    return _proved(0, 0, [judging, judging_references], delta, level)


def models_needed(epsilon: float, *, delta: float, level: float = REPORTED) -> int:
    """How many models on each side, choosing ones included, could prove more than epsilon if none were mistaken."""
    # ln((1 - delta - u) / u) > epsilon  <=>  u < (1 - delta) / (1 + e^epsilon)
    u = (1 - delta) / (1 + math.exp(epsilon))
    return 2 * (math.floor(math.log((1 - level) / 2) / math.log1p(-u)) + 1)


def contradiction(certificate: Certified | Exact, bound: EpsilonBound) -> str | None:
    """The sentence that voids the certificate, or None: its epsilon or its mu is below what was proved.

    `Exact` claims 0 of either, whatever delta.

    Raises:
        InputError: the bound is at a smaller delta than the certificate's, so it says nothing of it.
    """
    epsilon, mu, delta, claimed = 0.0, 0.0, 0.0, "and exact forgetting is claimed."
    if isinstance(certificate, Certified):
        epsilon, mu, delta, claimed = certificate.epsilon, certificate.mu, certificate.delta, ""
    if bound.delta < delta:
        raise InputError(f"The bound is at delta {bound.delta}, below the certificate's {delta}.")
    found = (
        f"{bound.models} models that forgot and {bound.references} that never saw the rows are told apart better than "
        f"the certificate allows, at confidence {bound.level:.2%}: "
    )
    if bound.epsilon > epsilon:
        return found + f"epsilon is at least {bound.epsilon:.3g}, " + (claimed or f"and {epsilon:.3g} is claimed.")
    if bound.mu > mu:
        return found + f"mu is at least {bound.mu:.3g}, " + (claimed or f"and {mu:.3g} is claimed.")
    return None


def directions(margins: Floats, references: Floats) -> tuple[Floats, Floats]:
    """One number of each model, (N,) and (M,), from margins (N, n) and (M, n) of the forgotten rows.

    Rows are weighted by the difference of their means over their pooled variance, both found on the models at even
    places, those that choose: on the others the weights are fixed in advance. (Fisher's discriminant with a diagonal
    covariance: with few models a full one is noise.)
    """
    choosing = [side[0::2] for side in (margins, references)]
    gap = choosing[0].mean(axis=0) - choosing[1].mean(axis=0)
    spread = (choosing[0].var(axis=0) + choosing[1].var(axis=0)) / 2
    weights = gap / np.maximum(spread, 1e-12 * max(float(np.abs(gap).max(initial=0.0)) ** 2, 1e-300))
    return margins @ weights, references @ weights


def _proved(misses: int, alarms: int, sizes: list[int], delta: float, level: float) -> tuple[float, float]:
    one_sided = 1 - (1 - level) / 2
    fnr, fpr = (float(upper_rate(k, n, one_sided)) for k, n in zip((misses, alarms), sizes, strict=True))
    return float(epsilon_of_rates(fpr, fnr, delta)), float(mu_of_rates(fpr, fnr))


def _chosen(forgot: Floats, never_saw: Floats, delta: float) -> tuple[float, float, bool]:
    """The event (low, high], and whether it speaks for having forgotten: the largest epsilon of (k + 1/2) / (n + 1)."""
    cuts = cut_points(forgot, never_saw)
    middles = np.concatenate([[-np.inf], (cuts[1:-2] + cuts[2:-1]) / 2, [np.inf]])  # no judged value lies on an end
    rates = [(counts_inside(side, middles) + 0.5) / (len(side) + 1) for side in (forgot, never_saw)]
    inside = epsilon_of_rates(rates[1], 1 - rates[0], delta)
    outside = epsilon_of_rates(1 - rates[1], rates[0], delta)
    low, high = np.unravel_index(int(np.maximum(inside, outside).argmax()), inside.shape)
    return float(middles[low]), float(middles[high]), bool(inside[low, high] >= outside[low, high])
