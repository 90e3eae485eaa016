"""The suite is tested: every planted bug makes its test fail, and without a bug the same tests pass."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .mutants import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "expunge"
PASSED, FAILED = 0, 1


class Zygote:
    """A process that runs pytest nodes against a given copy of the package."""

    def __init__(self) -> None:
        command = [sys.executable, str(Path(__file__).with_name("zygote.py"))]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)

    def run(self, source: Path, *nodes: str) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\t".join((str(source), *nodes)) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def stop(self) -> None:
        self.process.communicate()


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    process = Zygote()
    yield process
    process.stop()


def planted(mutant: Mutant, folder: Path) -> Path:
    """A copy of the package with the bug in it."""
    shutil.copytree(PACKAGE, folder / "expunge")
    edits = [(mutant.file, mutant.old, mutant.new, mutant.times)]
    edits += [(*mutant.also, 1)] if mutant.also else []
    for name, old, new, times in edits:
        file = folder / "expunge" / name
        text = file.read_text()
        assert text.count(old) == times, f"{mutant.name}: {old!r} stands {text.count(old)} times in {name}"
        file.write_text(text.replace(old, new))
    return folder


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_planted_bug_is_caught(mutant: Mutant, zygote: Zygote, tmp_path: Path) -> None:
    assert zygote.run(planted(mutant, tmp_path), mutant.caught_by) == FAILED


def by_folder() -> dict[str, list[str]]:
    """The nodes of all planted bugs, by the folder of their tests."""
    folders: dict[str, list[str]] = {}
    for node in sorted({mutant.caught_by for mutant in MUTANTS}):
        folders.setdefault(node.partition("::")[0].rpartition("/")[0], []).append(node)
    return folders


@pytest.mark.parametrize("folder", by_folder())
def test_without_a_bug_the_same_tests_pass(folder: str, zygote: Zygote, tmp_path: Path) -> None:
    shutil.copytree(PACKAGE, tmp_path / "expunge")
    assert zygote.run(tmp_path, *by_folder()[folder]) == PASSED
