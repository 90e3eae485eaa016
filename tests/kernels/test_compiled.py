"""Whoever waits for kernels to be compiled is told so, once."""

from __future__ import annotations

import importlib
import logging
import sys
from pathlib import Path
from typing import Any

import pytest
from numba.core import event

from expunge.cli import main
from expunge.kernels.compiled import COMPILING, LOG, Announcer, compiled

SOURCE = """
def twice(x):
    return x + x

def thrice(x):
    return x + x + x
"""


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Functions that no process has compiled yet."""
    (tmp_path / "fresh_kernels.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("fresh_kernels")
    yield module
    sys.modules.pop("fresh_kernels")


def test_compiling_is_told_once_and_what_lies_on_disk_is_not(fresh: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "expunge")
    first = Announcer()
    with event.install_listener("numba:compile", first):
        assert compiled(fresh.twice)(2) == 4
        assert first.told
        assert compiled(fresh.thrice)(2) == 6
    mine = [record for record in caplog.records if record.message == COMPILING]
    assert 1 <= len(mine) <= 2  # this one's, and that of the process, if it had told nothing yet
    again = Announcer()
    with event.install_listener("numba:compile", again):
        assert compiled(fresh.twice)(2) == 4
    assert not again.told


def test_the_command_line_shows_it_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):  # twice in a process, and still once each
        with pytest.raises(SystemExit):
            main(["--version"])
    capsys.readouterr()
    LOG.info(COMPILING)
    printed = capsys.readouterr()
    assert printed.err == COMPILING + "\n"
    assert not printed.out
