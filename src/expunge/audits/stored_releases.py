"""Releases learned for an audit, kept in a folder under a digest of all that decided them, and read back.

They remember the rows they were learned from: the folder must be the vault's own and be emptied by the next purge.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError

from expunge import record
from expunge.errors import Corrupt
from expunge.method import Method, Release
from expunge.rows import Rows
from expunge.schema import Array


@dataclass(frozen=True, eq=False)
class Learned:
    """A model learned for an audit: its release, and the seconds it took."""

    release: Release
    seconds: float


def content(method: Method[Any], rows: Rows, number: int) -> str | None:
    """A digest of all that decides a model but its seed; None where the method cannot be written down.

    Args:
        number: of the release, which sets how far a certified method solves.
    """
    try:
        method_digest = record.digest(method)
    except TypeError:
        return None
    hashed = hashlib.sha256(f"{method_digest}:{number}:{rows.schema}".encode())
    for table in rows.tables():
        hashed.update(table.keys.tobytes() + table.owners.tobytes())
        for name in sorted(table.columns):
            hashed.update(_bytes(table.columns[name]))
        if table.y is not None:
            hashed.update(_bytes(table.y))
    return hashed.hexdigest()


def place(scratch: Path, folder: str, *decided_by: str | int) -> Path:
    """Where a release decided by these things lies, without a suffix."""
    return scratch / folder / hashlib.sha256(":".join(map(str, decided_by)).encode()).hexdigest()


def write(where: Path, learned: Learned) -> None:
    """Both files, the JSON last: it carries the digest, so that half a release is never read."""
    where.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in learned.release.tensors.items()}
    note = {
        "settings": record.encode(learned.release.settings)[0],
        "seconds": learned.seconds,
        "digest": record.digest(learned.release),
    }
    for suffix, written in ((".safetensors", safetensors.torch.save(tensors)), (".json", json.dumps(note).encode())):
        temporary = where.with_name(f"{where.name}{suffix}.{os.getpid()}.tmp")
        temporary.write_bytes(written)
        temporary.replace(where.with_name(f"{where.name}{suffix}"))


def read(where: Path) -> Learned | None:
    """The stored release; None where there is none, or its bytes do not match their digest."""
    try:
        note = json.loads(where.with_name(f"{where.name}.json").read_bytes())
        tensors = safetensors.torch.load(where.with_name(f"{where.name}.safetensors").read_bytes())
        release = Release(tensors, record.decode(note["settings"], {}))
        whole = record.digest(release) == note["digest"]
        return Learned(release, float(note["seconds"])) if whole else None
    except (OSError, ValueError, KeyError, TypeError, Corrupt, SafetensorError):
        return None


def _bytes(array: Array) -> bytes:
    if array.dtype.kind != "T":
        return array.tobytes()
    encoded = [str(value).encode() for value in array.ravel()]
    return b"".join(len(text).to_bytes(4, "little") + text for text in encoded)
