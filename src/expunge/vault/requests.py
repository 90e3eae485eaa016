"""Taking a deletion request: checked against the rows and every earlier request, written, durable, numbered.

A request needs no writer lock, so that it returns while another process forgets: one short transaction reads the
indexes of the rows (never the rows) and adds one line to the ledger. A request that cannot be honoured is refused
whole, and nothing is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from expunge import keyed
from expunge.errors import AlreadyForgotten, InputError, UnknownRows
from expunge.vault.failpoints import reach
from expunge.vault.ledger import now
from expunge.vault.opened import Opened, as_names, joined, packed
from expunge.vault.stored_rows import among
from expunge.vault.tombstones import name_digest

Names = Iterable[str | int] | str | int


@dataclass(frozen=True, eq=False)
class _Live:
    """All rows of the vault, as a request sees them: keys and owners (n,), class codes (n,) or None."""

    keys: keyed.Keys
    owners: keyed.Keys
    codes: NDArray[np.int64] | None


def record_request(parts: Opened, ids: Names | None, subjects: Names | None, reason: str) -> int:
    """Write one request for ids, or for subjects with all their rows; its number.

    Raises:
        InputError: nothing is named, or nothing (or one class only) would be left. UnknownRows: no such row.
        AlreadyForgotten: a row was requested before.
    """
    if (ids is None) == (subjects is None):
        raise InputError("A request names ids or subjects, one of the two.")
    by, names = ("ids", as_names(ids)) if ids is not None else ("subjects", as_names(subjects or ()))
    if not names:
        raise InputError(f"The request is empty: name at least one of the {by} to forget.")
    wanted = keyed.keys_of(names)
    with parts.ledger.transaction():
        live = _live(parts)
        _check_known(parts, by, names, wanted, live)
        pending = parts.pending()
        earlier = joined(request.members for request in pending)
        if by == "ids":
            _check_new("id", names, wanted, [(request.number, request.members) for request in pending])
            members = wanted
        else:
            _check_new("subject", names, wanted, [(request.number, request.owners) for request in pending])
            theirs = live.keys[among(live.owners, wanted)]
            members = theirs[~among(theirs, earlier)]
            if not len(members):
                raise AlreadyForgotten(f"Every row of {_some(names)} is in an earlier request that is still pending.")
        _check_rest(parts, live, np.concatenate([earlier, members]))
        number = parts.ledger.run(
            "INSERT INTO requests (asked_at, reason, by, rows, members, owners) VALUES (?, ?, ?, ?, ?, ?)",
            *(now(), reason, by, len(members), packed(members), packed(wanted) if by == "subjects" else None),
        )
        reach("request.before_commit")
    reach("request.committed")
    return number


def _live(parts: Opened) -> _Live:
    parts.check_ready()
    indexes = [parts.stored_rows.index(block) for block in parts.blocks().values()]
    codes = [index.codes for index in indexes if index.codes is not None]
    return _Live(
        joined(index.keys for index in indexes),
        joined(index.owners for index in indexes),
        np.concatenate(codes) if codes else None,
    )


def _check_known(parts: Opened, by: str, names: Sequence[str], wanted: keyed.Keys, live: _Live) -> None:
    here = live.keys if by == "ids" else live.owners
    absent = ~among(wanted, here[among(here, wanted)])
    if not absent.any():
        return
    kind = by.removesuffix("s")
    unknown = [name for name, is_absent in zip(names, absent, strict=True) if is_absent]
    for name in unknown:
        digest = bytes.fromhex(name_digest(parts.keys, kind, name))
        query = "SELECT request FROM tombstones WHERE kind = ? AND digest = ?"
        for row in parts.ledger.all(query, kind, digest):
            raise AlreadyForgotten(
                f"The {kind} {name!r} was forgotten already, by request {row['request']}. Leave it out."
            )
    raise UnknownRows(
        f"No row of the vault has the {kind} {_some(unknown)}. The vault has {len(live.keys)} rows; nothing was "
        f"requested. Check the spelling, or leave {'them' if len(unknown) > 1 else 'it'} out."
    )


def _check_new(kind: str, names: Sequence[str], wanted: keyed.Keys, earlier: list[tuple[int, keyed.Keys]]) -> None:
    for number, keys in earlier:
        twice = among(wanted, keys)
        if twice.any():
            again = [name for name, is_twice in zip(names, twice, strict=True) if is_twice]
            raise AlreadyForgotten(
                f"The {kind} {_some(again)} is in request {number} already. Leave it out; nothing was requested."
            )


def _check_rest(parts: Opened, live: _Live, gone: keyed.Keys) -> None:
    stays = ~among(live.keys, gone)
    if not stays.any():
        raise InputError(
            "Together with the pending requests this would forget every row, and a model of nothing cannot be learned. "
            "To forget everything, withdraw the model and delete the vault's folder."
        )
    if live.codes is None:
        return
    left = np.flatnonzero(np.bincount(live.codes[stays]))
    if len(left) == 1:
        raise InputError(
            f"Together with the pending requests this would leave rows of one class only "
            f"({parts.schema.classes[int(left[0])]!r}), and a classification needs two. Extend the vault with rows of "
            f"another class first, or withdraw the model and delete the vault's folder."
        )


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
