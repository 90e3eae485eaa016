"""`tabular` chooses by kind of column; declaring statistics public is a step of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from expunge.errors import InputError, SchemaError
from expunge.features import Categorical, Images, Numeric, declare_public, tabular
from expunge.features.fitting import accumulated, fitted, transformed
from expunge.load import rows_from_npz
from expunge.rows import Rows

ROWS = Rows.of(
    {
        "age": np.array([20.0, 31.0, 47.77]),
        "job": np.array(["b", "a", "b"]),
        "picture": np.zeros((3, 2, 2), dtype=np.uint8),
        "v": np.array([[1.0, 2.0], [3.0, 4.0], [3.0, 9.0]]),
    },
    [0, 1, 1],
)


def test_the_default_is_exact_and_fits_each_kind() -> None:
    assert tabular(ROWS.schema) == (Images(("picture",)), Numeric(("age", "v")), Categorical(("job",)))


def test_declaring_public_freezes_rounded_statistics() -> None:
    often = ROWS.select(np.zeros(3, dtype=bool))
    for time in range(5):
        table = ROWS.table()
        named = np.array([f"{time}:{place}" for place in range(3)])
        often = often.and_rows(Rows.of(table.columns, table.y, ids=named.tolist()))
    frozen = tabular(often, statistics="public")
    assert frozen == declare_public(tabular(often), often)
    numeric = frozen[1]
    assert isinstance(numeric, Numeric)
    assert numeric.statistics == "public"
    assert numeric.centres == (32.9, 2.33, 5.0)
    assert all(float(f"{scale:.2e}") == scale for scale in numeric.scales)
    assert frozen[2] == Categorical(("job",), (("a", "b"),), from_rows=True)
    assert all("forgotten ones among them" in text for feature in frozen[1:] for text in feature.assumptions())
    assert all("declared public" in text for feature in frozen for text in feature.assumptions())
    assert declare_public(frozen, often) is frozen


def test_a_level_of_few_rows_is_not_declared_public() -> None:
    job = np.array(["nurse"] * 5 + ["smith"] * 4 + ["the only duchess"])
    rows = Rows.of({"job": job}, np.arange(10) % 2)
    assert tabular(rows, statistics="public") == (Categorical(("job",), (("nurse",),), from_rows=True),)
    with pytest.raises(InputError, match="names rows rather than groups"):
        tabular(Rows.of({"job": [f"person {i}" for i in range(10)]}, np.arange(10) % 2), statistics="public")


def test_declared_bounds_and_levels_are_public_without_reading() -> None:
    features = tabular(
        ROWS.schema, statistics="public", bounds={"age": (0, 99), "v": (0, 10)}, levels={"job": ["a", "b", "c"]}
    )
    assert features[1:] == (
        Numeric(("age", "v"), "public", bounds=((0, 99), (0, 10))),
        Categorical(("job",), (("a", "b", "c"),)),
    )


def test_noised_needs_bounds_and_levels() -> None:
    bounds = {"age": (0.0, 99.0), "v": (0.0, 10.0)}
    with pytest.raises(InputError, match="bounds for column"):
        tabular(ROWS, statistics="noised", mu=0.1)
    with pytest.raises(InputError, match=r"Levels cannot be noised.*'job'"):
        tabular(ROWS, statistics="noised", bounds=bounds, mu=0.1)
    features = tabular(ROWS, statistics="noised", bounds=bounds, levels={"job": ["a"]}, mu=0.1, max_batch=3)
    assert Numeric(("age", "v"), "noised", bounds=((0.0, 99.0), (0.0, 10.0)), mu=0.1, max_batch=3) in features


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"statistics": "other"}, InputError, "one of"),
        ({"bounds": {"agee": (0, 1)}}, SchemaError, "agee"),
        ({"statistics": "public"}, InputError, "needs the rows"),
    ],
)
def test_settings_that_do_not_fit_are_errors(settings: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        tabular(ROWS.schema, **settings)


def test_real_census_rows_become_finite_features(shared_data: Path) -> None:
    rows = rows_from_npz(shared_data / "small" / "adult_5k.npz", ignore=("is_test",))
    features = tabular(rows)
    x = transformed(features, fitted(features, accumulated(features, rows), None), rows.columns)
    assert x.shape == (5000, 6 + sum(len(set(rows.columns[n].tolist())) for n in features[1].columns))
    assert np.isfinite(x).all()
    assert np.allclose(x[:, :6].std(0), 1)
    assert (x[:, 6:].sum(1) == 8).all()
