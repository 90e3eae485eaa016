"""The pages build without a warning, fetch nothing, and describe the command line that there is."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_command_line_reference_is_what_the_code_says() -> None:
    written = runpy.run_path(str(DOCS / "write_cli.py"))
    page = (DOCS / "cli.md").read_text()
    assert page == written["reference"](), "run: python docs/write_cli.py"
    for name, command in written["commands"]().items():
        assert f"## {name}\n" in page
        assert command.help, f"{name} has no help"
        for parameter in command.params:
            if parameter.name != "help":
                assert parameter.help, f"{name} {parameter.name} has no help"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pages")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", str(DOCS), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def test_every_page_is_in_the_contents(built: Path) -> None:
    pages = {str(path.relative_to(DOCS).with_suffix("")) for path in DOCS.rglob("*.md") if "_build" not in path.parts}
    assert pages
    assert {page for page in pages if not (built / f"{page}.html").is_file()} == set()


def test_no_page_fetches_anything(built: Path) -> None:
    fetches = re.compile(
        r'<(?:script|img|iframe)[^>]*\ssrc="(?:https?:)?//|<link[^>]*rel="stylesheet"[^>]*href="(?:https?:)?//'
    )
    assert fetches.search('<script defer src="https://example.org/x.js">')
    for page in built.rglob("*.html"):
        assert fetches.search(page.read_text()) is None, page.name
