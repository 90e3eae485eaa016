"""Vectors of a training, one a step, as they are recorded: in memory, or in files that a killed recording resumes from.

They lie in chunks of whole steps, each a tensor (steps, d); a record holds the tuple of chunks. With a folder every
chunk is a file: written under a temporary name, made durable, renamed, and from then on mapped and read when needed. A
recording that was killed finds its complete chunks and goes on after them: where a step's weights are a function of the
vectors before it, nothing else has to be kept. `identity` says what is recorded (settings, rows, seed): the files of
anything else are removed first.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from expunge.errors import VaultError

CHUNK_BYTES = 16 * 2**20
IDENTITY = "identity"


class Recording:
    """Appends vectors (d,) of `dtype`, `steps` of them; `finished` gives the chunks."""

    def __init__(
        self, steps: int, dimension: int, dtype: torch.dtype, folder: Path | None = None, identity: str | None = None
    ) -> None:
        """As the class says; with an identity, what a killed recording of the same one left in the folder is kept."""
        self._steps, self._dimension, self._dtype, self._folder = steps, dimension, dtype, folder
        self._per_chunk = max(1, min(steps, CHUNK_BYTES // (dimension * dtype.itemsize)))
        self._chunks: list[Tensor] = []
        self._open = torch.empty(0, dtype=dtype)
        self._places: tuple[Tensor, ...] = ()
        self._filled = 0
        if folder is not None:
            self._take_over(folder, identity)

    @property
    def done(self) -> int:
        """How many vectors it holds."""
        return sum(map(len, self._chunks)) + self._filled

    def vectors(self) -> Iterator[Tensor]:
        """Those of complete chunks, in order."""
        return vectors(self._chunks)

    def append(self, vector: Tensor) -> None:
        """The next vector, copied."""
        if not self._filled:
            self._begin_chunk()
        self._places[self._filled].copy_(vector)
        self._filled += 1
        if self._filled == len(self._places):
            self._chunks.append(self._open if self._folder is None else self._written(self._folder, self._open))
            self._filled = 0

    def finished(self) -> tuple[Tensor, ...]:
        """All chunks; every step was appended."""
        if self.done != self._steps:
            raise ValueError(f"{self.done} of {self._steps} steps were recorded.")
        return tuple(self._chunks)

    def _begin_chunk(self) -> None:
        rows = min(self._per_chunk, self._steps - self.done)
        if self._folder is None or len(self._places) != rows:  # a chunk that is a file gives its memory to the next
            self._open = torch.empty((rows, self._dimension), dtype=self._dtype)
            self._places = self._open.unbind()

    def _take_over(self, folder: Path, identity: str | None) -> None:
        """Complete chunks of the same identity; everything else in the folder is removed."""
        folder.mkdir(parents=True, exist_ok=True)
        note = folder / IDENTITY
        if identity is None or not note.exists() or note.read_text(encoding="utf-8") != identity:
            for path in folder.iterdir():
                path.unlink()
            _write(note, (identity or "").encode())
        while self.done < self._steps:
            rows = min(self._per_chunk, self._steps - self.done)
            path = self._place(folder)
            if not path.exists() or path.stat().st_size != rows * self._dimension * self._dtype.itemsize:
                break  # none, or of a version with other chunks
            self._chunks.append(self._mapped(path, rows))
        for path in folder.glob("tmp-*"):
            path.unlink()

    def _place(self, folder: Path) -> Path:
        return folder / f"{len(self._chunks):06d}"

    def _written(self, folder: Path, chunk: Tensor) -> Tensor:
        path = self._place(folder)
        _write(path, chunk.numpy().data)
        return self._mapped(path, len(chunk))

    def _mapped(self, path: Path, rows: int) -> Tensor:
        """The chunk's file as memory; what is written to it would stay private."""
        flat = torch.from_file(str(path), shared=False, size=rows * self._dimension, dtype=self._dtype)
        return flat.view(rows, self._dimension)


def vectors(chunks: Sequence[Tensor]) -> Iterator[Tensor]:
    """The rows of all chunks, in order."""
    for chunk in chunks:
        yield from chunk.unbind()


def identity_of(*parts: object) -> str:
    """A digest of settings and arrays of bytes, by which a recording knows its own files."""
    sha = hashlib.sha256()
    for part in parts:
        content = part if isinstance(part, bytes) else repr(part).encode()
        sha.update(len(content).to_bytes(8, "little") + content)
    return sha.hexdigest()


def _write(path: Path, content: bytes | memoryview) -> None:
    """The whole file under its name, durably, or no file of that name.

    Raises:
        VaultError: the disk is full, or refuses.
    """
    temporary = path.with_name(f"tmp-{path.name}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise VaultError(
            f"The gradients of the training could not be written in {path.parent} ({error.strerror}): free some "
            "space and run again."
        ) from error
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
