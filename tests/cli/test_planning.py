"""`expunge plan`: routes of a table and of a vault, a choice among them, and what is said of a wrong command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Run

COLUMNS = ("--target", "income", "--id", "id", "--subject", "who", "--classes", "low,high")
QUICK = ("--pilot-seconds", "0.001")


def test_routes_of_a_table_are_listed_and_one_is_chosen(folder: Path, run: Run) -> None:
    words = ("plan", "--rows", "people.csv", *COLUMNS, "--methods", "certified-newton,ridge,support-vector-machine",
             "--set", "ridge.l2=0.1", "--forget", "3", *QUICK)  # fmt: skip
    done = run(*words, "--guarantee", "exact", "--budget", "1000", "--json")
    assert done.code == 0, done.err
    assert done.json["rows"] == 120
    assert done.json["forget"] == 3
    found = {(route["name"], route["how"]): route for route in done.json["routes"]}
    assert found["certified-newton", "forget"]["guarantee"] == "certified"
    assert found["ridge", "forget"]["guarantee"] == "exact"
    chosen = done.json["choice"]["route"]
    assert chosen["guarantee"] == "exact"
    shown = run(*words, "--guarantee", "certified")
    assert shown.code == 0
    assert "120 rows, 3 to be forgotten" in shown.out
    assert "Chosen: " in shown.out
    assert max(map(len, shown.out.splitlines())) <= 80


def test_no_route_within_the_budget_is_exit_code_1(folder: Path, run: Run) -> None:
    done = run("plan", "--rows", "people.csv", *COLUMNS, "--methods", "certified-newton", "--forget", "1", *QUICK,
               "--budget", "1e-9")  # fmt: skip
    assert done.code == 1
    assert "No open route fits 1e-09 seconds: the quickest" in " ".join(done.out.split())


def test_a_vault_is_planned_for_beside_other_methods_and_stays_as_it_is(vault: Path, run: Run) -> None:
    def state() -> list[tuple[Path, int]]:
        """Its files but SQLite's own, and when each was written."""
        files = [path for path in vault.rglob("*") if path.is_file() and "-" not in path.name]
        return sorted((path, path.stat().st_mtime_ns) for path in files)

    before = state()
    done = run("plan", "v", "--ids", "p1,p2", "--methods", "dare-forest", "--set", "trees=3", *QUICK, "--json")
    assert done.code == 0, done.err
    assert {(route["name"], route["how"]) for route in done.json["routes"]} == {
        ("certified-newton", "forget"),
        ("certified-newton", "learn again"),
        ("dare-forest", "learn again"),
    }
    assert done.json["forget"] == 2
    assert next(route for route in done.json["routes"] if route["how"] == "forget")["prepared"] == 0
    assert state() == before


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "Give a VAULT, or --rows"),
        (("--rows", "people.csv", *COLUMNS, "--forget", "3"), "--methods A,B is missing"),
        (("--rows", "people.csv", *COLUMNS, "--methods", "ridge"), "Say which rows"),
        (("--rows", "people.csv", *COLUMNS, "--methods", "ridge", "--ids", "p1", "--forget", "1"), "Give one of"),
        (("--rows", "people.csv", "--methods", "ridge", "--forget", "1"), "--target COL is missing"),
        (("--rows", "people.csv", *COLUMNS, "--methods", "ridge", "--ids", "nobody"), "nobody"),
        (("--rows", "people.csv", *COLUMNS, "--methods", "ridge", "--forget", "1", "--budget", "-1"), "positive"),
    ],
)
def test_a_command_line_at_fault_is_answered(folder: Path, run: Run, words: tuple[str, ...], told: str) -> None:
    done = run("plan", *words, *QUICK)
    assert done.code in (1, 2)
    assert told in done.err
