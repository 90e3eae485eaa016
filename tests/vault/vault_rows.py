"""Rows whose every value, id and subject can be told apart in a folder's bytes, and the search for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from expunge.rows import Rows, Table

COLUMNS = 3


def people(n: int, *, first: int = 0, seed: int = 0, classes: int = 3) -> Rows:
    """`n` rows with ids person-00000-q..., a subject for each pair, numbers, a text column and classes."""
    generator = np.random.default_rng([seed, first])
    numbers = range(first, first + n)
    return Rows.of(
        {
            "x": generator.normal(size=(n, COLUMNS)),
            "note": np.array([f"näte-{i:05d}-z" for i in numbers]),
        },
        np.array([i % classes for i in numbers]),
        ids=[f"person-{i:05d}-q" for i in numbers],
        subjects=[f"family-{i // 2:05d}-w" for i in numbers],
        classes=classes,
    )


def marks(table: Table) -> dict[str, bytes]:
    """What bytes each row of a table may leave behind: its values in three forms, id, subject, text, key."""
    found = {}
    for at in range(len(table)):
        name = str(table.ids[at])
        found[f"{name} id"] = name.encode()
        found[f"{name} subject"] = str(table.subjects[at]).encode()
        found[f"{name} note"] = str(table.columns["note"][at]).encode()
        found[f"{name} key"] = table.keys[at].astype("<u8").tobytes()
        for column, value in enumerate(table.columns["x"][at]):
            found[f"{name} x{column} float64"] = np.float64(value).tobytes()
            found[f"{name} x{column} float32"] = np.float32(value).tobytes()
            found[f"{name} x{column} text"] = repr(float(value)).encode()
    return found


def traces(folder: Path, table: Table) -> set[str]:
    """Which of a table's marks are found in any file of the folder, or in a file's name."""
    everything = b"\0".join(
        path.name.encode() + b"\0" + path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    )
    return {what for what, mark in marks(table).items() if mark in everything}
