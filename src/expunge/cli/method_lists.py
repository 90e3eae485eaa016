"""Several methods in one command: `--methods a,b,big=a` and `--set`, for all of them or for one.

`label=name` shows the method under a label of its own, so that one method can stand twice with other settings.
`--set field=value` goes to every method with such a field, `--set label.field=value` to that one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from expunge.cli import choosing
from expunge.cli.output import UsageError
from expunge.cli.settings import suggestion

if TYPE_CHECKING:
    from expunge.method import Method


def chosen(text: str, settings: Mapping[str, str], model: str | None) -> dict[str, Method[Any]]:
    """The methods by their labels, in the order given.

    Raises:
        UsageError: there is no such method, a label stands twice, or a setting fits none of them.
    """
    names: dict[str, str] = {}
    for part in (part.strip() for part in text.split(",")):
        label, equals, name = part.partition("=")
        name = name.strip() if equals else label
        label = label.strip() if equals else label.rpartition(":")[2]
        if not label or not name:
            raise UsageError(f"--methods {text!r}: names with commas between were expected, or label=name.")
        if label in names:
            raise UsageError(f"--methods names {label!r} twice; give one of them a label: other={name}.")
        names[label] = name
    own: dict[str, dict[str, str]] = {label: {} for label in names}
    for field, value in settings.items():
        for label, path in _targets(field, names):
            own[label][path] = value
    return {label: choosing.choose(name, own[label], _model_for(name, model)) for label, name in names.items()}


def _targets(field: str, names: Mapping[str, str]) -> list[tuple[str, str]]:
    """(label, path inside that method) for each method that a setting goes to."""
    head, _, rest = field.partition(".")
    for label in names:
        if rest and head == label.replace("-", "_"):
            return [(label, rest)]
    found = [(label, field) for label, name in names.items() if head in _fields(name)]
    if not found:
        known = sorted({field for name in names.values() for field in _fields(name)})
        raise UsageError(f"--set {field}: none of the methods has a field {head!r}{suggestion(head, known)}")
    return found


def _fields(name: str) -> set[str]:
    return {field.name for field in dataclasses.fields(choosing.named(name))}


def _model_for(name: str, model: str | None) -> str | None:
    return model if model is not None and _fields(name) & {"model", "core", "learner"} else None
