"""Core and user rows: a column marks which rows are never to be forgotten, and the network does not read it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from expunge.errors import InputError, MustRetrain
from expunge.rows import Rows, Table


def parted(rows: Rows, column: str, *, optional: bool = False) -> tuple[Rows, Rows]:
    """The core rows (1 in `column`) and the user rows (0), both without that column.

    Args:
        optional: whether rows without the column are all user rows.

    Raises:
        InputError: there is no such column, or it holds other things than 0 and 1.
    """
    others = tuple(declared for declared in rows.schema.columns if declared.name != column)
    if len(others) == len(rows.schema.columns):
        if optional:
            return rows.select(np.zeros(len(rows), dtype=bool)), rows
        raise InputError(
            f"There is no column {column!r}; mark core rows in it by 1 and user rows by 0, or give "
            "the weights of a core that was trained elsewhere (`adopt`; --weights on the command line)."
        )
    marks = [np.asarray(table.columns[column]).reshape(len(table), -1) for table in rows.tables()]
    if any(mark.dtype.kind not in "biuf" or mark.shape[1] != 1 or not np.isin(mark, (0, 1)).all() for mark in marks):
        raise InputError(f"The column {column!r} holds other things than 0 and 1, which mark user and core rows.")
    where = np.concatenate([np.zeros(0, dtype=bool), *(mark[:, 0] == 1 for mark in marks)])

    def unmarked(table: Table) -> Table:
        return replace(table, columns={name: array for name, array in table.columns.items() if name != column})

    schema = replace(rows.schema, columns=others)
    core, users = (rows.select(part).map(unmarked, schema, keep=False) for part in (where, ~where))
    return core, users


def users_only(rows: Rows, column: str) -> Rows:
    """The rows without their marks, none of which is a core row.

    Raises:
        InputError: a row is marked core.
    """
    core, users = parted(rows, column, optional=True)
    if len(core):
        raise InputError(f"{len(core)} rows are marked core, and a core given from elsewhere has none: mark none.")
    return users


def users_after(rows: Rows, changed: Rows, column: str, core_rows: int) -> Rows:
    """The user rows after a step in which `changed` left or came.

    Args:
        core_rows: how many rows trained the core; 0 where it was given from elsewhere, and rows need not have marks.

    Raises:
        MustRetrain: a core row is among the changed ones. InputError: the marks are not those of before.
    """
    if len(parted(changed, column, optional=not core_rows)[0]):
        raise MustRetrain("Core rows are among these, and the network is trained on such rows: it is learned again.")
    core, users = parted(rows, column, optional=not core_rows)
    if len(core) != core_rows:
        raise InputError(f"{core_rows} rows trained the core, and {len(core)} are marked: marks may not change.")
    return users
