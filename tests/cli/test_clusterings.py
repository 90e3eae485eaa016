"""Rows without a target, the whole way through the command line."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from .conftest import Run, people

LEARN = ("--id", "id", "--subject", "who", "--method", "k-means", "--set", "clusters=3", "--seed", "3")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder with people.csv, more.csv and test.csv, none with a target."""
    table = people().drop(columns="income")
    table[:120].to_csv(tmp_path / "people.csv", index=False)
    table[120:130].assign(who="new").to_csv(tmp_path / "more.csv", index=False)
    table[130:].to_csv(tmp_path / "test.csv", index=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_rows_without_a_target_are_learned_forgotten_audited_and_proved(folder: Path, run: Run) -> None:
    learned = run("learn", "v", "--rows", "people.csv", *LEARN)
    assert learned.code == 0, learned.err
    assert run("request", "v", "--subjects", "w7").out == "1\n"
    worked = run("work", "v", "--audit", "--test", "test.csv", "--references", 2, "--out", "r.html")
    assert worked.code == 0, worked.err
    assert "3 rows forgotten" in worked.out
    assert "exact. The audit contradicts nothing." in worked.out
    assert "distance on test" in (folder / "r.html").read_text()
    for words in (("receipt", "v", 1, "--out", "r.json"), ("public-key", "v", "--out", "k.pem")):
        assert run(*words).code == 0
    assert run("verify", "r.json", "--public-key", "k.pem").code == 0
    assert run("extend", "v", "--rows", "more.csv").code == 0
    live = run("audit", "v", "--test", "test.csv", "--references", 2)
    assert live.code == 0, live.err
    assert "Replay, equal" in live.out
    assert run("status", "v", "--json").json["rows"] == 127
    assert run("predict", "v", "--rows", "test.csv", "--out", "p.csv").code == 0
    predictions = pd.read_csv("p.csv")
    assert list(predictions.columns) == ["id", "cluster", "distance"]
    assert set(predictions["cluster"]) <= {0, 1, 2}
    assert (predictions["distance"] >= 0).all()
    assert run("export", "v", "--out", "ex").code == 0
    assert "none, there is no target" in (folder / "ex" / "MODEL_CARD.md").read_text()


def test_a_target_that_is_named_is_left_out_of_the_features(folder: Path, run: Run) -> None:
    table = people()
    table.to_csv("labelled.csv", index=False)
    named = run("learn", "w", "--rows", "labelled.csv", *LEARN, "--target", "income", "--classes", "low,high")
    assert named.code == 0, named.err
    table.drop(columns="income").to_csv("bare.csv", index=False)
    assert run("learn", "v", "--rows", "bare.csv", *LEARN).code == 0
    digests = [run("status", vault, "--json").json["release"]["digest"] for vault in ("v", "w")]
    assert digests[0] == digests[1]
    assert run("predict", "w", "--rows", "labelled.csv", "--out", "p.csv").code == 0
    assert list(pd.read_csv("p.csv").columns) == ["id", "cluster", "distance"]
