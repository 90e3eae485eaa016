"""Images: a declared range of pixels, nothing learned."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from expunge.errors import InputError, SchemaError
from expunge.features import Images

PIXELS = np.array([[[0, 255], [51, 102]]], dtype=np.uint8)


def test_pixels_of_the_declared_range_become_zero_to_one() -> None:
    z = Images().transform({}, {"x": PIXELS})
    assert z.shape == (1, 2, 2)
    assert z.dtype == np.float64
    assert np.allclose(z, [[[0, 1], [0.2, 0.4]]])
    assert Images().accumulate({"x": PIXELS}) == ()


def test_declared_centre_and_scale_are_applied() -> None:
    z = Images(centre=0.5, scale=0.25, dtype="float32").transform({}, {"x": PIXELS})
    assert z.dtype == np.float32
    assert np.allclose(z, [[[-2, 2], [-1.2, -0.4]]])


@pytest.mark.parametrize("bad", [np.array([[np.nan]]), np.array([[-1.0]]), np.array([[256.0]])])
def test_pixels_outside_the_range_are_errors(bad: Any) -> None:
    with pytest.raises(InputError, match="'x'"):
        Images().transform({}, {"x": bad})


def test_text_is_no_image() -> None:
    with pytest.raises(SchemaError, match="'x'"):
        Images().transform({}, {"x": np.array(["a"], dtype=np.dtypes.StringDType())})


@pytest.mark.parametrize("settings", [{"columns": ("x", "y")}, {"low": 255}, {"scale": 0}, {"dtype": "int8"}])
def test_settings_that_do_not_fit_are_errors(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        Images(**settings)
