"""What a vault says of itself, as plain dictionaries: `status` of the live state, `ledger` of every request.

Neither names a row: once a request is forgotten only its number, times, reason and count are left.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from expunge.certificate import View
from expunge.vault.opened import Opened


def status(parts: Opened) -> dict[str, Any]:
    """The live state; see the keys.

    `views` are the adversaries against whom the newest certificate is in force: the stored state only once the purge is
    complete.
    """
    ledger = parts.ledger
    with ledger.snapshot():
        vault = ledger.one("SELECT * FROM vault")
        rows = ledger.one("SELECT coalesce(sum(rows), 0) AS n FROM blocks WHERE staged IS NULL")["n"]
        waiting = ledger.one(
            """SELECT count(*) AS requests, coalesce(sum(rows), 0) AS n FROM requests WHERE members IS NOT NULL"""
        )
        states = {
            row["state"]: row["n"]
            for row in ledger.all(
                """SELECT batches.state, count(*) AS n FROM requests JOIN batches ON requests.batch = batches.number
                   GROUP BY batches.state"""
            )
        }
        open_batches = ledger.all("SELECT number, kind, state FROM batches WHERE state != 'purged' ORDER BY number")
        newest = ledger.all("SELECT * FROM batches WHERE state != 'frozen' ORDER BY number DESC LIMIT 1")
        release = parts.tree("release")
    certificate = json.loads(newest[0]["certificate"]) if newest else None
    return {
        "vault": vault["id"],
        "path": str(parts.folder),
        "created": vault["created"],
        "method": _method(parts),
        "seed": int(vault["seed"]),
        "rows": rows,
        "pending": {"requests": waiting["requests"], "rows": waiting["n"]},
        "forgotten": {"requests": states.get("committed", 0) + states.get("purged", 0), "rows": vault["forgotten"]},
        "purged": {"requests": states.get("purged", 0), "complete": not open_batches},
        "unfinished": [{"batch": row["number"], "kind": row["kind"], "state": row["state"]} for row in open_batches],
        "release": {"number": vault["releases"], "digest": release},
        "certificate": certificate,
        "views": _views(certificate, purged=bool(newest) and newest[0]["state"] == "purged"),
    }


def requests(parts: Opened) -> list[dict[str, Any]]:
    """Every request, oldest first."""
    rows = parts.ledger.all(
        """SELECT requests.*, batches.state, batches.release, batches.certificate, batches.audit, batches.relearn,
             batches.before, batches.after, batches.frozen_at, batches.committed_at, batches.purged_at
           FROM requests LEFT JOIN batches ON requests.batch = batches.number ORDER BY requests.number"""
    )
    states = {None: "pending", "frozen": "frozen", "committed": "forgotten", "purged": "purged"}
    return [
        {
            "request": row["number"],
            "state": states[row["state"]],
            "by": row["by"],
            "rows": row["rows"],
            "reason": row["reason"],
            "requested": row["asked_at"],
            "forgotten": row["committed_at"],
            "purged": row["purged_at"],
            "batch": row["batch"],
            "release": None if row["committed_at"] is None else row["release"],
            "before": row["before"],
            "after": row["after"],
            "certificate": None if row["certificate"] is None else json.loads(row["certificate"]),
            "relearned": row["relearn"] or None,
            "audit": None if row["audit"] is None else json.loads(row["audit"]),
        }
        for row in rows
    ]


def _method(parts: Opened) -> dict[str, Any]:
    """Name and hyperparameters, from the stored tree: code of the user's own is not run to tell them."""
    tree = json.loads(parts.chunks.read(parts.tree("method")))
    return {"name": tree["class"].rpartition(":")[2], "hyperparameters": _plain(tree)}


def _plain(tree: Any) -> Any:
    match tree:
        case list():
            return [_plain(item) for item in tree]
        case {"map": parts}:
            return {name: _plain(part) for name, part in parts.items()}
        case {"class": name, "fields": parts}:
            return {"type": name.rpartition(":")[2]} | {field: _plain(part) for field, part in parts.items()}
        case {"float": text}:
            return text
        case {"enum": _, "value": value}:
            return value
        case str() if len(tree) > 200:
            return {"sha256": hashlib.sha256(tree.encode()).hexdigest()}
        case _:
            return tree


def _views(certificate: dict[str, Any] | None, *, purged: bool) -> list[str]:
    """In force from *forgotten* on, against the stored state from *purged* on."""
    match certificate:
        case None | {"type": "Uncertified"}:
            return []
        case {"type": "Certified", "view": view}:
            held = [known for known in View if list(View).index(known) <= list(View).index(View(view))]
        case _:
            held = [View.ONE_RELEASE, View.TRANSCRIPT, View.STATE]
    return [known.value for known in held if purged or known is not View.STATE]
