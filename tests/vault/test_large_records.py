"""A record larger than memory: recorded in the vault's own scratch folder, kept in chunks that are mapped, not read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from tests.contract.subjects import blobs

from expunge import record
from expunge.learners import descent_recording, recording
from expunge.learners.batch_gradients import BatchGradients
from expunge.learners.descent import Descent
from expunge.methods import DeltaGrad
from expunge.models import Linear, Mlp
from expunge.rows import Rows
from expunge.testing import noise_key
from expunge.vault import Vault, chunks, failpoints
from expunge.vault.replay import Answer, replay

METHOD = DeltaGrad(Descent(epochs=40), burn_in=4)
GONE = ["row-3", "row-17"]
PER_CHUNK = 6


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is large is small: six gradients a chunk, all on disk, and every tensor mapped."""
    monkeypatch.setattr(recording, "CHUNK_BYTES", PER_CHUNK * 15 * 4)
    monkeypatch.setattr(descent_recording, "ON_DISK_BYTES", 0)
    monkeypatch.setattr(record, "ALIGNED_BYTES", 1)


def learned_in_memory(rows: Rows) -> object:
    return METHOD.learn(rows, seed=3, noise=noise_key(1))


def files_under(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_the_gradients_go_through_the_vaults_scratch_and_nothing_stays_there(
    folder: Path, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[str] = set()
    honest = recording.Recording._written

    def watching(self: recording.Recording, where: Path, chunk: torch.Tensor) -> torch.Tensor:
        seen.add(str(where.relative_to(folder / "v")))
        return honest(self, where, chunk)

    monkeypatch.setattr(recording.Recording, "_written", watching)
    rows = blobs()
    with Vault.create(folder / "v", rows, METHOD, seed=3) as vault:
        assert seen == {"scratch/learn"}
        assert files_under(vault.scratch) == []
        vault.request(ids=GONE)
        (done,) = vault.work()
        assert done.purged
        assert seen == {"scratch/learn", "scratch/forget"}
        assert files_under(vault.scratch) == []


def test_it_forgets_as_it_does_in_memory(folder: Path, small: None) -> None:
    rows = blobs()
    before = METHOD.learn(rows, seed=3, noise=noise_key(1))
    after = METHOD.forget(before, rows.without(GONE), rows.only(GONE), noise=noise_key(2, 2)).record
    with Vault.create(folder / "v", rows, METHOD, seed=3) as vault:
        assert record.digest(vault.record()) == record.digest(before)
        vault.request(ids=GONE)
        vault.work()
    with Vault.open(folder / "v") as again:
        stored = again.record()
        assert record.digest(stored) == record.digest(after)
        chunks_kept = stored.trajectory.gradients
        assert [len(chunk) for chunk in chunks_kept] == [PER_CHUNK] * 6 + [4]
        assert all(chunk.data_ptr() % record.ALIGNMENT == 0 for chunk in chunks_kept)


def test_a_mapped_tensor_is_private_and_its_bytes_are_checked(tmp_path: Path, small: None) -> None:
    kept = chunks.Chunks(tmp_path)
    tensor = torch.arange(12, dtype=torch.float32).view(3, 4)
    digest = kept.write(record.tensor_bytes(tensor))
    assert record.tensor_digest(tensor) == digest
    mapped = record.tensor_in(kept.mapped(digest))
    assert torch.equal(mapped, tensor)
    mapped.zero_()
    assert torch.equal(record.tensor_in(kept.mapped(digest)), tensor)
    path = tmp_path / digest
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(chunks.Corrupt, match="does not match"):
        kept.mapped(digest)


@pytest.mark.parametrize("seed", [3, None])
def test_a_learn_that_was_killed_goes_on_from_its_last_chunk(
    seed: int | None, folder: Path, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, path, honest = blobs(), folder / "v", BatchGradients.sum
    child = os.fork()
    if not child:
        try:

            def dying(self: BatchGradients, w: torch.Tensor, step: int) -> torch.Tensor:
                if step == 20:
                    os._exit(failpoints.EXIT_STATUS)
                return honest(self, w, step)

            BatchGradients.sum = dying  # type: ignore[method-assign]
            Vault.create(path, rows, METHOD, seed=seed)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == failpoints.EXIT_STATUS
    summed: list[int] = []

    def counting(self: BatchGradients, w: torch.Tensor, step: int) -> torch.Tensor:
        summed.append(step)
        return honest(self, w, step)

    monkeypatch.setattr(BatchGradients, "sum", counting)
    with Vault.create(path, rows, METHOD, seed=seed) as vault:
        assert summed == list(range(18, 40))
        again = METHOD.learn(rows, seed=vault.seed, noise=noise_key(1))
        assert record.digest(vault.record()) == record.digest(again)
        assert files_under(vault.scratch) == []


def test_a_learn_of_other_rows_does_not_go_on_from_what_was_killed(folder: Path, small: None) -> None:
    rows, path = blobs(), folder / "v"
    child = os.fork()
    if not child:
        os.environ[failpoints.ENVIRONMENT] = "create.learned"
        try:
            Vault.create(path, rows, METHOD, seed=3)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == failpoints.EXIT_STATUS
    assert len(files_under(path / "scratch")) > 1
    fewer = rows.without(GONE)
    with Vault.create(path, fewer, METHOD, seed=3) as vault:
        assert record.digest(vault.record()) == record.digest(learned_in_memory(fewer))
        assert files_under(vault.scratch) == []


@pytest.mark.parametrize("model", [Linear(), Mlp((3,))])
def test_a_training_followed_exactly_is_replayed_bit_for_bit(model: Linear | Mlp, folder: Path) -> None:
    method = DeltaGrad(Descent(model, epochs=3, batches=2), period=1)
    with Vault.create(folder / "v", blobs(), method, seed=3) as vault:
        assert replay(vault).answer is Answer.EQUAL
        vault.request(ids=GONE)
        vault.work()
        assert replay(vault).answer is Answer.EQUAL
