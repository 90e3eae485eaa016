"""Receipts that prove nothing: wrong key, another vault, cut, changed, no receipt at all; told apart, and offline."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from expunge.errors import InputError, VerificationError
from expunge.vault import Vault
from expunge.vault.verify import verify
from tests.cli.conftest import LEARN

from .conftest import Run, Told

Refused = Callable[..., object]
GENUINE = ("verify", "r.json", "--public-key", "k.pem")


@pytest.fixture
def receipt(folder: Path, run: Run) -> dict[str, object]:
    """The receipt r.json of a forgotten row, and its key k.pem."""
    run("request", "v", "--ids", "p1")
    run("work", "v")
    run("receipt", "v", 1, "--out", "r.json")
    run("public-key", "v", "--out", "k.pem")
    assert run(*GENUINE).code == 0
    envelope: dict[str, object] = json.loads((folder / "r.json").read_text())
    return envelope


def resigned(envelope: dict[str, object], **changes: object) -> str:
    """The receipt with other contents under the old signature."""
    statement = json.loads(base64.b64decode(str(envelope["payload"])))
    statement["predicate"] |= changes
    payload = base64.b64encode(json.dumps(statement, sort_keys=True, separators=(",", ":")).encode()).decode()
    return json.dumps({**envelope, "payload": payload})


CHANGES: dict[str, Callable[[dict[str, object]], bytes]] = {
    "cut": lambda envelope: json.dumps(envelope).encode()[:-200],
    "empty": lambda _: b"",
    "bytes": lambda _: b"\xff\xfe\xfa",
    "deep": lambda _: b"[" * 100_000,
    "a list": lambda _: b"[]",
    "another document": lambda _: b'{"payload": 3}',
    "another request": lambda envelope: resigned(envelope, request=2).encode(),
    "a better certificate": lambda envelope: resigned(envelope, certificate={"type": "Exact"}).encode(),
    "no signature": lambda envelope: json.dumps({**envelope, "signatures": []}).encode(),
    "another type": lambda envelope: json.dumps({**envelope, "payloadType": "text/plain"}).encode(),
    "letters": lambda envelope: json.dumps({**envelope, "payload": "Dear reader!"}).encode(),
}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("cut", Told("bad.json is no receipt", "JSON", "Ask for the file that was signed")),
        ("empty", Told("bad.json is no receipt", "JSON", "Ask for the file that was signed")),
        ("bytes", Told("bad.json is no receipt", "JSON", "Ask for the file that was signed")),
        ("deep", Told("bad.json is no receipt", "JSON", "Ask for the file that was signed")),
        ("a list", Told("no receipt", "a DSSE envelope with payload", "was expected")),
        ("another document", Told("no receipt", "a DSSE envelope with payload", "was expected")),
        ("another request", Told("The signature does not match", "the receipt was changed", "another key signed it")),
        ("a better certificate", Told("The signature does not match", "the receipt was changed", "another key")),
        ("no signature", Told("no receipt", "one signature", "was expected")),
        ("another type", Told("'text/plain'", "application/vnd.in-toto+json", "was expected")),
        ("letters", Told("payload", "base64", "not")),
    ],
)
def test_a_receipt_that_was_changed_is_refused(
    change: str, told: Told, receipt: dict[str, object], refused: Refused, folder: Path, run: Run
) -> None:
    content = CHANGES[change](receipt)
    (folder / "bad.json").write_bytes(content)
    for more in ((), ("--json",), ("--vault", "v", "--replay")):
        refused(("verify", "bad.json", "--public-key", "k.pem", *more), 1, told)
    if change not in {"cut", "empty", "bytes", "deep"}:
        with pytest.raises(VerificationError):
            verify(json.loads(content), (folder / "k.pem").read_bytes())
    assert run(*GENUINE, "--json").json["verified"] is True


def test_a_key_that_did_not_sign_is_refused(
    receipt: dict[str, object], refused: Refused, folder: Path, run: Run
) -> None:
    run("learn", "w", "--rows", "people.csv", *LEARN, "certified-newton")
    run("public-key", "w", "--out", "w.pem")
    long = rsa.generate_private_key(65537, 2048).public_key()
    (folder / "rsa.pem").write_bytes(long.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    (folder / "cut.pem").write_bytes((folder / "k.pem").read_bytes()[:40])
    for key, code, told in (
        ("w.pem", 1, Told("Another key signed this receipt", "the one given is", "Another key")),
        ("rsa.pem", 1, Told("public key", "Ed25519", "not an")),
        ("cut.pem", 1, Told("no PEM file", "`Vault.public_key()`", "give")),
        ("v.key", 1, Told("no PEM file", "`Vault.public_key()`", "give")),
        ("absent.pem", 2, Told("absent.pem", "file", "There is no")),
    ):
        refused(("verify", "r.json", "--public-key", key), code, told)
    with pytest.raises(VerificationError, match="Another key"):
        verify(receipt, (folder / "w.pem").read_bytes())
    assert run(*GENUINE).code == 0


def test_a_replay_is_of_the_vault_that_signed(receipt: dict[str, object], refused: Refused, run: Run) -> None:
    del receipt
    run("learn", "w", "--rows", "people.csv", *LEARN, "certified-newton")
    other = run(*GENUINE, "--vault", "w", "--replay")
    assert other.code == 1
    assert "not of this one" in other.err
    assert run(*GENUINE, "--vault", "v", "--replay", "--json").json["replay"] == "equal"
    refused((*GENUINE, "--replay"), 2, Told("--replay", "--vault VAULT", "needs"))
    refused((*GENUINE, "--vault", "x", "--replay"), 1, Told("no vault at x", "expunge learn", "make one"))


def test_a_receipt_that_there_is_not_is_named(refused: Refused, run: Run) -> None:
    run("request", "v", "--ids", "p1")
    refused(("receipt", "v", 1), 1, Told("request 1", "is not forgotten yet", "run `expunge work`"))
    refused(("receipt", "v", 7), 1, Told("request 7", "is not in the ledger of this vault", "no such receipt"))
    with Vault.open("v") as vault, pytest.raises(InputError, match="request 7"):
        vault.receipt(7)
    run("work", "v")
    assert run("receipt", "v", 1, "--event", "purged").code == 0
