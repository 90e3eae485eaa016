"""The command line: `expunge COMMAND`, one module per group of commands.

Exit codes: 0 done, 1 failed (the reason is one line on standard error), 2 the command line itself is at fault. With
`--json`, standard output is one JSON document and nothing else. Nothing here imports torch, numpy or pandas before a
command needs it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from expunge.cli import (
    auditing,
    comparing,
    demo,
    finding,
    forgetting,
    inspecting,
    learning,
    planning,
    proving,
    serving,
)
from expunge.cli.output import UsageError, in_one_line, note, note_log, say
from expunge.errors import ExpungeError

app = typer.Typer(
    name="expunge",
    help="Learn models that can forget; forget rows on request, certify it, audit it, prove it.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

COMMANDS: dict[str, Callable[..., None]] = {
    "demo": demo.demo,
    "learn": learning.learn,
    "extend": learning.extend,
    "find": finding.find,
    "request": forgetting.request,
    "work": forgetting.work,
    "predict": serving.predict,
    "export": serving.export,
    "status": inspecting.status,
    "ledger": inspecting.ledger,
    "methods": inspecting.methods,
    "audit": auditing.audit,
    "compare": comparing.compare,
    "plan": planning.plan,
    "receipt": proving.receipt,
    "public-key": proving.public_key,
    "verify": proving.verify,
}
for name, command in COMMANDS.items():
    app.command(name)(command)


def _version(wanted: bool) -> None:
    if wanted:
        from expunge import __version__

        say(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Learn models that can forget; forget rows on request, certify it, audit it, prove it."""
    del version


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit."""
    note_log()
    try:
        app(arguments, prog_name="expunge")
    except UsageError as error:
        note(f"Error: {in_one_line(error)}")
        sys.exit(2)
    except (ExpungeError, OSError) as error:
        note(f"Error: {in_one_line(error)}")
        sys.exit(1)
