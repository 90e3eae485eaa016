"""A vault of nearest neighbours writes the bucket that a row leaves, and nothing else of the record or the release."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from expunge import record
from expunge.methods import NearestNeighbours
from expunge.noise import NoiseKey
from expunge.rows import Rows
from expunge.vault import Vault
from expunge.vault.chunks import Chunks


def test_a_request_writes_one_bucket(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(0).normal(size=(4000, 3))
    rows = Rows.of(x, np.arange(4000) % 2, classes=2)
    method = NearestNeighbours(bucket_rows=128)
    written: list[bytes] = []
    write = Chunks.write

    def counted(self: Chunks, content: bytes) -> str:
        written.append(content)
        return write(self, content)

    with Vault.create(folder / "v", rows, method, seed=0) as vault:
        buckets = len(vault.record().buckets)
        assert buckets > 32
        assert holding(folder, x[1234].tobytes())
        vault.request(ids=[1234])
        monkeypatch.setattr(Chunks, "write", counted)
        (done,) = vault.work()
        assert done.purged
        # two of the rows' block; keys, x and y of one bucket; x and y stand in the release too; two trees
        assert len(written) <= 2 + 3 + 2 + 2
        assert sum(len(content) for content in written[2:]) < 128 * 8 * 9 + 200 * buckets + 20_000
    with Vault.open(folder / "v") as again:
        clean = method.learn(rows.without([1234]), seed=0, noise=NoiseKey(bytes(32), 1))
        assert record.digest(again.record()) == record.digest(clean)
    assert holding(folder, x[1235].tobytes())
    assert not holding(folder, x[1234].tobytes())


def holding(folder: Path, value: bytes) -> list[Path]:
    """The files of a vault that hold these bytes."""
    return [path for path in (folder / "v").rglob("*") if path.is_file() and value in path.read_bytes()]
