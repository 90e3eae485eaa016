"""`expunge find`: a ranking, a prediction, and a try that commits nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from expunge.attribution import influence, trained_model
from expunge.cli import files
from expunge.vault import Vault

from .conftest import Run

BAD = [f"p{i}" for i in range(12)]


def table(n: int, seed: int, flips: int = 0) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    a, b = draw.normal(size=n), draw.normal(size=n)
    y = (2 * a + b + 0.4 * draw.normal(size=n) > 0).astype(int)
    y[:flips] = 1 - y[:flips]
    side = np.where(a > 0, "east", "west")
    return pd.DataFrame({"id": [f"p{i}" for i in range(n)], "a": a, "b": b, "side": side, "y": y})


@pytest.fixture
def place(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    table(150, 1, flips=12).to_csv("train.csv", index=False)
    table(100, 2).to_csv("held.csv", index=False)
    learned = run("learn", "v", "--rows", "train.csv", "--target", "y", "--id", "id", "--method", "certified-newton")
    assert learned.code == 0
    return tmp_path


def test_mislabelled_rows_are_proposed_and_asked_for_and_nothing_is_forgotten_by_finding(place: Path, run: Run) -> None:
    options = ("--validation", "held.csv", "--top", 12, "--try", "--out", "ids.txt", "--plot", "p.svg")
    found = run("find", "v", *options, "--json").json
    named = Path("ids.txt").read_text().split()
    assert [line["id"] for line in found["first"]] == named
    assert len(set(named) & set(BAD)) >= 9
    assert [trial["rows"] for trial in found["tried"]] == [3, 6, 12]
    last = found["tried"][-1]
    assert last["forgotten"]["loss"] < last["before"]["loss"] - 0.03
    assert last["random"]["loss"] > last["forgotten"]["loss"] + 0.03
    assert found["predicted"]["loss"] == pytest.approx(last["predicted"]["loss"])
    assert Path("p.svg").read_text().count("<svg") == 1
    with Vault.open(Path("v")) as opened:
        assert len(opened.rows()) == 150
        assert opened.ledger() == []
    assert run("request", "v", "--ids-file", "ids.txt").out == "1\n"
    assert run("work", "v").code == 0
    printed = run("find", "v", "--validation", "held.csv", "--top", 3, "--try").out
    assert "Nothing was forgotten" in printed
    assert "of 138 rows" in printed
    assert "random" in printed


@pytest.mark.parametrize("by", ["self-influence", "loss"])
def test_other_rankings_find_them_too(place: Path, run: Run, by: str) -> None:
    found = run("find", "v", "--by", by, "--top", 20, "--json").json
    assert len({line["id"] for line in found["first"]} & set(BAD)) >= 8


def test_rows_near_a_bad_one_and_rows_behind_a_gap_between_groups(place: Path, run: Run) -> None:
    near = run("find", "v", "--by", "nearest", "--bad", "p5,p6", "--top", 2, "--json").json
    assert {line["id"] for line in near["first"]} == {"p5", "p6"}
    gap = run("find", "v", "--validation", "held.csv", "--group", "side=east", "--top", 5, "--json").json
    with Vault.open(Path("v")) as opened:
        rows, held = opened.rows(), files.read_test(Path("held.csv"), opened)
        east = np.array([side == "east" for side in held.columns["side"]])
        model = trained_model(opened.method, opened.release(), rows.schema)
        expected = influence(model, rows, held.select(east), against=held.select(~east))
    assert tuple(line["id"] for line in gap["first"]) == expected.first(5)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "--by influence needs --validation FILE"),
        (("--by", "nearest"), "--bad 1,2"),
        (("--by", "loss", "--bad", "p1"), "go together"),
        (("--by", "loss", "--group", "side=east"), "goes with --by influence"),
        (("--by", "loss", "--try"), "--try measures on --validation"),
        (("--by", "loss", "--plot", "p.svg"), "give --try too"),
        (("--by", "loss", "--top", "150"), "the vault holds 150 rows"),
        (("--validation", "held.csv", "--group", "city=x"), "the columns are a, b, side"),
        (("--validation", "held.csv", "--group", "side=north"), "a gap needs two groups"),
        (("--by", "loss", "--out", "nowhere/ids.txt"), "nowhere"),
    ],
)
def test_what_does_not_fit_together_is_a_usage_error(place: Path, run: Run, words: tuple[str, ...], said: str) -> None:
    ran = run("find", "v", *words)
    assert ran.code == 2
    assert said in ran.err


def test_a_forest_has_no_influence_and_says_what_to_do(place: Path, run: Run) -> None:
    method = ("--method", "dare-forest", "--set", "trees=3", "--set", "max_depth=3")
    assert run("learn", "f", "--rows", "train.csv", "--target", "y", "--id", "id", *method).code == 0
    refused = run("find", "f", "--validation", "held.csv")
    assert (refused.code, "no gradient to rank rows by" in refused.err) == (1, True)
    assert len(run("find", "f", "--by", "loss", "--top", 4, "--json").json["first"]) == 4


def test_a_list_of_ids_is_written_whole_or_the_one_before_stays(
    place: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("ids.txt").write_text("p1\n")

    def full(self: Path, *_: object, **__: object) -> int:
        self.touch()
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", full)
        ran = run("find", "v", "--by", "loss", "--top", 3, "--out", "ids.txt")
    assert (ran.code, "ids.txt could not be written: No space left on device" in ran.err) == (1, True)
    assert Path("ids.txt").read_text() == "p1\n"
    assert sorted(path.name for path in Path().glob("ids.txt*")) == ["ids.txt"]
