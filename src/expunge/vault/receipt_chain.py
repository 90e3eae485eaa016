"""The vault's receipts, in the ledger: each is signed and names the one before it."""

from __future__ import annotations

import json
from typing import Any

from expunge.errors import InputError
from expunge.vault import receipts
from expunge.vault.opened import Opened


def previous(parts: Opened) -> str | None:
    """The digest of the newest receipt, None before the first."""
    newest = parts.ledger.all("SELECT envelope FROM receipts ORDER BY number DESC LIMIT 1")
    return receipts.digest(json.loads(newest[0]["envelope"])) if newest else None


def append(parts: Opened, event: receipts.Event, facts: receipts.Forgetting | receipts.Purging) -> None:
    """Sign the receipt of one event and store it, inside a transaction."""
    envelope = receipts.envelope(receipts.statement(facts), parts.keys)
    parts.ledger.run(
        "INSERT INTO receipts (request, event, envelope) VALUES (?, ?, ?)",
        *(facts.request, event.value, json.dumps(envelope)),
    )


def receipt(parts: Opened, request: int, event: receipts.Event) -> dict[str, Any]:
    """The envelope of one request's receipt.

    Raises:
        InputError: there is no such request, or it is not that far.
    """
    query = "SELECT envelope FROM receipts WHERE request = ? AND event = ?"
    for row in parts.ledger.all(query, request, event.value):
        envelope: dict[str, Any] = json.loads(row["envelope"])
        return envelope
    known = parts.ledger.all("SELECT number FROM requests WHERE number = ?", request)
    state = f"is not {event.value} yet: run `expunge work`" if known else "is not in the ledger of this vault"
    raise InputError(f"There is no such receipt: request {request} {state}.")


def chain(parts: Opened) -> list[dict[str, Any]]:
    """Every envelope, in the order of the chain."""
    return [json.loads(row["envelope"]) for row in parts.ledger.all("SELECT envelope FROM receipts ORDER BY number")]
