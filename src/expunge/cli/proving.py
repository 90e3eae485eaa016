"""`expunge receipt`, `expunge public-key` and `expunge verify`: what a stranger can check."""

from __future__ import annotations

import json as json_module
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from expunge.cli.files import check_place, existing
from expunge.cli.options import Json, KeyFile, VaultPath
from expunge.cli.output import UsageError, in_words, say, show_fields, show_json
from expunge.errors import VerificationError

if TYPE_CHECKING:
    from expunge.vault.verify import Verified

LIMITS = "does_not_prove"


class Event(StrEnum):
    """What a receipt attests."""

    FORGOTTEN = "forgotten"
    PURGED = "purged"


Out = Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Where to write it. Default: standard output.")]


def receipt(
    vault: VaultPath,
    number: Annotated[int, typer.Argument(metavar="NUMBER", help="Number of the request.")],
    out: Out = None,
    event: Annotated[
        Event, typer.Option("--event", help="Each request gets two receipts: when forgotten, and when purged.")
    ] = Event.FORGOTTEN,
    key_file: KeyFile = None,
) -> None:
    """Write the signed receipt of a request.

    A receipt is an in-toto Statement in a DSSE envelope, as JSON.
    """
    from expunge.vault import Vault

    check_place(out)
    with Vault.open(vault, key_file=key_file) as opened:
        envelope = opened.receipt(number, event)
    _write(json_module.dumps(envelope, indent=2) + "\n", out)


def public_key(vault: VaultPath, out: Out = None, key_file: KeyFile = None) -> None:
    """Write the public key that verifies a vault's receipts, in PEM."""
    from expunge.vault import Vault

    check_place(out)
    with Vault.open(vault, key_file=key_file) as opened:
        pem = opened.public_key()
    _write(pem.decode(), out)


def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A receipt.")],
    key: Annotated[Path, typer.Option("--public-key", metavar="KEY", help="Public key of the vault, in PEM.")],
    vault: Annotated[Path | None, typer.Option("--vault", metavar="VAULT", help="The vault, for --replay.")] = None,
    replay: Annotated[
        bool, typer.Option("--replay", help="Execute the newest state again: equal, different, or not comparable.")
    ] = False,
    key_file: KeyFile = None,
    json: Json = False,
) -> None:
    """Verify a receipt, offline and with the public key alone.

    With --replay the vault's newest state is executed again too.
    """
    from expunge.vault.verify import verify as verified

    if replay and vault is None:
        raise UsageError("--replay needs --vault VAULT: only the vault can execute its state again.")
    try:
        envelope = json_module.loads(existing(file).read_text())
    except (ValueError, RecursionError) as error:
        raise VerificationError(f"{file} is no receipt: it is not JSON. Ask for the file that was signed.") from error
    found = verified(envelope, existing(key).read_bytes())
    answer = _replayed(vault, key_file, found) if replay and vault is not None else None
    report = _report(found) | ({} if answer is None else {"replay": answer[0], "replay_why": answer[1]})
    if json:
        show_json(report)
    else:
        say("The receipt is genuine: this key signed it, and it does not contradict itself.")
        shown = {
            name: value for name, value in report.items() if value is not None and name not in {"verified", LIMITS}
        }
        show_fields(shown | ({"certificate": in_words(shown["certificate"])} if "certificate" in shown else {}))
        say("It does not prove:", *(f"  - {line}" for line in report[LIMITS]))
    if answer is not None and answer[0] == "different":
        raise VerificationError(f"The replay gave a different state: {answer[1]}.")


def _report(found: Verified) -> dict[str, Any]:
    predicate = found.statement["predicate"]
    return {
        "verified": True,
        "event": str(found.event),
        "vault": found.vault,
        "request": found.request,
        "time": found.time,
        "release": found.release,
        "digest_before": found.before,
        "digest_after": found.after,
        "certificate": predicate.get("certificate"),
        "two_release_exposure": found.exposure,
        "key_id": found.key_id,
        LIMITS: predicate[LIMITS],
    }


def _replayed(vault: Path, key_file: Path | None, receipt: Verified) -> tuple[str, str]:
    from expunge.vault import Vault
    from expunge.vault.replay import replay

    with Vault.open(vault, key_file=key_file) as opened:
        found = replay(opened, receipt)
    return str(found.answer), found.why


def _write(text: str, out: Path | None) -> None:
    if out is None:
        say(text.rstrip("\n"))
    else:
        out.write_text(text)
