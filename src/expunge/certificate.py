"""What one forgetting step guarantees: `Exact`, `Certified` or `Uncertified`.

A certificate is a promise to a regulator: it says only what was proved, for whom (the view), on what
basis, and under which assumptions, in words a reviewer can check. docs/certificates.md derives each bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Basis(StrEnum):
    """How the constants behind a bound are known."""

    MEASURED = "measured"  # a residual was computed; convexity is structural
    CHECKED = "checked"  # constants computed from data with valid upper bounds
    ASSUMED = "assumed"  # constants asserted by the user; nobody can verify them


class View(StrEnum):
    """What the adversary of the guarantee sees; each covers those above it."""

    ONE_RELEASE = "one release"  # any one, from the deletion on
    TRANSCRIPT = "transcript of releases"  # all releases from the deletion on
    STATE = "stored state"  # the purged vault beside the transcript
    LIFETIME = "every release ever made"  # those before the deletion too: differential privacy


@dataclass(frozen=True)
class Exact:
    """The state equals, bit for bit, the state learned without the rows.

    `conditions` say when that holds: same seed, same environment, requests chosen without looking at the model.
    """

    conditions: tuple[str, ...]
    assumptions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Certified:
    """The release is (epsilon, delta)-indistinguishable from the one learned without the rows.

    Attributes:
        epsilon, delta: the pair of the (epsilon, delta) definition, for all releases of the view together.
        mu: the same in Gaussian differential privacy; `epsilon` and `delta` lie on its curve.
        distance: the *fixed budget* between the noiseless centres (never the measured residual), in `norm`.
        noise_std: standard deviation of the Gaussian noise on every coordinate of both releases.
        basis: how the bound is known. view: what the adversary sees.
        reference: the process compared with, in words.
        assumptions: what must be true, in words a reviewer can check.
        doing_nothing_meets_it: whether the a-priori bound says that the untouched model would satisfy this
            certificate too: then it is true and says little.
        increment_std: of the noise this release added, where it carries on that of the release before; 0 where every
            release draws its own. The difference of two releases has no other noise.
    """

    epsilon: float
    delta: float
    mu: float
    distance: float
    noise_std: float
    basis: Basis
    view: View
    reference: str
    assumptions: tuple[str, ...]
    norm: str = "euclidean"
    doing_nothing_meets_it: bool = False
    increment_std: float = 0.0


@dataclass(frozen=True)
class Uncertified:
    """Nothing was proved, and why. Audit it; do not promise it."""

    why: str


Certificate = Exact | Certified | Uncertified


def may_stay(certificate: Certificate) -> bool:
    """Whether the release may be the one of before, bit for bit: nothing else proves that it need not change."""
    return isinstance(certificate, Exact) or (isinstance(certificate, Certified) and certificate.view is View.LIFETIME)
