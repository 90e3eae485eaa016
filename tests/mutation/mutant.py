"""What a planted bug is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """An edit of src/expunge/`file`, and the pytest node that must fail under it."""

    name: str
    file: str
    old: str
    new: str
    caught_by: str
    times: int = 1
    also: tuple[str, str, str] | None = None  # a second edit: file, old, new
