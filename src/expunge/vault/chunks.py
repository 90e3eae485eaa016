"""Files named by the SHA-256 of their content: written whole or not at all, checked whenever they are read.

Who refers to which chunk stands in the ledger; a chunk that nobody refers to is removed by the purge. Nothing is ever
changed in place.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from expunge.errors import Corrupt, VaultError
from expunge.vault.failpoints import reach

if TYPE_CHECKING:
    from torch import Tensor

TEMPORARY = "tmp-"


@dataclass(frozen=True)
class Chunks:
    """The chunks in one folder."""

    folder: Path

    def write(self, content: bytes) -> str:
        """Store `content`; its digest. The file is complete under its name, or absent; `sync` makes names durable.

        Raises:
            VaultError: the disk is full; what was written of this chunk is removed.
        """
        digest = hashlib.sha256(content).hexdigest()
        temporary = self.folder / f"{TEMPORARY}{secrets.token_hex(8)}"
        half = len(content) // 2
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                write_all(descriptor, memoryview(content)[:half])
                reach("chunk.half")
                write_all(descriptor, memoryview(content)[half:])
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            reach("chunk.rename")
            temporary.rename(self.folder / digest)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise _explained(error, self.folder) from error
        reach("chunk.renamed")
        return digest

    def sync(self) -> None:
        """Make the names of all chunks written so far durable."""
        sync_folder(self.folder)

    def read(self, digest: str) -> bytes:
        """The content of a chunk.

        Raises:
            Corrupt: the chunk is absent, or its bytes do not match its name.
        """
        try:
            content = (self.folder / digest).read_bytes()
        except FileNotFoundError:
            raise Corrupt(
                f"The chunk {digest[:16]} is not in {self.folder}. If another process has just forgotten rows, open "
                f"the vault again; if not, restore the folder from its backup."
            ) from None
        self._check(hashlib.sha256(content).hexdigest(), digest)
        return content

    def size(self, digest: str) -> int:
        """Bytes of a chunk; 0 where there is none."""
        path = self.folder / digest
        return path.stat().st_size if path.exists() else 0

    def mapped(self, digest: str) -> Tensor:
        """The bytes of a chunk as memory that is read when it is needed; what is written to it stays private.

        Raises:
            Corrupt: they do not match its name.
        """
        import torch  # slow to import

        path = self.folder / digest
        content = torch.from_file(str(path), shared=False, size=path.stat().st_size, dtype=torch.uint8)
        self._check(hashlib.sha256(content.numpy().data).hexdigest(), digest)
        return content

    def _check(self, found: str, digest: str) -> None:
        if found != digest:
            raise Corrupt(
                f"The chunk {digest[:16]} in {self.folder} does not match its digest: its bytes were changed or lost. "
                f"Restore it from a backup, or learn again from the rows' source."
            )

    def names(self) -> Iterator[str]:
        """Every file in the folder, temporary ones included."""
        with os.scandir(self.folder) as entries:
            yield from [entry.name for entry in entries]

    def keep_only(self, digests: set[str]) -> int:
        """Remove every other file, temporary ones included; how many went. Durable on return."""
        gone = [name for name in self.names() if name not in digests]
        for name in gone:
            (self.folder / name).unlink(missing_ok=True)
            reach("purge.removed_one")
        if gone:
            self.sync()
        return len(gone)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_all(descriptor: int, content: memoryview) -> None:
    """Write all of `content`, however many calls it takes."""
    while len(content):
        content = content[os.write(descriptor, content) :]


def _explained(error: OSError, folder: Path) -> VaultError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return VaultError(
            f"The disk that holds {folder.parent} is full. Nothing is lost and the live state is as it was: free some "
            f"space and run again."
        )
    return VaultError(f"A chunk could not be written in {folder} ({error.strerror}); the live state is as it was.")
