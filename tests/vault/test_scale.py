"""At 100,000 rows: how much is read and written, counted, not timed; benchmarks/vault_scale.py times 1,000,000."""

from __future__ import annotations

import shutil
import tempfile
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from toy_methods import Noisy

from expunge.certificate import Uncertified
from expunge.method import Forgetting
from expunge.rows import BLOCK_ROWS, Rows
from expunge.vault import Vault
from expunge.vault.chunks import Chunks

N, P = 100_000, 10
BLOCKS = -(-N // BLOCK_ROWS)


class FrugalForget:
    """What `Frugal.forget` replaces: a step that reads no retained row."""


@pytest.fixture(scope="module")
def large() -> Iterator[Path]:
    shared = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=shared if shared.is_dir() else None))
    x = np.random.default_rng(0).normal(size=(N, P))
    Vault.create(folder / "v", Rows.of(x, np.arange(N) % 2, classes=2), Noisy(), seed=0).close()
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
        # the schema, and one index a block: 24 bytes a row beside the columns' 80
        assert first["read"] == BLOCKS + 1
        assert first["bytes read"] < 25 * N
        vault.request(ids=[N - 2])
        assert counted == first
        assert counted["written"] == 0


def test_a_step_rewrites_only_the_blocks_it_touches(
    large: Path, counted: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def forget(self: Noisy, record: object, retained: Rows, forgotten: Rows, *, noise: object) -> object:
        changed = self.learn(forgotten, seed=0, noise=noise)  # type: ignore[arg-type]
        return Forgetting(changed, Uncertified("for this test"), {})

    monkeypatch.setattr(Noisy, "forget", forget)
    monkeypatch.setattr(Noisy, "settle", lambda self, record, retained: record)
    with Vault.open(large) as vault:
        vault.work()  # what the tests before have requested
        counted.clear()
        vault.request(ids=[0, 1, BLOCK_ROWS + 5])
        vault.work()
    # two blocks of two chunks; weights (which are the anchor too), spread, record and release
    assert counted["written"] == 2 * 2 + 4
    # the data of the two touched blocks, for the forgotten rows and for what stays; nothing of the others
    assert counted["bytes read"] < 2.5 * 2 * BLOCK_ROWS * (8 * P + 40) + 25 * N


def test_work_holds_a_few_blocks_at_a_time(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def learn(self: Noisy, rows: Rows, **noise: object) -> object:
        total = sum(table.columns["x"].sum() for table in rows.tables())
        assert np.isfinite(total)
        return record

    with Vault.open(large) as vault:
        record = vault.record()
        monkeypatch.setattr(
            Noisy, "forget", lambda self, record, retained, *_, noise: forgetting(learn, self, retained)
        )
        monkeypatch.setattr(Noisy, "settle", lambda self, record, retained: record)

        def forgetting(learn: object, method: Noisy, retained: Rows) -> Forgetting[object]:
            made = learn(method, retained)  # type: ignore[operator]
            return Forgetting(made, Uncertified("for this test"), {})

        vault.request(ids=range(10, N, BLOCK_ROWS))
        tracemalloc.start()
        vault.work()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 0.75 * N * P * 8 + 25 * N
