"""Nearest neighbours and the support vector machine from the command line, on a CSV with numbers, gaps and text."""

from __future__ import annotations

from pathlib import Path

import pytest

from expunge.vault import Vault

from .conftest import LEARN, Run, people


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("nearest-neighbours", ("neighbours=7", "weights=distance")),
        ("support-vector-machine", ("cost=0.5", "kernel=rbf")),
        ("support-vector-machine", ("kernel=linear",)),
    ],
)
def test_a_table_is_learned_forgotten_extended_and_predicted(
    method: str, settings: tuple[str, ...], run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    table = people()
    table[:120].to_csv("people.csv", index=False)
    table[120:130].to_csv("more.csv", index=False)
    table[130:].to_csv("test.csv", index=False)
    given = [word for setting in settings for word in ("--set", setting)]
    learned = run("learn", "v", "--rows", "people.csv", *LEARN, method, *given, "--seed", 3)
    assert learned.code == 0
    assert run("request", "v", "--ids", "p1,p2,p77").code == 0
    (step,) = run("work", "v", "--json").json
    assert step["certificate"]["type"] == "Exact"
    assert not step.get("relearned")
    assert any("release holds" in text for text in step["certificate"]["assumptions"]) == (
        "kernel=linear" not in settings
    )
    assert run("extend", "v", "--rows", "more.csv", "--json").json["rows"] == 127
    assert run("predict", "v", "--rows", "test.csv", "--out", "answers.csv").code == 0
    assert run("verify", "--help").code == 0
    with Vault.open(tmp_path / "v") as vault:
        assert len(vault.receipts()) == 2  # of the request, and of the rows that came


def test_settings_of_these_methods_that_cannot_be_are_explained(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    people().to_csv("people.csv", index=False)
    for method, setting, told in (
        ("nearest-neighbours", "neighbours=0", "at least 1"),
        ("nearest-neighbours", "metric=l3", "euclidean|manhattan|cosine"),
        ("support-vector-machine", "cost=0", "a positive number"),
        ("support-vector-machine", "kernel=sigmoid", "rbf|polynomial|linear"),
    ):
        refused = run("learn", "v", "--rows", "people.csv", *LEARN, method, "--set", setting)
        assert refused.code == 2
        assert told in refused.err
        assert not (tmp_path / "v").exists()
    numbers = run(
        "learn",
        "v",
        "--rows",
        "people.csv",
        "--target",
        "hours",
        "--id",
        "id",
        "--subject",
        "who",
        "--method",
        "support-vector-machine",
    )
    assert numbers.code != 0
    assert "tells classes apart" in numbers.err
