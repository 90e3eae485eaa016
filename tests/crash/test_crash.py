"""Killed at every boundary and inside every write: each request is done exactly once, and nothing stays behind."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import processes
import pytest
from toy_methods import Noisy, Totals
from vault_rows import marks, people, traces

from expunge.audits.step import Step
from expunge.certificate import Certified, Exact
from expunge.errors import AlreadyForgotten, DuplicateRows, ExpungeError, Incomplete
from expunge.learners.convex import Convex
from expunge.method import Method
from expunge.methods.certified_newton import CertifiedNewton
from expunge.methods.retrain import Retrain
from expunge.methods.sisa import Sisa
from expunge.rows import Rows
from expunge.vault import Vault, compaction, failpoints, ledger, stored_rows
from expunge.vault.replay import Answer, replay
from expunge.vault.verify import verify_chain

ROWS = 40
GONE = [f"person-{i:05d}-q" for i in (2, 3, 20, 21)]


@pytest.fixture(autouse=True)
def small_blocks_and_little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (stored_rows, compaction):
        monkeypatch.setattr(module, "BLOCK_ROWS", 16)
    monkeypatch.setattr(ledger, "READER_PATIENCE_MS", 5)


@pytest.fixture(params=[False, True], ids=["alone", "with a reader"])
def read(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


class Bench:
    """A vault made once, and fresh copies of it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.copies = folder, 0

    def make(self, action: Callable[[Path], object]) -> None:
        (self.folder / "base").mkdir()
        assert processes.run(lambda: action(self.folder / "base" / "v")) == 0

    def copy(self) -> Path:
        self.copies += 1
        return Path(shutil.copytree(self.folder / "base", self.folder / f"copy{self.copies}")) / "v"


@pytest.fixture
def in_memory(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: killing a process does not ask how fast fsync is."""
    shared = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=shared if shared.is_dir() else tmp_path))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def bench(in_memory: Path) -> Bench:
    return Bench(in_memory)


def learn(path: Path, method: Method[Any], rows: Rows | None = None) -> None:
    Vault.create(path, people(ROWS) if rows is None else rows, method, seed=7).close()


def work(path: Path, audit: Any = None) -> None:
    with Vault.open(path) as vault:
        vault.work(audit)


def requested(path: Path, method: Method[Any]) -> None:
    learn(path, method)
    with Vault.open(path) as vault:
        assert vault.request(ids=["person-00002-q", "person-00003-q"], reason="by id") == 1
        assert vault.request(subjects=["family-00010-w"], reason="by subject") == 2


def points(bench: Bench, action: Callable[[Path], object]) -> Iterator[str]:
    path = bench.copy()
    yield from processes.arrivals(lambda: action(path), bench.folder / "arrivals.json")


def undisturbed(bench: Bench, action: Callable[[Path], object]) -> str:
    path = bench.copy()
    assert processes.run(lambda: action(path)) == 0
    with Vault.open(path) as vault:
        return str(vault.status()["release"]["digest"])


def check_forgotten(path: Path, digest: str, where: str) -> None:
    """Everything that must hold once both requests are purged."""
    gone = people(ROWS).only(GONE).table()
    assert traces(path, gone) == set(), where
    assert not list(path.rglob("tmp-*")), where
    with Vault.open(path) as vault:
        status, entries = vault.status(), vault.ledger()
        assert status["rows"] == len(vault.rows()) == ROWS - len(GONE), where
        assert sorted(vault.rows().ids) == sorted(people(ROWS).without(GONE).ids), where
        assert [entry["state"] for entry in entries] == ["purged", "purged"], where
        assert [entry["rows"] for entry in entries] == [2, 2], where
        assert {entry["batch"] for entry in entries} == {entries[0]["batch"]}, where
        assert status["release"] == {"number": 2, "digest": digest}, where
        assert status["forgotten"] == {"requests": 2, "rows": 4}, where
        assert status["purged"]["complete"], where
        verified = verify_chain(vault.receipts(), vault.public_key())
        assert [(r.event, r.request) for r in verified] == [
            *(("forgotten", 1), ("forgotten", 2), ("purged", 1), ("purged", 2))
        ], where
        with pytest.raises(AlreadyForgotten):
            vault.request(ids=GONE[0])
        assert vault.work() == []
        assert set(in_folder(path)) == set(vault._parts.in_use()), where


def in_folder(path: Path) -> list[str]:
    return [file.name for file in (path / "chunks").iterdir()]


def check_each_point(bench: Bench, digest: str, read: bool, twice: bool) -> None:
    for point in points(bench, work):
        path = bench.copy()
        with processes.reader(path / "ledger.sqlite", present=read):
            status = processes.run(lambda path=path: work(path), crash_at=point)  # type: ignore[misc]
            assert status == failpoints.EXIT_STATUS or (read and point.startswith("purge.")), point
            if twice:
                processes.run(lambda path=path: work(path), crash_at=point)  # type: ignore[misc]
            assert processes.run(lambda path=path: work(path)) == 0, point  # type: ignore[misc]
            if read:
                with closing(Vault.open(path)) as vault:
                    assert {entry["state"] for entry in vault.ledger()} <= {"forgotten", "purged"}, point
        if read:
            assert processes.run(lambda path=path: work(path)) == 0, point  # type: ignore[misc]
        check_forgotten(path, digest, point)
        shutil.rmtree(path.parent)


def test_the_search_finds_every_mark_before_forgetting(bench: Bench) -> None:
    bench.make(lambda path: requested(path, Totals()))
    table = people(ROWS).only(GONE).table()
    found = traces(bench.copy(), table)
    expected = {what for what in marks(table) if not what.endswith(("float32", "text"))}
    assert found == expected


def test_an_exact_step_survives_every_crash(bench: Bench, read: bool) -> None:
    bench.make(lambda path: requested(path, Totals()))
    check_each_point(bench, undisturbed(bench, work), read, twice=not read)


def test_a_noisy_step_repeats_its_noise_after_every_crash(bench: Bench, read: bool) -> None:
    def frozen(path: Path) -> None:
        requested(path, Noisy())
        assert processes.run(lambda: work(path), crash_at="freeze.committed") == failpoints.EXIT_STATUS

    bench.make(frozen)
    digest = undisturbed(bench, work)
    check_each_point(bench, digest, read, twice=False)


def test_two_undisturbed_runs_draw_different_noise(bench: Bench) -> None:
    bench.make(lambda path: requested(path, Noisy()))
    assert undisturbed(bench, work) != undisturbed(bench, work)


def test_a_relearned_step_survives_every_crash(bench: Bench) -> None:
    bench.make(lambda path: requested(path, Totals(stubborn=True)))
    check_each_point(bench, undisturbed(bench, work), read=False, twice=False)


def test_a_step_that_an_audit_contradicted_is_never_committed_after_a_crash(bench: Bench) -> None:
    bench.make(lambda path: requested(path, Noisy()))

    def contradict(step: Step) -> dict[str, Any]:
        return {"contradictions": ["lower bound above epsilon"] if isinstance(step.certificate, Certified) else []}

    def audited(path: Path) -> None:
        work(path, contradict)

    seen = list(points(bench, audited))
    after_note = seen[seen.index("step.relearn:1") :]
    assert "commit.before:1" in after_note
    for point in after_note:
        path = bench.copy()
        assert processes.run(lambda path=path: audited(path), crash_at=point) == failpoints.EXIT_STATUS, point  # type: ignore[misc]
        work(path)
        with Vault.open(path) as vault:
            entry = vault.ledger()[0]
            assert entry["certificate"]["type"] == Exact.__name__, point
            assert entry["relearned"] == "The audit contradicted the certificate", point


def test_an_interrupted_learn_is_incomplete_and_can_be_repeated(bench: Bench) -> None:
    def create(path: Path) -> None:
        learn(path, Totals())

    (bench.folder / "base").mkdir()
    digest = undisturbed(bench, create)
    for point in points(bench, create):
        path = bench.copy()
        assert processes.run(lambda path=path: create(path), crash_at=point) == failpoints.EXIT_STATUS, point  # type: ignore[misc]
        if point == "create.committed:1":
            work(path)
        else:
            with pytest.raises(Incomplete, match="learn again"):
                Vault.open(path)
            create(path)
        with Vault.open(path) as vault:
            assert vault.status()["release"] == {"number": 1, "digest": digest}, point
            assert len(vault.rows()) == ROWS, point
            assert set(in_folder(path)) == set(vault._parts.in_use()), point
            vault.request(ids=GONE)
            assert vault.work()[0].purged


def test_a_request_is_recorded_once_or_not_at_all(bench: Bench) -> None:
    bench.make(lambda path: learn(path, Totals()))

    def ask(path: Path) -> None:
        with Vault.open(path) as vault:
            vault.request(ids=GONE)

    for point in points(bench, ask):
        path = bench.copy()
        assert processes.run(lambda path=path: ask(path), crash_at=point) == failpoints.EXIT_STATUS, point  # type: ignore[misc]
        with Vault.open(path) as vault:
            if point.startswith("request.committed"):
                with pytest.raises(AlreadyForgotten, match="request 1"):
                    vault.request(ids=GONE)
            else:
                assert vault.ledger() == []
                assert vault.request(ids=GONE) == 1
            assert [done.requests for done in vault.work()] == [(1,)]


def test_an_extension_is_learned_once_or_not_at_all(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "SLACK", 1)
    bench.make(lambda path: learn(path, Totals()))
    added = people(5, first=100)

    def grow(path: Path) -> None:
        with Vault.open(path) as vault:
            vault.extend(added)

    digest = undisturbed(bench, grow)
    for point in points(bench, grow):
        path = bench.copy()
        assert processes.run(lambda path=path: grow(path), crash_at=point) == failpoints.EXIT_STATUS, point  # type: ignore[misc]
        work(path)
        with suppress(DuplicateRows):
            grow(path)
        with Vault.open(path) as vault:
            assert vault.status()["release"] == {"number": 2, "digest": digest}, point
            assert list(vault.rows().ids) == [*people(ROWS).ids, *added.ids], point
            assert [len(block) for block in vault.rows().blocks] == [16, 16, 13], point
            assert set(in_folder(path)) == set(vault._parts.in_use()), point


def test_an_extension_that_fails_when_resumed_is_dropped(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.make(lambda path: learn(path, Totals()))
    path = bench.copy()

    def grow() -> None:
        with Vault.open(path) as vault:
            vault.extend(people(20, first=100))

    assert processes.run(grow, crash_at="extend.staged") == failpoints.EXIT_STATUS

    def broken(self: Totals, *_: object, **__: object) -> None:
        raise ExpungeError("broken")

    monkeypatch.setattr(Totals, "extend", broken)
    with Vault.open(path) as vault:
        with pytest.raises(ExpungeError, match="broken"):
            vault.work()
        assert vault.work() == []
        assert vault.status()["rows"] == ROWS
        assert traces(path, people(20, first=100).table()) == set()


@pytest.mark.parametrize("method", [Retrain(Convex()), Sisa(Convex(), shards=2, slices=2), CertifiedNewton()], ids=repr)
@pytest.mark.parametrize("point", ["step.written", "chunk.half:5", "commit.before", "commit.done", "purge.swept"])
def test_the_methods_of_the_package_survive_a_crash(bench: Bench, method: Method[Any], point: str) -> None:
    x = np.random.default_rng(0).normal(size=(60, 2))
    rows = Rows.of(x, (x[:, 0] > 0).astype(int), ids=[f"person-{i:05d}-q" for i in range(60)], classes=2)

    def frozen(path: Path) -> None:
        learn(path, method, rows)
        with Vault.open(path) as vault:
            vault.request(ids=GONE)
        assert processes.run(lambda: work(path), crash_at="freeze.committed") == failpoints.EXIT_STATUS

    bench.make(frozen)
    digest, path = undisturbed(bench, work), bench.copy()
    assert processes.run(lambda: work(path), crash_at=point) == failpoints.EXIT_STATUS
    assert processes.run(lambda: work(path)) == 0
    with Vault.open(path) as vault:
        assert vault.status()["release"] == {"number": 2, "digest": digest}
        assert [entry["state"] for entry in vault.ledger()] == ["purged"]
        assert replay(vault).answer is Answer.EQUAL
    gone = rows.only(GONE).table()
    files = [file.read_bytes() for file in path.rglob("*") if file.is_file()]
    for mark in [*gone.columns["x"], *gone.columns["x"].ravel(), *(str(name).encode() for name in gone.ids)]:
        assert not any(bytes(mark) in content for content in files)


def test_every_crash_point_is_reached_somewhere(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "SLACK", 1)

    def everything(path: Path) -> None:
        requested(path, Noisy())
        answers = iter([{"contradictions": ["no"]}, {"contradictions": []}, {"contradictions": []}])
        with Vault.open(path) as vault:
            vault.extend(people(5, first=100))
            vault.work(lambda _: next(answers))
            vault.request(ids=["person-00005-q"])
            vault.work(lambda _: next(answers))

    (bench.folder / "base").mkdir()
    assert {point.partition(":")[0] for point in points(bench, everything)} == set(failpoints.POINTS)
