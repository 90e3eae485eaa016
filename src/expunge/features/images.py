"""Images: pixels of a declared range to numbers around zero. Nothing is learned from rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from expunge.errors import InputError, SchemaError
from expunge.features.feature import Fitted, PublicFeature, State, check_columns, column
from expunge.noise import NoiseKey
from expunge.schema import Array


@dataclass(frozen=True)
class Images(PublicFeature):
    """`(pixel - low) / (high - low)`, then `(v - centre) / scale`, with all four declared; the shape stays.

    Args:
        columns: the one column of images.
        low, high: the declared range of a pixel. centre, scale: of the values in [0, 1].
        dtype: "float64", or "float32" to halve the memory of large sets.
    """

    columns: tuple[str, ...] = ("x",)
    low: float = 0.0
    high: float = 255.0
    centre: float = 0.0
    scale: float = 1.0
    dtype: str = "float64"

    def __post_init__(self) -> None:
        check_columns("Images", self.columns)
        if len(self.columns) > 1:
            raise InputError(f"Images reads one column; give each of {self.columns} an Images of its own.")
        if not (self.low < self.high and math.isfinite(self.high - self.low)):
            raise InputError(f"The pixel range is ({self.low}, {self.high}); finite low < high was expected.")
        if not (0 < self.scale < math.inf and math.isfinite(self.centre)):
            raise InputError(f"centre is finite and scale positive; given: {self.centre}, {self.scale}.")
        if self.dtype not in ("float32", "float64"):
            raise InputError(f"dtype is 'float32' or 'float64', not {self.dtype!r}.")

    def fit(self, state: State, noise: NoiseKey | None, purpose: str) -> Fitted:
        """Nothing is fitted."""
        del state, noise, purpose
        return {}

    def transform(self, fitted: Fitted, columns: Mapping[str, Array]) -> NDArray[np.floating[Any]]:
        """(n, ...) in the shape of the images."""
        del fitted
        name = self.columns[0]
        pixels = column(columns, name)
        if pixels.dtype.kind not in "fiub":
            raise SchemaError(f"Column {name!r} holds text; images were expected.")
        if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
            raise InputError(f"Column {name!r} holds NaN or infinite pixels; fill them or leave these images out.")
        if len(pixels) and (pixels.min() < self.low or pixels.max() > self.high):
            seen = f"{pixels.min()} to {pixels.max()}"
            raise InputError(f"Column {name!r} holds pixels from {seen}; {self.low} to {self.high} were declared.")
        values = (pixels.astype(self.dtype) - self.low) / (self.high - self.low)
        return np.asarray((values - self.centre) / self.scale, dtype=self.dtype)

    def assumptions(self) -> tuple[str, ...]:
        """What is declared of the pixels."""
        return (f"declared public: pixel range {self.low:g} to {self.high:g} of column {self.columns[0]}",)
