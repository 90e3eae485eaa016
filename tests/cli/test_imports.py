"""What a command loads: who asks to be forgotten, or checks a receipt, does not wait for what only learning needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import Run

HEAVY = {"matplotlib", "pandas", "scipy.stats", "sklearn", "torch"}
RUNNER = """
import sys
from expunge.cli import main
try:
    main(sys.argv[1:])
finally:
    print(*sys.modules, file=sys.stderr)
"""
LIGHT = (
    ("request", "v", "--ids", "p2"),
    ("request", "v", "--subjects", "w7", "--reason", "asked", "--json"),
    ("status", "v"),
    ("ledger", "v"),
    ("receipt", "v", "1"),
    ("public-key", "v"),
    ("verify", "r.json", "--public-key", "k.pem"),
)


def loaded_by(*words: str) -> set[str]:
    """The heavy packages that one command imports, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", RUNNER, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return HEAVY & set(done.stderr.split())


@pytest.fixture
def forgotten(vault: Path, run: Run) -> Path:
    """A vault "v" that has forgotten one row, with the receipt r.json and the public key k.pem beside it."""
    steps = [("request", "v", "--ids", "p1"), ("work", "v"), ("receipt", "v", 1, "--out", "r.json")]
    for step in [*steps, ("public-key", "v", "--out", "k.pem")]:
        assert run(*step).code == 0
    return vault


def test_asking_and_checking_load_nothing_that_learning_needs(forgotten: Path) -> None:
    assert forgotten.name == "v"
    assert [(words, heavy) for words in LIGHT if (heavy := loaded_by(*words))] == []


def test_predicting_does_load_it(vault: Path) -> None:
    assert {"pandas", "torch"} <= loaded_by("predict", vault.name, "--rows", "test.csv", "--out", "p.csv")
