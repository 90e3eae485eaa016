"""Methods by name: a file name in `methods/` with hyphens, or `path.py:name` for a method of one's own.

Each method file says what it is at the end of its docstring, in lines `Guarantee: ...`, `Models: ...`, `Strong: ...`,
`Weak: ...` and `Paper: ...`; `expunge methods` prints them and the README's table repeats them.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import inspect
import pkgutil
import re
import sys
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from expunge.cli.output import UsageError
from expunge.cli.settings import Choices, Settings, build, name_of, suggestion

if TYPE_CHECKING:
    from expunge.method import Method

CARD = ("guarantee", "models", "strong", "weak", "paper")


def names() -> list[str]:
    """The methods that come with the package."""
    import expunge.methods

    return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(expunge.methods.__path__))


def card(name: str) -> dict[str, Any]:
    """What the method called `name` says of itself: name, guarantee, models, strong, weak, paper, adopts, extends."""
    from expunge.method import Adopts, Extends

    module = _module(name)
    cls = _method_in(module, name)
    text = inspect.cleandoc(module.__doc__ or "")
    facts = {key: _fact(text, key.capitalize()) for key in CARD}
    return {"name": name, **facts, "adopts": issubclass(cls, Adopts), "extends": issubclass(cls, Extends)}


def named(name: str) -> Any:
    """The Method class called `name`, or the class or instance at `path.py:name`.

    Raises:
        UsageError: there is none.
    """
    return _own(name) if ".py" in name else _method_in(_module(name), name)


def choose(name: str, settings: Settings, model: str | None = None) -> Method[Any]:
    """The method called `name`, with these settings and, for a learner that takes one, the model at `path.py:name`.

    Raises:
        UsageError: there is no such method, field or model, or a value does not fit its field.
    """
    found: Any = named(name)
    given: dict[str, Any] = {}
    if not isinstance(found, type):  # a method of one's own, made with its settings already
        given = {field.name: getattr(found, field.name) for field in dataclasses.fields(found) if field.init}
        found = type(found)
    if model is not None:
        settings = _with_model(found, name, settings, model)
    method: Method[Any] = build(found, settings, choices=_choices(), given=given)
    return method


def _with_model(cls: type, name: str, settings: Settings, model: str) -> Settings:
    from expunge.models import ModuleFile

    fields = {field.name for field in dataclasses.fields(cls)}
    if "model" in fields:
        return {**settings, "model": ModuleFile.read(model)}
    if "core" in fields:
        return {**settings, "core.model": ModuleFile.read(model)}
    if "learner" in fields:
        learner = typing.get_type_hints(cls)["learner"]  # a class with a model of its own, or what Sgd is one of
        chosen = {} if dataclasses.is_dataclass(learner) else {"learner": "sgd"}
        return {**chosen, **settings, "learner.model": ModuleFile.read(model)}
    raise UsageError(
        f"{name} takes no model of your own: what it proves holds for its own models only. Leave --model out."
    )


def _choices() -> Choices:
    """What may stand where a method asks for a learner or a model."""
    import expunge.learners
    import expunge.models
    from expunge.learners.differentiable import Differentiable
    from expunge.learners.learner import Learner
    from expunge.models import Model

    files = pkgutil.iter_modules(expunge.learners.__path__, "expunge.learners.")
    learners = [importlib.import_module(file.name) for file in files]
    return {
        Differentiable: _complete(_final(learners, Differentiable)),
        Learner: _complete(_final(learners, Learner)),
        Model: _final([expunge.models], Model),
    }


def _final(modules: Iterable[ModuleType], kind: Any) -> Mapping[str, type]:
    """The dataclasses of this kind that the modules define, by their names on the command line."""
    members = [value for module in modules for value in vars(module).values() if isinstance(value, type)]
    return {name_of(cls): cls for cls in members if dataclasses.is_dataclass(cls) and issubclass(cls, kind)}


def _complete(classes: Mapping[str, type]) -> Mapping[str, type]:
    """Those that need nothing which no text can say (`Featured` needs features: --statistics shard makes them)."""

    def optional(field: dataclasses.Field[Any]) -> bool:
        return field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING

    return {name: cls for name, cls in classes.items() if all(map(optional, dataclasses.fields(cls)))}


def _module(name: str) -> ModuleType:
    if name not in names():
        raise UsageError(f"There is no method {name!r}{suggestion(name, names())} Or give path.py:name.")
    return importlib.import_module(f"expunge.methods.{name.replace('-', '_')}")


def _method_in(module: ModuleType, name: str) -> type[Method[Any]]:
    from expunge.method import Method

    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, Method) and value.__module__ == module.__name__:
            return value
    raise UsageError(f"The file of {name} holds no subclass of expunge.Method.")


def _own(spec: str) -> Any:
    """The Method class or instance at `path.py:name`."""
    path, _, attribute = spec.rpartition(":")
    if not path:
        raise UsageError(f"--method {spec!r} names a file and nothing in it: give path.py:name.")
    file = Path(path)
    if not file.is_file():
        raise UsageError(
            f"--method {spec!r}: there is no file {path!r}; give path.py:name, or one of {', '.join(names())}."
        )
    module = _executed(spec, file)
    if attribute not in vars(module):
        known = [name for name, value in vars(module).items() if _is_method(value)]
        raise UsageError(f"--method {spec!r}: {path!r} defines no {attribute!r}{suggestion(attribute, known)}")
    found = vars(module)[attribute]
    if not _is_method(found):
        raise UsageError(
            f"--method {spec!r}: {attribute!r} in {path!r} is no Method. A dataclass that subclasses expunge.Method "
            f"and defines its four functions was expected, or an instance of one."
        )
    return found


def _is_method(value: Any) -> bool:
    """Whether this is a Method, or a class of which there can be one."""
    from expunge.method import Method

    cls = value if isinstance(value, type) else type(value)
    return issubclass(cls, Method) and dataclasses.is_dataclass(cls) and not inspect.isabstract(cls)


def _executed(spec: str, file: Path) -> ModuleType:
    """The file as a module; nothing of it stays where it fails."""
    source = importlib.util.spec_from_file_location(file.stem, file)
    if source is None or source.loader is None:
        raise UsageError(f"--method {spec!r}: {str(file)!r} is not a Python file.")
    module, before = importlib.util.module_from_spec(source), sys.modules.get(file.stem)
    sys.modules[file.stem] = module  # dataclasses and typing look their module up by name
    try:
        source.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[file.stem]
        if before is not None:
            sys.modules[file.stem] = before
        raise UsageError(
            f"--method {spec!r}: {str(file)!r} cannot be imported, {type(error).__name__}: {error}. Mend the file."
        ) from error
    return module


def _fact(text: str, key: str) -> str:
    """The paragraph that begins `Key: ` in a docstring, on one line."""
    match = re.search(rf"^{key}: (.+?)(?=\n[A-Z][a-z]+: |\n\n|\Z)", text, flags=re.MULTILINE | re.DOTALL)
    return " ".join(match.group(1).split()) if match else ""
