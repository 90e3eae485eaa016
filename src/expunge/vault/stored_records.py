"""Values on disk: the canonical tree of `expunge.record` as one JSON chunk, each tensor as one safetensors chunk.

The digest of the tree's chunk is `record.digest` of the value. A value that was read remembers the digests of its
tensors, so that the next step neither hashes nor writes those it left alone. Large tensors are not read but mapped: a
record may be larger than memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from expunge import record
from expunge.vault.chunks import Chunks

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Loaded:
    """A value with the digests of its tensors, which it keeps alive so that their identity stays theirs."""

    value: Any
    tensors: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Stored:
    """Where a value is.

    Attributes:
        tree: the digest of its tree. digests: of every chunk it needs, the tree's included.
        classes: every "module:Class" it names. loaded: the value as if read again.
    """

    tree: str
    digests: frozenset[str]
    classes: frozenset[str]
    loaded: Loaded


@dataclass(frozen=True, eq=False)
class StoredRecords:
    """Reads and writes values. `classes`: "module:Class" -> class, for those outside this package."""

    chunks: Chunks
    classes: Mapping[str, type]

    def write(self, value: Any, loaded: Loaded | None = None) -> Stored:
        """Store a value; the tensors it shares with `loaded` are on disk already."""
        tensors = {} if loaded is None else loaded.tensors
        tree, parts = record.encode(value, {id(tensor): digest for digest, tensor in tensors.items()})
        for digest, tensor in parts.items():
            if digest not in tensors:
                self.chunks.write(record.tensor_bytes(tensor))
        name = self.chunks.write(record.canonical(tree))
        return Stored(name, frozenset({name, *parts}), frozenset(_class_names(tree)), Loaded(value, parts))

    def read(self, tree: str) -> Loaded:
        """The value whose tree has this digest.

        Raises:
            Corrupt: a chunk is absent, does not match its digest, or names an unknown class.
        """
        form = json.loads(self.chunks.read(tree))
        tensors = {digest: self._tensor(digest) for digest in set(_tensors(form))}
        return Loaded(record.decode(form, tensors, self.classes), tensors)

    def _tensor(self, digest: str) -> Tensor:
        import safetensors.torch  # slow to import

        if self.chunks.size(digest) >= record.ALIGNED_BYTES:
            return record.tensor_in(self.chunks.mapped(digest))
        # A clone: torch's own alignment, whatever the offset in the file, so that arithmetic repeats bit for bit.
        return safetensors.torch.load(self.chunks.read(digest))["t"].clone()


def _class_names(tree: record.Tree) -> set[str]:
    """Every "module:Class" that a tree names."""
    match tree:
        case list():
            return set().union(*map(_class_names, tree))
        case {"map": entries}:
            return set().union(*map(_class_names, entries.values()))
        case {"enum": name}:
            return {name}
        case {"class": name, "fields": fields}:
            return {name}.union(*map(_class_names, fields.values()))
        case _:
            return set()


def _tensors(tree: record.Tree) -> Iterator[str]:
    match tree:
        case list():
            for item in tree:
                yield from _tensors(item)
        case {"tensor": digest}:
            yield digest
        case {"map": parts} | {"class": _, "fields": parts}:
            for item in parts.values():
                yield from _tensors(item)
