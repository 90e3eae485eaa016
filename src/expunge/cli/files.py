"""Rows from files, read the way a vault's first rows were: which column is the target, the id, the owner.

The names of these columns are kept beside the vault's own files, in `columns.json`, so that `extend`, `predict` and
`audit` need not be told again. They are names of columns, never a row's content.
"""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expunge.cli.output import UsageError
from expunge.errors import Corrupt, InputError

if TYPE_CHECKING:
    from torch import Tensor

    from expunge.rows import Rows, Table
    from expunge.schema import Schema
    from expunge.vault import Vault


@dataclass(frozen=True)
class Source:
    """The columns of a file that are no features: the target, and where given the id and the owner of a row."""

    target: str | None
    id: str | None
    subject: str | None

    @classmethod
    def of(cls, vault: Path) -> Source:
        """What was kept at `learn`; nothing, where a program made the vault.

        Raises:
            Corrupt: the file is damaged.
        """
        from expunge.vault.opened import COLUMNS

        file = vault / COLUMNS
        if not file.is_file():
            return cls(None, None, None)
        try:
            return cls(**json.loads(file.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise Corrupt(
                f"{file} is damaged; a JSON object with target, id and subject, each the name of a column or null, was "
                f"expected: restore it from a backup, or write it again."
            ) from error

    def given(self, target: str | None, id: str | None, subject: str | None) -> Source:  # noqa: A002
        """These names, where a command gives others those."""
        return Source(target or self.target, id or self.id, subject or self.subject)


def read_rows(path: Path, source: Source, classes: str | None = None) -> Rows:
    """All rows of a file, with their targets.

    Args:
        classes: names with commas between, or how many classes there are; 0 means a regression.

    Raises:
        UsageError: there is no such file. InputError: it cannot be read as rows.
    """
    from expunge.load import rows_from_file

    names = None if classes is None else [name.strip() for name in classes.split(",")]
    declared = int(names[0]) if names and len(names) == 1 and names[0].isdecimal() else names
    rows = rows_from_file(existing(path), target=source.target, id=source.id, subject=source.subject, classes=declared)
    return _not_empty(rows, path)


def read_like(path: Path, source: Source, schema: Schema) -> Rows:
    """Rows with targets that a vault of this schema could have learned; columns it does not have are left out."""
    from expunge.load import rows_from_file

    rows = rows_from_file(existing(path), target=source.target, id=source.id, subject=source.subject, schema=schema)
    return only_columns(_not_empty(rows, path), schema)


def read_test(path: Path, vault: Vault) -> Rows:
    """Rows that were never learned, for an audit of a vault."""
    return read_like(path, Source.of(vault.path), vault.schema)


def read_unlabelled(path: Path, source: Source, schema: Schema) -> Rows:
    """Rows to predict: the target may be absent, and is left out."""
    from expunge.load import rows_from_file

    return only_columns(_not_empty(rows_from_file(existing(path), id=source.id, schema=schema), path), schema)


def read_names(path: Path) -> list[str]:
    """Ids from a text file, one a line.

    Raises:
        UsageError: there is no such file. InputError: it is not text.
    """
    try:
        lines = existing(path).read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not text ({error}); one id a line was expected.") from error
    return [line.strip() for line in lines if line.strip()]


def check_place(out: Path | None) -> None:
    """Before the work whose result is to be written to `out`: there is a folder for it.

    Raises:
        UsageError: there is none.
    """
    if out is not None and (out.is_dir() or not out.parent.is_dir()):
        told = "is a folder" if out.is_dir() else f"would be in the folder {out.parent}, which does not exist"
        raise UsageError(f"--out {out} {told}: name a file in a folder that does.")


def write_whole(path: Path, text: str) -> None:
    """The text as a file that is there whole or not at all; one that was there before stays until then.

    Raises:
        InputError: it cannot be written.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise InputError(f"{path} could not be written: {error.strerror}. Give another place, or make room.") from error


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Raises:
        InputError: it cannot be read as one.
    """
    import safetensors.torch

    try:
        return dict(safetensors.torch.load_file(existing(path)))
    except safetensors.SafetensorError as error:
        raise InputError(f"{path} cannot be read as safetensors: {error}") from error


def only_columns(rows: Rows, schema: Schema) -> Rows:
    """The rows without columns that the schema does not have.

    Raises:
        SchemaError: a column of the schema is missing.
    """
    from expunge.schema import check_schema

    wanted = {column.name for column in schema.columns}
    kept = tuple(column for column in rows.schema.columns if column.name in wanted)
    narrow = dataclasses.replace(rows.schema, columns=kept)
    check_schema(narrow, schema)

    def select(table: Table) -> Table:
        return dataclasses.replace(table, columns={name: table.columns[name] for name in wanted})

    return rows.map(select, narrow, keep=False)


def _not_empty(rows: Rows, path: Path) -> Rows:
    if not len(rows):
        raise InputError(f"{path} holds no rows; a line with the names of the columns, then rows, were expected.")
    return rows


def existing(path: Path) -> Path:
    """The path of a file or folder that is there.

    Raises:
        UsageError: it is not.
    """
    if not path.exists():
        raise UsageError(f"There is no file {path}.")
    return path


def write_predictions(path: Path, columns: dict[str, Any]) -> None:
    """Predictions as CSV, JSON or npz, by the file's suffix.

    Raises:
        UsageError: the suffix is none of them.
    """
    match path.suffix.lower():
        case ".csv":
            import pandas as pd

            pd.DataFrame(columns).to_csv(path, index=False)
        case ".json":
            lists = {name: column.tolist() for name, column in columns.items()}
            names, values = list(lists), zip(*lists.values(), strict=True)
            path.write_text(json.dumps([dict(zip(names, row, strict=True)) for row in values], indent=1) + "\n")
        case ".npz":
            import numpy as np

            np.savez_compressed(path, **{name: _storable(column) for name, column in columns.items()})
        case suffix:
            raise UsageError(f"--out {str(path)!r}: predictions are written as .csv, .json or .npz, not {suffix!r}.")


def _storable(column: Any) -> Any:
    """Text of a fixed width: an npz file of Python objects would be a pickle."""
    return column.astype(str) if column.dtype.kind == "O" else column
