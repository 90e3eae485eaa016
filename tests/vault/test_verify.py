"""Verifying: whatever is changed on a receipt or in a chain is found, and the reason is named."""

from __future__ import annotations

import base64
import copy
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from expunge.certificate import Basis, Certificate, Certified, Exact, Uncertified, View
from expunge.errors import VerificationError
from expunge.maths.privacy import mu_of
from expunge.record import canonical
from expunge.vault import receipts
from expunge.vault.keys import Keys
from expunge.vault.receipts import Event, Forgetting, Purging
from expunge.vault.verify import opens, verify, verify_chain

KEYS = Keys("vault-1", bytes(range(32)), Ed25519PrivateKey.from_private_bytes(bytes(32)))
STRANGER = Keys("vault-1", bytes(32), Ed25519PrivateKey.from_private_bytes(b"\1" * 32))
PEM = KEYS.public_pem()
NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
MU = mu_of(1.0, 1e-5)
CERTIFIED = Certified(
    epsilon=1.0,
    delta=1e-5,
    mu=MU,
    distance=MU * 0.01,
    noise_std=0.01,
    basis=Basis.MEASURED,
    view=View.TRANSCRIPT,
    reference="learning the retained rows",
    assumptions=("the noise key is secret",),
)
EXACT = Exact(("same seed",), ("requests chosen without looking",))
UNCERTIFIED = Uncertified("no bound is known")
EXPOSURE = {Certified: 2.5, Exact: math.inf, Uncertified: math.inf}


def forgetting(request: int = 1, certificate: Certificate = CERTIFIED, **changes: Any) -> Forgetting:
    facts = Forgetting(
        vault="vault-1",
        request=request,
        requested=NOON,
        forgotten=NOON + timedelta(minutes=request),
        release=request + 1,
        before=f"{request:064x}",
        after=f"{request + 1:064x}",
        certificate=certificate,
        method={"name": "M", "hyperparameters": {"l2": 1e-3}},
        environment={"python": "3.11"},
        exposure=EXPOSURE[type(certificate)],
        commitments=receipts.commitments(KEYS, {"ids": ["a"], "rows": 1}, request=request, event=Event.FORGOTTEN),
        previous=None,
    )
    return replace(facts, **changes)


def purging(request: int, receipt: str, **changes: Any) -> Purging:
    late = NOON + timedelta(minutes=30)
    facts = Purging("vault-1", request, late, 9, f"{9:064x}", receipt, {}, None)
    return replace(facts, **changes)


def signed(facts: Forgetting | Purging, keys: Keys = KEYS) -> dict[str, Any]:
    return receipts.envelope(receipts.statement(facts), keys)


def chained(*facts: Forgetting | Purging) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    for one in facts:
        made.append(signed(replace(one, previous=receipts.digest(made[-1]) if made else None)))
    return made


# One receipt.


@pytest.mark.parametrize("certificate", [CERTIFIED, EXACT, UNCERTIFIED])
def test_a_receipt_verifies_and_says_what_was_signed(certificate: Certificate) -> None:
    envelope = json.loads(json.dumps(signed(forgetting(certificate=certificate))))
    found = verify(envelope, PEM)
    assert found.certificate == certificate
    assert type(found.certificate) is type(certificate)
    assert (found.event, found.vault, found.request, found.release) == (Event.FORGOTTEN, "vault-1", 1, 2)
    assert (found.before, found.after) == (f"{1:064x}", f"{2:064x}")
    assert (found.requested, found.time) == ("2026-11-20T12:00Z", "2026-11-20T12:01Z")
    assert found.exposure == EXPOSURE[type(certificate)]
    assert found.digest == receipts.digest(envelope)
    assert found.key_id == KEYS.key_id


def test_a_purge_verifies() -> None:
    found = verify(signed(purging(1, "c" * 64)), PEM)
    assert (found.event, found.receipt, found.certificate, found.exposure) == (Event.PURGED, "c" * 64, None, None)


def test_any_flipped_bit_of_the_payload_breaks_the_signature() -> None:
    envelope = signed(forgetting())
    payload = bytearray(base64.b64decode(envelope["payload"]))
    for at in range(0, len(payload), 37):
        changed = bytes(payload[:at]) + bytes([payload[at] ^ 1]) + bytes(payload[at + 1 :])
        with pytest.raises(VerificationError, match="signature does not match"):
            verify(envelope | {"payload": base64.b64encode(changed).decode()}, PEM)


def leaves(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    match tree:
        case dict() if tree:
            for name in tree:
                yield from leaves(tree[name], (*path, name))
        case list() if tree:
            for at in range(len(tree)):
                yield from leaves(tree[at], (*path, at))
        case _:
            yield path


def altered(tree: Any, path: tuple[Any, ...], change: Callable[[Any], Any]) -> Any:
    made = copy.deepcopy(tree)
    place = made
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = change(place[path[-1]])
    return made


def other(value: Any) -> Any:
    match value:
        case str():
            return value[:-1] + ("0" if value[-1:] != "0" else "1")
        case int() | float():
            return value + 1
        case None:
            return "e" * 64
    return ["other"]


STATEMENT = receipts.statement(forgetting())
FIELDS = list(leaves(STATEMENT))
FORMED = [path for path in FIELDS if "hyperparameters" not in path]  # those are the method's own


@pytest.mark.parametrize("path", FIELDS, ids=lambda path: ".".join(map(str, path)))
def test_every_changed_field_breaks_the_signature(path: tuple[Any, ...]) -> None:
    envelope = signed(forgetting())
    payload = canonical(altered(STATEMENT, path, other))
    with pytest.raises(VerificationError, match="signature does not match"):
        verify(envelope | {"payload": base64.b64encode(payload).decode()}, PEM)


@pytest.mark.parametrize("path", FORMED, ids=lambda path: ".".join(map(str, path)))
@pytest.mark.parametrize("kind", ["another type", "absent"])
def test_no_field_may_be_of_another_type_or_absent_though_signed(path: tuple[Any, ...], kind: str) -> None:
    """A signature does not make nonsense true: the operator's own key signs these."""
    if kind == "another type":
        made = altered(STATEMENT, path, lambda value: {"a": "table"})
    else:
        made = copy.deepcopy(STATEMENT)
        place: Any = made
        for step in path[:-1]:
            place = place[step]
        del place[path[-1]]
        if path[-3:-1] == ("commitments", "values") or path[-2:-1] in (("environment",), ("assumptions",)):
            verify(receipts.envelope(made, KEYS), PEM)  # open lists: the operator may commit to less
            return
    with pytest.raises(VerificationError):
        verify(receipts.envelope(made, KEYS), PEM)


def test_the_wrong_key_is_named() -> None:
    with pytest.raises(VerificationError, match="Another key signed this receipt"):
        verify(signed(forgetting(), STRANGER), PEM)
    assert verify(signed(forgetting(), STRANGER), STRANGER.public_pem()).request == 1


def test_a_stranger_cannot_sign_under_our_key_id() -> None:
    envelope = signed(forgetting(), STRANGER)
    envelope["signatures"][0]["keyid"] = KEYS.key_id
    with pytest.raises(VerificationError, match="signature does not match"):
        verify(envelope, PEM)


def test_another_payload_type_is_refused_even_if_signed() -> None:
    payload = canonical(STATEMENT)
    signature = KEYS.sign(receipts.pre_authentication_encoding("text/plain", payload))
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": "text/plain",
        "signatures": [{"keyid": KEYS.key_id, "sig": base64.b64encode(signature).decode()}],
    }
    with pytest.raises(VerificationError, match="payload type is 'text/plain'"):
        verify(envelope, PEM)
    with pytest.raises(VerificationError, match="signature does not match"):
        verify(envelope | {"payloadType": receipts.PAYLOAD_TYPE}, PEM)


@pytest.mark.parametrize(
    "change",
    [
        {"payload": 7},
        {"payload": None},
        {"payloadType": 1},
        {"signatures": []},
        {"signatures": "s"},
        {"signatures": [{}]},
        {"signatures": [{"keyid": KEYS.key_id, "sig": 1}]},
        {"signatures": [{"keyid": KEYS.key_id, "sig": ""}] * 2},
    ],
)
def test_what_is_no_envelope_is_said_to_be_none(change: dict[str, Any]) -> None:
    with pytest.raises(VerificationError, match="no receipt"):
        verify(signed(forgetting()) | change, PEM)


@pytest.mark.parametrize("nothing", [{}, [], "text", None, 7])
def test_what_is_no_object_is_said_to_be_no_receipt(nothing: Any) -> None:
    with pytest.raises(VerificationError, match="no receipt"):
        verify(nothing, PEM)


@pytest.mark.parametrize("text", ["***", "é", "abc"])
def test_what_is_not_base64_is_said_to_be_none(text: str) -> None:
    with pytest.raises(VerificationError, match="not base64"):
        verify(signed(forgetting()) | {"payload": text}, PEM)
    with pytest.raises(VerificationError, match="not base64"):
        verify(signed(forgetting()) | {"signatures": [{"keyid": KEYS.key_id, "sig": text}]}, PEM)


def test_what_is_no_ed25519_key_is_refused() -> None:
    with pytest.raises(VerificationError, match="no PEM"):
        verify(signed(forgetting()), b"not a key")
    encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    pem = rsa.generate_private_key(65537, 2048).public_key().public_bytes(encoding, form)
    with pytest.raises(VerificationError, match="not an Ed25519 key"):
        verify(signed(forgetting()), pem)


def envelope_of(payload: bytes) -> dict[str, Any]:
    signature = KEYS.sign(receipts.pre_authentication_encoding(receipts.PAYLOAD_TYPE, payload))
    return {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": receipts.PAYLOAD_TYPE,
        "signatures": [{"keyid": KEYS.key_id, "sig": base64.b64encode(signature).decode()}],
    }


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"not json", "not JSON"),
        (b"\xff", "not JSON"),
        (b'{"a":NaN}', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"7", "no in-toto Statement"),
        (b"[]", "no in-toto Statement"),
        (b"{}", "no in-toto Statement"),
        (json.dumps(STATEMENT).encode(), "canonical form"),
        (canonical(STATEMENT).replace(b'"request":1', b'"request":1,"request":1'), "canonical form"),
        (canonical(STATEMENT | {"_type": "https://in-toto.io/Statement/v0.1"}), "no in-toto Statement"),
        (canonical(STATEMENT | {"predicateType": receipts.PREDICATE_TYPE[:-1] + "2"}), "this version of expunge reads"),
        (canonical(STATEMENT | {"predicate": []}), "event None is unknown"),
        (canonical(STATEMENT | {"more": 1}), "unknown fields"),
    ],
)
def test_a_signed_payload_that_is_no_receipt_is_refused(payload: bytes, message: str) -> None:
    with pytest.raises(VerificationError, match=message):
        verify(envelope_of(payload), PEM)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("predicate", "event"), "erased", "event 'erased' is unknown"),
        (("predicate", "event"), "purged", "lacks the fields|unknown fields"),
        (("subject", 0, "digest", "sha256"), "d" * 64, "subject is not the release"),
        (("subject", 0, "name"), "release 3", "subject is not the release"),
        (("predicate", "does_not_prove"), [], "does not prove"),
        (("predicate", "advice"), ["trust us"], "advice is not"),
        (("predicate", "requested"), "2026-11-20T12:02Z", "later than its forgetting"),
        (("predicate", "requested"), "2026-11-20 12:00", "'requested'"),
        (("predicate", "release", "before"), f"{2:064x}", "release did not change"),
        (("predicate", "release", "after"), "B" * 64, "'release'"),
        (("predicate", "release", "number"), 0, "'release'"),
        (("predicate", "request"), True, "'request'"),
        (("predicate", "request"), 1.0, "'request'"),
        (("predicate", "previous"), "short", "'previous'"),
        (("predicate", "two_release_exposure"), -1.0, "'two_release_exposure'"),
        (("predicate", "two_release_exposure"), "small", "'two_release_exposure'"),
        (("predicate", "certificate", "type"), "Perfect", "certificate type 'Perfect' is unknown"),
        (("predicate", "certificate", "epsilon"), 0.5, "means epsilon"),
        (("predicate", "certificate", "delta"), 1e-9, "means epsilon"),
        (("predicate", "certificate", "mu"), 2 * MU, "means epsilon"),
        (("predicate", "certificate", "distance"), 1.0, "not within mu"),
        (("predicate", "certificate", "noise_std"), 1e-9, "not within mu"),
        (("predicate", "certificate", "noise_std"), 0.0, "positive and finite"),
        (("predicate", "certificate", "basis"), "believed", "'basis'"),
        (("predicate", "certificate", "view"), "no one", "'view'"),
        (("predicate", "certificate", "view"), "one release", "advice is not"),
        (("predicate", "commitments", "scheme"), "SHA-256", "'commitments'"),
        (("predicate", "commitments", "values", "ids"), "ann", "'commitments'"),
        (("predicate", "commitments"), {"scheme": receipts.COMMITMENT, "values": {}, "ids": ["ann"]}, "'commitments'"),
        (("predicate", "environment", "python"), 3, "'environment'"),
    ],
)
def test_a_signed_contradiction_is_refused(path: tuple[Any, ...], value: Any, message: str) -> None:
    with pytest.raises(VerificationError, match=message):
        verify(receipts.envelope(altered(STATEMENT, path, lambda _: value), KEYS), PEM)


@pytest.mark.parametrize("place", [("predicate",), ("predicate", "certificate"), ("predicate", "release")])
def test_no_field_may_be_added(place: tuple[str, ...]) -> None:
    made = altered(STATEMENT, (*place[:-1], place[-1]), lambda tree: tree | {"ids": ["ann"]})
    with pytest.raises(VerificationError, match=r"unknown fields|cannot be"):
        verify(receipts.envelope(made, KEYS), PEM)


def test_unchanged_weights_verify_only_as_exact() -> None:
    same = f"{2:064x}"
    assert verify(signed(forgetting(certificate=EXACT, before=same)), PEM).before == same
    for certificate in (CERTIFIED, UNCERTIFIED):
        made = receipts.statement(forgetting(certificate=certificate))
        made["predicate"]["release"]["before"] = same
        with pytest.raises(VerificationError, match="release did not change"):
            verify(receipts.envelope(made, KEYS), PEM)


def test_unchanged_weights_verify_where_every_release_ever_made_is_covered() -> None:
    same = f"{2:064x}"
    lifelong = replace(CERTIFIED, view=View.LIFETIME)
    found = verify(signed(forgetting(certificate=lifelong, before=same, exposure=0.0)), PEM)
    assert found.before == same
    assert found.certificate == lifelong
    assert found.exposure == 0.0


@pytest.mark.parametrize("certificate", [EXACT, UNCERTIFIED, replace(CERTIFIED, view=View.ONE_RELEASE)])
def test_a_finite_exposure_needs_a_guarantee_over_releases(certificate: Certificate) -> None:
    with pytest.raises(VerificationError, match="finite two-release exposure"):
        verify(signed(forgetting(certificate=certificate, exposure=1.0)), PEM)
    assert verify(signed(forgetting(certificate=certificate, exposure=math.inf)), PEM).exposure == math.inf


# Commitments.


def test_an_opened_commitment_shows_its_value_and_no_other() -> None:
    label = receipts.commitment_label("vault-1", 1, Event.FORGOTTEN, "ids")
    commitment = verify(signed(forgetting()), PEM).statement["predicate"]["commitments"]["values"]["ids"]
    assert opens(commitment, KEYS.opening(label), ["a"])
    assert not opens(commitment, KEYS.opening(label), ["b"])
    assert not opens(commitment, STRANGER.opening(label), ["a"])
    assert not opens(commitment, KEYS.opening(label.replace("ids", "rows")), ["a"])


# Chains.


def full_chain() -> list[dict[str, Any]]:
    first, second = chained(forgetting(1), forgetting(2))
    return chained(
        forgetting(1),
        forgetting(2),
        purging(1, receipts.digest(first)),
        purging(2, receipts.digest(second), purged=NOON + timedelta(minutes=31)),
    )


def test_a_chain_verifies_in_order() -> None:
    found = verify_chain(full_chain(), PEM)
    assert [(receipt.request, receipt.event.value) for receipt in found] == [
        (1, "forgotten"),
        (2, "forgotten"),
        (1, "purged"),
        (2, "purged"),
    ]
    assert verify_chain([], PEM) == ()


@pytest.mark.parametrize(
    "order", [[1, 0, 2, 3], [0, 2, 1, 3], [0, 1, 3, 2], [3, 2, 1, 0], [0, 2, 3], [0, 1, 3], [0, 0, 1]]
)
def test_a_reordered_cut_or_repeated_chain_breaks(order: list[int]) -> None:
    chain = full_chain()
    with pytest.raises(VerificationError, match=r"chain (breaks|starts)"):
        verify_chain([chain[at] for at in order], PEM)


def test_a_chain_without_its_first_receipt_starts_in_its_middle() -> None:
    with pytest.raises(VerificationError, match="starts in its middle"):
        verify_chain(full_chain()[1:], PEM)


def test_a_receipt_signed_by_another_key_breaks_the_chain() -> None:
    chain = full_chain()
    chain[1] = receipts.envelope(json.loads(base64.b64decode(chain[1]["payload"])), STRANGER)
    with pytest.raises(VerificationError, match="Another key"):
        verify_chain(chain, PEM)


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ((forgetting(1), forgetting(1, release=3, before=f"{2:064x}", after="d" * 64)), "forgotten twice"),
        ((forgetting(1), forgetting(2, before="d" * 64)), "not the one that request 1 left"),
        ((forgetting(1), forgetting(2, release=2)), "two digests"),
        ((forgetting(2), forgetting(1, forgotten=NOON + timedelta(minutes=9))), "numbers run backwards"),
        ((forgetting(1), forgetting(2, vault="vault-2")), "Two vaults"),
        ((purging(1, "c" * 64),), "names no receipt"),
        ((forgetting(1), purging(1, "c" * 64)), "names no receipt"),
        ((forgetting(1), purging(2, "c" * 64)), "names no receipt"),
    ],
)
def test_a_signed_chain_that_contradicts_itself_is_refused(
    facts: tuple[Forgetting | Purging, ...], message: str
) -> None:
    with pytest.raises(VerificationError, match=message):
        verify_chain(chained(*facts), PEM)


def test_a_clock_set_back_does_not_break_a_chain() -> None:
    """Times are the operator's word; the order is the chain's."""
    later = forgetting(2, requested=NOON - timedelta(hours=2), forgotten=NOON - timedelta(hours=1))
    assert len(verify_chain(chained(forgetting(1), later), PEM)) == 2


def test_a_request_is_purged_once() -> None:
    first = receipts.digest(signed(forgetting(1)))
    with pytest.raises(VerificationError, match="purged twice"):
        verify_chain(chained(forgetting(1), purging(1, first), purging(1, first)), PEM)


def test_a_batch_shares_one_release_and_an_extension_may_lie_between() -> None:
    batch = (forgetting(1), forgetting(2, release=2, before=f"{1:064x}", after=f"{2:064x}"))
    later = forgetting(3, release=7, before="d" * 64, after="e" * 64)
    assert len(verify_chain(chained(*batch, later), PEM)) == 3
