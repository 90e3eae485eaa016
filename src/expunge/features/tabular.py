"""Sensible features for raw columns, and the step that declares learned statistics public."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from expunge.errors import InputError, SchemaError
from expunge.features.accumulators import Accumulator, Levels
from expunge.features.categorical import Categorical
from expunge.features.feature import STATISTICS, Feature
from expunge.features.fitting import accumulated
from expunge.features.images import Images
from expunge.features.numeric import Numeric
from expunge.rows import Rows
from expunge.schema import Schema

Features = tuple[Feature, ...]
IMAGE_DIMENSIONS = 2
COMMON = 5  # rows that a level must have to be declared public unseen


def tabular(
    rows: Rows | Schema,
    *,
    statistics: str = "exact",
    bounds: Mapping[str, tuple[float, float]] | None = None,
    levels: Mapping[str, Sequence[str]] | None = None,
    mu: float = 0.0,
    max_batch: int = 1,
    indicator: bool = False,
    other: bool = False,
) -> Features:
    """Numbers scaled, text one-hot, bytes in the shape of an image to [0, 1].

    "exact" is the default because it is true without anybody's word. "public" reads the rows once and *declares* what
    it finds (`declare_public`): that is the user's statement, listed among a certificate's assumptions, and what a
    guarantee for a transcript of releases needs. "noised" needs bounds for every numeric column, `mu`, and levels for
    every text column (levels cannot be noised).

    Args:
        rows: the rows, or their schema alone where nothing must be read.
        statistics: "exact", "public" or "noised".
        bounds: (low, high) of numeric columns; levels: of text columns. Columns named here are public (noised) by
            these, whatever the rows hold.
        mu, max_batch, indicator: see `Numeric`. other: see `Categorical`.

    Raises:
        InputError: the settings do not fit together. SchemaError: a column named is absent.
    """
    if statistics not in STATISTICS:
        raise InputError(f"statistics is one of {STATISTICS}, not {statistics!r}.")
    schema = rows.schema if isinstance(rows, Rows) else rows
    ranges, vocabularies = dict(bounds or {}), {name: tuple(given) for name, given in (levels or {}).items()}
    names = [column.name for column in schema.columns]
    if unknown := sorted((set(ranges) | set(vocabularies)) - set(names)):
        raise SchemaError(f"Bounds or levels name column(s) {unknown}; the rows have {names}.")
    images = [c.name for c in schema.columns if c.kind == "u" and len(c.shape) >= IMAGE_DIMENSIONS]
    texts = [c.name for c in schema.columns if c.kind == "T" or c.name in vocabularies]
    numbers = [c.name for c in schema.columns if c.name not in images and c.name not in texts]
    features: list[Feature] = [Images((name,)) for name in images]
    features += _numeric(numbers, statistics, ranges, indicator, mu, max_batch)
    features += _categorical(texts, vocabularies, other)
    if not features:
        raise SchemaError("These rows have no column to make features of.")
    if statistics == "noised" and any(feature.statistics == "exact" for feature in features):
        missing = [name for name in texts if name not in vocabularies]
        raise InputError(f"Levels cannot be noised: declare those of {missing} (levels={{name: [...]}}).")
    if statistics != "public":
        return tuple(features)
    if not isinstance(rows, Rows):
        if all(feature.statistics == "public" for feature in features):
            return tuple(features)
        raise InputError("Declaring statistics public from the rows needs the rows; a schema alone was given.")
    return declare_public(tuple(features), rows)


def declare_public(features: Features, rows: Rows) -> Features:
    """The same features with their statistics read once from the rows and declared public from now on.

    Centres and scales are rounded to three digits, so that no single row shows in them as the extreme of a range
    would; levels are those of at least `COMMON` rows. What is declared stays in the method, on every release and on
    every receipt, whoever is forgotten later: a level of one row, a name say, must not be among it. That none of the
    rest is private is the user's word: the certificate lists it.

    Raises:
        InputError: a column has no level of so many rows.
    """
    if all(feature.statistics == "public" for feature in features):
        return features
    states = accumulated(features, rows)
    frozen: list[Feature] = []
    for feature, state in zip(features, states, strict=True):
        match feature:
            case Numeric(statistics="exact"):
                fitted = feature.fit(state, None, "")
                centres, scales = (tuple(_digits(v) for v in fitted[name].tolist()) for name in ("centre", "scale"))
                frozen.append(replace(feature, statistics="public", centres=centres, scales=scales, from_rows=True))
            case Categorical(levels=()):
                levels = [_common(name, part) for name, part in zip(feature.columns, state, strict=True)]
                frozen.append(replace(feature, levels=tuple(levels), from_rows=True))
            case _:
                frozen.append(feature)
    return tuple(frozen)


def _numeric(
    names: Sequence[str],
    statistics: str,
    bounds: Mapping[str, tuple[float, float]],
    indicator: bool,
    mu: float,
    max_batch: int,
) -> list[Feature]:
    bounded = tuple(name for name in names if name in bounds)
    free = tuple(name for name in names if name not in bounds)
    ranges = tuple(bounds[name] for name in bounded)
    if statistics == "noised":
        if free:
            raise InputError(
                f"Noised statistics need bounds for column(s) {list(free)} (bounds={{name: (low, high)}})."
            )
        if not bounded:
            return []
        return [Numeric(bounded, "noised", bounds=ranges, indicator=indicator, mu=mu, max_batch=max_batch)]
    features: list[Feature] = []
    if free:
        features.append(Numeric(free, indicator=indicator))
    if bounded:
        features.append(Numeric(bounded, "public", bounds=ranges, indicator=indicator))
    return features


def _categorical(names: Sequence[str], levels: Mapping[str, tuple[str, ...]], other: bool) -> list[Feature]:
    declared = tuple(name for name in names if name in levels)
    free = tuple(name for name in names if name not in levels)
    features: list[Feature] = []
    if free:
        features.append(Categorical(free, other=other))
    if declared:
        features.append(Categorical(declared, tuple(levels[name] for name in declared), other=other))
    return features


def _common(name: str, counted: Accumulator) -> tuple[str, ...]:
    """The levels of at least `COMMON` rows, sorted as text."""
    counts = counted.counts if isinstance(counted, Levels) else {}
    common = tuple(level for level in sorted(counts) if counts[level] >= COMMON)
    if not common:
        raise InputError(
            f"No level of column {name!r} is that of {COMMON} rows or more, so it names rows rather than groups of "
            "them: leave it out, declare its levels yourself, or keep statistics exact."
        )
    return common


def _digits(value: float) -> float:
    return float(np.format_float_scientific(value, precision=2))
