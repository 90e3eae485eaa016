"""References: models retrained without the forgotten rows, with independent seeds and fresh noise.

They are what an audit compares with, so they are worth keeping: with `scratch` each is stored under a digest of the
method, the retained rows' content, the seed and the release number, and is read back when the same one is asked for.
A reference remembers every retained row. The folder must be the vault's own and be emptied by the next purge.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import safetensors.torch
import torch
from safetensors import SafetensorError

from expunge import keyed, record
from expunge.errors import Corrupt, InputError
from expunge.method import Method, Release
from expunge.noise import NoiseKey
from expunge.rows import Rows
from expunge.schema import Array

Progress = Callable[[str, int, int], None]  # what is being done, how many are done, of how many


@dataclass(frozen=True, eq=False)
class Learned:
    """A model learned for an audit: its release, and the seconds it took."""

    release: Release
    seconds: float


def learn(method: Method[Any], rows: Rows, seed: int, noise: NoiseKey) -> Learned:
    """Learn again and time it."""
    started = time.perf_counter()
    learned = method.learn(rows, seed=seed, noise=noise)
    seconds = time.perf_counter() - started
    return Learned(method.release(learned), seconds)


def retrain(
    method: Method[Any],
    retained: Rows,
    *,
    seed: int,
    count: int,
    number: int = 1,
    scratch: Path | None = None,
    jobs: int | None = 1,
    progress: Progress | None = None,
) -> list[Learned]:
    """`count` models of `retained`, under seeds drawn from `seed` and fresh noise.

    Args:
        number: of the release, which sets how far a certified method solves. scratch: where to keep them.
        jobs: processes at a time, through joblib; None leaves it to `joblib.parallel_config`.
        progress: called with ("retraining references", done, count).

    Raises:
        InputError: count is negative.
    """
    if count < 0:
        raise InputError(f"{count} references were asked for; give 0 or more (5 is quick, 20 is the protocol).")
    seeds = [keyed.subseed(seed, "audit reference", k) for k in range(count)]
    content = _content(method, retained, number) if scratch is not None and count else None
    places = [None if content is None or scratch is None else _place(scratch, content, s) for s in seeds]
    found = {k: learned for k, place in enumerate(places) if place is not None and (learned := _read(place))}
    missing = [k for k in range(count) if k not in found]
    tell = progress or (lambda _what, _done, _of: None)
    tell("retraining references", len(found), count)
    if jobs == 1 or len(missing) < 2:
        for done, k in enumerate(missing, start=len(found) + 1):
            found[k] = _reference(method, retained, seeds[k], number, places[k])
            tell("retraining references", done, count)
    else:
        # Rows read from a vault hold an open database; workers get them in memory, and never through a file outside it.
        held = Rows.from_table(retained.table(), retained.schema.classes)
        folder = {"temp_folder": str(scratch)} if scratch is not None else {"max_nbytes": None}
        work = (joblib.delayed(_reference)(method, held, seeds[k], number, places[k]) for k in missing)
        found |= dict(zip(missing, joblib.Parallel(n_jobs=jobs, **folder)(work), strict=True))
        tell("retraining references", count, count)
    return [found[k] for k in range(count)]


def _reference(method: Method[Any], rows: Rows, seed: int, number: int, place: Path | None) -> Learned:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        learned = learn(method, rows, seed, NoiseKey.fresh(number))
    finally:
        torch.set_num_threads(threads)
    if place is not None:
        _write(place, learned)
    return learned


def _content(method: Method[Any], rows: Rows, number: int) -> str | None:
    """A digest of all that decides a reference but its seed; None where the method cannot be written down."""
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


def _bytes(array: Array) -> bytes:
    if array.dtype.kind != "T":
        return array.tobytes()
    encoded = [str(value).encode() for value in array.ravel()]
    return b"".join(len(text).to_bytes(4, "little") + text for text in encoded)


def _place(scratch: Path, content: str, seed: int) -> Path:
    return scratch / "references" / hashlib.sha256(f"{content}:{seed}".encode()).hexdigest()


def _write(place: Path, learned: Learned) -> None:
    """Both files, the JSON last: it carries the digest, so that half a reference is never read."""
    place.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in learned.release.tensors.items()}
    note = {
        "settings": record.encode(learned.release.settings)[0],
        "seconds": learned.seconds,
        "digest": record.digest(learned.release),
    }
    for suffix, content in ((".safetensors", safetensors.torch.save(tensors)), (".json", json.dumps(note).encode())):
        temporary = place.with_name(f"{place.name}{suffix}.{os.getpid()}.tmp")
        temporary.write_bytes(content)
        temporary.replace(place.with_name(f"{place.name}{suffix}"))


def _read(place: Path) -> Learned | None:
    """The stored reference; None where there is none, or its bytes do not match their digest."""
    try:
        note = json.loads(place.with_name(f"{place.name}.json").read_bytes())
        tensors = safetensors.torch.load(place.with_name(f"{place.name}.safetensors").read_bytes())
        release = Release(tensors, record.decode(note["settings"], {}))
        whole = record.digest(release) == note["digest"]
        return Learned(release, float(note["seconds"])) if whole else None
    except (OSError, ValueError, KeyError, TypeError, Corrupt, SafetensorError):
        return None
