"""Parallel trainings: the same bits everywhere, nothing outside the vault, and no waiting for a worker that is gone."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from tests.learners.dying import Dying

from expunge.errors import InputError, WorkersLost
from expunge.features import Numeric
from expunge.learners.featured import Featured
from expunge.learners.sgd import Sgd
from expunge.methods.sisa import Sisa
from expunge.models import Mlp
from expunge.noise import NoiseKey
from expunge.record import digest
from expunge.rows import Rows
from expunge.vault import Vault

NOISE = NoiseKey(bytes(32), 1)
MARK = 31415.9265


def some_rows(n: int = 40) -> Rows:
    x = np.random.default_rng(0).normal(size=(n, 3))
    return Rows.of(x, np.arange(n) % 2)


def asked(method: Sisa, rows: Rows) -> Any:
    record = method.learn(rows, seed=5, noise=NOISE)
    return method.forget(record, rows.without([1, 2, 3, 4]), rows.only([1, 2, 3, 4]), noise=NOISE)


@pytest.fixture(autouse=True, scope="module")
def no_worker_is_left() -> Iterator[None]:
    yield
    from joblib.externals.loky import get_reusable_executor

    get_reusable_executor().shutdown(wait=True, kill_workers=True)


@pytest.mark.parametrize("backend", ["threading", "multiprocessing"])
def test_every_backend_of_this_machine_gives_the_same_bits(backend: str) -> None:
    rows = some_rows()
    method = Sisa(Featured((Numeric(("x",)),), Sgd(Mlp((3,)), epochs=2, batch_size=8)), 4, 2)
    alone = digest(asked(method, rows).record)
    with joblib.parallel_config(backend=backend, n_jobs=2):
        assert digest(asked(method, rows).record) == alone


def test_workers_of_this_machine_write_no_row_to_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBLIB_TEMP_FOLDER", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    x = np.full((20_000, 20), MARK)  # far above the size from which joblib maps arguments to files
    rows = Rows.of(x, np.arange(20_000) % 2)
    seen: list[str] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            seen.extend(str(path) for path in tmp_path.rglob("*") if path.is_file())
            stop.wait(0.01)

    watcher = threading.Thread(target=watch)
    watcher.start()
    with joblib.parallel_config(backend="loky", n_jobs=2):
        Sisa(Dying(), 2, 1).learn(rows, seed=5, noise=NOISE)
    stop.set()
    watcher.join()
    assert seen == []


def test_a_worker_that_dies_ends_in_an_error_that_says_so() -> None:
    with joblib.parallel_config(backend="loky", n_jobs=2), pytest.raises(WorkersLost, match="a worker died"):
        asked(Sisa(Dying("dies"), 4, 1), some_rows())


@pytest.mark.parametrize("how", ["hangs", "dies"])  # a pool of processes itself does not notice a death
def test_a_worker_that_does_not_answer_is_not_waited_for(how: str) -> None:
    start = time.monotonic()
    lost = pytest.raises(WorkersLost, match="more than 1 seconds")
    with joblib.parallel_config(backend="multiprocessing", n_jobs=2), lost:
        asked(Sisa(Dying(how), 4, 1, timeout=1.0), some_rows())
    assert time.monotonic() - start < 30


@pytest.mark.parametrize("backend", ["multiprocessing", "threading"])
def test_what_a_training_says_on_purpose_comes_through_and_so_does_a_bug(backend: str) -> None:
    with joblib.parallel_config(backend=backend, n_jobs=2):
        with pytest.raises(InputError, match="cannot be learned"):
            asked(Sisa(Dying("fails"), 4, 1), some_rows())
        with pytest.raises(ZeroDivisionError):
            asked(Sisa(Dying("breaks"), 4, 1), some_rows())


def test_a_vault_loses_nothing_to_a_dead_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, method = some_rows(), Sisa(Sgd(Mlp((3,)), epochs=1), 4, 1)
    with Vault.create(tmp_path / "v", rows, method, seed=5) as vault:
        before = digest(vault.record())
        vault.request(ids=[1, 2, 3, 4])
        with monkeypatch.context() as patched:
            patched.setattr("expunge.methods.sisa.in_parallel", _lost)
            with pytest.raises(WorkersLost):
                vault.work()
        assert digest(vault.record()) == before
        assert len(vault.rows()) == 40
    with Vault.open(tmp_path / "v") as vault:
        (done,) = vault.work()
        assert done.rows == 4
        assert digest(vault.record()) == digest(method.learn(rows.without([1, 2, 3, 4]), seed=vault.seed, noise=NOISE))


def _lost(*_: object) -> None:
    raise WorkersLost("A parallel training was lost.")


def test_timeouts_are_part_of_no_record() -> None:
    rows, method = some_rows(), Sisa(Dying(), 4, 1)
    other = dataclasses.replace(method, timeout=5.0)
    assert digest(asked(method, rows).record) == digest(asked(other, rows).record)
