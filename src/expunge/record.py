"""What a record may hold, its canonical form, and its digest.

A value is None, a bool, number, string, bytes, tensor, a tuple or text-keyed mapping of values, or a frozen dataclass
of values or a `StrEnum` whose class is in this package (or given in `known`). Its canonical form is a JSON tree in
which each tensor is named by the SHA-256 of its safetensors bytes; the digest of the value is that of the tree, hence
a Merkle tree over tensors. A large record keeps its tensors in tuples, so that a step replaces only those it touches.
Mappings come back sorted by key. There is no pickle.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
import math
from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from expunge.errors import Corrupt

if TYPE_CHECKING:
    from torch import Tensor

Tree = Any
ALIGNED_BYTES = 8 * 2**20  # files of tensors from this size on can be mapped
ALIGNMENT = 64


def tensor_bytes(tensor: Tensor) -> bytes:
    """The safetensors file that holds this one tensor, named "t".

    The header of a large one is filled up with spaces, so that its numbers lie where torch would put them, at a
    multiple of 64 bytes: mapped into memory, they give the same sums to the last bit.
    """
    import safetensors.torch  # slow to import

    content = safetensors.torch.save({"t": tensor.detach().cpu().contiguous()})
    if len(content) < ALIGNED_BYTES:
        return content
    end = 8 + int.from_bytes(content[:8], "little")
    header = content[8:end] + b" " * (-end % ALIGNMENT)
    return b"".join((len(header).to_bytes(8, "little"), header, memoryview(content)[end:]))


def tensor_in(content: Tensor) -> Tensor:
    """The tensor in the bytes of a large `tensor_bytes` (size,) uint8; it shares their memory, and none is copied."""
    import safetensors.torch  # slow to import

    end = 8 + int.from_bytes(content[:8].numpy().tobytes(), "little")
    entry = json.loads(content[8:end].numpy().tobytes())["t"]
    return content[end:].view(safetensors.torch._getdtype(entry["dtype"])).view(entry["shape"])  # noqa: SLF001


def tensor_digest(tensor: Tensor) -> str:
    """SHA-256 of `tensor_bytes`, in hexadecimal."""
    return hashlib.sha256(tensor_bytes(tensor)).hexdigest()


def encode(value: Any, known: Mapping[int, str] | None = None) -> tuple[Tree, dict[str, Tensor]]:
    """The canonical tree of a value, and its tensors by digest.

    Args:
        value: see the module. known: id(tensor) -> digest for tensors that need not be hashed again.

    Raises:
        TypeError: something in the value is of no storable type.
    """
    from torch import Tensor  # slow to import

    tensors: dict[str, Tensor] = {}

    def tree(part: Any) -> Tree:
        match part:
            case Tensor():
                digest = (known or {}).get(id(part)) or tensor_digest(part)
                tensors[digest] = part
                return {"tensor": digest}
            case tuple():
                return [tree(item) for item in part]
            case Mapping():
                if not all(isinstance(key, str) for key in part):
                    raise TypeError(f"The keys of a stored mapping are text; given: {list(part)[:5]}.")
                return {"map": {key: tree(item) for key, item in part.items()}}
            case _ if dataclasses.is_dataclass(part) and not isinstance(part, type):
                fields = {f.name: tree(getattr(part, f.name)) for f in dataclasses.fields(part)}
                return {"class": _name(type(part)), "fields": fields}
            case _:
                return _leaf(part)

    return tree(value), tensors


def _leaf(part: Any) -> Tree:
    match part:
        case StrEnum():
            return {"enum": _name(type(part)), "value": part.value}
        case None | bool() | str() | int():
            return part
        case float():
            return part if math.isfinite(part) else {"float": repr(part)}
        case bytes():
            return {"bytes": part.hex()}
        case _:
            raise TypeError(f"A record cannot hold a {type(part).__name__}; see expunge.record for what it may.")


def decode(tree: Tree, tensors: Mapping[str, Tensor], known: Mapping[str, type] | None = None) -> Any:
    """The value of a canonical tree.

    Args:
        tree: from `encode`. tensors: by digest. known: "module:Class" -> class for classes outside this package.

    Raises:
        Corrupt: the tree names an unknown class, form or tensor, or the fields are not those of the class.
    """
    match tree:
        case None | bool() | str() | int() | float():
            return tree
        case list():
            return tuple(decode(item, tensors, known) for item in tree)
        case {"float": text}:
            return float(text)
        case {"bytes": text}:
            return bytes.fromhex(text)
        case {"tensor": named}:
            if named not in tensors:
                raise Corrupt(f"A record names the tensor {str(named)[:16]}..., which is absent.")
            return tensors[named]
        case {"map": entries}:
            return {key: decode(item, tensors, known) for key, item in entries.items()}
        case {"enum": name, "value": text}:
            return _made(name, known or {}, (text,), {})
        case {"class": name, "fields": fields}:
            return _made(name, known or {}, (), {key: decode(item, tensors, known) for key, item in fields.items()})
        case _:
            raise Corrupt(f"A record holds an unknown form: {str(tree)[:80]}.")


def canonical(tree: Tree) -> bytes:
    """The tree as JSON bytes: sorted keys, no spaces."""
    return json.dumps(tree, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def digest(value: Any) -> str:
    """SHA-256 over the canonical form: equal digests mean equal values, bit for bit."""
    return hashlib.sha256(canonical(encode(value)[0])).hexdigest()


def _name(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


def _made(name: str, known: Mapping[str, type], values: tuple[Any, ...], fields: Mapping[str, Any]) -> Any:
    cls = known.get(name) or _class_of(name)
    try:
        return cls(*values, **fields)
    except (TypeError, ValueError) as error:
        raise Corrupt(f"A record holds a {name!r} that this version cannot make: {error}") from error


def _class_of(name: str) -> type:
    module, _, qualified = name.partition(":")
    if module.partition(".")[0] != "expunge":
        raise Corrupt(f"A record names the class {name!r}, which is not part of expunge.")
    try:
        found = getattr(importlib.import_module(module), qualified, None)
    except ImportError as error:
        raise Corrupt(f"A record names {name!r}, and this version has no such module.") from error
    if not isinstance(found, type) or not (dataclasses.is_dataclass(found) or issubclass(found, StrEnum)):
        raise Corrupt(f"A record names {name!r}, which is no record class of this version.")
    return found


def classes_in(value: Any) -> Mapping[str, type]:
    """The dataclasses inside a value by their stored name: what `decode` must know of classes outside this package."""
    found: dict[str, type] = {}
    if dataclasses.is_dataclass(value):
        found[f"{type(value).__module__}:{type(value).__qualname__}"] = type(value)
        for field in dataclasses.fields(value):
            found |= classes_in(getattr(value, field.name))
    elif isinstance(value, tuple):
        for item in value:
            found |= classes_in(item)
    elif isinstance(value, Mapping):
        for item in value.values():
            found |= classes_in(item)
    return found
