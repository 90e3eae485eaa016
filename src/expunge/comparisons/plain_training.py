"""The plain training behind a method: what its references may be shared with, and what its preparation is paid beside.

A method that `learns_plainly` releases, before it forgets anything, what its learner trains on all rows. Under
independent seeds its models and those of `Retrain` with the same learner are draws of one distribution, for the two
differ in the purpose that keys the draws and in nothing else. So one set of references serves them all.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from expunge.features import Pipeline
from expunge.learners.learner import Learner
from expunge.method import Method
from expunge.methods.retrain import Retrain


def reference_of(method: Method[Any]) -> Method[Any]:
    """The method whose `learn` makes this method's references: plain training where that is the same, else itself."""
    plain = plain_of(method)
    inner = method.method if isinstance(method, Pipeline) else method
    noiseless = not settings_of(inner).get("noise_std")
    return plain if plain is not None and inner.learns_plainly and noiseless else method


def plain_of(method: Method[Any]) -> Method[Any] | None:
    """Retraining with the method's own learner (and features); None for a method that trains no learner."""
    if isinstance(method, Pipeline):
        inner = plain_of(method.method)
        return None if inner is None else dataclasses.replace(method, method=inner)
    learner = settings_of(method).get("learner")
    return Retrain(learner) if isinstance(learner, Learner) else None


def settings_of(method: Method[Any]) -> dict[str, Any]:
    """The method's fields by name."""
    return {field.name: getattr(method, field.name) for field in dataclasses.fields(method)}  # type: ignore[arg-type]
