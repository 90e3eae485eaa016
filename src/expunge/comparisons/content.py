"""Digests of what decides a cell: the rows, the method with its settings, and the code that runs.

A cell that is found under its digest is not computed again, so whatever could change it must be in the digest.
"""

from __future__ import annotations

import hashlib
import inspect
import sys
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from expunge import __version__, record
from expunge.errors import InputError
from expunge.method import Method
from expunge.rows import Rows
from expunge.schema import Array

RUNNING = ("methods", "learners", "objective", "features", "maths", "kernels")  # folders
DECIDING = ("case", "step_cell", "sequence_cell", "cell", "plain_training")  # files of this folder


def rows_digest(rows: Rows) -> str:
    """SHA-256 of the rows' keys, owners, columns, targets and schema, in the order of the rows."""
    hashed = hashlib.sha256(repr(rows.schema).encode())
    for table in rows.tables():
        hashed.update(table.keys.tobytes() + table.owners.tobytes())
        for name in sorted(table.columns):
            hashed.update(_bytes(table.columns[name]))
        if table.y is not None:
            hashed.update(_bytes(table.y))
    return hashed.hexdigest()


def method_digest(method: Method[Any]) -> str:
    """SHA-256 of the method's class, its settings, and the source of classes from outside this package.

    Raises:
        InputError: a setting cannot be written down (a loss that is a function, say).
    """
    try:
        settings = record.digest(method)
    except TypeError as error:
        raise InputError(
            f"{type(method).__name__} cannot be written down, so its results cannot be found again: {error} Give "
            "settings that are numbers, text, or dataclasses of them."
        ) from error
    return hashlib.sha256("\n".join([settings, *own_sources(method)]).encode()).hexdigest()


def own_sources(method: Method[Any]) -> list[str]:
    """The sources of the modules that define the method's classes, where they are not this package's."""
    modules = {cls.__module__ for cls in record.classes_in(method).values()}
    own = sorted(name for name in modules if name.partition(".")[0] != "expunge" and name in sys.modules)
    return [inspect.getsource(sys.modules[name]) for name in own]


@cache
def code_digest() -> str:
    """SHA-256 of the version and of the sources that a cell is computed by."""
    hashed = hashlib.sha256(__version__.encode())
    package = resources.files("expunge")
    for folder in RUNNING:
        files = [file for file in package.joinpath(folder).iterdir() if file.name.endswith(".py")]
        for file in sorted(files, key=lambda file: file.name):
            hashed.update(file.name.encode() + file.read_bytes())
    for name in DECIDING:
        hashed.update(package.joinpath("comparisons", f"{name}.py").read_bytes())
    return hashed.hexdigest()


def _bytes(array: Array) -> bytes:
    if array.dtype.kind != "T":
        return np.ascontiguousarray(array).tobytes()
    encoded = [str(value).encode() for value in array.ravel()]
    return b"".join(len(text).to_bytes(4, "little") + text for text in encoded)
