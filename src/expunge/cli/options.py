"""Options that several commands share, each with its one help text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

VaultPath = Annotated[Path, typer.Argument(metavar="VAULT", help="Folder of the vault.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--key-file",
        metavar="FILE",
        help="Key file of the vault, outside it. Default: $EXPUNGE_KEY_FILE, else VAULT.key beside the vault.",
    ),
]
RowsFile = Annotated[
    Path, typer.Option("--rows", metavar="FILE", help="CSV, Parquet or npz file, or a folder of images.")
]
TestFile = Annotated[Path | None, typer.Option("--test", metavar="FILE", help="Rows that were never learned.")]
References = Annotated[
    int,
    typer.Option("--references", metavar="K", min=2, help="Models retrained for comparison, each with its own seed."),
]
Target = Annotated[
    str | None, typer.Option("--target", metavar="COL", help="Column to predict; a folder of images has none.")
]
IdColumn = Annotated[
    str | None, typer.Option("--id", metavar="COL", help="Column of the rows' ids. Default: 0, 1, 2, ...")
]
SubjectColumn = Annotated[
    str | None, typer.Option("--subject", metavar="COL", help="Column that names each row's owner.")
]
Classes = Annotated[
    str | None,
    typer.Option("--classes", metavar="A,B", help="Classes of the target, or their number. A target of text needs it."),
]
SettingsOfSeveral = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="FIELD=VALUE", help="For every method with this field, or LABEL.FIELD=VALUE for one."
    ),
]
OwnModule = Annotated[str | None, typer.Option("--model", metavar="PATH.PY:NAME", help="Your own torch module.")]
