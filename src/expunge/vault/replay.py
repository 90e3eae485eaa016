"""Replaying: whoever holds the vault executes again what it still can, and compares.

The newest state follows from the retained rows, the seed and the newest release. What an `Exact` method promised is
compared bit for bit with learning again; the noise of a `Certified` release cannot be drawn again, so the release is
held against a minimiser of the retained rows as a Gaussian of the certificate's standard deviation around it, by a
two-sided test that a true release fails once in a million. Caches are computed again in any case.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import torch
from scipy.special import chdtri
from torch import Tensor

from expunge import record as records
from expunge.certificate import Certificate, Certified, Uncertified
from expunge.errors import InputError, Refused
from expunge.features import offers
from expunge.method import Checkable, Method, Settles
from expunge.noise import NoiseKey
from expunge.rows import Rows
from expunge.vault import disclosure, receipt_chain
from expunge.vault.opened import Opened
from expunge.vault.receipt_form import certificate_of
from expunge.vault.verify import Verified

FALSE_ALARM = 1e-6
ROUNDING = 1e-9  # relative difference of a cache that another order of summation explains
DRAWS = 64  # noise keys whose subtraction, averaged, shows the released weights through `Checkable.centre`


class Answer(StrEnum):
    """What a replay found."""

    EQUAL = "equal"
    DIFFERENT = "different"
    NOT_COMPARABLE = "not comparable"


@dataclass(frozen=True)
class Replay:
    """The answer of a replay, and why."""

    answer: Answer
    why: str


@dataclass(frozen=True)
class Newest:
    """What the ledger says of the newest state.

    Attributes:
        vault: its id. release: number of the newest release. digest: of that release. settled: whether its purge is
            done.
        certificate: of the step that made it; None for a first learning. environment: of that step, where known.
        receipt: the `after` of the newest receipt, if that receipt speaks of this release.
    """

    vault: str
    release: int
    digest: str
    settled: bool
    certificate: Certificate | None
    environment: Mapping[str, str] | None
    receipt: str | None


class Replayable(Protocol):
    """What a vault shows to be replayed; `newest` may be `newest_of(parts)`."""

    @property
    def method(self) -> Method[Any]: ...  # noqa: D102

    @property
    def seed(self) -> int: ...  # noqa: D102

    def rows(self) -> Rows: ...  # noqa: D102

    def record(self) -> Any: ...  # noqa: D102

    def newest(self) -> Newest: ...  # noqa: D102


def newest_of(parts: Opened) -> Newest:
    """What the ledger of an opened vault says of its newest state."""
    state = parts.ledger.one("SELECT releases, settled FROM vault")
    certificate, environment, receipt = None, None, None
    query = "SELECT certificate FROM batches WHERE certificate IS NOT NULL AND release = ?"
    for row in parts.ledger.all(query, state["releases"]):
        tree = json.loads(row["certificate"])
        certificate = certificate_of({name: value for name, value in tree.items() if name != "doing_nothing_meets_it"})
    for envelope in receipt_chain.chain(parts):
        predicate = json.loads(base64.b64decode(envelope["payload"]))["predicate"]
        if predicate["release"]["number"] == state["releases"]:
            receipt = predicate["release"]["after"]
            environment = predicate.get("environment", environment)
    unpurged = parts.ledger.all("SELECT number FROM batches WHERE state = 'committed'")
    settled = bool(state["settled"]) and not unpurged
    return Newest(parts.id, state["releases"], parts.tree("release"), settled, certificate, environment, receipt)


def replay(vault: Replayable, receipt: Verified | None = None) -> Replay:
    """Execute the newest state of a vault again, and compare.

    Args:
        receipt: one that must agree with this vault, where one was verified.

    "equal" names what was equal; "different" is a reason to trust neither the state nor its receipts; "not comparable"
    says why nothing follows.
    """
    newest, record, method = vault.newest(), vault.record(), vault.method
    if receipt is not None and (receipt.vault != newest.vault or receipt.release > newest.release):
        return _different(f"the receipt is of release {receipt.release} of the vault {receipt.vault}, not of this one")
    shown = receipt.after if receipt is not None and receipt.release == newest.release else None
    found = records.digest(method.release(record))
    for who, told in (("ledger", newest.digest), ("newest receipt", newest.receipt), ("receipt shown", shown)):
        if told is not None and found != told:
            return _different(f"the record's release has digest {found[:16]}, the {who} says {told[:16]}")
    if not newest.settled:
        return _not_comparable("the newest step is not purged, so caches may hold the state before it: run work first")
    if offers(method, Settles):
        apart = _apart(record, method.settle(record, vault.rows()))  # type: ignore[attr-defined]
        if not apart <= ROUNDING:  # also where it is NaN
            return _unless_elsewhere(newest, f"caches differ from their recomputation by {apart:.1e}")
    if isinstance(newest.certificate, Uncertified):
        return _not_comparable("the step is uncertified: nothing was promised that a replay could hold it to")
    if offers(method, Checkable):
        return _replay_noised(vault, newest)
    if isinstance(newest.certificate, Certified):
        return _not_comparable("the method has no minimiser to compare with (it is not Checkable)")
    return _replay_exact(vault, newest)


def _replay_exact(vault: Replayable, newest: Newest) -> Replay:
    learned = _learned(vault, newest.release)
    if learned == records.digest(vault.record()):
        return Replay(Answer.EQUAL, "learning the retained rows again gives the same record, bit for bit")
    if newest.certificate is None:
        return _not_comparable("the record differs from learning again, and no certificate says that it should not")
    if learned != _learned(vault, newest.release):
        return _not_comparable("every learning draws noise of its own, so no two records are equal")
    return _unless_elsewhere(newest, "learning the retained rows again gives another record")


def _learned(vault: Replayable, release: int) -> str:
    return records.digest(vault.method.learn(vault.rows(), seed=vault.seed, noise=NoiseKey.fresh(release)))


def _replay_noised(vault: Replayable, newest: Newest) -> Replay:
    """||w - w*||^2 / noise_std^2 is chi-squared but for the distance of the centres; both tails count.

    `Checkable.centre` subtracts a key's noise. Over keys that never noised this release the average shows w itself but
    for noise of variance noise_std^2 / DRAWS, which the test takes into account, and the spread shows noise_std.
    """
    method, certificate = vault.method, newest.certificate
    made = method.release(vault.record())
    keys = [NoiseKey.fresh(newest.release) for _ in range(DRAWS)]
    try:
        shown = torch.stack([method.centre(made, key) for key in keys])  # type: ignore[attr-defined]
        spread = math.sqrt(float(shown.var(dim=0).mean()))
        if spread == 0:
            return _replay_exact(vault, newest)
        minimiser = method.minimiser(vault.rows())  # type: ignore[attr-defined]
    except (InputError, Refused) as error:
        return _not_comparable(f"the release cannot be held against a minimiser: {error}")
    weights: Tensor = shown.mean(dim=0)
    length = float(torch.linalg.vector_norm(weights - minimiser))
    noise_std = distance = spread  # of a model learned, or learned again: no useful certificate allows more distance
    if isinstance(certificate, Certified):
        noise_std, distance = certificate.noise_std, certificate.distance
    least, most = plausible_lengths(weights.numel(), noise_std, distance)
    told = (
        f"the release lies {length:.4g} from the minimiser of the retained rows; {least:.4g} to {most:.4g} is expected"
    )
    return Replay(Answer.EQUAL, told) if least <= length <= most else _different(told)


def plausible_lengths(dimension: int, noise_std: float, distance: float) -> tuple[float, float]:
    """Between which lengths ||distance * u + noise|| lies but for one case in a million, u any unit vector.

    sqrt(chi-squared quantiles) times the standard deviation, widened by `distance` (triangle inequality).
    """
    std = noise_std * math.sqrt(1 + 1 / DRAWS)
    low, high = chdtri(dimension, 1 - FALSE_ALARM / 2), chdtri(dimension, FALSE_ALARM / 2)
    return max(0.0, std * math.sqrt(low) - distance), std * math.sqrt(high) + distance


def _apart(one: Any, other: Any) -> float:
    """The largest relative difference between tensors in the same place of two values; inf if all else differs."""
    (first, held), (second, made) = records.encode(one), records.encode(other)

    def walk(a: records.Tree, b: records.Tree) -> float:
        match a, b:
            case {"tensor": str(left)}, {"tensor": str(right)}:
                return 0.0 if left == right else _relative(held[left], made[right])
            case dict(), dict() if set(a) == set(b):
                return max((walk(a[name], b[name]) for name in a), default=0.0)
            case list(), list() if len(a) == len(b):
                return max((walk(x, y) for x, y in zip(a, b, strict=True)), default=0.0)
        return 0.0 if a == b else math.inf

    return walk(first, second)


def _relative(one: Tensor, other: Tensor) -> float:
    if one.shape != other.shape or one.dtype != other.dtype or not one.is_floating_point():
        return math.inf
    difference = float(torch.linalg.vector_norm((one - other).double()))
    relative = difference / max(float(torch.linalg.vector_norm(other.double())), torch.finfo(torch.float64).tiny)
    return math.inf if math.isnan(relative) else relative


def _unless_elsewhere(newest: Newest, why: str) -> Replay:
    if newest.environment is None or newest.environment == disclosure.environment():
        return _different(why)
    return _not_comparable(f"{why}, but this is not the environment of that step, where bits may differ")


def _different(why: str) -> Replay:
    return Replay(Answer.DIFFERENT, why)


def _not_comparable(why: str) -> Replay:
    return Replay(Answer.NOT_COMPARABLE, why)
