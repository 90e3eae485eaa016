"""`--set field=value` to the fields of a frozen dataclass, read as their annotations say.

A value is a number, true or false, a name, none where None is allowed, or several of them with commas for a tuple
(`64,32`). A field that is a dataclass itself is reached by a dot (`learner.epochs=5`); where several classes may stand,
the field's own value names one of them (`learner=convex`). Everything else, the classes check themselves.
"""

from __future__ import annotations

import dataclasses
import difflib
import enum
import re
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, TypeVar

from expunge.cli.output import UsageError
from expunge.errors import InputError

T = TypeVar("T")
Settings = Mapping[str, Any]  # dotted path -> text to be read, or a value that stands as it is
Choices = Mapping[type, Mapping[str, type]]  # an abstract class -> name on the command line -> final class


def parse(texts: Iterable[str]) -> dict[str, str]:
    """`["a=1", "b.c=2"]` as `{"a": "1", "b.c": "2"}`.

    Raises:
        UsageError: a text has no "=", or a field is set twice.
    """
    settings: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or not name:
            raise UsageError(f"--set {text!r} is not of the form field=value.")
        if name in settings:
            raise UsageError(f"--set gives {name!r} twice.")
        settings[name] = value.strip()
    return settings


def build(cls: type[T], settings: Settings, *, choices: Choices, given: Mapping[str, Any] | None = None) -> T:
    """An instance of the dataclass `cls`: defaults, then `given`, then `settings`.

    Raises:
        UsageError: a field is unknown or missing, or a value is not what its annotation or the class asks for.
    """
    return _build(cls, settings, choices, dict(given or {}), "")


def name_of(cls: type) -> str:
    """A class's name on the command line: `ScikitLearn` is scikit-learn."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", cls.__name__).lower()


def suggestion(name: str, known: Sequence[str]) -> str:
    """`; did you mean 'x'?` where something known is close, else what is known."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
    return f"; did you mean {close[0]!r}?" if close else f"; there are: {', '.join(sorted(known)) or 'none'}."


def _build(
    cls: type[T],
    settings: Settings,
    choices: Choices,
    values: dict[str, Any],
    path: str,
    others: Mapping[str, type] = MappingProxyType({}),
) -> T:
    """The instance; `others` are the classes that could stand in its place."""
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}  # type: ignore[arg-type]
    hints = typing.get_type_hints(cls)
    heads = dict.fromkeys(name.partition(".")[0] for name in settings)
    for name in heads:
        if name not in fields:
            known = [path + field for field in fields]
            owners = [other for other, kind in others.items() if name in _fields(kind)]
            told = f"; {owners[0]} has it: --set {path[:-1]}={owners[0]} first." if owners else ""
            raise UsageError(f"{name_of(cls)} has no field {path + name!r}{told or suggestion(path + name, known)}")
        nested = {key.partition(".")[2]: text for key, text in settings.items() if key.startswith(f"{name}.")}
        current = values.get(name, _default(fields[name]))
        values[name] = _read(hints[name], settings.get(name), nested, current, choices, path + name)
    missing = [n for n, field in fields.items() if n not in values and _default(field) is dataclasses.MISSING]
    if missing:
        example = f"{path}{missing[0]}={_expected(hints[missing[0]], choices)}"
        raise UsageError(f"{name_of(cls)} needs {', '.join(path + n for n in missing)}: give --set {example}")
    try:
        return cls(**values)
    except (InputError, ValueError) as error:
        raise UsageError(str(error)) from error


def _fields(cls: Any) -> set[str]:
    return {field.name for field in dataclasses.fields(cls) if field.init}


def _read(annotation: Any, own: Any, nested: Settings, current: Any, choices: Choices, path: str) -> Any:
    if own is not None and not isinstance(own, str):
        return own
    members = _members(annotation)
    classes = {name: cls for member in members for name, cls in _classes(member, choices).items()}
    if own is not None and own.lower() == "none" and type(None) in members:
        return None
    if classes and (nested or own is None or own in classes or len(members) == 1):
        cls, start = _chosen(classes, own, current, path)
        return _build(cls, nested, choices, start, f"{path}.", classes)
    if nested:
        raise UsageError(f"{path} has no fields of its own; it is {_expected(annotation, choices)}.")
    for member in members:
        try:
            return _value(member, own or "")
        except (ValueError, KeyError):
            continue
    raise UsageError(f"{path} is {_expected(annotation, choices)}, not {own!r}.")


def _chosen(classes: Mapping[str, type], own: str | None, current: Any, path: str) -> tuple[type, dict[str, Any]]:
    """The class that stands at `path`, and the field values it starts from."""
    if own is not None and own not in classes:
        raise UsageError(f"{path} cannot be {own!r}{suggestion(own, list(classes))}")
    in_place = {f.name: getattr(current, f.name) for f in dataclasses.fields(current)} if _is_instance(current) else {}
    if own is None and len(classes) == 1 and not in_place:
        return next(iter(classes.values())), {}
    cls = type(current) if own is None else classes[own]
    if own is None and not in_place:
        raise UsageError(f"Say which {path} first: --set {path}={'|'.join(sorted(classes))}")
    return cls, in_place if isinstance(current, cls) else {}


def _value(annotation: Any, text: str) -> Any:
    """`text` as a value of a plain annotation.

    Raises:
        ValueError, KeyError: it is none.
    """
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is tuple:
        parts = [part.strip() for part in text.split(",") if part.strip()]
        kinds = [arguments[0]] * len(parts) if arguments[1:] == (...,) else list(arguments)
        return tuple(_value(kind, part) for kind, part in zip(kinds, parts, strict=True))
    if origin is Literal:
        return {str(choice): choice for choice in arguments}[text]
    if annotation is bool:
        return {"true": True, "false": False}[text.lower()]
    if annotation is int:
        return int(text)
    if annotation is float:
        return float(text)
    if annotation is str:
        return text
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return annotation(text)
    if origin in (types.UnionType, typing.Union):
        return next(_value(member, text) for member in arguments if _fits(member, text))
    raise ValueError(text)


def _fits(annotation: Any, text: str) -> bool:
    try:
        _value(annotation, text)
    except (ValueError, KeyError):
        return False
    return True


def _members(annotation: Any) -> tuple[Any, ...]:
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        return typing.get_args(annotation)
    return (annotation,)


def _classes(annotation: Any, choices: Choices) -> Mapping[str, type]:
    plain = typing.get_origin(annotation) or annotation
    if plain in choices:
        return choices[plain]
    if isinstance(plain, type) and dataclasses.is_dataclass(plain):
        return {name_of(plain): plain}
    return {}


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _is_instance(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def _expected(annotation: Any, choices: Choices) -> str:
    """What may stand there, in words."""
    words = []
    for member in _members(annotation):
        origin, arguments = typing.get_origin(member), typing.get_args(member)
        if classes := _classes(member, choices):
            words.append("|".join(sorted(classes)))
        elif origin is Literal:
            words.append("|".join(map(str, arguments)))
        elif origin is tuple:
            words.append(f"{_expected(arguments[0], choices)},...")
        elif isinstance(member, type) and issubclass(member, enum.Enum):
            words.append("|".join(str(choice.value) for choice in member))
        elif member in _WORDS:
            words.append(_WORDS[member])
    return " or ".join(words) or "not settable from the command line"


_WORDS: Mapping[Any, str] = {
    bool: "true|false",
    int: "<integer>",
    float: "<number>",
    str: "<text>",
    type(None): "none",
}
