"""A forest through the command line: a CSV with text and gaps, no features before it, from learning to replay."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from .conftest import LEARN, Run, people

SETTINGS = ("--set", "trees=6", "--set", "max_depth=5", "--set", "candidates=4", "--set", "cut=2", "--seed", "4")


@pytest.fixture
def forest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> Path:
    """A vault that learned a forest from `people.csv`, whose rows have gaps in a number and in a text."""
    monkeypatch.chdir(tmp_path)
    table = people()
    table.loc[5:9, "job"] = ""
    table.loc[20:25, "hours"] = float("nan")
    table[:120].to_csv("people.csv", index=False)
    table[120:130].to_csv("more.csv", index=False)
    table[130:].to_csv("test.csv", index=False)
    learned = run("learn", "forest", "--rows", "people.csv", *LEARN, "dare-forest", *SETTINGS)
    assert learned.code == 0, learned.err
    assert "Assumption" not in learned.err + learned.out  # no statistics of columns
    return Path("forest")


def test_a_csv_with_text_and_gaps_is_learned_forgotten_extended_verified_and_replayed(forest: Path, run: Run) -> None:
    assert run("extend", forest, "--rows", "more.csv", "--json").json["rows"] == 130
    assert run("request", forest, "--ids", "p1,p5,p20", "--reason", "asked").out == "1\n"
    assert run("request", forest, "--subjects", "w7", "--json").json == {"request": 2}
    (step,) = run("work", forest, "--json").json
    assert (step["requests"], step["rows"]) == ([1, 2], 3 + 4)
    assert step["certificate"]["type"] == "Exact"
    assert step["purged"] is True
    assert run("receipt", forest, 2, "--out", "r.json").code == 0
    assert run("public-key", forest, "--out", "k.pem").code == 0
    verified = run("verify", "r.json", "--public-key", "k.pem", "--vault", forest, "--replay", "--json").json
    assert verified["verified"] is True
    assert verified["replay"] == "equal"
    assert run("predict", forest, "--rows", "test.csv", "--out", "p.csv").code == 0
    told, truth = pd.read_csv("p.csv"), pd.read_csv("test.csv")
    assert (told["prediction"] == truth["income"]).mean() > 0.7


def test_what_the_vault_learned_without_the_rows_has_the_same_digest(forest: Path, run: Run) -> None:
    run("request", forest, "--ids", "p3,p77")
    run("work", forest)
    table = pd.read_csv("people.csv", keep_default_na=False)
    table[~table["id"].isin(["p3", "p77"])].to_csv("rest.csv", index=False)
    assert run("learn", "clean", "--rows", "rest.csv", *LEARN, "dare-forest", *SETTINGS).code == 0
    digests = [run("status", vault, "--json").json["release"]["digest"] for vault in (forest, "clean")]
    assert digests[0] == digests[1]


def test_statistics_of_columns_are_refused_because_the_forest_needs_none(forest: Path, run: Run) -> None:
    told = run("learn", "v", "--rows", "people.csv", *LEARN, "dare-forest", "--bounds", "age=0:100")
    assert told.code == 2
    assert "reads the table itself" in " ".join(told.err.split())
    assert forest.is_dir()
