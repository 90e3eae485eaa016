"""`expunge compare`: the whole of it on a table, resumed at once, and what is said of a command line at fault."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Ran, Run

COLUMNS = ("--target", "income", "--id", "id", "--subject", "who", "--classes", "low,high")
NETWORK = ("--set", "learner.epochs=2", "--set", "learner.model.hidden=3")
SMALL = ("--references", 2, "--seeds", 1, "--jobs", 1, "--steps-only")


@pytest.fixture
def compared(folder: Path, run: Run) -> Ran:
    """Two methods and one that does not apply, on people."""
    return run(
        "compare", "--rows", "people.csv", *COLUMNS, "--methods", "certified-newton,trees=dare-forest,k-means",
        "--set", "trees.trees=3", "--set", "k-means.clusters=0", "--forget", "3", "--out", "c", *SMALL,
    )  # fmt: skip


def test_a_setting_that_fits_no_method_or_value_is_answered(compared: Ran) -> None:
    assert compared.code == 2
    assert "clusters=0" in compared.err


def test_tables_and_a_page_and_figures_are_made_and_a_rerun_says_the_same(folder: Path, run: Run) -> None:
    words = ("compare", "--rows", "people.csv", *COLUMNS, "--methods", "certified-newton,trees=dare-forest",
             "--set", "trees.trees=3", "--forget", "3,subject:job", "--out", "c", *SMALL)  # fmt: skip
    first = run(*words)
    assert first.code == 0, first.err
    assert max(map(len, first.out.splitlines())) <= 80
    for heading in ("== 3 random rows ==", "== all rows with job", "What is promised", "What it costs"):
        assert heading in first.out
    labels = ["certified-newton", "trees", "doing nothing", "learning again", "training on", "private model"]
    lines = [line.split("  ")[0].strip() for line in first.out.splitlines()]
    assert [line for line in lines if line in labels] == labels * 10
    assert "Assumption: centres" in first.err
    assert (folder / "c" / "report.html").read_text().startswith("<!doctype html>")
    figures = json.loads((folder / "c" / "comparison.json").read_text())
    assert [figure["label"] for figure in figures] == labels * 2
    assert {figure["label"] for figure in figures if figure["boundary"]} == set(labels[2:])
    trees = figures[1]
    assert trees["kind"] == "exact"
    assert trees["confirmed"] is True
    assert trees["equal"]["after"] == 1.0
    cells = sorted(path.name for path in (folder / "c" / "cells").iterdir())
    again = run(*words, "--json")
    assert again.code == 0
    assert again.json == figures  # seconds too: nothing was computed
    assert sorted(path.name for path in (folder / "c" / "cells").iterdir()) == cells


def test_test_rows_are_drawn_by_owner_and_never_learned(folder: Path) -> None:
    from expunge.cli import files
    from expunge.cli.comparing import split

    rows = files.read_rows(folder / "people.csv", files.Source("income", "id", "who"), "low,high")
    learned, unseen = split(rows, 0.25, 0)
    owners = [set(np.concatenate([table.owners for table in part.tables()]).tolist()) for part in (learned, unseen)]
    assert not owners[0] & owners[1]
    assert len(learned) + len(unseen) == len(rows)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--methods", "newton", "--forget", "3"), "There is no method 'newton'"),
        (("--methods", "sisa,sisa", "--forget", "3"), "names 'sisa' twice; give one of them a label: other=sisa"),
        (("--methods", "sisa,,", "--forget", "3"), "names with commas between"),
        (("--methods", "sisa", "--set", "shard=3", "--forget", "3"), "did you mean 'shards'?"),
        (("--methods", "sisa", "--forget", "many"), "names no forget set"),
        (("--methods", "sisa", "--forget", "3", "--test-share", "1"), "--test-share 1.0"),
        (("--methods", "certified-newton", "--forget", "0"), "asks for no row"),
        (("--methods", "sisa", "--forget", "3", "--backend", "spark"), "spark"),
    ],
)
def test_a_command_line_at_fault_is_answered(folder: Path, run: Run, words: tuple[str, ...], told: str) -> None:
    done = run("compare", "--rows", "people.csv", *COLUMNS, "--out", "c", *SMALL, *words)
    assert done.code in (1, 2)
    assert told in done.err


def test_a_folder_that_is_something_else_is_left_alone(folder: Path, run: Run) -> None:
    (folder / "mine").mkdir()
    (folder / "mine" / "file").write_text("keep")
    words = ("compare", "--rows", "people.csv", *COLUMNS, "--methods", "sisa", "--forget", "3", *SMALL)
    done = run(*words, "--out", "mine")
    assert done.code == 2
    assert "is no folder of an earlier comparison" in done.err
    assert (folder / "mine" / "file").read_text() == "keep"
    assert run("compare", "--rows", "people.csv", "--methods", "sisa", "--forget", "3", "--out", "c").code == 2
