"""What is recorded is the same in memory and in files, and a recording that was killed goes on to the same bits."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from expunge import scratch
from expunge.errors import VaultError
from expunge.learners import descent_recording, recording
from expunge.learners.descent import Descent
from expunge.learners.descent_recording import recorded
from expunge.learners.recording import Recording, identity_of, vectors
from expunge.methods.delta_grad import DeltaGrad
from expunge.record import digest
from expunge.rows import Rows
from expunge.testing import noise_key

LEARNER = Descent(epochs=11, batches=2)
KILLED = 137


def some_rows(n: int = 40) -> Rows:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(n, 3))
    return Rows.of(x, (x[:, 0] > 0).astype(int), ids=[f"row-{i}" for i in range(n)])


@pytest.fixture
def on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything goes to files, four steps each."""
    monkeypatch.setattr(recording, "CHUNK_BYTES", 4 * 8 * 4)
    monkeypatch.setattr(descent_recording, "ON_DISK_BYTES", 0)


def train(rows: Rows, folder: Path | None = None) -> tuple[str, torch.Tensor]:
    start = LEARNER.start(rows.schema, 3, ("test",))
    if folder is None:
        trajectory, w = recorded(LEARNER, start, rows, 3, ("test",))
    else:
        with scratch.lent(folder):
            trajectory, w = recorded(LEARNER, start, rows, 3, ("test",))
    return digest(trajectory), w


def killed_after(steps: int, rows: Rows, folder: Path) -> int:
    """The exit status of a child that is killed when it sums the gradients of that step."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        from expunge.learners.batch_gradients import BatchGradients

        honest = BatchGradients.sum

        def dying(self: BatchGradients, w: torch.Tensor, step: int) -> torch.Tensor:
            if step == steps:
                os._exit(KILLED)
            return honest(self, w, step)

        BatchGradients.sum = dying  # type: ignore[method-assign]
        train(rows, folder)
    finally:
        os._exit(1)


def test_vectors_come_back_in_order_from_chunks_of_whole_steps(tmp_path: Path, on_disk: None) -> None:
    given = torch.arange(30, dtype=torch.float32).view(10, 3)
    for folder in (None, tmp_path / "files"):
        kept = Recording(10, 3, torch.float32, folder, "mine")
        for vector in given:
            kept.append(vector)
        chunks = kept.finished()
        assert sum(len(chunk) for chunk in chunks) == 10
        assert torch.equal(torch.stack(list(vectors(chunks))), given)
    assert len(list((tmp_path / "files").iterdir())) == 1 + len(chunks)


def test_a_recording_that_is_not_complete_is_not_finished() -> None:
    kept = Recording(3, 2, torch.float32)
    kept.append(torch.zeros(2))
    with pytest.raises(ValueError, match="1 of 3"):
        kept.finished()


def test_what_is_mapped_is_not_changed_through_the_tensor(tmp_path: Path) -> None:
    kept = Recording(1, 2, torch.float32, tmp_path, "mine")
    kept.append(torch.ones(2))
    kept.finished()[0].zero_()
    again = Recording(1, 2, torch.float32, tmp_path, "mine")
    assert torch.equal(again.finished()[0], torch.ones(1, 2))


def test_files_of_another_recording_are_removed(tmp_path: Path) -> None:
    for identity in ("mine", "another"):
        kept = Recording(1, 2, torch.float32, tmp_path, identity)
        assert kept.done == 0
        kept.append(torch.ones(2))
    assert Recording(1, 2, torch.float32, tmp_path, "another").done == 1


def test_memory_and_files_give_the_same_record(tmp_path: Path, on_disk: None) -> None:
    in_memory, on_files = train(some_rows()), train(some_rows(), tmp_path)
    assert in_memory[0] == on_files[0]
    assert torch.equal(in_memory[1], on_files[1])
    assert len(list((tmp_path / "learn").iterdir())) > 4


@pytest.mark.parametrize("steps", [0, 3, 9, 21])
def test_a_recording_that_was_killed_goes_on_from_its_last_file_to_the_same_bits(
    steps: int, tmp_path: Path, on_disk: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = some_rows()
    assert killed_after(steps, rows, tmp_path) == KILLED
    durable = len([path for path in (tmp_path / "learn").iterdir() if path.name != recording.IDENTITY])
    per_file = 4 * 8 * 4 // (8 * 4)
    assert durable == steps // per_file
    summed: list[int] = []
    from expunge.learners.batch_gradients import BatchGradients

    honest = BatchGradients.sum

    def counting(self: BatchGradients, w: torch.Tensor, step: int) -> torch.Tensor:
        summed.append(step)
        return honest(self, w, step)

    monkeypatch.setattr(BatchGradients, "sum", counting)
    resumed = train(rows, tmp_path)
    assert summed == list(range(durable * per_file, 22))
    undisturbed = train(rows)
    assert resumed[0] == undisturbed[0]
    assert torch.equal(resumed[1], undisturbed[1])


def test_a_full_disk_is_told_and_what_was_recorded_stays(
    tmp_path: Path, on_disk: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, written, honest = some_rows(), [], os.fsync

    def full(descriptor: int) -> None:
        written.append(descriptor)
        if len(written) > 6:
            raise OSError(errno.ENOSPC, "No space left on device")
        honest(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(VaultError, match="could not be written"):
            train(rows, tmp_path)
    kept = sorted(path.name for path in (tmp_path / "learn").iterdir())
    assert kept == ["000000", "000001", recording.IDENTITY]
    assert train(rows, tmp_path)[0] == train(rows)[0]


def test_a_recording_of_other_rows_does_not_go_on_from_the_files(tmp_path: Path, on_disk: None) -> None:
    rows = some_rows()
    assert killed_after(9, rows, tmp_path) == KILLED
    fewer = rows.without(["row-5"])
    assert train(fewer, tmp_path)[0] == train(fewer)[0] != train(rows)[0]


def test_forgetting_on_files_equals_forgetting_in_memory(tmp_path: Path, on_disk: None) -> None:
    rows, method = some_rows(), DeltaGrad(LEARNER)
    record = method.learn(rows, seed=3, noise=noise_key(1))

    def after(given: object) -> str:
        step = method.forget(given, rows.without(["row-5"]), rows.only(["row-5"]), noise=noise_key(2, 2))  # type: ignore[arg-type]
        return digest(step.record)

    with scratch.lent(tmp_path):
        mapped = method.learn(rows, seed=3, noise=noise_key(1))
        assert after(mapped) == after(mapped) == after(record)


def test_no_folder_is_lent_outside(tmp_path: Path) -> None:
    assert scratch.folder() is None
    with scratch.lent(tmp_path):
        assert scratch.folder() == tmp_path
    assert scratch.folder() is None


def test_identities_keep_their_parts_apart() -> None:
    assert identity_of("ab", "c") != identity_of("a", "bc")
    assert identity_of(1, b"x") == identity_of(1, b"x")
