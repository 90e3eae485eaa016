"""Rows that are planted to be forgotten: a model can know them by heart only.

A row that resembles many others is forgotten by nobody and remembered by everybody: an attack finds nothing, whatever a
method did. A wrong label or a row made of chance is known to a model that learned it and to no other.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from expunge import keyed
from expunge.errors import InputError
from expunge.keyed import Purpose
from expunge.learners.inputs import in_key_order
from expunge.rows import Rows, Table
from expunge.schema import TEXT, Array

CANARY = "canary-"


def mislabelled(rows: Rows, count: int, *, seed: int) -> tuple[Rows, Array]:
    """The rows with `count` of them given a wrong label, and the ids of these.

    Each gets a keyed choice of the other classes; in a regression, the target of another row.

    Raises:
        InputError: the rows have no target, or fewer rows than `count`, or only one class.
    """
    _check(rows, count)
    if rows.classes == 1:
        raise InputError("There is one class only, so no row can be given a wrong one: declare all classes.")
    where = keyed.k_smallest(seed, ("planted", "mislabelled"), rows.keys, count)
    table = rows.table()
    y, keys = rows.y.copy(), table.keys[where]
    if rows.classes:
        shift = 1 + keyed.integers(seed, ("planted", "label"), keys, rows.classes - 1)
        y[where] = (y[where] + shift) % rows.classes
    else:
        y[where] = _from_rows(rows, keyed.integers(seed, ("planted", "label"), keys, len(rows)))
    return Rows.from_table(replace(table, y=y), rows.schema.classes), table.ids[where]


def canaries(rows: Rows, count: int, *, seed: int) -> tuple[Rows, Array]:
    """The rows and `count` new ones made of chance, and the ids of these: "canary-0", "canary-1", ...

    Each number (each pixel, each text) of a canary is that of a row of its own, drawn anew: what a column holds stays
    as likely as it was, and what goes together does not. The label is drawn among the classes; in a regression it is
    the target of some row.

    Raises:
        InputError: the rows have no target. DuplicateRows: these ids are taken.
    """
    _check(rows, 1)
    if count < 1:
        raise InputError(f"{count} canaries were asked for; give at least 1.")
    table, names = rows.table(), np.array([f"{CANARY}{k}" for k in range(count)], dtype=TEXT)
    keys = keyed.keys_of(names.tolist())
    columns = {
        name: _drawn(column, keys, seed, ("canary", name)) for name, column in in_key_order(rows).columns.items()
    }
    if rows.classes:
        y = keyed.integers(seed, ("canary", "label"), keys, rows.classes).astype(rows.y.dtype)
    else:
        y = _from_rows(rows, keyed.integers(seed, ("canary", "label"), keys, len(rows)))
    subjects = None if table.subjects is None else names
    planted = Rows.from_table(Table(names, keys, keys, subjects, columns, y), rows.schema.classes)
    return rows.and_rows(planted), names


def _drawn(column: Array, keys: keyed.Keys, seed: int, purpose: Purpose) -> Array:
    """Rows of a column (m, ...) whose every entry is that of a row drawn for it."""
    flat = column.reshape(len(column), -1)
    places = [keyed.integers(seed, (*purpose, place), keys, len(column)) for place in range(flat.shape[1])]
    made = np.stack([flat[rows, place] for place, rows in enumerate(places)], axis=1)
    return np.asarray(made.reshape(len(keys), *column.shape[1:]))


def _from_rows(rows: Rows, ranks: Array) -> Array:
    """The targets of the rows of these ranks in the order of keys."""
    return np.asarray(rows.y[np.argsort(rows.keys)[ranks]])


def _check(rows: Rows, count: int) -> None:
    if rows.schema.target is None:
        raise InputError("These rows have no target y, so no wrong label can be planted among them.")
    if not 1 <= count <= len(rows):
        raise InputError(f"{count} planted rows were asked for, and there are {len(rows)}: give 1 to {len(rows)}.")
