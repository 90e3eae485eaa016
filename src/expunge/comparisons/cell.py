"""A cell: one piece of a comparison's work, a function of its content, named by the digest of that content."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, assert_never

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from expunge.comparisons.case import Case
from expunge.comparisons.content import code_digest, method_digest
from expunge.comparisons.sequence_cell import sequence
from expunge.comparisons.step_cell import reference, step
from expunge.comparisons.store import Outcome
from expunge.errors import ExpungeError, WorkersLost
from expunge.method import Method

Kind = Literal["step", "reference", "sequence"]


@dataclass(frozen=True, eq=False)
class Cell:
    """What to compute. `label` is for messages, and no part of the content."""

    kind: Kind
    label: str
    method: Method[Any]
    case: Case
    seed: int

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything that decides the outcome."""
        parts = (self.kind, code_digest(), method_digest(self.method), self.case.digest, str(self.seed))
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def compute(cell: Cell) -> Outcome:
    """The outcome; where the method refuses the data, `refused` says why; where it broke, `failed` does."""
    try:
        with threadpool_limits(1):
            match cell.kind:
                case "step":
                    return step(cell.method, cell.case, cell.seed)
                case "reference":
                    return reference(cell.method, cell.case, cell.seed)
                case "sequence":
                    return sequence(cell.method, cell.case, cell.seed)
                case _:
                    assert_never(cell.kind)
    except WorkersLost:
        raise
    except ExpungeError as error:
        return Outcome({"refused": f"{type(error).__name__}: {error}"})
    except Exception as error:  # one broken method must not end the others' comparison
        return Outcome({"failed": f"{type(error).__name__}: {error}"})
