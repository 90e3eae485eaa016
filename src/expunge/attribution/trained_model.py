"""A release read as a point w of an objective F(w; D): what influence is computed from.

A release is enough, so whoever may see the model and the rows may rank them; no record is opened. Its noise, where it
has any, is in w, and in every figure that is computed at w.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from expunge.attribution.white_box import Learns, opened
from expunge.errors import InputError
from expunge.features import Pipeline
from expunge.method import Method, Release
from expunge.objective import LinearObjective, Objective
from expunge.rows import Rows
from expunge.schema import Schema


@runtime_checkable
class Penalised(Protocol):
    """A method that minimises a mean loss plus `l2/2 ||w||^2` over linear models."""

    @property
    def l2(self) -> float: ...  # noqa: D102


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """`objective` at `w` (d,) float64; `seen` makes of rows as they were given what the objective reads."""

    objective: Objective
    w: Tensor
    seen: Callable[[Rows], Rows]


def trained_model(method: Method[Any], release: Release, schema: Schema) -> TrainedModel:
    """The model of a release, with its derivatives; through a Pipeline, on its features.

    Args:
        schema: of the rows as they are given to the method.

    Raises:
        InputError: the release is no point of one differentiable objective (a forest, an ensemble, kept rows).
    """
    if isinstance(method, Pipeline):
        mapped = partial(method.mapped, release)
        inner = trained_model(method.method, method.inside(release), mapped(Rows([], schema)).schema)
        return TrainedModel(inner.objective, inner.w, mapped)
    if isinstance(method, Learns):
        try:
            objective, w = opened(method, release, Rows([], schema)).objective()
        except InputError as error:
            raise _none(method, "its release is not one model with derivatives") from error
        return TrainedModel(objective, w, _same)
    if set(release.tensors) == {"weights"} and "loss" in release.settings and isinstance(method, Penalised):
        weights = release.tensors["weights"]
        objective = LinearObjective(release.settings["loss"], method.l2, weights.shape[1] - 1, weights.shape[0])
        return TrainedModel(objective, weights.double().reshape(-1), _same)
    raise _none(method, "it minimises no loss that has a gradient")


def _none(method: Method[Any], why: str) -> InputError:
    return InputError(
        f"{type(method).__name__} has no gradient to rank rows by: {why}. Rank by nearest rows, or rank with a linear "
        "model learned from the same rows (certified-newton or retrain) and forget with this one."
    )


def _same(rows: Rows) -> Rows:
    return rows
