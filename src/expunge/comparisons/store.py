"""Where outcomes are kept: one file a cell, named by the cell's digest, written whole or not at all.

The file is an npz of plain arrays; the facts are one JSON text among them. A killed run leaves whole cells and nothing
else, and a file that cannot be read counts as absent.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from expunge.schema import Array

FACTS = "facts"


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a cell gave: `facts` of JSON's types, and `arrays` by name."""

    facts: Mapping[str, Any]
    arrays: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class Store:
    """A folder of outcomes."""

    folder: Path

    def read(self, digest: str) -> Outcome | None:
        """The outcome of this cell, or None."""
        try:
            content = io.BytesIO(self.place(digest).read_bytes())
            with np.load(content, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            return Outcome(json.loads(str(arrays.pop(FACTS))), arrays)
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
            return None

    def write(self, digest: str, outcome: Outcome) -> None:
        """Keep the outcome: a temporary file, forced to disk, then renamed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        content = io.BytesIO()
        np.savez_compressed(content, **{FACTS: np.array(json.dumps(outcome.facts))}, **outcome.arrays)  # type: ignore[arg-type]
        temporary = self.folder / f"{digest}.{os.getpid()}.tmp"
        with temporary.open("wb") as file:
            file.write(content.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.place(digest))

    def place(self, digest: str) -> Path:
        """The file of this cell."""
        return self.folder / f"{digest}.npz"

    def tidy(self) -> None:
        """Take away what a killed run left half written."""
        for left in self.folder.glob("*.tmp"):
            left.unlink(missing_ok=True)
