"""Vaults of a few people, in memory where there is a place for it: fsync of a disk would be most of the time."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from toy_methods import Totals
from vault_rows import people

from expunge.vault import Vault, compaction, ledger, stored_rows


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A new folder, small blocks and little patience with readers."""
    for module in (stored_rows, compaction):
        monkeypatch.setattr(module, "BLOCK_ROWS", 16)
    monkeypatch.setattr(ledger, "READER_PATIENCE_MS", 5)
    shared = Path("/dev/shm")
    made = Path(tempfile.mkdtemp(dir=shared if shared.is_dir() else tmp_path))
    yield made
    shutil.rmtree(made)


@pytest.fixture
def vault(folder: Path) -> Iterator[Vault]:
    """40 people under an exact method."""
    with Vault.create(folder / "v", people(40), Totals(), seed=7) as made:
        yield made
