"""Numeric columns: centred and scaled, missing values at the mean.

`z = (x - centre) / scale`; a missing value (NaN) becomes 0, which is the mean, and may be marked by its own column.

Noised statistics. Each number is clipped to its declared bounds and mapped to `u` in [-1, 1]; the accumulators of p
numbers a row are the 3p sums of `(1, u, u^2)`. Adding or taking out one row changes them by at most `sqrt(3p)` in the
Euclidean norm, a batch of `max_batch` rows by `max_batch * sqrt(3p)`. Gaussian noise of standard deviation

    noise_std = max_batch * sqrt(3 p) / mu

on each sum, fresh for each release, makes the statistics of one release with the batch and of one without it
mu-Gaussian-differentially private neighbours [Dong, Roth & Su 2022, theorem 1]. The mean and scale derived from the
noised sums cost nothing more (post-processing). Releases made *before* a request each carry mu of their own; from the
deletion on the accumulators no longer hold the rows and nothing further is spent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from expunge.errors import InputError, SchemaError
from expunge.features.accumulators import Moments
from expunge.features.feature import STATISTICS, Feature, Fitted, State, check_columns, column, public_note
from expunge.maths.correct_rounding import UNIT
from expunge.noise import NoiseKey, add_noise
from expunge.schema import Array

LEAST_VARIANCE = 1e-6  # of noised statistics, in units of the declared half range


@dataclass(frozen=True)
class Numeric(Feature):
    """Numbers to zero mean and unit scale; a column may also hold a vector a row, and each entry is scaled by itself.

    Args:
        columns: names of the columns.
        statistics: "exact" (mean and standard deviation of the rows), "public" or "noised".
        centres, scales: for "public": one each a column (or an entry), given by the user.
        bounds: for "public" without centres, and for "noised": (low, high) a column. Values are clipped to them;
            public bounds map to [-1, 1].
        indicator: adds a column a number that is 1 where the value is missing.
        from_rows: for "public": whether centres and scales were read from rows (`declare_public`); it is told.
        mu: for "noised": the Gaussian-DP budget of these statistics. max_batch: for "noised": how many forgotten
            rows a step that budget covers.
    """

    columns: tuple[str, ...]
    statistics: str = "exact"
    centres: tuple[float, ...] = ()
    scales: tuple[float, ...] = ()
    bounds: tuple[tuple[float, float], ...] = ()
    indicator: bool = False
    mu: float = 0.0
    max_batch: int = 1
    from_rows: bool = False

    def __post_init__(self) -> None:
        check_columns("Numeric", self.columns)
        if self.statistics not in STATISTICS:
            raise InputError(f"statistics is one of {STATISTICS}, not {self.statistics!r}.")
        if len(self.centres) != len(self.scales) or not all(0 < scale < math.inf for scale in self.scales):
            raise InputError("Every centre needs a positive, finite scale; give as many scales as centres.")
        if not all(map(math.isfinite, self.centres)):
            raise InputError(f"Centres are finite numbers, not {self.centres}.")
        if self.bounds and len(self.bounds) != len(self.columns):
            raise InputError(f"{len(self.columns)} columns need as many bounds (low, high); {len(self.bounds)} given.")
        for name, (low, high) in zip(self.columns, self.bounds, strict=False):
            if not (low < high and math.isfinite(high - low)):
                raise InputError(f"The bounds of {name!r} are ({low}, {high}); finite low < high was expected.")
        self._check_declared()

    def _check_declared(self) -> None:
        given = f"statistics={self.statistics!r}, {len(self.centres)} centres, {len(self.bounds)} bounds"
        match self.statistics:
            case "public" if bool(self.centres) == bool(self.bounds):
                raise InputError(
                    f"Public statistics are centres and scales, or bounds, one of the two; given: {given}."
                )
            case "exact" if self.centres or self.bounds:
                raise InputError(f"Exact statistics come from the rows; {given}. Say statistics='public' to use these.")
            case "noised" if not self.bounds or self.centres:
                raise InputError(f"Noised statistics need declared bounds, and no centres; given: {given}.")
            case "noised" if not (0 < self.mu < math.inf and self.max_batch >= 1):
                raise InputError(
                    f"Noised statistics need mu > 0 and max_batch >= 1; given: {self.mu}, {self.max_batch}."
                )

    def accumulate(self, columns: Mapping[str, Array]) -> State:
        """Exact moments of each number (of its place in [-1, 1] where noised); () where public."""
        if self.statistics == "public":
            return ()
        numbers, widths = self._numbers(columns)
        if self.statistics == "noised":
            numbers = self._within_bounds(numbers, widths)
        return Moments.of_columns(numbers)

    def fit(self, state: State, noise: NoiseKey | None, purpose: str) -> Fitted:
        """`centre` and `scale`, float64 tensors: one a number, or one a column where they are declared so."""
        match self.statistics:
            case "public" if self.bounds:
                pairs = [(0.0, 1.0) for _ in self.bounds]
            case "public":
                pairs = list(zip(self.centres, self.scales, strict=True))
            case "exact":
                pairs = [(moments.mean, moments.std or 1.0) for moments in _moments(state)]
            case _:
                if noise is None:
                    raise InputError("Noised statistics need the noise key of their release.")
                pairs = self._noised(_moments(state), noise, purpose)
        centre, scale = torch.tensor(pairs, dtype=torch.float64).reshape(-1, 2).unbind(1)
        return {"centre": centre.clone(), "scale": scale.clone()}

    def transform(self, fitted: Fitted, columns: Mapping[str, Array]) -> NDArray[np.float64]:
        """(n, p), or (n, 2p) with indicators of missing values."""
        numbers, widths = self._numbers(columns)
        missing = np.isnan(numbers)
        if self.bounds:
            numbers = self._within_bounds(numbers, widths)
        centre = _each_number(fitted["centre"].numpy(), widths)
        scale = _each_number(fitted["scale"].numpy(), widths)
        with np.errstate(over="ignore"):  # a number near the end of float64 stays at its end
            scaled = np.nan_to_num((numbers - centre) / scale, nan=0.0)
        return np.concatenate([scaled, missing.astype(np.float64)], axis=1) if self.indicator else scaled

    def assumptions(self) -> tuple[str, ...]:
        """What is declared of the statistics."""
        names = ", ".join(self.columns)
        match self.statistics:
            case "public":
                what = "bounds" if self.bounds else "centre and scale"
                return (public_note(what, self.columns, self.from_rows),)
            case "noised":
                return (
                    public_note("bounds", self.columns, False),
                    f"mean and scale of column(s) {names} are noised: mu {self.mu:g} for {self.max_batch} rows a step",
                )
            case _:
                return (
                    f"mean and scale of column(s) {names} are exact: two releases together give a deleted row away",
                )

    def _numbers(self, columns: Mapping[str, Array]) -> tuple[NDArray[np.float64], list[int]]:
        """All numbers of each row side by side, (n, p), and how many each column holds."""
        parts = [_matrix(name, column(columns, name)) for name in self.columns]
        return np.concatenate(parts, axis=1), [part.shape[1] for part in parts]

    def _within_bounds(self, numbers: NDArray[np.float64], widths: list[int]) -> NDArray[np.float64]:
        low = _each_number(np.array([low for low, _ in self.bounds]), widths)
        high = _each_number(np.array([high for _, high in self.bounds]), widths)
        half = (high - low) / 2
        return np.clip((np.clip(numbers, low, high) - low) / half - 1.0, -1.0, 1.0)

    def _noised(self, state: tuple[Moments, ...], noise: NoiseKey, purpose: str) -> list[tuple[float, float]]:
        sums = [(m.count, m.total / (1 << UNIT), m.squares / (1 << 2 * UNIT)) for m in state]
        noise_std = self.max_batch * math.sqrt(3 * len(sums)) / self.mu
        noised = add_noise(torch.tensor(sums, dtype=torch.float64), noise_std, noise, purpose)
        pairs = []
        for count, total, squares in noised.tolist():
            mean = min(max(total / max(count, 1.0), -1.0), 1.0)
            variance = min(max(squares / max(count, 1.0) - mean**2, LEAST_VARIANCE), 1.0)
            pairs.append((mean, math.sqrt(variance)))
        return pairs


def _matrix(name: str, values: Array) -> NDArray[np.float64]:
    if values.dtype.kind not in "fiub":
        raise SchemaError(f"Column {name!r} holds text; numbers were expected. Use Categorical for text.")
    numbers = values.astype(np.float64).reshape(len(values), math.prod(values.shape[1:]))
    if np.isinf(numbers).any():
        raise InputError(
            f"Column {name!r} holds an infinite number in {np.isinf(numbers).any(axis=1).sum()} row(s): "
            "leave these rows out, or give NaN for a missing value."
        )
    return numbers


def _each_number(values: NDArray[np.float64], widths: list[int]) -> NDArray[np.float64]:
    """One value a number: as given, or each column's value repeated over its numbers."""
    if len(values) == sum(widths):
        return values
    if len(values) == len(widths):
        return np.repeat(values, widths)
    raise SchemaError(f"{len(values)} statistics do not fit columns of {widths} numbers a row; give one for each.")


def _moments(state: State) -> tuple[Moments, ...]:
    return tuple(part for part in state if isinstance(part, Moments))
