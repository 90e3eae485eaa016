"""A certificate held against the facts. What contradicts it voids it; what cannot be checked is said to be unchecked.

- `Exact`: learning again on the retained rows, same seed, must give the same bytes.
- Either, where enough models were made to forget the same rows: a lower bound on epsilon from telling them apart from
  models that never saw the rows must not exceed the claim.
- `Certified` by a `Checkable` method, while the noise key still exists: the noiseless centre of the release must lie
  within half the certificate's distance of the minimiser on the retained rows, solved to 1e-12; so must the centre of a
  model learned again; and noise of the stated size must really be in the release.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Any, cast

import torch
from scipy.special import gammainccinv, gammaincinv

from expunge import record
from expunge.audits.audit import Apart, Claim
from expunge.audits.epsilon_bound import REPORTED, VOIDING, EpsilonBound, contradiction
from expunge.audits.over_models import bound
from expunge.audits.panel import Panel
from expunge.audits.references import Learned, learn
from expunge.audits.step import Step
from expunge.certificate import Certificate, Certified, Exact, Uncertified, may_stay
from expunge.errors import InputError, NotConverged, Refused
from expunge.features import offers
from expunge.method import Checkable, Method, Release
from expunge.noise import GRID_BITS, NoiseKey

REFERENCE_TOL = 1e-12
ROUNDING = 1e-9  # relative slack for float64 sums when two distances are compared
UNUSED_KEYS = 16
FALSE_ALARM = 1e-9  # probability that the noise test accuses an honest release


@dataclass(frozen=True)
class Finding:
    """The claim, what contradicts it, and distances to learning again where they are known without noise."""

    claim: Claim
    contradictions: tuple[str, ...] = ()
    apart: tuple[Apart, ...] = ()


def check(step: Step, retrained: Learned, key: NoiseKey) -> Finding:
    """Hold the step's certificate against learning again (`retrained`, noised under `key`) and the minimiser."""
    match step.certificate:
        case Exact():
            return _exact(step, retrained, unchanged(step))
        case Certified():
            return _certified(step, step.certificate, retrained, key, unchanged(step))
        case Uncertified(why):
            return Finding(Claim(None, f"Nothing is claimed: {why}"))


def prove(panel: Panel, certificate: Certificate) -> tuple[EpsilonBound | None, tuple[str, ...], bool]:
    """What the models prove about epsilon: the bound at 95 %, contradictions, whether the bound exceeds the claim.

    One certificate in twenty that is exactly true would be exceeded at 95 %; to void one takes 99.99 %.
    """
    if isinstance(certificate, Uncertified):
        return bound(panel, delta=0.0, level=REPORTED), (), False
    delta = certificate.delta if isinstance(certificate, Certified) else 0.0
    shown = bound(panel, delta=delta, level=REPORTED)
    sure = bound(panel, delta=delta, level=VOIDING)
    if shown is None or sure is None:
        return None, (), False
    sentence = contradiction(certificate, sure)
    return shown, () if sentence is None else (sentence,), contradiction(certificate, shown) is not None


def unchanged(step: Step) -> bool:
    """Whether the release after the step is, bit for bit, the one before."""
    return record.digest(step.before) == record.digest(step.after)


def checkable(method: Method[Any]) -> Checkable | None:
    """The method as one with a minimiser, or None."""
    return cast("Checkable", method) if offers(method, Checkable) else None


def _exact(step: Step, retrained: Learned, same_as_before: bool) -> Finding:
    own, again = record.digest(step.after), record.digest(retrained.release)
    if own == again:
        how = "Learning again on the retained rows with the same seed gave the same bytes."
        return Finding(Claim(True, how + (" They are also those of before." if same_as_before else "")))
    if step.noise is None and record.digest(_again(step).release) != again:
        how = "The release depends on its noise, whose key is gone: the bytes cannot be compared."
        return Finding(Claim(None, how))
    why = (
        "The certificate says exact, but learning again on the retained rows with the same seed gives other bytes "
        f"(release {own[:12]}, learned again {again[:12]})."
    )
    why += " The release is the one of before: nothing was forgotten." if same_as_before else ""
    return Finding(Claim(False, "Learning again gave other bytes."), (why,))


def _again(step: Step) -> Learned:
    return learn(step.method, step.retained, step.seed, NoiseKey.fresh())


def _certified(step: Step, claim: Certified, retrained: Learned, key: NoiseKey, same_as_before: bool) -> Finding:
    contradictions = []
    if same_as_before and claim.noise_std > 0 and not may_stay(claim):
        contradictions.append(
            "The release is bit for bit the one before. Fresh noise cannot do that: it was not drawn, or the step was "
            "not taken."
        )
    method = checkable(step.method)
    if method is None:
        return Finding(Claim(None, "No minimiser to compare with: the method is not convex."), tuple(contradictions))
    if step.noise is None:
        how = "The noise key of this release is erased: its centre can no longer be told from its noise."
        return Finding(Claim(None, how), tuple(contradictions))
    try:
        minimiser = method.minimiser(step.retained, tol=REFERENCE_TOL).double()
        untouched = method.minimiser(step.retained.and_rows(step.forgotten), tol=REFERENCE_TOL).double()
        own = _distance(method.centre(step.after, step.noise), minimiser)
        learned = _distance(method.centre(retrained.release, key), minimiser)
    except (NotConverged, Refused) as error:
        how = f"The reference could not be solved to {REFERENCE_TOL:g}: {error}"
        return Finding(Claim(None, how), tuple(contradictions))
    except InputError as error:
        return Finding(Claim(None, f"The centre of the release cannot be told: {error}"), tuple(contradictions))
    variance = _noise_variance(method, step.after, minimiser, claim.noise_std)
    contradictions += _contradictions(claim, own, learned, variance, minimiser.numel())
    nothing = _distance(untouched, minimiser)
    return Finding(
        Claim(
            not contradictions,
            f"Held against the minimiser on the retained rows, solved to {REFERENCE_TOL:g}.",
            own,
            learned,
            claim.distance / 2,
            variance,
        ),
        tuple(contradictions),
        (Apart("weights without their noise", own, nothing),),
    )


def _contradictions(claim: Certified, own: float, learned: float, variance: float | None, size: int) -> list[str]:
    # A release lies on a grid far finer than its noise: subtracting the noise leaves half a step of it at most.
    grid = math.sqrt(size) * claim.noise_std * 2.0 ** -(GRID_BITS + 1)
    limit = claim.distance / 2 * (1 + ROUNDING) + grid
    found = []
    if own > limit:
        reach = "more than its whole distance" if own > 2 * limit else "more than its half of the distance"
        found.append(
            f"The forgotten model lies {own:.3g} from the minimiser on the retained rows, {reach} "
            f"{claim.distance:.3g}: the certificate does not hold."
        )
    if learned > limit:
        found.append(
            f"A model learned again lies {learned:.3g} from the minimiser, more than half the distance "
            f"{claim.distance:.3g}: the process the certificate compares with is not the one that runs."
        )
    if variance is not None and own <= 2 * limit:
        # Quantiles of chi-square with `size` degrees of freedom, by the gamma distribution.
        low, high = (2 * float(tail(size / 2, FALSE_ALARM / 2)) / size for tail in (gammaincinv, gammainccinv))
        if not low <= variance <= high + 2 * (own / claim.noise_std) ** 2 / size:
            found.append(
                f"The noise in the release has {variance:.3g} times the variance the certificate states "
                f"({low:.3g} to {high:.3g} is possible by chance)."
            )
    return found


def _noise_variance(method: Checkable, release: Release, minimiser: torch.Tensor, noise_std: float) -> float | None:
    """The variance of the release's noise as a share of the stated one.

    The weights themselves, in the minimiser's order, are known through `centre` alone. The mean of the centres under K
    keys that were never used is the weights minus the mean of K independent noises: its mean square about the minimiser
    is (1 + 1/K) noise_std^2 where the release is noised as stated, and noise_std^2 / K where it has no noise at all.
    """
    if noise_std <= 0:
        return None
    keys = [NoiseKey(hashlib.sha256(f"expunge audit {k}".encode()).digest(), 1) for k in range(UNUSED_KEYS)]
    residue = torch.stack([method.centre(release, key).double() for key in keys]).mean(dim=0) - minimiser
    return float(residue.square().mean()) / noise_std**2 / (1 + 1 / UNUSED_KEYS)


def _distance(first: torch.Tensor, second: torch.Tensor) -> float:
    return float(torch.linalg.vector_norm(first.double() - second))
