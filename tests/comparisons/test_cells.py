"""Cells are functions of their content; a comparison is the same on every backend, and goes on where it stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from expunge.certificate import Certified, Exact
from expunge.comparisons import Case, Entry, Plan, Workers, compare, summarise
from expunge.comparisons import running as running_module
from expunge.comparisons.boundary import Nothing
from expunge.comparisons.cell import Cell, compute
from expunge.comparisons.content import method_digest, rows_digest
from expunge.comparisons.plain_training import plain_of, reference_of
from expunge.comparisons.running import run
from expunge.comparisons.step_cell import certificate_of
from expunge.comparisons.store import Outcome, Store
from expunge.errors import InputError, WorkersLost
from expunge.features import Numeric, Pipeline
from expunge.learners.sgd import Sgd
from expunge.methods import CertifiedNewton, FineTune, GradientAscent, KMeans, Retrain, Sisa
from expunge.models import Mlp
from expunge.rows import Rows
from tests.learners.dying import Dying

NETWORK = Sgd(Mlp((4,)), epochs=3, batch_size=16)
METHODS = {"newton": CertifiedNewton(), "ascent": GradientAscent(NETWORK), "shards": Sisa(NETWORK, 2, 2)}
ENTRIES = [Entry(label, method) for label, method in METHODS.items()] + [Entry("nothing", Nothing(NETWORK), True)]
PLAN = Plan(seeds=2, references=3)


def silent(*_: object) -> None:
    """Report to nobody."""


def told(folder: Path) -> list[tuple[str, str]]:
    """What the stored cells found, without what differs from run to run: their names, and the digests of releases."""
    found = []
    for file in sorted((folder / "cells").iterdir()):
        outcome = Store(folder / "cells").read(file.stem)
        assert outcome is not None
        arrays = sorted((name, array.tobytes()) for name, array in outcome.arrays.items())
        kept = {name: value for name, value in outcome.facts.items() if name != "seconds"}
        found.append((file.stem, json.dumps(kept, sort_keys=True) + repr(arrays)))
    return found


def test_a_cell_is_a_function_of_its_content(case: Case) -> None:
    one, other = (compute(Cell("step", label, CertifiedNewton(), case, 5)) for label in ("a", "b"))
    assert one.facts["digests"] == other.facts["digests"]
    assert all(np.array_equal(one.arrays[name], other.arrays[name]) for name in one.arrays)


def test_whatever_decides_a_cell_is_in_its_digest(train: Rows, unseen: Rows, case: Case) -> None:
    base = Cell("step", "label", Sisa(NETWORK, 2, 2), case, 5)
    others = [
        replace(base, kind="reference"),
        replace(base, method=Sisa(NETWORK, 2, 1)),
        replace(base, method=Sisa(replace(NETWORK, epochs=4), 2, 2)),
        replace(base, seed=6),
        replace(base, case=Case.of("6 rows", train, [f"r{i}" for i in range(1, 7)], unseen)),
        replace(base, case=Case.of("6 rows", train, [f"r{i}" for i in range(6)], unseen.without(["r1000"]))),
        replace(base, case=Case.of("6 rows", train, [f"r{i}" for i in range(6)], unseen, shown=50)),
    ]
    digests = [cell.digest for cell in (base, *others)]
    assert len(set(digests)) == len(digests)
    assert replace(base, label="other").digest == base.digest


def test_a_step_says_what_was_promised_and_what_it_left(case: Case) -> None:
    newton = compute(Cell("step", "newton", CertifiedNewton(), case, 5)).facts
    assert isinstance(certificate_of(newton), Certified)
    assert newton["claim"]["confirmed"] is True
    assert newton["apart"][0]["what"] == "weights without their noise"
    shards = compute(Cell("step", "shards", Sisa(NETWORK, 2, 2), case, 5)).facts
    assert isinstance(certificate_of(shards), Exact)
    assert shards["digests"]["after"] == shards["digests"]["again"] != shards["digests"]["before"]
    assert shards["seconds"]["plain"] > 0
    nothing = compute(Cell("step", "nothing", Nothing(NETWORK), case, 5)).facts
    assert nothing["unchanged"]
    assert nothing["digests"]["after"] == nothing["digests"]["before"]


def test_a_method_that_does_not_apply_says_why(tmp_path: Path) -> None:
    words = Rows.of({"c": ["a", "b", "c"]}, [0, 1, 0], classes=2)
    text = Case.of("one", words, ["0"], Rows.of({"c": ["a"]}, [0], classes=2))
    assert "Error: " in compute(Cell("step", "newton", CertifiedNewton(), text, 5)).facts["refused"]
    [measured] = compare([Entry("newton", CertifiedNewton())], [text], PLAN, tmp_path, Workers(), silent)
    assert "Error: " in summarise(measured).refused
    assert measured.references == ()


def test_references_are_shared_where_learning_is_plain_training() -> None:
    plain = Retrain(NETWORK)
    assert [reference_of(m) for m in (FineTune(NETWORK), GradientAscent(NETWORK), Nothing(NETWORK))] == [plain] * 3
    assert reference_of(Sisa(NETWORK)) == Sisa(NETWORK)
    assert plain_of(Sisa(NETWORK)) == plain
    assert plain_of(CertifiedNewton()) is None
    features = (Numeric(("x",)),)
    assert reference_of(Pipeline(features, FineTune(NETWORK))) == Pipeline(features, plain)


def test_the_comparison_is_the_same_on_threads_and_in_processes(case: Case, tmp_path: Path) -> None:
    compare(ENTRIES, [case], PLAN, tmp_path / "alone", Workers("loky", 1), silent)
    compare(ENTRIES, [case], PLAN, tmp_path / "threads", Workers("threading", 2), silent)
    compare(ENTRIES[:1], [case], replace(PLAN, noise=False), tmp_path / "loky", Workers("loky", 2), silent)
    alone = told(tmp_path / "alone")
    assert told(tmp_path / "threads") == alone
    assert set(told(tmp_path / "loky")) < set(alone)


def test_a_rerun_computes_nothing_and_more_is_added_to_what_is_there(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = replace(PLAN, sequences=False, noise=False)
    first = compare(ENTRIES[:1], [case], plan, tmp_path, Workers("loky", 1), silent)
    done: list[str] = []

    def counted(cell: Cell) -> Outcome:
        done.append(cell.kind)
        return compute(cell)

    monkeypatch.setattr(running_module, "compute", counted)
    again = compare(ENTRIES[:1], [case], plan, tmp_path, Workers("loky", 1), silent)
    assert done == []
    assert [m.steps[0].facts for m in again] == [m.steps[0].facts for m in first]
    compare(ENTRIES[:1], [case], replace(plan, seeds=3, references=4), tmp_path, Workers("loky", 1), silent)
    assert sorted(done) == ["reference", "step"]


def test_half_a_cell_counts_as_none(case: Case, tmp_path: Path) -> None:
    cell = Cell("reference", "newton", CertifiedNewton(), case, 5)
    run([cell], tmp_path, Workers(), "x", silent)
    place = Store(tmp_path / "cells").place(cell.digest)
    whole = place.read_bytes()
    for broken in (b"", whole[: len(whole) // 2]):
        place.write_bytes(broken)
        assert Store(tmp_path / "cells").read(cell.digest) is None
        assert "digests" in run([cell], tmp_path, Workers(), "x", silent)[cell.digest].facts
    (tmp_path / "cells" / "x.123.tmp").touch()
    run([cell], tmp_path, Workers(), "x", silent)
    assert [file.suffix for file in (tmp_path / "cells").iterdir()] == [".npz"]


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from conftest import rows_of
from expunge.comparisons import Case, Entry, Plan, Workers, compare
from expunge.comparisons import running
from expunge.methods import CertifiedNewton, Retrain
from expunge.learners.convex import Convex

compute, folder = running.compute, Path({folder!r})

def noted(cell):
    with (folder / "computed").open("a") as file:
        file.write(cell.digest + "\\n")
    return compute(cell)

running.compute = noted

def tell(what, done, of):
    if done == {stop}:
        (folder / "reached").touch()
        import time
        time.sleep(600)

case = Case.of("6 rows", rows_of(80, 1), [f"r{{i}}" for i in range(6)], rows_of(60, 2, first=1000))
entries = [Entry("newton", CertifiedNewton()), Entry("plain", Retrain(Convex()))]
compare(entries, [case], Plan(seeds=3, references=2, sequences=False, noise=False), folder, Workers("loky", 1), tell)
"""


def test_a_killed_comparison_goes_on_without_computing_a_cell_twice(tmp_path: Path) -> None:
    def start(stop: int) -> subprocess.Popen[bytes]:
        code = KILLED.format(tests=str(Path(__file__).parent), folder=str(tmp_path), stop=stop)
        return subprocess.Popen([sys.executable, "-c", code], env=dict(os.environ))

    process = start(4)
    deadline = time.monotonic() + 200
    while not (tmp_path / "reached").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = (tmp_path / "computed").read_text().split()
    assert len(before) == 4
    assert start(-1).wait(timeout=200) == 0
    after = (tmp_path / "computed").read_text().split()
    assert len(after) == len(set(after)) == len(list((tmp_path / "cells").iterdir()))
    assert after[:4] == before
    assert len(after) > 6


def test_a_method_of_the_users_own_file_is_computed_in_this_process(case: Case, tmp_path: Path) -> None:
    """Other processes could not import it."""
    at_home = Retrain(Dying("dies", shard="retrain"))  # type: ignore[arg-type]
    cells = [Cell("reference", "own", at_home, case, seed) for seed in (1, 2)]
    found = run(cells, tmp_path, Workers("loky", 2), "x", silent)
    assert all("digests" in outcome.facts for outcome in found.values())


def test_a_lost_worker_is_told(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running_module, "own_sources", lambda _: [])  # or it would run in this process
    dying = Retrain(Dying("dies", shard="retrain"))  # type: ignore[arg-type]
    cells = [Cell("reference", "dying", dying, case, seed) for seed in (1, 2)]
    with pytest.raises(WorkersLost, match="run the same command again"):
        run(cells, tmp_path, Workers("loky", 2), "x", silent)


def test_settings_that_cannot_be(case: Case, tmp_path: Path, train: Rows, unseen: Rows) -> None:
    with pytest.raises(InputError, match="one of loky, threading, dask, ray, not 'spark'"):
        Workers("spark")
    with pytest.raises(InputError, match="jobs=0"):
        Workers("loky", 0)
    with pytest.raises(InputError, match="references=1"):
        Plan(references=1)
    with pytest.raises(InputError, match="0 of 80 rows would leave"):
        Case.of("none", train, ["absent"], unseen)
    with pytest.raises(InputError, match="at least one method"):
        compare([], [case], PLAN, tmp_path, Workers(), silent)
    assert rows_digest(train) != rows_digest(unseen)
    assert method_digest(KMeans(2)) != method_digest(KMeans(3))
