"""Chunks: content-addressed, whole or absent, checked when read."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from expunge.errors import Corrupt, VaultError
from expunge.vault import chunks
from expunge.vault.chunks import Chunks


@pytest.mark.parametrize("content", [b"", b"a", b"some bytes" * 1000])
def test_a_chunk_is_named_by_its_content(tmp_path: Path, content: bytes) -> None:
    store = Chunks(tmp_path)
    digest = store.write(content)
    assert digest == hashlib.sha256(content).hexdigest()
    assert store.write(content) == digest
    assert store.read(digest) == content
    assert list(store.names()) == [digest]


def test_changed_bytes_are_noticed(tmp_path: Path) -> None:
    store = Chunks(tmp_path)
    digest = store.write(b"some bytes")
    (tmp_path / digest).write_bytes(b"same bytes")
    with pytest.raises(Corrupt, match="does not match its digest"):
        store.read(digest)
    with pytest.raises(Corrupt, match="is not in"):
        store.read("0" * 64)


def test_a_short_write_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, content: write(descriptor, content[:3]))
    store = Chunks(tmp_path)
    assert store.read(store.write(b"some bytes")) == b"some bytes"


@pytest.mark.parametrize(
    ("number", "told"), [(errno.ENOSPC, "is full"), (errno.EDQUOT, "is full"), (errno.EIO, "written")]
)
def test_a_failed_write_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, told: str) -> None:
    def fail(descriptor: int, content: memoryview) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "write", fail)
    with pytest.raises(VaultError, match=told):
        Chunks(tmp_path).write(b"some bytes")
    assert list(tmp_path.iterdir()) == []


def test_only_what_is_kept_stays(tmp_path: Path) -> None:
    store = Chunks(tmp_path)
    one, _ = store.write(b"1"), store.write(b"2")
    (tmp_path / "tmp-half").touch()
    assert store.keep_only({one}) == 2
    assert list(store.names()) == [one]
    assert store.keep_only({one}) == 0


def test_a_chunk_that_is_there_survives_a_failed_second_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Chunks(tmp_path)
    digest = store.write(b"some bytes")

    def fail(descriptor: int, content: memoryview) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(chunks, "write_all", fail)
    with pytest.raises(VaultError):
        store.write(b"some bytes")
    assert store.read(digest) == b"some bytes"
