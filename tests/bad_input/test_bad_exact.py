"""What forests, nearest neighbours and support vector machines cannot take, as a user of the command line sees it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.cli.conftest import LEARN, people

from .conftest import Run, Told, explained, names_in, state, still_works

PEOPLE = ("--rows", "people.csv", *LEARN)
METHODS = ("dare-forest", "nearest-neighbours", "support-vector-machine")
FEW = {"dare-forest": ("--set", "trees=5", "--set", "max_depth=4")}


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """people.csv, with a gap in its numbers and one row of its own level."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EXPUNGE_KEY_FILE", raising=False)
    people(60).to_csv("people.csv", index=False)
    return tmp_path


@pytest.mark.parametrize(
    ("method", "setting", "told"),
    [
        ("dare-forest", "trees=0", Told("trees=0", "at least 1", "was expected")),
        ("dare-forest", "max_depth=65", Told("max_depth=65", "at most 64", "was expected")),
        ("dare-forest", "criterion=log", Told("'log'", "gini|entropy", "criterion is")),
        ("dare-forest", "resolution=0", Told("resolution=0.0", "a positive number", "was expected")),
        ("dare-forest", "depth=3", Told("'depth'", "has no field", "did you mean 'max_depth'")),
        ("nearest-neighbours", "neighbours=0", Told("neighbours=0", "at least 1", "was expected")),
        ("nearest-neighbours", "metric=hamming", Told("'hamming'", "euclidean|manhattan|cosine", "metric is")),
        ("nearest-neighbours", "weights=log", Told("'log'", "uniform|distance", "weights is")),
        ("support-vector-machine", "cost=0", Told("cost=0.0", "a positive number", "was expected")),
        ("support-vector-machine", "kernel=sigmoid", Told("'sigmoid'", "rbf|polynomial|linear", "kernel is")),
    ],
)
def test_a_setting_that_makes_no_sense(method: str, setting: str, told: Told, tables: Path, run: Run) -> None:
    before = names_in(tables)
    explained(run("learn", "w", *PEOPLE, method, "--set", setting), 2, told)
    assert names_in(tables) == before


def test_a_column_of_weights_that_is_not_there(tables: Path, run: Run) -> None:
    ran = run("learn", "w", *PEOPLE, "dare-forest", "--set", "weight_column=salary")
    explained(ran, 1, Told("weight_column='salary'", "these rows have no such column", "was given"))
    assert names_in(tables) == ["people.csv"]


def test_a_forest_takes_no_infinite_number(tables: Path, run: Run) -> None:
    table = pd.read_csv("people.csv", keep_default_na=False, na_values=[""])
    table.loc[4, "hours"] = float("inf")
    table.to_csv("people.csv", index=False)
    ran = run("learn", "w", *PEOPLE, "dare-forest")
    assert (ran.code, ran.out) == (1, "")
    assert "hours" in ran.err
    assert "infinit" in ran.err
    assert names_in(tables) == ["people.csv"]


@pytest.mark.parametrize("method", METHODS)
def test_requests_that_cannot_be_honoured_lose_nothing(method: str, tables: Path, run: Run) -> None:
    assert run("learn", "v", *PEOPLE, method, *FEW.get(method, ())).code == 0
    before = state(Path("v"))
    assert "p999" in run("request", "v", "--ids", "p999").err
    assert run("learn", "v", *PEOPLE, method).code != 0
    assert state(Path("v")) == before
    still_works(run)
    again = run("request", "v", "--ids", "p7")
    assert again.code != 0
    assert "p7" in again.err


@pytest.mark.parametrize("method", METHODS)
def test_the_last_row_of_a_class_can_leave_while_two_are_left(method: str, tables: Path, run: Run) -> None:
    table = pd.read_csv("people.csv", keep_default_na=False)
    table.loc[5, "income"] = "middle"
    table.to_csv("people.csv", index=False)
    three = ("low,middle,high" if word == "low,high" else word for word in PEOPLE)
    assert run("learn", "v", *three, method, *FEW.get(method, ())).code == 0
    assert run("request", "v", "--ids", "p5").code == 0
    ran = run("work", "v", "--json")
    assert ran.code == 0, ran.err
    assert ran.json[-1]["purged"] is True
    assert set(state(Path("v"))["rows"][1]) == {0, 2}
    assert run("predict", "v", "--rows", "people.csv", "--out", "scores.csv").code == 0
    assert np.isfinite(pd.read_csv("scores.csv").select_dtypes("number").to_numpy()).all()


@pytest.mark.parametrize("method", METHODS)
def test_levels_never_seen_can_be_learned_and_predicted(method: str, tables: Path, run: Run) -> None:
    assert run("learn", "v", *PEOPLE, method, *FEW.get(method, ())).code == 0
    new = people(70)[60:]
    new["job"] = "astronaut"
    new.to_csv("more.csv", index=False)
    ran = run("extend", "v", "--rows", "more.csv")
    assert ran.code == 0, ran.err
    ran = run("predict", "v", "--rows", "more.csv", "--out", "scores.csv")
    assert ran.code == 0, ran.err
    assert len(pd.read_csv("scores.csv")) == len(new)
