"""How kernels are compiled, and how they read memory that others own.

No fastmath and no contraction: floats are the same in every kernel, in numpy and in plain Python.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numba
import numpy as np
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}

if numba.config.DISABLE_JIT:

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

    @njit(**OPTIONS)
    def words_at(address: int, length: int, like: Any) -> Any:
        """The `length` words at an address, of the type of the array `like`; whoever calls keeps them alive."""
        return numba.carray(_pointer(address), (length,), like.dtype)
