"""From rows to accumulators to fitted features to mapped rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from expunge.features.feature import Feature, Fitted, State, minus, plus
from expunge.noise import NoiseKey
from expunge.rows import Rows, Table
from expunge.schema import Array, Column, Schema

PREFIX = "features/"


def accumulated(features: Sequence[Feature], rows: Rows) -> tuple[State, ...]:
    """The accumulators of every feature over the rows, in one pass; no row is read where nothing is learned."""
    states: tuple[State, ...] = tuple(() for _ in features)
    if all(feature.statistics == "public" for feature in features):
        return states
    for table in rows.tables():
        counted = (feature.accumulate(table.columns) for feature in features)
        states = tuple(plus(state, more) for state, more in zip(states, counted, strict=True))
    return states


def with_rows(states: Sequence[State], more: Sequence[State]) -> tuple[State, ...]:
    """The accumulators with added rows."""
    return tuple(plus(a, b) for a, b in zip(states, more, strict=True))


def without_rows(states: Sequence[State], fewer: Sequence[State]) -> tuple[State, ...]:
    """The accumulators without forgotten rows, bit for bit those of the rows that stay."""
    return tuple(minus(a, b) for a, b in zip(states, fewer, strict=True))


def fitted(features: Sequence[Feature], states: Sequence[State], noise: NoiseKey | None) -> tuple[Fitted, ...]:
    """The public form of every feature; noised ones draw from `noise`, each its own stream."""
    numbered = enumerate(zip(features, states, strict=True))
    return tuple(feature.fit(state, noise, f"features/{place}") for place, (feature, state) in numbered)


def transformed(features: Sequence[Feature], forms: Sequence[Fitted], columns: Mapping[str, Array]) -> Array:
    """The features of raw columns: one feature in its own shape, several side by side as (n, p)."""
    parts = [feature.transform(form, columns) for feature, form in zip(features, forms, strict=True)]
    if len(parts) == 1:
        return parts[0]
    return np.concatenate([part.reshape(len(part), int(np.prod(part.shape[1:]))) for part in parts], axis=1)


def mapped(features: Sequence[Feature], forms: Sequence[Fitted], rows: Rows, beside: Sequence[str] = ()) -> Rows:
    """The rows with their features as the column `x`; computed when a block is first read, then kept in memory.

    Args:
        beside: raw columns that stand beside it, as they are.
    """

    def transform(table: Table) -> Table:
        kept = {name: table.columns[name] for name in beside}
        return replace(table, columns={"x": transformed(features, forms, table.columns), **kept})

    empty = {column.name: column.empty() for column in rows.schema.columns}
    sample = transformed(features, forms, empty)
    kept = tuple(column for column in rows.schema.columns if column.name in beside)
    schema = Schema((Column("x", "f", tuple(sample.shape[1:])), *kept), rows.schema.target, rows.schema.classes)
    return rows.map(transform, schema)


def named(forms: Sequence[Fitted]) -> dict[str, Any]:
    """Fitted forms as one mapping, `features/<place>/<name>` -> tensor or text."""
    return {f"{PREFIX}{place}/{name}": value for place, form in enumerate(forms) for name, value in form.items()}


def is_form(name: str) -> bool:
    """Whether `named` gave this name."""
    return name.startswith(PREFIX)


def forms_in(values: Mapping[str, Any], features: int) -> tuple[Fitted, ...]:
    """The fitted forms of so many features among the values of a release."""
    forms: list[dict[str, Any]] = [{} for _ in range(features)]
    for name, value in values.items():
        if is_form(name):
            place, _, key = name.removeprefix(PREFIX).partition("/")
            forms[int(place)][key] = value
    return tuple(forms)


def same(a: Sequence[Fitted], b: Sequence[Fitted]) -> bool:
    """Whether two fitted forms are equal, bit for bit."""
    if len(a) != len(b) or any(set(x) != set(y) for x, y in zip(a, b, strict=True)):
        return False
    return all(_equal(x[name], y[name]) for x, y in zip(a, b, strict=True) for name in x)


def _equal(x: object, y: object) -> bool:
    if isinstance(x, torch.Tensor) and isinstance(y, torch.Tensor):
        return x.shape == y.shape and torch.equal(x, y)
    return x == y
