"""At 200,000 rows: how much is read and written, counted, not timed; benchmarks/vault_scale.py times 1,000,000."""

from __future__ import annotations

import shutil
import tempfile
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from toy_methods import Sums

from expunge.rows import BLOCK_ROWS, Rows
from expunge.vault import Vault
from expunge.vault.chunks import Chunks

N, P = 200_000, 10
BLOCKS = -(-N // BLOCK_ROWS)
INDEX, DATA = 24, 8 * P + 8 + 8 + 5  # bytes a row: keys, owners, codes; columns, y, length and text of an id


@pytest.fixture(scope="module", params=[False, True], ids=["subtracting", "reading"])
def large(request: pytest.FixtureRequest) -> Iterator[Path]:
    shared = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=shared if shared.is_dir() else None))
    x = np.random.default_rng(0).normal(size=(N, P))
    Vault.create(folder / "v", Rows.of(x, np.arange(N) % 2, classes=2), Sums(request.param), seed=0).close()
    yield folder / "v"
    shutil.rmtree(folder)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many chunks are read and written, and how many bytes."""
    counts: Counter[str] = Counter()
    read, write = Chunks.read, Chunks.write

    def counted_read(self: Chunks, digest: str) -> bytes:
        content = read(self, digest)
        counts.update({"read": 1, "bytes read": len(content)})
        return content

    def counted_write(self: Chunks, content: bytes) -> str:
        counts.update({"written": 1, "bytes written": len(content)})
        return write(self, content)

    monkeypatch.setattr(Chunks, "read", counted_read)
    monkeypatch.setattr(Chunks, "write", counted_write)
    return counts


def test_a_request_reads_indexes_only(large: Path, counted: Counter[str]) -> None:
    with Vault.open(large) as vault:
        vault.request(ids=[N - 1])
        first = counted.copy()
        assert first["read"] == BLOCKS + 1  # the schema, and one index a block
        assert first["bytes read"] < 1.05 * INDEX * N
        vault.request(ids=[N - 2])
        assert counted == first
        assert counted["written"] == 0
        vault.work()


def test_a_step_rewrites_only_the_blocks_it_touches(large: Path, counted: Counter[str]) -> None:
    with Vault.open(large) as vault:
        vault.request(ids=[0, 1, BLOCK_ROWS + 5])
        counted.clear()
        vault.work()
        # two blocks of two chunks; the weights, and the trees of record and release
        assert counted["written"] == 2 * 2 + 3
        touched = 2 * BLOCK_ROWS * DATA
        # each touched block is read for the step, for its tombstones and for what stays of it
        expected = 3 * touched + (N * DATA if vault.method.reads else 0)  # type: ignore[attr-defined]
        assert counted["bytes read"] < 1.1 * expected


def test_work_holds_a_few_blocks_at_a_time(large: Path) -> None:
    peaks = []
    with Vault.open(large) as vault:
        for first in (10, 11, 12):  # other threads of the process only ever add: the least of three is the step's own
            vault.request(ids=range(first, N, BLOCK_ROWS))
            tracemalloc.start()
            vault.work()
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert BLOCKS == 13
    # all indexes, and one block as the file's bytes, as parsed, as copied and as kept
    assert min(peaks) < INDEX * N + 5.5 * BLOCK_ROWS * DATA
