"""Receipts: what they say, what they refuse to say, and that forgotten rows leave commitments only."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import math
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from expunge.certificate import Basis, Certificate, Certified, Exact, Uncertified, View
from expunge.errors import Refused
from expunge.maths.privacy import epsilon_of, mu_of
from expunge.method import Release
from expunge.record import digest as record_digest
from expunge.vault import disclosure, receipts
from expunge.vault.keys import Keys
from expunge.vault.receipts import Event, Forgetting, Purging

KEYS = Keys("vault-1", bytes(range(32)), Ed25519PrivateKey.from_private_bytes(bytes(32)))
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
EXACT = Exact(("same seed", "same environment"))
UNCERTIFIED = Uncertified("no bound is known")


def release(*values: float, **settings: Any) -> Release:
    return Release({"w": torch.tensor(values, dtype=torch.float64)}, settings)


def forgetting(**changes: Any) -> Forgetting:
    facts = Forgetting(
        vault="vault-1",
        request=1,
        requested=NOON,
        forgotten=NOON + timedelta(minutes=2),
        release=2,
        before="a" * 64,
        after="b" * 64,
        certificate=CERTIFIED,
        method={"name": "CertifiedNewton", "hyperparameters": {"l2": 1e-3}},
        environment={"python": "3.11"},
        exposure=2.5,
        commitments=receipts.commitments(KEYS, {"ids": ["ann"]}, request=1, event=Event.FORGOTTEN),
        previous=None,
    )
    return replace(facts, **changes)


PURGING = Purging("vault-1", 1, NOON, 2, "b" * 64, "c" * 64, {}, "c" * 64)


def test_the_statement_is_an_in_toto_statement_of_the_release() -> None:
    made = receipts.statement(forgetting())
    assert made["_type"] == "https://in-toto.io/Statement/v1"
    assert made["subject"] == [{"name": "release 2", "digest": {"sha256": "b" * 64}}]
    assert made["predicateType"].endswith("/v1")
    assert set(made) == {"_type", "subject", "predicateType", "predicate"}
    assert made["predicate"]["release"] == {"number": 2, "before": "a" * 64, "after": "b" * 64}


def test_the_envelope_is_dsse_over_the_pre_authentication_encoding() -> None:
    made = receipts.envelope(receipts.statement(forgetting()), KEYS)
    payload = base64.b64decode(made["payload"])
    assert json.loads(payload) == receipts.statement(forgetting())
    expected = b"DSSEv1 28 application/vnd.in-toto+json %d %s" % (len(payload), payload)
    KEYS.signing.public_key().verify(base64.b64decode(made["signatures"][0]["sig"]), expected)
    assert made["signatures"][0]["keyid"] == KEYS.key_id
    assert receipts.digest(made) == hashlib.sha256(payload).hexdigest()


def test_pre_authentication_encoding_is_the_one_of_the_specification() -> None:
    """The example of the DSSE protocol document."""
    made = receipts.pre_authentication_encoding("http://example.com/HelloWorld", b"hello world")
    assert made == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


def test_equal_facts_give_equal_bytes_whatever_their_order() -> None:
    one = forgetting(environment={"a": "1", "b": "2"})
    other = forgetting(environment={"b": "2", "a": "1"})
    assert receipts.envelope(receipts.statement(one), KEYS) == receipts.envelope(receipts.statement(other), KEYS)


def test_every_public_fact_is_on_the_receipt() -> None:
    predicate = receipts.statement(forgetting())["predicate"]
    assert (predicate["vault"], predicate["request"], predicate["event"]) == ("vault-1", 1, "forgotten")
    assert (predicate["requested"], predicate["forgotten"]) == ("2026-11-20T12:00Z", "2026-11-20T12:02Z")
    assert predicate["method"]["hyperparameters"] == {"l2": 1e-3}
    assert predicate["two_release_exposure"] == 2.5
    told = predicate["certificate"]
    fields = {field.name for field in dataclasses.fields(Certified)} - {"doing_nothing_meets_it"}
    assert set(told) == fields | {"type"}
    assert told["assumptions"] == ["the noise key is secret"]
    assert (told["epsilon"], told["basis"], told["view"]) == (1.0, "measured", "transcript of releases")


def test_long_assumptions_stand_verbatim() -> None:
    long = "that " * 100
    told = receipts.certificate_to_json(replace(CERTIFIED, assumptions=(long,)))
    assert told["assumptions"] == [long]


def test_doing_nothing_meets_it_is_not_told() -> None:
    """It is computed from the gradients of the forgotten rows: one bit of them, which no noise covers."""
    one, other = (forgetting(certificate=replace(CERTIFIED, doing_nothing_meets_it=met)) for met in (True, False))
    assert receipts.statement(one) == receipts.statement(other)


@pytest.mark.parametrize("certificate", [CERTIFIED, UNCERTIFIED])
def test_an_unchanged_release_is_not_signed_as_forgotten(certificate: Certificate) -> None:
    with pytest.raises(Refused, match="only an exact method"):
        receipts.statement(forgetting(before="b" * 64, certificate=certificate))


def test_an_exact_method_may_prove_that_the_release_need_not_change() -> None:
    made = receipts.statement(forgetting(before="b" * 64, certificate=EXACT, exposure=math.inf))
    assert made["predicate"]["release"]["before"] == made["predicate"]["release"]["after"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epsilon": 0.9}, "means epsilon"),
        ({"epsilon": 0.99999}, "means epsilon"),
        ({"mu": MU * 1.01, "distance": 0.0}, "means epsilon 1.01"),
        ({"delta": 1e-6}, "means epsilon"),
        ({"distance": MU * 0.01 * 1.001}, "not within mu"),
        ({"noise_std": 0.009}, "not within mu"),
        ({"distance": -1.0}, "not within mu"),
        ({"distance": math.nan}, "not within mu"),
        ({"noise_std": 0.0}, "positive and finite"),
        ({"noise_std": math.inf}, "positive and finite"),
        ({"epsilon": math.inf}, "positive and finite"),
        ({"epsilon": math.nan}, "positive and finite"),
        ({"delta": 0.0}, "positive and finite"),
        ({"delta": 1.0}, "positive and finite"),
    ],
)
def test_a_certificate_that_contradicts_itself_is_not_signed(change: dict[str, float], message: str) -> None:
    with pytest.raises(Refused, match=message):
        receipts.statement(forgetting(certificate=replace(CERTIFIED, **change)))


@pytest.mark.parametrize("epsilon", [0.01, 0.3, 1.0, 8.0, 50.0])
@pytest.mark.parametrize("delta", [1e-3, 1e-5, 1e-12])
def test_certificates_on_their_curve_are_signed(epsilon: float, delta: float) -> None:
    mu = mu_of(epsilon, delta)
    assert receipts.contradiction(replace(CERTIFIED, epsilon=epsilon, delta=delta, mu=mu, distance=0.01 * mu)) is None
    assert (
        receipts.contradiction(replace(CERTIFIED, epsilon=epsilon_of(0.1, delta), delta=delta, mu=0.1, distance=0))
        is None
    )


def test_a_weaker_claim_than_mu_allows_is_signed() -> None:
    """A method may keep a slack for its arithmetic: a larger epsilon or delta is true as well."""
    assert receipts.contradiction(replace(CERTIFIED, epsilon=1.01)) is None
    assert receipts.contradiction(replace(CERTIFIED, delta=2e-5)) is None


def test_a_clock_set_back_does_not_put_the_forgetting_before_the_request() -> None:
    predicate = receipts.statement(forgetting(forgotten=NOON - timedelta(hours=1)))["predicate"]
    assert predicate["forgotten"] == predicate["requested"] == "2026-11-20T12:00Z"


def test_times_are_rounded_outwards_to_the_minute_in_utc() -> None:
    late = NOON + timedelta(seconds=1)
    assert receipts.minute(late) == "2026-11-20T12:00Z"
    assert receipts.minute(late, later=True) == "2026-11-20T12:01Z"
    assert receipts.minute(NOON, later=True) == "2026-11-20T12:00Z"
    assert receipts.minute(NOON.astimezone(timezone(timedelta(hours=5)))) == "2026-11-20T12:00Z"
    midnight = datetime(2026, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
    assert receipts.minute(midnight, later=True) == "2027-01-01T00:00Z"


def test_the_seconds_a_step_took_do_not_show() -> None:
    quick, slow = (forgetting(forgotten=NOON + timedelta(seconds=s)) for s in (3, 55))
    assert receipts.statement(quick) == receipts.statement(slow)


def test_an_infinite_exposure_is_told_as_text() -> None:
    predicate = receipts.statement(forgetting(certificate=EXACT, exposure=math.inf))["predicate"]
    assert predicate["two_release_exposure"] == "inf"
    json.dumps(predicate, allow_nan=False)


def test_a_purge_names_the_release_and_the_receipt_it_completes() -> None:
    predicate = receipts.statement(PURGING)["predicate"]
    assert predicate["event"] == "purged"
    assert predicate["receipt"] == "c" * 64
    assert predicate["release"] == {"number": 2, "after": "b" * 64}
    assert "certificate" not in predicate


def test_every_receipt_lists_what_it_does_not_prove() -> None:
    for facts in (forgetting(), forgetting(certificate=EXACT), PURGING):
        assert receipts.statement(facts)["predicate"]["does_not_prove"] == list(receipts.DOES_NOT_PROVE)
    listed = " ".join(receipts.DOES_NOT_PROVE)
    for word in ("backups", "clock", "earlier release", "assumptions"):
        assert word in listed


def test_the_texts_of_version_1_are_frozen() -> None:
    """Receipts quote them and verification compares them: to change one, make version 2 and read both."""
    certificates = (EXACT, CERTIFIED, replace(CERTIFIED, view=View.ONE_RELEASE), UNCERTIFIED)
    texts = [receipts.PREDICATE_TYPE, *receipts.DOES_NOT_PROVE]
    texts += [text for certificate in certificates for text in receipts.advice(certificate)]
    assert hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16] == "8689b034970a823f"


# What may depend on the forgotten rows appears as commitments only.

SECRETS = {"ids": ["ann", "bob"], "rows": 2, "seed": 0, "stats": {"residual": 1e-9}, "record": "d" * 64, "audit": None}


def test_statements_of_other_forgotten_rows_differ_in_commitments_alone() -> None:
    def made(secrets: dict[str, Any]) -> dict[str, Any]:
        values = receipts.commitments(KEYS, secrets, request=1, event=Event.FORGOTTEN)
        return receipts.statement(forgetting(commitments=values))

    others = {
        "ids": ["zoe"],
        "rows": 1,
        "seed": 9,
        "stats": {"residual": 3e-9},
        "record": "e" * 64,
        "audit": {"auc": 0.6},
    }
    one, other = made(SECRETS), made(others)
    first, second = (told["predicate"].pop("commitments")["values"] for told in (one, other))
    assert one == other
    assert first.keys() == second.keys() == SECRETS.keys()
    assert not set(first.values()) & set(second.values())
    assert {len(value) for value in (*first.values(), *second.values())} == {64}


def test_no_receipt_holds_an_id_or_a_seed() -> None:
    secrets = {"ids": ["patient-4711"], "seed": 987654321, "record": "f" * 64}
    values = receipts.commitments(KEYS, secrets, request=1, event=Event.FORGOTTEN)
    envelope = receipts.envelope(receipts.statement(forgetting(commitments=values)), KEYS)
    text = base64.b64decode(envelope["payload"]).decode() + json.dumps(envelope)
    assert "vault-1" in text  # the positive control
    for secret in ("patient", "4711", "987654321", "f" * 64, hashlib.sha256(b"patient-4711").hexdigest()):
        assert secret not in text


@given(st.lists(st.text(min_size=1).map(lambda text: f"id-{text}"), min_size=1, max_size=3), st.integers(1, 2**31))
def test_no_text_of_an_id_is_ever_on_a_receipt(ids: list[str], request_number: int) -> None:
    values = receipts.commitments(KEYS, {"ids": ids}, request=request_number, event=Event.FORGOTTEN)
    payload = receipts.envelope(receipts.statement(forgetting(commitments=values)), KEYS)["payload"]
    text = base64.b64decode(payload).decode()
    assert values["ids"] in text  # the positive control
    for name in ids:
        assert name not in text
        assert name.encode().hex() not in text


def test_equal_facts_do_not_show_as_equal_on_two_receipts() -> None:
    made = [
        receipts.commitments(keys, {"rows": 1, "other": 1}, request=request, event=event)
        for keys in (KEYS, replace(KEYS, vault="vault-2"))
        for request in (1, 2)
        for event in Event
    ]
    values = [value for commitments in made for value in commitments.values()]
    assert len(values) == len(set(values)) == 16


def test_facts_that_are_no_finite_numbers_can_be_committed_to() -> None:
    facts = {"stats": {"residual": math.inf, "seconds": [math.nan, (1.5, -math.inf)]}}
    assert len(receipts.commitments(KEYS, facts, request=1, event=Event.FORGOTTEN)["stats"]) == 64
    assert receipts.committed(facts) == b'{"stats":{"residual":"inf","seconds":["nan",[1.5,"-inf"]]}}'


def test_a_commitment_cannot_be_guessed_without_the_key() -> None:
    (value,) = receipts.commitments(KEYS, {"rows": 1}, request=1, event=Event.FORGOTTEN).values()
    stranger = replace(KEYS, secret=bytes(32))
    guesses = [receipts.commitments(stranger, {"rows": n}, request=1, event=Event.FORGOTTEN)["rows"] for n in range(50)]
    assert value not in guesses
    assert value == receipts.commitments(KEYS, {"rows": 1}, request=1, event=Event.FORGOTTEN)["rows"]


# Two-release exposure.


def test_exposure_is_the_distance_over_the_noise_of_both() -> None:
    moved = disclosure.exposure(release(0.0, 0.0), release(0.3, 0.4), replace(CERTIFIED, noise_std=0.1))
    assert moved == pytest.approx(0.5 / (math.sqrt(2) * 0.1), rel=1e-12)


def test_exposure_of_carried_noise_is_the_distance_over_the_increment_alone() -> None:
    carried = replace(CERTIFIED, noise_std=0.1, increment_std=0.02)
    moved = disclosure.exposure(release(0.0, 0.0), release(0.3, 0.4), carried)
    assert moved == pytest.approx(0.5 / 0.02, rel=1e-12)


@pytest.mark.parametrize("certificate", [EXACT, UNCERTIFIED, replace(CERTIFIED, view=View.ONE_RELEASE)])
def test_exposure_is_infinite_without_a_guarantee_over_releases(certificate: Certificate) -> None:
    assert disclosure.exposure(release(0.0), release(0.1), certificate) == math.inf


def test_exposure_is_infinite_where_a_statistic_of_the_features_changed() -> None:
    def piped(weight: float, mean: float) -> Release:
        tensors = {"weights": torch.tensor([weight]).double(), "features/0/mean": torch.tensor([mean]).double()}
        return Release(tensors)

    assert disclosure.exposure(piped(0.0, 1.0), piped(0.1, 2.0), CERTIFIED) == math.inf
    assert disclosure.exposure(piped(0.0, 1.0), piped(0.1, 1.0), CERTIFIED) < math.inf


def test_exposure_is_infinite_where_more_than_noised_weights_changed() -> None:
    assert disclosure.exposure(release(0.0, mean=1.0), release(0.1, mean=2.0), CERTIFIED) == math.inf
    assert disclosure.exposure(release(0.0), release(0.1, 0.2), CERTIFIED) == math.inf
    assert disclosure.exposure(release(0.0), Release({"v": torch.zeros(1)}), CERTIFIED) == math.inf
    counts = [Release({"n": torch.tensor([n]), "w": torch.zeros(1, dtype=torch.float64)}) for n in (3, 4)]
    assert disclosure.exposure(counts[0], counts[1], CERTIFIED) == math.inf
    assert disclosure.exposure(counts[0], counts[0], CERTIFIED) == 0.0


# Methods and environments.


@dataclass(frozen=True)
class Inner:
    rate: float
    source: str


@dataclass(frozen=True)
class Outer:
    l2: float
    hidden: tuple[int, ...]
    inner: Inner
    limit: float
    loss: Any


def test_a_method_is_described_by_its_name_and_hyperparameters() -> None:
    told = disclosure.described(Outer(0.1, (3, 4), Inner(0.5, "x" * 300), math.inf, math.sqrt))  # type: ignore[arg-type]
    assert told == {
        "name": "Outer",
        "hyperparameters": {
            "l2": 0.1,
            "hidden": [3, 4],
            "inner": {"type": "Inner", "rate": 0.5, "source": {"sha256": hashlib.sha256(b"x" * 300).hexdigest()}},
            "limit": "inf",
            "loss": "math.sqrt",
        },
    }
    json.dumps(told, allow_nan=False)


def test_the_environment_is_text_and_names_no_machine() -> None:
    made = disclosure.environment()
    assert made == disclosure.environment()
    assert {"python", "torch", "numpy", "expunge", "instructions", "machine"} <= set(made)
    assert all(isinstance(value, str) and value for value in made.values())
    assert platform.node() not in made.values()


def test_the_release_digest_is_over_tensors_and_settings() -> None:
    assert record_digest(release(1.0)) != record_digest(release(1.0, scale=2))


# The same check with plain openssl, as docs/receipts.md shows it.


@pytest.fixture
def openssl() -> str:
    found = shutil.which("openssl")
    if found is None:
        pytest.skip("openssl is not installed")
    help_text = subprocess.run([found, "pkeyutl", "-help"], capture_output=True, text=True, check=False)
    if "-rawin" not in help_text.stdout + help_text.stderr:
        pytest.skip("this openssl is older than 1.1.1, or LibreSSL, and cannot verify Ed25519")
    return found


def openssl_accepts(openssl: str, folder: Path, encoded: bytes, signature: bytes) -> bool:
    (folder / "pae.bin").write_bytes(encoded)
    (folder / "sig.bin").write_bytes(signature)
    (folder / "key.pem").write_bytes(KEYS.public_pem())
    command = ["pkeyutl", "-verify", "-pubin", "-inkey", "key.pem", "-rawin", "-in", "pae.bin", "-sigfile", "sig.bin"]
    done = subprocess.run([openssl, *command], cwd=folder, capture_output=True, text=True, check=False)
    assert "Verified Successfully" in done.stdout or "Failure" in done.stdout, done.stderr
    return done.returncode == 0


def test_plain_openssl_accepts_the_envelope_and_no_other_bytes(tmp_path: Path, openssl: str) -> None:
    made = receipts.envelope(receipts.statement(forgetting()), KEYS)
    payload, signature = base64.b64decode(made["payload"]), base64.b64decode(made["signatures"][0]["sig"])
    encoded = b"DSSEv1 28 application/vnd.in-toto+json %d %s" % (len(payload), payload)
    assert openssl_accepts(openssl, tmp_path, encoded, signature)
    flipped = bytearray(encoded)
    flipped[100] ^= 1
    assert not openssl_accepts(openssl, tmp_path, bytes(flipped), signature)
    assert not openssl_accepts(openssl, tmp_path, encoded, bytes([signature[0] ^ 1]) + signature[1:])


# docs/receipts.md.

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "receipts.md").read_text()


def shell_block(starts_with: str) -> str:
    (found,) = [block for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) if block.startswith(starts_with)]
    return str(found)


@pytest.mark.parametrize("change", [False, True])
def test_the_commands_of_the_docs_verify_a_receipt_and_no_changed_one(
    tmp_path: Path, openssl: str, change: bool
) -> None:
    made = receipts.envelope(receipts.statement(forgetting()), KEYS)
    if change:
        payload = base64.b64decode(made["payload"]).replace(b'"request":1', b'"request":2')
        made["payload"] = base64.b64encode(payload).decode()
    (tmp_path / "receipt.json").write_text(json.dumps(made, indent=2) + "\n")
    (tmp_path / "vault.pem").write_bytes(KEYS.public_pem())
    commands = shell_block("# 1. the payload")
    done = subprocess.run(["/bin/sh", "-c", commands], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ("Verified Successfully" in done.stdout) is not change, done.stdout + done.stderr
    assert ("Verification Failure" in done.stdout) is change
    assert receipts.digest(made) in done.stdout
    assert KEYS.key_id in done.stdout


def test_the_commands_of_the_docs_open_a_commitment(openssl: str) -> None:
    label = receipts.commitment_label("vault-1", 1, Event.FORGOTTEN, "ids")
    assert label == '["vault-1",1,"forgotten","ids"]'
    commands = f"OPENING={KEYS.opening(label).hex()}\n" + shell_block("printf '%s'")
    done = subprocess.run(["/bin/sh", "-c", commands], capture_output=True, text=True, check=True)
    assert receipts.commitments(KEYS, {"ids": ["ann"]}, request=1, event=Event.FORGOTTEN)["ids"] in done.stdout


def test_the_docs_explain_every_field_and_quote_the_list() -> None:
    for facts in (forgetting(), PURGING):
        for name in receipts.statement(facts)["predicate"]:
            assert f"`{name}`" in PAGE
    for line in receipts.DOES_NOT_PROVE:
        assert f"- {line}\n" in PAGE
