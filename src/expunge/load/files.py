"""Rows from files: CSV, Parquet, JSON lines, npz, or a folder of images."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypedDict, Unpack

import pandas as pd

from expunge.errors import InputError
from expunge.load.arrays import rows_from_npz
from expunge.load.frames import Names, rows_from_frame
from expunge.load.image_folder import rows_from_images
from expunge.load.target import Classes
from expunge.rows import Rows
from expunge.schema import Schema

NOT_A_NUMBER = ("", "nan", "NaN")
SUFFIXES = (".csv", ".tsv", ".parquet", ".jsonl", ".npz")


class Reading(TypedDict, total=False):
    """How a file becomes rows: the keyword arguments of `rows_from_frame`."""

    target: Names
    id: str | None
    subject: str | None
    classes: Classes
    ignore: Sequence[str]
    schema: Schema | None


def rows_from_file(path: Path | str, **how: Unpack[Reading]) -> Rows:
    """Rows from a file, read by its suffix (.csv, .tsv and .jsonl also as .gz), or from a folder of images.

    Arguments and errors are those of `rows_from_frame`, `rows_from_npz` and `rows_from_images`.

    Raises:
        InputError: the file is absent, of another kind, or cannot be read.
    """
    where = Path(path)
    if where.is_dir():
        return _images(where, how)
    suffix = Path(where.stem).suffix if where.suffix == ".gz" else where.suffix
    match suffix.lower():
        case ".csv" | ".tsv" | ".data" | ".txt":
            return rows_from_csv(where, **how)
        case ".parquet":
            return rows_from_parquet(where, **how)
        case ".jsonl":
            return _rows(_json_lines, where, how)
        case ".npz":
            _check_file(where)
            return rows_from_npz(where, **how)
    raise InputError(f"{where.name} has the suffix {where.suffix!r}; one of {SUFFIXES} or a folder was expected.")


def rows_from_csv(path: Path | str, **how: Unpack[Reading]) -> Rows:
    """Rows from a CSV file with a header: see `rows_from_frame`. An empty cell and "nan" are missing, "None" is not."""
    return _rows(_csv, Path(path), how)


def rows_from_parquet(path: Path | str, **how: Unpack[Reading]) -> Rows:
    """Rows from a Parquet file: see `rows_from_frame`. Needs the extra `data`."""
    return _rows(_parquet, Path(path), how)


def _rows(read: Callable[[Path, Sequence[str]], pd.DataFrame], path: Path, how: Reading) -> Rows:
    _check_file(path)
    schema = how.get("schema")
    names = [name for name in (how.get("id"), how.get("subject")) if name]
    texts = [*names, *(column.name for column in (schema.columns if schema else ()) if column.kind == "T")]
    try:
        frame = read(path, texts)
    except ImportError as error:
        raise InputError("Parquet needs pyarrow: install the extra with pip install 'expunge[data]'.") from error
    except pd.errors.EmptyDataError as error:
        raise InputError(f"{path} is empty; a line with the names of the columns, then rows, were expected.") from error
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    return rows_from_frame(frame, **how)


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise InputError(f"There is no file {path}.")


def _images(folder: Path, how: Reading) -> Rows:
    if any(how.get(name) for name in ("target", "id", "subject", "ignore")):
        raise InputError(f"{folder} is a folder of images: its classes and ids come from the names of the files.")
    schema, classes = how.get("schema"), how.get("classes")
    return rows_from_images(folder, classes=schema.classes if schema is not None and classes is None else classes)


def _csv(path: Path, texts: Sequence[str]) -> pd.DataFrame:
    return pd.read_csv(
        path,
        sep="\t" if ".tsv" in path.suffixes else ",",
        keep_default_na=False,
        na_values=list(NOT_A_NUMBER),
        dtype=dict.fromkeys(texts, "str"),
        skipinitialspace=True,
        low_memory=False,  # a column's type must not depend on how the file is cut into pieces
    )


def _parquet(path: Path, texts: Sequence[str]) -> pd.DataFrame:
    del texts  # a Parquet file knows its types
    return pd.read_parquet(path)


def _json_lines(path: Path, texts: Sequence[str]) -> pd.DataFrame:
    del texts  # JSON knows its types
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
        return pd.DataFrame([json.loads(line) for line in file if line.strip()])
