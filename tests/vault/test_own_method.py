"""A method from the user's own file: its source is stored, and the vault opens without the file."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
from vault_rows import people

from expunge.errors import Corrupt, InputError
from expunge.method import Method
from expunge.vault import Vault

SOURCE = """
from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import torch
from expunge.certificate import Exact
from expunge.method import Forgetting, Method, Release


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True, eq=False)
class CountRecord:
    count: int
    colour: Colour


@dataclass(frozen=True)
class Count(Method[CountRecord]):
    step: int = 1

    def learn(self, rows, *, seed, noise):
        return CountRecord(self.step * len(rows), Colour.RED)

    def forget(self, record, retained, forgotten, *, noise):
        return Forgetting(CountRecord(self.step * len(retained), record.colour), Exact(("counts",)), {})

    def release(self, record):
        return Release({"count": torch.tensor([record.count])})

    def predict(self, release, columns):
        return release.tensors["count"].double().expand(len(columns["x"]), 1)
"""


def imported(file: Path) -> Any:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = folder / "my_count.py"
    file.write_text(SOURCE)
    monkeypatch.delitem(sys.modules, "my_count", raising=False)
    method: Method[Any] = imported(file).Count(step=3)
    Vault.create(folder / "v", people(40), method).close()
    monkeypatch.delitem(sys.modules, "my_count")
    file.unlink()
    return folder / "v"


def test_a_vault_opens_without_the_file_of_its_method(own: Path) -> None:
    with Vault.open(own) as vault:
        assert vault.method.step == 3  # type: ignore[attr-defined]
        vault.request(ids=["person-00001-q"])
        assert vault.work()[0].purged
        assert vault.predict({"x": people(2).columns["x"]}).tolist() == [[117.0], [117.0]]
        assert vault.record().colour == "red"
    assert "my_count" not in sys.modules


def test_status_and_ledger_run_no_stored_code(own: Path) -> None:
    with Vault.open(own) as vault:
        digest = vault._parts.ledger.one("SELECT digest FROM sources")["digest"]
        (own / "chunks" / digest).write_text("raise SystemExit('code was run')")
        assert vault.status()["method"]["name"] == "Count"
        vault.request(ids=["person-00001-q"])
        assert len(vault.ledger()) == 1
        with pytest.raises(Corrupt, match="does not match its digest"):
            _ = vault.method


def test_another_file_of_the_same_name_is_not_taken_for_it(own: Path, folder: Path) -> None:
    (folder / "my_count.py").write_text(SOURCE.replace("step: int = 1", "step: int = 2"))
    other = imported(folder / "my_count.py")
    with Vault.open(own) as vault:
        assert type(vault.method) is not other.Count
        assert sys.modules["my_count"] is other
    del sys.modules["my_count"]


def test_a_method_of_the_running_program_has_no_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = folder / "my_count.py"
    file.write_text(SOURCE)
    module = imported(file)
    for name in ("Count", "CountRecord"):
        monkeypatch.setattr(getattr(module, name), "__module__", "__main__")
    with pytest.raises(InputError, match="Python file of their own"):
        Vault.create(folder / "w", people(40), module.Count())
    assert not (folder / "w").exists()
    del sys.modules["my_count"]
