"""Frozen dataclasses as plain JSON and back, by their annotations; a number that is not finite becomes its name."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from enum import Enum
from typing import Any

from expunge.errors import InputError


def to_tree(value: Any) -> Any:
    """A dataclass (of dataclasses, tuples, numbers, text) as JSON's types; one of a union carries its "kind"."""
    match value:
        case Enum():
            return value.value
        case None | bool() | str() | int():
            return value
        case float():
            return value if math.isfinite(value) else repr(value)
        case tuple():
            return [to_tree(item) for item in value]
        case _ if dataclasses.is_dataclass(value):
            fields = {field.name: to_tree(getattr(value, field.name)) for field in dataclasses.fields(value)}
            return {"kind": type(value).__name__.lower(), **fields}
        case _:
            raise TypeError(f"An audit holds no {type(value).__name__}.")


def from_tree(kind: Any, tree: Any) -> Any:
    """The value of annotation `kind` that a tree describes.

    Raises:
        InputError: the tree does not fit.
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in {types.UnionType, typing.Union}:
        return _of_union(arguments, tree)
    if origin is tuple:
        if not isinstance(tree, list):
            raise InputError(f"A list was expected, not {str(tree)[:40]!r}.")
        kinds = [arguments[0]] * len(tree) if arguments[-1] is Ellipsis else list(arguments)
        return tuple(from_tree(item_kind, item) for item_kind, item in zip(kinds, tree, strict=True))
    if dataclasses.is_dataclass(kind):
        if not isinstance(tree, Mapping):
            raise InputError(f"The fields of {kind} were expected, not {str(tree)[:40]!r}.")
        hints = typing.get_type_hints(kind)
        fields = {field.name: from_tree(hints[field.name], tree.get(field.name)) for field in dataclasses.fields(kind)}
        return typing.cast("Any", kind)(**fields)
    if kind is float and not isinstance(tree, bool) and isinstance(tree, int | float | str):
        return float(tree)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(tree)
    if isinstance(kind, type) and isinstance(tree, kind):
        return tree
    raise InputError(f"{kind} was expected, not {str(tree)[:40]!r}.")


def _of_union(kinds: tuple[Any, ...], tree: Any) -> Any:
    if tree is None and type(None) in kinds:
        return None
    rest = [kind for kind in kinds if kind is not type(None)]
    if len(rest) > 1 and isinstance(tree, Mapping):
        rest = [kind for kind in rest if kind.__name__.lower() == tree.get("kind")]
    if not rest:
        raise InputError(f"One of {[kind.__name__ for kind in kinds]} was expected, not {str(tree)[:40]!r}.")
    return from_tree(rest[0], tree)
