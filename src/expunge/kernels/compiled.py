"""How kernels are compiled, and how they read memory that others own.

No fastmath and no contraction: floats are the same in every kernel, in numpy and in plain Python.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba import carray, njit, types  # type: ignore[attr-defined]
from numba.core import cgutils, event
from numba.extending import intrinsic

LOG = logging.getLogger("expunge.kernels")
COMPILING = "Compiling kernels for this machine: once after an installation, about 30 seconds."
_KERNELS: set[Callable[..., Any]] = set()


class Announcer(event.Listener):
    """Says once in a process that kernels are being compiled: where they are found on disk, numba compiles nothing."""

    def __init__(self) -> None:
        self.told = False

    def on_start(self, event: Any) -> None:
        """Numba begins to compile a function."""
        if not self.told and event.data["dispatcher"].py_func in _KERNELS:
            self.told = True
            LOG.info(COMPILING)

    def on_end(self, event: Any) -> None:
        """Numba has compiled a function."""


event.register("numba:compile", Announcer())  # type: ignore[no-untyped-call]


def compiled(function: Callable[..., Any]) -> Any:
    """The function compiled when first called, without the interpreter's lock; the next process finds it on disk.

    The first that has to be compiled is told to the log, at the level of information.
    """
    _KERNELS.add(function)
    return njit(cache=True, nogil=True, error_model="numpy")(function)


def drop_stale(folder: Path) -> None:
    """Delete compiled kernels that were made from other sources than those in `folder`.

    Numba looks only at the file of the function it loads, not at those of functions it calls: a kernel would go on as
    it was when a kernel below it changed.
    """
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(folder.glob("*.py")))).hexdigest()
    stamp = folder / "__pycache__" / "sources.sha256"
    with suppress(OSError):
        if stamp.is_file() and stamp.read_text() == digest:
            return
        for compiled in (*stamp.parent.glob("*.nbi"), *stamp.parent.glob("*.nbc")):
            compiled.unlink(missing_ok=True)
        stamp.parent.mkdir(exist_ok=True)
        stamp.write_text(digest)


drop_stale(Path(__file__).parent)

if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]

    def words_at(address: int, length: int, like: Any) -> Any:
        """The `length` words at an address, of the type of the array `like`; whoever calls keeps them alive."""
        if not length:
            return np.empty(0, like.dtype)
        memory = (ctypes.c_byte * (int(length) * like.dtype.itemsize)).from_address(int(address))
        return np.frombuffer(memory, dtype=like.dtype)

else:

    @intrinsic
    def _pointer(typing_context: Any, address: Any) -> Any:
        del typing_context

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            del context, signature
            return builder.inttoptr(arguments[0], cgutils.voidptr_t)

        return types.voidptr(address), generate

    @compiled
    def words_at(address: int, length: int, like: Any) -> Any:
        """The `length` words at an address, of the type of the array `like`; whoever calls keeps them alive."""
        return carray(_pointer(address), (length,), like.dtype)  # type: ignore[call-arg]


@compiled
def lent(array: Any) -> Any:
    """The array without a count of its owners; whoever calls keeps it alive.

    Counting owners takes longer than the small pieces of work that kernels hand arrays to.
    """
    return words_at(array.ctypes.data, array.size, array).reshape(array.shape)
