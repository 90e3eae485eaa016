"""A table of raw columns needs features before a method can learn from it; what they assume is said aloud."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from expunge.cli.output import UsageError

if TYPE_CHECKING:
    from expunge.features import Features
    from expunge.method import Method
    from expunge.rows import Rows, Table

IMAGE_DIMENSIONS = 2


class Statistics(StrEnum):
    """How the statistics of a table's features are known."""

    PUBLIC = "public"
    EXACT = "exact"
    NOISED = "noised"
    SHARD = "shard"


SAID = {
    Statistics.PUBLIC: (
        "Assumption: centres, scales and levels of the columns were read from these rows once and are declared public "
        "(certificates list it). --statistics exact or noised assume less."
    ),
    Statistics.EXACT: (
        "Statistics of the columns are exact and refitted at every step: two releases give a deleted row away, "
        "so a certificate holds for one release only."
    ),
    Statistics.NOISED: "Statistics of the columns are noised with a budget of their own; bounds and levels are public.",
    Statistics.SHARD: (
        "Statistics of the columns are exact and fitted in each shard on its first slice: a request touches those of "
        "the shards it touches, and no other."
    ),
}


@dataclass(frozen=True)
class Declared:
    """What the command line declares of a table's statistics: `COL=LOW:HIGH`, `COL=A,B`, and mu of noised ones."""

    statistics: Statistics
    bounds: list[str]
    levels: list[str]
    mu: float


def over_a_table(method: Method[Any], rows: Rows, declared: Declared) -> Method[Any]:
    """The method over features of a table's columns or of images; itself where it needs none (see `reads_tables`).

    Raises:
        UsageError: bounds or levels are not of their form, or there is nothing they could apply to.
    """
    marks = _marks(method)
    columns = [column for column in rows.schema.columns if column.name not in marks]
    images = [c for c in columns if c.kind == "u" and len(c.shape) >= IMAGE_DIMENSIONS]
    arrays = not images and all(column.kind != "T" and column.shape for column in columns)
    if declared.statistics is Statistics.SHARD:
        return _by_shard(method, _without(rows, marks), declared)
    if arrays or (method.reads_tables and not images):
        if declared.bounds or declared.levels:
            why = "these rows are arrays" if arrays else "this method reads the table itself and needs no statistics"
            raise UsageError(f"--bounds and --levels are for features of a table; {why}.")
        return method
    from expunge.features import Pipeline

    features = _features(_without(rows, marks), declared, declared.statistics)
    return Pipeline(features, method, tuple(column.name for column in rows.schema.columns if column.name in marks))


def said_of(declared: Declared) -> str:
    """The sentence to print about a table's statistics."""
    return SAID[declared.statistics]


def imbalance(method: Method[Any], rows: Rows, seed: int) -> tuple[str, ...]:
    """What to know of how SISA dealt these rows; nothing of other methods."""
    from expunge.features import Pipeline
    from expunge.methods import Sisa

    inner = method.method if isinstance(method, Pipeline) else method
    return inner.balance(rows, seed=seed).warnings if isinstance(inner, Sisa) else ()


def _by_shard(method: Method[Any], rows: Rows, declared: Declared) -> Method[Any]:
    """The method with features as a part of its learner, so that each shard fits its own."""
    from expunge.learners.featured import Featured
    from expunge.methods import Sisa

    if not isinstance(method, Sisa):
        raise UsageError(
            f"--statistics shard fits features in each shard of sisa, and {type(method).__name__} has none: take exact."
        )
    return replace(method, learner=Featured(_features(rows, declared, Statistics.EXACT), method.learner))


def _features(rows: Rows, declared: Declared, statistics: Statistics) -> Features:
    from expunge.features import tabular

    return tabular(
        rows,
        statistics=str(statistics),
        bounds=dict(_bounds(text) for text in declared.bounds),
        levels=dict(_levels(text) for text in declared.levels),
        mu=declared.mu,
    )


def _marks(method: Method[Any]) -> frozenset[str]:
    """Columns that a method reads beside the features: they mark rows, and a network must not see them."""
    return frozenset(value for name, value in vars(method).items() if name in ("core_column", "prone_column") and value)


def _without(rows: Rows, names: frozenset[str]) -> Rows:
    """The rows without these columns."""

    def without(table: Table) -> Table:
        return replace(table, columns={name: part for name, part in table.columns.items() if name not in names})

    schema = replace(rows.schema, columns=tuple(c for c in rows.schema.columns if c.name not in names))
    return rows.map(without, schema, keep=False) if schema != rows.schema else rows


def _bounds(text: str) -> tuple[str, tuple[float, float]]:
    name, _, pair = text.rpartition("=")
    low, _, high = pair.partition(":")
    try:
        return name, (float(low), float(high))
    except ValueError:
        raise UsageError(f"--bounds {text!r} is not of the form COL=LOW:HIGH.") from None


def _levels(text: str) -> tuple[str, tuple[str, ...]]:
    name, equals, names = text.partition("=")
    if not equals:
        raise UsageError(f"--levels {text!r} is not of the form COL=A,B.")
    return name, tuple(names.split(","))
