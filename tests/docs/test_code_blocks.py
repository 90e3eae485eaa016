"""Code in the README and the docs runs as it stands there.

Blocks of one page share one namespace and one empty folder, in order. ```python is executed; in ```console, lines that
begin with `$ ` are executed (expunge commands in this process, everything else by bash), and the lines below must be
what they print, where `...` stands for anything. ```python no-run and other languages are only shown. A block named in
a comment line before it, `<!-- file: NAME -->`, is written to NAME instead. A comment `<!-- prepare ... -->` is Python
that readers need not see.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from expunge.cli import main

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    + [path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts]
)
FENCE = re.compile(
    r"^<!-- (?P<hidden>prepare)\n(?P<preparation>.*?)^-->$"
    r"|(?:^<!-- file: (?P<file>\S+) -->\n)?^```(?P<info>[^\n`{]*)\n(?P<body>.*?)^```$",
    flags=re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    line: int
    info: str
    file: str | None
    body: str


def blocks(text: str) -> Iterator[Block]:
    for match in FENCE.finditer(text):
        shown = "preparation" if match["hidden"] else "body"
        line = text.count("\n", 0, match.start(shown))
        yield Block(line, "python" if match["hidden"] else match["info"].strip(), match["file"], match[shown])


def transcript(body: str) -> Iterator[tuple[str, str]]:
    """Each command of a console block with what it is said to print."""
    for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
        lines = part.split("\n")
        count = next(i for i, line in enumerate(lines) if not line.endswith("\\"))
        command = " ".join(line.rstrip("\\").strip() for line in lines[: count + 1])
        yield command, "\n".join(lines[count + 1 :]).strip()


def shell(command: str) -> str:
    words = shlex.split(command)
    if words[0] != "expunge" or {"|", "||", ">", "&&", ";"} & set(words):
        done = subprocess.run(
            ["bash", "-uo", "pipefail", "-c", command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}"
        return done.stdout
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed), pytest.raises(SystemExit) as stop:
        main(words[1:])
    assert stop.value.code in (0, None), f"{command}\n{printed.getvalue()}"
    return printed.getvalue()


def matches(expected: str, printed: str) -> bool:
    def words(text: str) -> str:
        return " ".join(text.split())

    pattern = ".*?".join(re.escape(words(part)) for part in expected.split("..."))
    return re.search(pattern, words(printed), flags=re.DOTALL) is not None


def test_transcripts_are_read_and_compared() -> None:
    assert list(transcript("$ a \\\n    b\nout 1\n\n$ c\n")) == [("a b", "out 1"), ("c", "")]
    assert matches("learned ... rows", "it learned 12  rows\n")
    assert not matches("learned 13 rows", "it learned 12 rows")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_code_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("NO_COLOR", "1")
    namespace: dict[str, object] = {"__name__": "__page__"}
    for block in blocks(page.read_text()):
        where = f"{page.relative_to(ROOT)}:{block.line}"
        if block.file:
            Path(block.file).parent.mkdir(parents=True, exist_ok=True)
            Path(block.file).write_text(block.body)
        elif block.info == "python":
            source = "\n" * block.line + block.body
            exec(compile(source, str(page), "exec", dont_inherit=True), namespace)
        elif block.info == "console":
            for command, expected in transcript(block.body):
                printed = shell(command)
                assert matches(expected, printed), (
                    f"{where}: {command}\n--- printed\n{printed}\n--- expected\n{expected}"
                )
