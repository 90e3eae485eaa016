"""What commands print: plain lines and tables for people, JSON for machines, one line for an error."""

from __future__ import annotations

import json
import logging
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from expunge.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console


class UsageError(InputError):
    """The command line itself is at fault: exit code 2, where every other error is 1."""


def console(*, stderr: bool = False, least: int = 0) -> Console:
    """A terminal as rich sees it, at least so many columns wide; text is printed as it is, without markup."""
    from rich.console import Console

    terminal = Console(stderr=stderr, markup=False, highlight=False)
    return terminal if terminal.width >= least else Console(stderr=stderr, markup=False, highlight=False, width=least)


def say(*lines: str) -> None:
    """Lines on standard output."""
    for line in lines:
        sys.stdout.write(f"{line}\n")


def note(*lines: str) -> None:
    """Lines on standard error: what a person should know and a machine need not read."""
    for line in lines:
        sys.stderr.write(f"{line}\n")


class Noting(logging.Handler):
    """What the package logs, as notes on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one message."""
        note(record.getMessage())


def note_log() -> None:
    """From now on show what the package logs, from the level of information on."""
    log = logging.getLogger("expunge")
    log.setLevel(logging.INFO)
    if not any(isinstance(handler, Noting) for handler in log.handlers):
        log.addHandler(Noting())


def in_one_line(error: Exception) -> str:
    """What went wrong; of the operating system, its words and the file that they are about."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}."
    return " ".join(str(error).split())


def show_json(value: Any) -> None:
    """`value` as JSON on standard output."""
    say(json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False))


def show_table(columns: Sequence[str], lines: Iterable[Sequence[object]], title: str | None = None) -> None:
    """A table on standard output."""
    from rich import box
    from rich.table import Table

    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    for place, name in enumerate(columns):
        table.add_column(name, no_wrap=not place)
    for line in lines:
        table.add_row(*("" if cell is None else str(cell) for cell in line))
    console().print(table)


@contextmanager
def progress() -> Iterator[Callable[[str, int, int], None]]:
    """A bar on standard error for each thing under way, where that is a terminal; told (what, done, of how many)."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    shown = Progress(
        TextColumn("{task.description:<42}", markup=False),
        BarColumn(),
        TimeElapsedColumn(),
        console=console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    tasks: dict[str, Any] = {}

    def tell(what: str, done: int, total: int) -> None:
        if what not in tasks:
            tasks[what] = shown.add_task(what, total=total)
        shown.update(tasks[what], completed=done, total=total)

    with shown:
        yield tell


def show_fields(fields: Mapping[str, Any]) -> None:
    """`name  value` lines; mappings and lists inside are shown as JSON."""
    width = max(map(len, fields), default=0)
    for name, value in fields.items():
        shown = json.dumps(plain(value), ensure_ascii=False) if isinstance(value, dict | list | tuple) else value
        say(f"{name.replace('_', ' '):<{width}}  {shown}")


def in_words(certificate: Mapping[str, Any] | None) -> str:
    """A certificate, as a dictionary with its type, in one line."""
    match certificate:
        case None:
            return "none yet: nothing was forgotten"
        case {"type": "Exact"}:
            return "exact: equal, bit for bit, to learning without the rows"
        case {"type": "Certified", "epsilon": epsilon, "delta": delta, "view": view, "basis": basis}:
            return f"certified: epsilon {epsilon:g}, delta {delta:g}, against {view} ({basis})"
        case {"why": why}:
            return f"uncertified: {why}"
    return json.dumps(plain(certificate), ensure_ascii=False)


def plain(value: Any) -> Any:
    """`value` of JSON's types alone; an infinite or undefined number becomes its name, for JSON has none."""
    match value:
        case None | bool() | str() | int():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case _:
            return str(value)
