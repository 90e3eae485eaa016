"""Parameters inside a method, by their dotted names: `method__learner__l2`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

from expunge.errors import InputError


def nested(path: str, value: Any) -> dict[str, Any]:
    """The fields of a dataclass by their dotted names, at any depth."""
    if not is_dataclass(value) or isinstance(value, type):
        return {}
    found: dict[str, Any] = {}
    for field in fields(value):
        inner = getattr(value, field.name)
        found |= {f"{path}__{field.name}": inner} | nested(f"{path}__{field.name}", inner)
    return found


def replaced(value: Any, names: Sequence[str], new: Any, path: str) -> Any:
    """A copy of a dataclass with one field, however deep, replaced."""
    if not names:
        return new
    known = [field.name for field in fields(value)] if is_dataclass(value) else []
    if names[0] not in known:
        raise InputError(f"There is no parameter {path!r}: {type(value).__name__} has {known}.")
    return replace(value, **{names[0]: replaced(getattr(value, names[0]), names[1:], new, path)})
