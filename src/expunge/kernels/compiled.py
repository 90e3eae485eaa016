"""How kernels are compiled, and how they read memory that others own.

No fastmath and no contraction: floats are the same in every kernel, in numpy and in plain Python.
"""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba import carray, njit, types  # type: ignore[attr-defined]
from numba.core import cgutils
from numba.extending import intrinsic


def compiled(function: Callable[..., Any]) -> Any:
    """The function compiled when first called, without the interpreter's lock; the next process finds it on disk."""
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
