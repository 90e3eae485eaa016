"""`expunge learn` and `expunge extend`: rows in."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from expunge.cli.options import Classes, IdColumn, Json, KeyFile, RowsFile, SubjectColumn, Target, VaultPath
from expunge.cli.output import UsageError, note, progress, say, show_json
from expunge.cli.tables import Statistics

if TYPE_CHECKING:
    from expunge.rows import Rows


def learn(
    vault: VaultPath,
    rows: RowsFile,
    method: Annotated[
        str, typer.Option("--method", metavar="NAME", help="A method of `expunge methods`, or path.py:name.")
    ],
    target: Target = None,
    id: IdColumn = None,  # noqa: A002
    subject: SubjectColumn = None,
    classes: Classes = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="A field of the method: epsilon=1, learner.epochs=5."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="PATH.PY:NAME", help="Your own torch module, for methods that train one."),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            "--weights", metavar="FILE", help="Start from a model trained elsewhere on these rows: safetensors."
        ),
    ] = None,
    statistics: Annotated[
        Statistics,
        typer.Option("--statistics", help="How the means, scales and levels of a table are known; see certificates."),
    ] = Statistics.PUBLIC,
    bounds: Annotated[
        list[str] | None,
        typer.Option("--bounds", metavar="COL=LOW:HIGH", help="Public bounds of a column of numbers."),
    ] = None,
    levels: Annotated[
        list[str] | None, typer.Option("--levels", metavar="COL=A,B", help="Public levels of a column of text.")
    ] = None,
    mu: Annotated[
        float, typer.Option("--mu", help="Budget of noised statistics, in Gaussian differential privacy.")
    ] = 0.0,
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="N", help="Public seed of learning. Default: drawn and kept.")
    ] = None,
    key_file: KeyFile = None,
    json: Json = False,
) -> None:
    """Learn a model from rows, into a new vault."""
    from expunge.cli import choosing, files, tables
    from expunge.cli.settings import parse
    from expunge.vault import Vault

    declared = tables.Declared(statistics, bounds or [], levels or [], mu)
    chosen = choosing.choose(method, parse(settings or []), model)
    if target is None and ".py" not in method and not rows.is_dir() and chosen.needs_target:
        raise UsageError(f"--target COL is missing: {method} learns to predict a column, and only images have none.")
    source = files.Source(target, id, subject)
    given = files.read_rows(rows, source, classes)
    whole = tables.over_a_table(chosen, given, declared)
    start = None if weights is None else files.read_weights(weights)
    with (
        progress() as tell,
        Vault.create(
            vault, given, whole, seed=seed, key_file=key_file, weights=start, columns=asdict(source), progress=tell
        ) as made,
    ):
        report, uneven = made.status(), tables.imbalance(whole, given, made.seed)
    if whole is not chosen:
        note(tables.said_of(declared))
    note(*uneven)
    if json:
        show_json(report)
    else:
        say(f"Learned {len(given)} rows with {method} into {vault}.")


def extend(
    vault: VaultPath,
    rows: RowsFile,
    target: Annotated[
        str | None, typer.Option("--target", metavar="COL", help="Where it differs from learn's.")
    ] = None,
    id: Annotated[  # noqa: A002
        str | None, typer.Option("--id", metavar="COL", help="Where it differs from learn's.")
    ] = None,
    subject: Annotated[
        str | None, typer.Option("--subject", metavar="COL", help="Where it differs from learn's.")
    ] = None,
    allow_equal_content: Annotated[
        bool, typer.Option("--allow-equal-content", help="Admit rows whose content equals that of a forgotten row.")
    ] = False,
    key_file: KeyFile = None,
    json: Json = False,
) -> None:
    """Learn new rows into a vault, beside those it holds."""
    from expunge.cli import files
    from expunge.vault import Vault

    with progress() as tell, Vault.open(vault, key_file=key_file) as opened:
        source = files.Source.of(vault).given(target, id, subject)
        given: Rows = files.read_like(rows, source, opened.schema)
        opened.extend(given, allow_equal_content=allow_equal_content, progress=tell)
        report = opened.status()
    if json:
        show_json(report)
    else:
        say(f"Learned {len(given)} more rows into {vault}.")
