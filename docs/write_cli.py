"""Write docs/cli.md from the command line itself: `python docs/write_cli.py`. A test compares the two."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer.main

from expunge.cli import app

HEAD = """\
# Command line

<!-- Written by docs/write_cli.py from the code; a test holds the two together. -->

Every command ends with exit code 0 (done), 1 (failed: the reason is one line on standard error) or 2 (the command line
itself is at fault). With `--json`, standard output is one JSON document and nothing else; progress and notes go to
standard error. `VAULT` is a folder. Its key file stands beside it (`VAULT.key`) unless `--key-file` or the environment
variable `EXPUNGE_KEY_FILE` names another place.

Rows are read from `.csv`, `.tsv`, `.jsonl` (also with `.gz`), `.parquet` and `.npz` files, or from a folder of images.
`learn` remembers which columns are the target, the id and the subject.

A method's fields are set by `--set field=value`, as often as needed. A field that has fields of its own is reached by a
dot, and where several kinds may stand, the field's own value names one: `--set learner=convex --set learner.l2=0.01`,
`--set learner.model.hidden=64,32`. A name that does not exist is answered with the nearest that does.
"""


def reference() -> str:
    """The page."""
    parts = [HEAD]
    for name, command in commands().items():
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        options = [p for p in command.params if p.param_type_name == "option" and p.name != "help"]
        usage = " ".join(["expunge", name, *(p.metavar for p in arguments), "[OPTIONS]"])
        parts += [f"## {name}\n", f"{command.help}\n", f"```text\n{usage}\n```\n", "| option | meaning |\n|---|---|"]
        parts += [f"| `{p.metavar}` | {p.help} |" for p in arguments]
        parts += [f"| `{_form(p)}` | {_meaning(p)} |" for p in options]
        parts.append("")
    return "\n".join(parts)


def commands() -> dict[str, Any]:
    """Every command by its name, in the order of the help."""
    return dict(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


def _form(option: Any) -> str:
    return option.opts[0] if option.is_flag else f"{option.opts[0]} {option.metavar or _kind(option)}"


def _kind(option: Any) -> str:
    choices = option.type_descriptor.choices
    return "\\|".join(map(str, choices)) if choices else "NUMBER"


def _meaning(option: Any) -> str:
    if option.required:
        return f"{option.help} Required."
    if option.is_flag or option.default in (None, "", 0.0):
        return str(option.help)
    return f"{option.help} Default: {option.default}."


if __name__ == "__main__":
    Path(__file__).with_name("cli.md").write_text(reference())
