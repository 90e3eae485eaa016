"""Commands run in this process: exit code, standard output, standard error."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from expunge.cli import main


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Ran]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """`run("status", vault)`: the command line, without a process of its own."""
    monkeypatch.delenv("EXPUNGE_KEY_FILE", raising=False)

    def command(*words: object) -> Ran:
        with pytest.raises(SystemExit) as stop:
            main([str(word) for word in words])
        printed = capsys.readouterr()
        return Ran(int(stop.value.code or 0), printed.out, printed.err)

    return command


def people(n: int = 160, seed: int = 0) -> pd.DataFrame:
    """A table with ids, owners, numbers with a gap, text, and a target of text."""
    generator = np.random.default_rng(seed)
    age, hours = generator.integers(18, 80, n).astype(float), generator.normal(40, 8, n)
    job = generator.choice(["clerk", "nurse", "None"], n)
    rich = age * 0.05 + (job == "nurse") + generator.normal(0, 0.7, n) > 3
    age[3] = np.nan
    names = {"id": [f"p{i}" for i in range(n)], "who": [f"w{i % 40}" for i in range(n)]}
    return pd.DataFrame({**names, "age": age, "job": job, "hours": hours, "income": np.where(rich, "high", "low")})


LEARN = ("--target", "income", "--id", "id", "--subject", "who", "--classes", "low,high", "--method")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder with people.csv, more.csv and test.csv."""
    table = people()
    table[:120].to_csv(tmp_path / "people.csv", index=False)
    table[120:130].to_csv(tmp_path / "more.csv", index=False)
    table[130:].to_csv(tmp_path / "test.csv", index=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def vault(folder: Path, run: Run) -> Path:
    """A vault learned from people.csv by certified Newton."""
    done = run("learn", "v", "--rows", "people.csv", *LEARN, "certified-newton", "--seed", 3)
    assert done.code == 0, done.err
    return folder / "v"
