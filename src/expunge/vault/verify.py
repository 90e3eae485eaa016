"""Verifying receipts: all that a stranger can check with the public key alone, offline.

`verify` checks the signature first and looks at nothing before it, then that the statement is one that this version
would have signed: every field there and none besides, no contradiction inside. `verify_chain` checks that a vault's
receipts are complete and in order. `opens` checks one commitment that the operator opened.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from expunge.certificate import Certificate, Certified, View, may_stay
from expunge.errors import VerificationError
from expunge.record import canonical
from expunge.vault import receipt_form, receipts
from expunge.vault.keys import key_id_of
from expunge.vault.receipts import Event


@dataclass(frozen=True)
class Verified:
    """What a verified receipt says; see `receipts.Forgetting` and `receipts.Purging`.

    Attributes:
        time: when it was forgotten or purged, to the minute. requested: None on a "purged" receipt.
        release: number of the release. before: digest of the release before it; None on a "purged" receipt.
        certificate, exposure: None on a "purged" receipt. receipt: on one, the digest of the "forgotten" receipt.
        digest: of this receipt, which the next one names as `previous`. key_id: SHA-256 of the key that signed.
        statement: all of it.
    """

    event: Event
    vault: str
    request: int
    requested: str | None
    time: str
    release: int
    before: str | None
    after: str
    certificate: Certificate | None
    exposure: float | None
    receipt: str | None
    previous: str | None
    digest: str
    key_id: str
    statement: Mapping[str, Any]


def verify(envelope: Mapping[str, Any], public_pem: bytes) -> Verified:
    """Check one receipt.

    Args:
        envelope: the DSSE envelope, parsed from its JSON. public_pem: the vault's public key.

    Raises:
        VerificationError: it does not prove what it says; the message says which check failed.
    """
    key = _public_key(public_pem)
    payload = _authentic(envelope, key)
    statement = _parsed(payload)
    predicate = statement["predicate"]
    forgotten = predicate["event"] == Event.FORGOTTEN
    certificate = receipt_form.certificate_of(predicate["certificate"]) if forgotten else None
    release = predicate["release"]
    _check_meaning(predicate, statement["subject"], certificate)
    return Verified(
        event=Event(predicate["event"]),
        vault=predicate["vault"],
        request=predicate["request"],
        requested=predicate.get("requested"),
        time=predicate["forgotten" if forgotten else "purged"],
        release=release["number"],
        before=release.get("before"),
        after=release["after"],
        certificate=certificate,
        exposure=float(predicate["two_release_exposure"]) if forgotten else None,
        receipt=predicate.get("receipt"),
        previous=predicate["previous"],
        digest=hashlib.sha256(payload).hexdigest(),
        key_id=key_id_of(key),
        statement=statement,
    )


def verify_chain(envelopes: Sequence[Mapping[str, Any]], public_pem: bytes) -> tuple[Verified, ...]:
    """Check all receipts of a vault, in their order from the first: none missing, none twice, none out of order.

    Receipts cut off at the end do not show; compare the last digest with one obtained elsewhere.

    Raises:
        VerificationError: a receipt fails by itself, or two do not follow each other.
    """
    chain = tuple(verify(envelope, public_pem) for envelope in envelopes)
    if chain and chain[0].previous is not None:
        _fail(f"The chain starts in its middle: its first receipt (request {chain[0].request}) follows another one")
    for earlier, later in pairwise(chain):
        _check_link(earlier, later)
    forgotten: dict[int, Verified] = {}
    purged: set[int] = set()
    for receipt in chain:
        if receipt.event is Event.FORGOTTEN:
            if receipt.request in forgotten:
                _fail(f"Request {receipt.request} was forgotten twice")
            forgotten[receipt.request] = receipt
            continue
        if receipt.request in purged:
            _fail(f"Request {receipt.request} was purged twice")
        origin = forgotten.get(receipt.request)
        if origin is None or receipt.receipt != origin.digest:
            _fail(f"The purge of request {receipt.request} names no receipt of this chain that it was forgotten")
        purged.add(receipt.request)
    return chain


def opens(commitment: str, opening: bytes, value: Any) -> bool:
    """Whether `value` is what was committed to: its canonical JSON under the key that the operator revealed."""
    return hmac.compare_digest(hmac.digest(opening, receipts.committed(value), "sha256").hex(), commitment)


def _check_link(earlier: Verified, later: Verified) -> None:
    what = f"the receipts of requests {earlier.request} ({earlier.event}) and {later.request} ({later.event})"
    if later.vault != earlier.vault:
        _fail(f"Two vaults in one chain: {what}")
    if later.previous != earlier.digest:
        _fail(f"The chain breaks between {what}: one is missing, changed or out of order")
    if later.release < earlier.release:
        _fail(f"Release numbers run backwards between {what}")
    if later.release == earlier.release and later.after != earlier.after:
        _fail(f"One release number has two digests in {what}")
    if later.event is Event.FORGOTTEN and later.release == earlier.release + 1 and later.before != earlier.after:
        _fail(f"The release before request {later.request} is not the one that request {earlier.request} left")


def _public_key(pem: bytes) -> Ed25519PublicKey:
    try:
        key = load_pem_public_key(pem)
    except ValueError:
        _fail("The public key is no PEM file: give what `Vault.public_key()` wrote")
    if not isinstance(key, Ed25519PublicKey):
        _fail("The public key is not an Ed25519 key")
    return key


def _authentic(envelope: Mapping[str, Any], key: Ed25519PublicKey) -> bytes:
    """The payload of an envelope that `key` signed."""
    match envelope:
        case {
            "payload": str(payload),
            "payloadType": str(kind),
            "signatures": [{"keyid": str(key_id), "sig": str(text)}],
        }:
            pass
        case _:
            _fail("The file is no receipt: a DSSE envelope with payload, payloadType and one signature was expected")
    if kind != receipts.PAYLOAD_TYPE:
        _fail(f"The payload type is {kind!r}; {receipts.PAYLOAD_TYPE!r} was expected")
    if key_id != key_id_of(key):
        _fail(f"Another key signed this receipt ({key_id[:16]}...); the one given is {key_id_of(key)[:16]}...")
    try:
        body, signature = base64.b64decode(payload, validate=True), base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        _fail("The payload or the signature is not base64")
    try:
        key.verify(signature, receipts.pre_authentication_encoding(kind, body))
    except InvalidSignature:
        _fail("The signature does not match: the receipt was changed, or another key signed it")
    return body


def _parsed(payload: bytes) -> dict[str, Any]:
    """The statement of an authentic payload, every field of the right type."""
    try:
        statement = json.loads(payload)
        one_form = canonical(statement) == payload
    except (ValueError, RecursionError):
        _fail("The payload is not JSON")
    if not one_form:
        _fail("The payload is not in canonical form, so that two readers might read it differently")
    if not isinstance(statement, dict) or statement.get("_type") != receipts.STATEMENT_TYPE:
        _fail("The payload is no in-toto Statement v1")
    if statement.get("predicateType") != receipts.PREDICATE_TYPE:
        given = statement.get("predicateType")
        _fail(f"The predicate is {given!r}; this version of expunge reads {receipts.PREDICATE_TYPE!r}")
    predicate = statement.get("predicate")
    event = predicate.get("event") if isinstance(predicate, dict) else None
    if event not in list(Event):
        _fail(f"The event {event!r} is unknown")
    receipt_form.check_statement(statement, Event(event))
    return dict(statement)


def _check_meaning(predicate: Mapping[str, Any], subject: list[Any], certificate: Certificate | None) -> None:
    release = predicate["release"]
    named = {"name": f"release {release['number']}", "digest": {"sha256": release["after"]}}
    if subject != [named]:
        _fail("The subject is not the release that the predicate names")
    if predicate["does_not_prove"] != list(receipts.DOES_NOT_PROVE):
        _fail("The list of what a receipt does not prove is not the one of this version")
    if certificate is None:
        return
    if predicate["requested"] > predicate["forgotten"]:
        _fail("The request is later than its forgetting")
    if predicate["advice"] != list(receipts.advice(certificate)):
        _fail("The advice is not the one for this certificate")
    if release["before"] == release["after"] and not may_stay(certificate):
        _fail("The release did not change, and its certificate does not prove that it need not")
    if wrong := receipts.contradiction(certificate):
        _fail(f"The certificate contradicts itself: {wrong}")
    bounded = isinstance(certificate, Certified) and certificate.view is not View.ONE_RELEASE
    if not bounded and predicate["two_release_exposure"] != "inf":
        _fail("A finite two-release exposure is claimed where the certificate bounds one release only, or none")


def _fail(message: str) -> NoReturn:
    raise VerificationError(f"{message}.")
