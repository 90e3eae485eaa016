"""A method of the user's own: its source is stored in the vault, so that the vault can be opened without the file.

A value names its classes as "module:Class". For a module outside this package the vault keeps the file's source as a
chunk; to open the value, a module of the same source that is imported already is used, else the stored source is
executed. So opening a stranger's vault may run the stranger's code: only when its method is needed, never for
`status`, `ledger` or `receipt`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType

from expunge.errors import InputError
from expunge.vault.chunks import Chunks


def outside(class_names: Iterable[str]) -> set[str]:
    """The modules, outside this package, of classes given as "module:Class"."""
    modules = {name.partition(":")[0] for name in class_names}
    return {module for module in modules if module.partition(".")[0] != "expunge"}


def store(chunks: Chunks, modules: Iterable[str]) -> dict[str, str]:
    """Store the source of each module; module -> digest.

    Raises:
        InputError: a module has no source file, or is the running program itself.
    """
    return {module: chunks.write(_source(module)) for module in sorted(modules)}


def classes(chunks: Chunks, stored: Mapping[str, str]) -> dict[str, type]:
    """Every class of the stored modules, as "module:Class" -> class.

    Raises:
        Corrupt: a stored source does not match its digest.
    """
    found: dict[str, type] = {}
    for name, digest in stored.items():
        module = _module(name, chunks.read(digest))
        members = [value for value in vars(module).values() if isinstance(value, type)]
        found |= {f"{name}:{cls.__qualname__}": cls for cls in members if cls.__module__ == name}
    return found


def _source(module: str) -> bytes:
    file = getattr(sys.modules.get(module), "__file__", None)
    if module == "__main__" or file is None or not file.endswith(".py"):
        raise InputError(
            f"The vault keeps the source of a method of your own, and {module!r} has no file for it: put the method "
            f"and its record into a Python file of their own and import it."
        )
    return Path(file).read_bytes()


def _module(name: str, source: bytes) -> ModuleType:
    present = sys.modules.get(name)
    if present is not None and _is_from(present, source):
        return present
    module = ModuleType(name, "Source stored in a vault.")
    module.__file__ = f"<vault:{name}>"
    # dataclasses look their module up by name while the class is made
    sys.modules[name] = module
    try:
        exec(compile(source, module.__file__, "exec"), module.__dict__)  # noqa: S102 (the user's own method)
    finally:
        if present is None:
            del sys.modules[name]
        else:
            sys.modules[name] = present
    return module


def _is_from(module: ModuleType, source: bytes) -> bool:
    file = getattr(module, "__file__", None)
    return file is not None and Path(file).is_file() and Path(file).read_bytes() == source
