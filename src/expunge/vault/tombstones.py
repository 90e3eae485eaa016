"""Tombstones: keyed digests of forgotten rows, so that one that comes back is recognised and nobody's data is kept.

A tombstone holds a digest of a row's id, of its subject where the whole subject was forgotten, and of its content, so
that a renumbered re-import is caught too. Digests are BLAKE2b keyed from the key file (a message authentication code of
128 bits): pseudonymous, not anonymous, because whoever holds the key can test a guess.

Content is compared by value: columns in the order of their names, every number as a float64 (so a change of width,
-0.0 for 0.0, or another NaN makes no difference where the value is the same), y last. A value that was rounded
on its way is another value. Rows of few bits meet by chance: an equal content under a new id and subject may well be
somebody else. The guard refuses it all the same, because it cannot tell; the caller who can passes
`allow_equal_content`, and the count that this admits goes to the ledger.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from expunge.errors import Resurrection
from expunge.rows import Rows, Table
from expunge.schema import Array
from expunge.vault.keys import Keys

DIGEST_BYTES = 16


@dataclass(frozen=True)
class Tombstone:
    """What is kept of one forgotten row: hexadecimal digests. `subject` is None unless all of the subject is gone."""

    id: str
    subject: str | None
    content: str


@dataclass(frozen=True)
class Known:
    """All tombstones of a vault, as digest -> number of the request that made it."""

    ids: Mapping[str, int] = field(default_factory=dict)
    subjects: Mapping[str, int] = field(default_factory=dict)
    contents: Mapping[str, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.ids or self.subjects or self.contents)


def name_digest(keys: Keys, kind: str, name: str) -> str:
    """The digest of one id (`kind` "id") or subject (`kind` "subject")."""
    return next(_digests(keys, kind, [name.encode()]))


def tombstones(keys: Keys, table: Table, *, subjects: Collection[str] | None = None) -> list[Tombstone]:
    """The tombstones of the rows of a table.

    Args:
        subjects: those forgotten as a whole; None means every subject in the table. A row of another subject gets no
            subject digest: the subject may keep other rows, and bring new ones.
    """
    whole = None if subjects is None else set(subjects)
    owners: list[str | None] = [None] * len(table)
    if table.subjects is not None:
        names = [str(name) for name in table.subjects]
        digests = _digests(keys, "subject", (name.encode() for name in names))
        owners = [
            digest if whole is None or name in whole else None for name, digest in zip(names, digests, strict=True)
        ]
    ids = _digests(keys, "id", (str(name).encode() for name in table.ids))
    return [Tombstone(*parts) for parts in zip(ids, owners, _contents(keys, table), strict=True)]


def admit(keys: Keys, rows: Rows, known: Known, *, allow_equal_content: bool = False) -> int:
    """Compare offered rows with all tombstones; the number of equal contents admitted, for the ledger.

    Reads no row where there is no tombstone.

    Args:
        allow_equal_content: the caller has looked, and the rows of equal content belong to others.

    Raises:
        Resurrection: an id, subject or content was forgotten; the message names the requests.
    """
    if not known:
        return 0
    equal = 0
    for table in rows.tables():
        _refuse("id", table.ids, known.ids, keys)
        if table.subjects is not None:
            _refuse("subject", table.subjects, known.subjects, keys)
        if known.contents:
            found = [known.contents.get(digest) for digest in _contents(keys, table)]
            requests = {request for request in found if request is not None}
            equal += sum(request is not None for request in found)
            if requests and not allow_equal_content:
                first = next(name for name, request in zip(table.ids, found, strict=True) if request is not None)
                raise Resurrection(
                    f"The row {str(first)!r} has the content of a row forgotten by request {_numbers(requests)}. If it "
                    f"is that row under a new id, leave it out; if it is another's and equal by coincidence, pass "
                    f"allow_equal_content=True, which the ledger will show."
                )
    return equal


def _refuse(kind: str, names: Array, known: Mapping[str, int], keys: Keys) -> None:
    if not known:
        return
    found = [known.get(digest) for digest in _digests(keys, kind, (str(name).encode() for name in names))]
    back = [str(name) for name, request in zip(names, found, strict=True) if request is not None]
    if back:
        requests = {request for request in found if request is not None}
        raise Resurrection(
            f"The {kind} {back[0]!r}{f' and {len(back) - 1} more' if len(back) > 1 else ''} was forgotten by request "
            f"{_numbers(requests)} and is offered again. Leave it out; who gives their data anew needs a new {kind}."
        )


def _numbers(requests: Iterable[int]) -> str:
    listed = sorted(requests)
    return ", ".join(map(str, listed[:5])) + (f" and {len(listed) - 5} more" if len(listed) > 5 else "")


def _digests(keys: Keys, kind: str, messages: Iterable[bytes | memoryview]) -> Iterator[str]:
    key, blake = keys.derived("tombstone", kind), hashlib.blake2b
    for message in messages:
        yield blake(message, digest_size=DIGEST_BYTES, key=key, person=b"expunge-tomb").hexdigest()


def _contents(keys: Keys, table: Table) -> Iterator[str]:
    """Content digests: a header that says how to read the bytes, the numbers of a row, then its texts."""
    named = [*sorted(table.columns.items()), *([] if table.y is None else [("", table.y)])]
    text = [(name, column) for name, column in named if column.dtype.kind == "T"]
    numbers = [(name, column) for name, column in named if column.dtype.kind != "T"]
    header = json.dumps([[(name, column.shape[1:]) for name, column in part] for part in (numbers, text)])
    matrix = _canonical_numbers([column for _, column in numbers], len(table))
    width = matrix.shape[1] * 8
    whole = memoryview(matrix.tobytes())
    parts: Iterable[bytes | memoryview] = (whole[at * width : (at + 1) * width] for at in range(len(table)))
    if text:
        cells = np.concatenate([_flat(column) for _, column in text], axis=1).tolist()
        parts = (bytes(part) + _joined(row) for part, row in zip(parts, cells, strict=True))
    return _digests(keys, f"content {header}", parts)


def _canonical_numbers(columns: list[Array], rows: int) -> NDArray[np.float64]:
    """(rows, total width) little-endian float64, with one zero and one NaN."""
    flat = [_flat(column).astype("<f8") for column in columns]
    matrix = np.concatenate(flat, axis=1) if flat else np.empty((rows, 0), dtype="<f8")
    matrix += 0.0  # -0.0 + 0.0 is 0.0
    matrix[np.isnan(matrix)] = np.nan
    return matrix


def _flat(column: Array) -> Array:
    return column.reshape(len(column), math.prod(column.shape[1:]))


def _joined(cells: list[str]) -> bytes:
    """Length-prefixed, so that ("ab", "c") and ("a", "bc") never meet."""
    encoded = [cell.encode() for cell in cells]
    return b"".join(len(cell).to_bytes(4, "little") + cell for cell in encoded)
