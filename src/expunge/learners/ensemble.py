"""Several models in one release, each under its own number: "3/weight" is the weight of model 3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from expunge.method import Release


def released(models: Mapping[int, Release], settings: Mapping[str, Any]) -> Release:
    """One release of all models, with `settings` of the whole beside theirs."""
    tensors = {f"{number}/{name}": t for number, model in models.items() for name, t in model.tensors.items()}
    own = {f"{number}/{name}": value for number, model in models.items() for name, value in model.settings.items()}
    return Release(tensors, {**own, **settings})


def model_in(release: Release, number: int) -> Release:
    """The release of one model."""
    prefix = f"{number}/"
    tensors = {name.removeprefix(prefix): t for name, t in release.tensors.items() if name.startswith(prefix)}
    settings = {name.removeprefix(prefix): v for name, v in release.settings.items() if name.startswith(prefix)}
    return Release(tensors, settings)
