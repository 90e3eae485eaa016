"""Categorical columns: a sorted vocabulary of the levels in use, or a declared one; unseen levels are zeros."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.errors import InputError, SchemaError
from expunge.features import Categorical
from expunge.features.feature import minus
from expunge.schema import TEXT


def texts(*values: str) -> Any:
    return np.array(values, dtype=TEXT)


def hot(feature: Categorical, learned: Any, given: Any) -> list[list[float]]:
    form = feature.fit(feature.accumulate({"c": learned}), None, "")
    return feature.transform(form, {"c": given}).tolist()


def test_levels_are_columns_in_the_order_of_their_text() -> None:
    assert hot(Categorical(("c",)), texts("b", "a", "None"), texts("a", "b", "None")) == [
        [0, 1, 0],
        [0, 0, 1],
        [1, 0, 0],
    ]


def test_unseen_and_missing_levels_are_zeros_or_other() -> None:
    learned, given = texts("a", "b", ""), texts("z", "", "a")
    assert hot(Categorical(("c",)), learned, given) == [[0, 0], [0, 0], [1, 0]]
    assert hot(Categorical(("c",), other=True), learned, given) == [[0, 0, 1], [0, 0, 1], [1, 0, 0]]


def test_declared_levels_learn_nothing() -> None:
    feature = Categorical(("c",), (("z", "a"),))
    assert feature.statistics == "public"
    assert feature.accumulate({"c": texts("q")}) == ()
    assert hot(feature, texts("q"), texts("a", "q", "z")) == [[0, 1], [0, 0], [1, 0]]


def test_whole_numbers_are_levels_however_they_are_stored() -> None:
    whole = np.array([3, 1, 3], dtype=np.int16)
    as_floats = np.array([3.0, np.nan, 1.0])
    assert hot(Categorical(("c",)), whole, as_floats) == [[0, 1], [0, 0], [1, 0]]
    assert hot(Categorical(("c",)), np.array([True, False]), texts("1", "0")) == [[0, 1], [1, 0]]


def test_several_columns_stand_side_by_side() -> None:
    feature = Categorical(("c", "d"), other=True)
    columns = {"c": texts("a", "b"), "d": texts("x", "x")}
    z = feature.transform(feature.fit(feature.accumulate(columns), None, ""), columns)
    assert z.tolist() == [[1, 0, 0, 1, 0], [0, 1, 0, 1, 0]]


levels = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=10)


@given(kept=levels, gone=levels)
def test_after_forgetting_levels_are_those_of_the_others(kept: list[str], gone: list[str]) -> None:
    feature = Categorical(("c",))
    whole, out = (feature.accumulate({"c": texts(*xs)}) for xs in (kept + gone, gone))
    after = feature.fit(minus(whole, out), None, "")
    assert (
        after
        == feature.fit(feature.accumulate({"c": texts(*kept)}), None, "")
        == {"levels": (tuple(sorted(set(kept))),)}
    )


@pytest.mark.parametrize(
    "settings",
    [{"columns": ()}, {"levels": (("a",), ("b",))}, {"levels": (("a", "a"),)}, {"levels": ((),)}, {"levels": ("abc",)}],
)
def test_settings_that_do_not_fit_are_errors(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        Categorical(**({"columns": ("c",)} | settings))


@pytest.mark.parametrize("bad", [np.array([0.5]), np.array([np.inf])])
def test_fractions_are_no_levels(bad: Any) -> None:
    with pytest.raises(InputError, match="'c'"):
        Categorical(("c",)).accumulate({"c": bad})


def test_a_vector_is_no_level() -> None:
    with pytest.raises(SchemaError, match="'c'"):
        Categorical(("c",)).accumulate({"c": np.ones((2, 2), dtype=int)})


def test_assumptions_say_how_the_levels_are_known() -> None:
    assert "declared public" in Categorical(("c",), (("a",),)).assumptions()[0]
    assert "two releases" in Categorical(("c",)).assumptions()[0]
