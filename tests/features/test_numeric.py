"""Numeric columns: scaled, missing at the mean, statistics public, exact or noised."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.errors import InputError, SchemaError
from expunge.features import Numeric
from expunge.features.feature import minus, plus
from expunge.noise import NoiseKey

KEY = NoiseKey(bytes(32), 1)
AGE = np.array([20.0, 30.0, np.nan, 50.0])


def fitted(feature: Numeric, columns: dict[str, Any], key: NoiseKey | None = None) -> Any:
    return feature.fit(feature.accumulate(columns), key, "features/0")


def test_exact_statistics_give_zero_mean_and_unit_scale() -> None:
    x = np.random.default_rng(0).normal(5, 3, (500, 2))
    feature = Numeric(("a", "b"))
    columns = {"a": x[:, 0], "b": x[:, 1], "unused": x[:, 0]}
    z = feature.transform(fitted(feature, columns), columns)
    assert np.allclose(z.mean(0), 0, atol=1e-12)
    assert np.allclose(z.std(0), 1)
    assert np.allclose(z, (x - x.mean(0)) / x.std(0))


def test_missing_values_stand_at_the_mean_and_may_be_marked() -> None:
    feature = Numeric(("age",), indicator=True)
    z = feature.transform(fitted(feature, {"age": AGE}), {"age": AGE})
    present = AGE[~np.isnan(AGE)]
    assert z[2].tolist() == [0.0, 1.0]
    assert np.allclose(z[[0, 1, 3], 0], (present - present.mean()) / present.std())
    assert z[[0, 1, 3], 1].tolist() == [0, 0, 0]


def test_constant_and_empty_columns_become_zero() -> None:
    columns = {"c": np.full(4, 7.0), "n": np.full(4, np.nan)}
    feature = Numeric(("c", "n"))
    assert not feature.transform(fitted(feature, columns), columns).any()


def test_a_vector_column_is_scaled_entry_by_entry() -> None:
    x = np.random.default_rng(1).normal([0, 10, 100], [1, 2, 3], (50, 3))
    feature = Numeric(("x",))
    z = feature.transform(fitted(feature, {"x": x}), {"x": x})
    assert np.allclose(z, (x - x.mean(0)) / x.std(0))


def test_integers_and_booleans_are_numbers() -> None:
    columns = {"k": np.array([1, 2, 3], dtype=np.uint8), "b": np.array([True, False, True])}
    feature = Numeric(("k", "b"))
    assert np.allclose(feature.transform(fitted(feature, columns), columns).std(0), 1)


@pytest.mark.parametrize("bad", [np.inf, -np.inf])
def test_infinity_is_an_error_that_names_the_column(bad: float) -> None:
    feature = Numeric(("age", "pay"))
    columns = {"age": AGE, "pay": np.array([1, 2, bad, bad])}
    with pytest.raises(InputError, match=r"'pay'.*2 row"):
        feature.accumulate(columns)
    with pytest.raises(InputError, match="'pay'"):
        Numeric(("age", "pay"), "public", (0.0, 0.0), (1.0, 1.0)).transform(
            {"centre": fitted(feature, {"age": AGE, "pay": AGE})["centre"], "scale": None}, columns
        )


def test_text_and_absent_columns_are_errors() -> None:
    with pytest.raises(SchemaError, match=r"'age'.*Did you mean 'Age'"):
        Numeric(("age",)).accumulate({"Age": AGE, "zip": AGE})
    with pytest.raises(SchemaError, match="Categorical"):
        Numeric(("age",)).accumulate({"age": np.array(["a"], dtype=np.dtypes.StringDType())})


finite = st.floats(allow_nan=False, allow_infinity=False) | st.just(float("nan"))


@given(kept=st.lists(finite, min_size=1, max_size=12), gone=st.lists(finite, min_size=1, max_size=12))
def test_after_forgetting_statistics_equal_those_of_the_others_bit_for_bit(
    kept: list[float], gone: list[float]
) -> None:
    feature = Numeric(("a",), indicator=True)
    whole, out, rest = (feature.accumulate({"a": np.array(xs)}) for xs in (kept + gone, gone, kept))
    after = minus(whole, out)
    assert after == rest
    assert plus(rest, out) == whole
    forms = [feature.fit(state, None, "") for state in (after, rest)]
    columns = {"a": np.array(kept)}
    one, other = (feature.transform(form, columns) for form in forms)
    assert one.tobytes() == other.tobytes()
    assert np.isfinite(one).all()


def test_public_bounds_map_to_minus_one_and_one_and_clip() -> None:
    feature = Numeric(("age",), "public", bounds=((20.0, 60.0),))
    columns = {"age": np.array([20.0, 40.0, 60.0, 99.0, -5.0, np.nan])}
    assert feature.accumulate(columns) == ()
    assert feature.transform(fitted(feature, columns), columns)[:, 0].tolist() == [-1, 0, 1, 1, -1, 0]


def test_public_centres_and_scales_are_used_as_given() -> None:
    feature = Numeric(("age",), "public", (40.0,), (10.0,))
    assert feature.transform(fitted(feature, {}), {"age": AGE})[:, 0].tolist() == [-2.0, -1.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"columns": ()}, "column names"),
        ({"columns": ("a", "a")}, "column names"),
        ({"columns": "age"}, "column names"),
        ({"statistics": "guessed"}, "one of"),
        ({"statistics": "public"}, "one of the two"),
        ({"statistics": "public", "centres": (0.0,)}, "scale"),
        ({"statistics": "public", "centres": (0.0,), "scales": (0.0,)}, "positive"),
        ({"statistics": "public", "centres": (math.nan,), "scales": (1.0,)}, "finite"),
        ({"statistics": "public", "bounds": ((1.0, 1.0),)}, "low < high"),
        ({"statistics": "public", "bounds": ((0.0, math.inf),)}, "low < high"),
        ({"statistics": "public", "bounds": ((0.0, 1.0), (0.0, 1.0))}, "as many bounds"),
        ({"bounds": ((0.0, 1.0),)}, "statistics='public'"),
        ({"statistics": "noised", "mu": 1.0}, "need declared bounds"),
        ({"statistics": "noised", "bounds": ((0.0, 1.0),)}, "mu > 0"),
        ({"statistics": "noised", "bounds": ((0.0, 1.0),), "mu": 1.0, "max_batch": 0}, "max_batch >= 1"),
    ],
)
def test_settings_that_do_not_fit_are_errors(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Numeric(**({"columns": ("age",)} | settings))


def test_declared_statistics_must_fit_the_columns() -> None:
    feature = Numeric(("x",), "public", (0.0, 0.0), (1.0, 1.0))
    with pytest.raises(SchemaError, match="do not fit"):
        feature.transform(fitted(feature, {}), {"x": np.ones((4, 3))})


NOISED = Numeric(("a", "b"), "noised", bounds=((0.0, 10.0), (-1.0, 1.0)), mu=0.5, max_batch=4)


def columns_of(n: int, seed: int = 0) -> dict[str, np.ndarray[Any, Any]]:
    generator = np.random.default_rng(seed)
    return {"a": generator.uniform(0, 10, n), "b": generator.normal(0, 0.2, n)}


def test_noised_statistics_come_near_the_exact_ones() -> None:
    columns = columns_of(100_000)
    form = fitted(NOISED, columns, KEY)
    a, b = columns["a"] / 5 - 1, np.clip(columns["b"], -1, 1)
    assert np.allclose(form["centre"].numpy(), [a.mean(), b.mean()], atol=2e-3)
    assert np.allclose(form["scale"].numpy(), [a.std(), b.std()], atol=2e-3)
    z = NOISED.transform(form, columns)
    assert np.allclose(z.std(0), 1, atol=0.02)


def test_noised_statistics_hold_the_stated_noise_and_are_fresh_for_each_release() -> None:
    noise_std = 4 * math.sqrt(3 * 2) / 0.5
    n = 1_000_000  # the derivative of the mean by a sum is 1/n
    state = NOISED.accumulate({"a": np.full(n, 5.0), "b": np.zeros(n)})
    drawn = np.concatenate(
        [NOISED.fit(state, NoiseKey(bytes(32), t), "features/0")["centre"].numpy() for t in range(1, 1001)]
    )
    assert len(set(drawn.tolist())) == len(drawn)
    estimate = drawn.std() * n
    assert abs(estimate / noise_std - 1) < 5 / math.sqrt(2 * len(drawn))


def test_one_row_moves_the_noised_sums_by_at_most_the_stated_sensitivity() -> None:
    columns = {"a": np.array([0.0, 10.0, 99.0, -99.0, np.nan]), "b": np.array([1.0, -1.0, 5.0, np.nan, 0.3])}
    for row in range(5):
        state = NOISED.accumulate({name: column[row : row + 1] for name, column in columns.items()})
        sums = [v for m in state for v in (m.count, m.total / 2**1074, m.squares / 2**2148)]  # type: ignore[union-attr]
        assert math.hypot(*sums) <= math.sqrt(3 * 2) + 1e-15


def test_noised_statistics_stay_usable_on_few_rows() -> None:
    for release in range(1, 30):
        form = fitted(NOISED, columns_of(3), NoiseKey(bytes(32), release))
        assert np.isfinite(NOISED.transform(form, columns_of(3))).all()
        assert (form["scale"] >= 1e-3).all()


def test_noised_statistics_need_a_key() -> None:
    with pytest.raises(InputError, match="noise key"):
        fitted(NOISED, columns_of(3))


def test_assumptions_say_how_the_statistics_are_known() -> None:
    assert "two releases" in Numeric(("a",)).assumptions()[0]
    assert Numeric(("a",), "public", (0.0,), (1.0,)).assumptions() == (
        "declared public: centre and scale of column(s) a",
    )
    assert "bounds" in NOISED.assumptions()[0]
    assert "mu 0.5" in replace(NOISED, mu=0.5).assumptions()[1]
