"""Receipts: what was done for one request, signed, chained, and true without naming anybody.

A receipt is an in-toto Statement v1 in a DSSE envelope, signed with Ed25519. It holds functions of the releases and of
public settings only. Whatever else may depend on the forgotten rows (their ids and number, the record's digest, the
residual, the audit, the seed, with which a holder of the retained rows could train and compare) appears as a
commitment, which the operator may open one at a time. Each request gets two receipts: "forgotten", when the
step is durable, and "purged", when the folder holds no trace of the old state. docs/receipts.md explains each field.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, assert_never

from expunge.certificate import Certificate, Certified, Exact, Uncertified, View, may_stay
from expunge.errors import Refused
from expunge.record import canonical
from expunge.vault.keys import Keys

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://expunge.readthedocs.io/receipt/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
COMMITMENT = "HMAC-SHA256 under a key of its own"
RELATIVE_TOLERANCE = 1e-6

# Part of version 1, like `advice`: another wording is another version, or old receipts no longer verify.
DOES_NOT_PROVE = (
    "That copies elsewhere are gone: backups, snapshots, exports, logs, swap, worn flash, models trained elsewhere.",
    "That the rows which the vault held were all the data of this person, or that they belonged to this person.",
    "That the operator ran this software unchanged, or deployed the release named here.",
    "That the times are true: they are the operator's clock.",
    "That nothing can be inferred by who also holds an earlier release: see the two-release exposure.",
    "That what equal or similar retained rows tell of this person is forgotten.",
    "That doing nothing would have failed the certificate: whether it would depends on the rows, and is not told.",
    "That a certificate's assumptions hold where its basis is assumed, or that what was fitted outside was refitted.",
)


class Event(StrEnum):
    """What a receipt attests."""

    FORGOTTEN = "forgotten"
    PURGED = "purged"


@dataclass(frozen=True)
class Forgetting:
    """What a "forgotten" receipt says of one request.

    Attributes:
        vault: the vault's id. request: its number; each request of a batch gets its own receipt.
        requested, forgotten: times with a zone. They are told to the minute, outwards: how long a step took can depend
            on the rows. Where the clock was set back between them, both are the time of the request.
        release: number of the release made. before, after: digests of the releases (`record.digest`).
        certificate: of the step. method, environment, exposure: see `disclosure`. The exposure is infinite where
            nothing bounds what two releases tell together.
        commitments: see `commitments`. previous: `digest` of the vault's previous receipt, None for the first.
    """

    vault: str
    request: int
    requested: datetime
    forgotten: datetime
    release: int
    before: str
    after: str
    certificate: Certificate
    method: Mapping[str, Any]
    environment: Mapping[str, str]
    exposure: float
    commitments: Mapping[str, str]
    previous: str | None


@dataclass(frozen=True)
class Purging:
    """What a "purged" receipt says of one request.

    Attributes:
        purged: when the folder held no trace any more. release, after: number and digest of the release of that time.
        receipt: `digest` of the request's "forgotten" receipt. The rest as for `Forgetting`.
    """

    vault: str
    request: int
    purged: datetime
    release: int
    after: str
    receipt: str
    commitments: Mapping[str, str]
    previous: str | None


def statement(facts: Forgetting | Purging) -> dict[str, Any]:
    """The in-toto statement of one event.

    Raises:
        Refused: the release did not change, and the certificate does not prove that it need not; or the certificate
            contradicts itself.
    """
    shared = {
        "vault": facts.vault,
        "request": facts.request,
        "commitments": {"scheme": COMMITMENT, "values": dict(facts.commitments)},
        "previous": facts.previous,
        "does_not_prove": list(DOES_NOT_PROVE),
    }
    match facts:
        case Forgetting():
            if facts.before == facts.after and not may_stay(facts.certificate):
                raise Refused(
                    f"The release after request {facts.request} equals the one before it ({facts.after[:16]}), and "
                    "only an exact method, or a differentially private one, proves that it need not change. Nothing is "
                    "signed: learn again instead."
                )
            if wrong := contradiction(facts.certificate):
                raise Refused(
                    f"The certificate of request {facts.request} contradicts itself: {wrong}. Nothing is signed."
                )
            predicate = shared | {
                "event": Event.FORGOTTEN.value,
                "requested": minute(facts.requested),
                "forgotten": minute(max(facts.requested, facts.forgotten), later=True),
                "release": {"number": facts.release, "before": facts.before, "after": facts.after},
                "method": dict(facts.method),
                "certificate": certificate_to_json(facts.certificate),
                "two_release_exposure": facts.exposure if math.isfinite(facts.exposure) else "inf",
                "advice": list(advice(facts.certificate)),
                "environment": dict(facts.environment),
            }
        case Purging():
            predicate = shared | {
                "event": Event.PURGED.value,
                "purged": minute(facts.purged, later=True),
                "release": {"number": facts.release, "after": facts.after},
                "receipt": facts.receipt,
            }
        case _:
            assert_never(facts)
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": f"release {facts.release}", "digest": {"sha256": facts.after}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": predicate,
    }


def envelope(content: Mapping[str, Any], keys: Keys) -> dict[str, Any]:
    """A statement in a signed DSSE envelope; equal statements give equal envelopes."""
    payload = canonical(content)
    signature = keys.sign(pre_authentication_encoding(PAYLOAD_TYPE, payload))
    return {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"keyid": keys.key_id, "sig": base64.b64encode(signature).decode()}],
    }


def pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """PAE of DSSE v1: the bytes that are signed."""
    kind = payload_type.encode()
    return b" ".join([b"DSSEv1", str(len(kind)).encode(), kind, str(len(payload)).encode(), payload])


def digest(receipt: Mapping[str, Any]) -> str:
    """SHA-256 of an envelope's payload, in hexadecimal: what the next receipt names as `previous`."""
    return hashlib.sha256(base64.b64decode(receipt["payload"])).hexdigest()


def commitments(keys: Keys, facts: Mapping[str, Any], *, request: int, event: Event) -> dict[str, str]:
    """A commitment to each fact, a JSON value, under a label of its own.

    The label names vault, request and event, so that equal facts on two receipts do not show as equal.
    """
    return {
        name: keys.commit(commitment_label(keys.vault, request, event, name), committed(value))
        for name, value in sorted(facts.items())
    }


def committed(value: Any) -> bytes:
    """The bytes that a commitment is made to: canonical JSON, in which infinities and NaN are text."""

    def finite(part: Any) -> Any:
        match part:
            case float() if not math.isfinite(part):
                return str(part)
            case list() | tuple():
                return [finite(item) for item in part]
            case Mapping():
                return {name: finite(item) for name, item in part.items()}
        return part

    return canonical(finite(value))


def commitment_label(vault: str, request: int, event: Event, name: str) -> str:
    """The label of one commitment; `keys.opening(label)` is what an auditor gets to open it."""
    return canonical([vault, request, event.value, name]).decode()


def minute(time: datetime, *, later: bool = False) -> str:
    """A time in UTC to the minute, as text; rounded down, or up with `later`."""
    utc = time.astimezone(UTC)
    whole = utc.replace(second=0, microsecond=0)
    return f"{whole + timedelta(minutes=later and utc > whole):%Y-%m-%dT%H:%MZ}"


def certificate_to_json(certificate: Certificate) -> dict[str, Any]:
    """A certificate's fields, tagged with its type; without `doing_nothing_meets_it`, which depends on the rows."""
    fields = {field.name: getattr(certificate, field.name) for field in dataclasses.fields(certificate)}
    fields.pop("doing_nothing_meets_it", None)
    told = {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}
    return {"type": type(certificate).__name__} | told


def contradiction(certificate: Certificate) -> str | None:
    """Why a certificate cannot be true whatever was computed, or None."""
    if not isinstance(certificate, Certified):
        return None
    from expunge.maths.privacy import epsilon_of  # slow to import

    epsilon, delta, mu, std = certificate.epsilon, certificate.delta, certificate.mu, certificate.noise_std
    if not (0 < epsilon < math.inf and 0 < delta < 1 and 0 < mu < math.inf and 0 < std < math.inf):
        return f"epsilon {epsilon}, delta {delta}, mu {mu} and noise_std {std} are not all positive and finite"
    if not 0 <= certificate.distance <= mu * std * (1 + RELATIVE_TOLERANCE):
        return f"the distance {certificate.distance} is not within mu * noise_std = {mu * std}"
    if epsilon < (on_curve := epsilon_of(mu, delta)) * (1 - RELATIVE_TOLERANCE):
        return f"mu {mu} at delta {delta} means epsilon {on_curve}, more than {epsilon}"
    return None


def advice(certificate: Certificate) -> tuple[str, ...]:
    """How long a certificate holds, and what to do when it no longer does."""
    match certificate:
        case Exact():
            told = "Does not expire. Two exact releases show the difference of their rows: delete in batches."
        case Certified(view=View.ONE_RELEASE):
            told = "Holds for this release alone: before publishing another, retrain or compose the budgets."
        case Certified(view=View.LIFETIME):
            told = "Does not expire, and covers earlier releases too; every further deletion adds to epsilon."
        case Certified():
            told = "Does not expire: later releases are within its epsilon and delta. Withdraw earlier releases."
        case Uncertified():
            told = "Promises nothing. Audit it, and retrain if the law or a contract asks for more."
        case _:
            assert_never(certificate)
    return (told,)
