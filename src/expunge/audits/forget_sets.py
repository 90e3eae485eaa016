"""Which rows are to be forgotten: a short text to a set of rows, each a keyed function of the rows and a seed.

    10, 1%              so many rows, drawn at random; "10" holds "1", and so on
    mislabelled:50      50 random rows, given a wrong label before anything is learned
    canary:20           20 rows made of chance, added to the others before anything is learned
    outliers:20         the 20 rows furthest from the mean of their class
    memorised:20        the 20 rows that models remember best (`row_scores.memorisation`, by shadow models)
    influence:20        the 20 rows that move the loss on test rows most, either way
    subject:ann         all rows of one person; of a keyed choice of persons where the text is "subject" alone, or of
                        the values of a column where it names one
    class:3             all rows of one class, by its name; of a keyed choice of classes where it is "class" alone

Everywhere a share (5%) may stand for a number. Random rows cannot tell methods apart where single rows leave no trace:
use them for speed, and mislabelled rows, canaries or the most memorised ones for what is left of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from expunge import keyed
from expunge.attribution import influence, trained_model
from expunge.audits import planted, row_scores
from expunge.audits.answers import answers_of
from expunge.audits.metrics import Floats
from expunge.audits.references import Progress
from expunge.audits.shadows import train_shadows
from expunge.errors import InputError, UnknownRows
from expunge.method import Method
from expunge.noise import NoiseKey
from expunge.rows import Rows
from expunge.schema import Array

KINDS = ("random", "mislabelled", "canary", "outliers", "memorised", "influence", "subject", "class")
NAMED = ("subject", "class")
SHADOWS = 16
GRAMMAR = (
    "a number of rows (10), a share (1%), one of mislabelled:50, canary:20, outliers:20, memorised:20, influence:20 "
    "(a share in place of the number, if you like), subject:NAME or class:NAME"
)
_AMOUNT = re.compile(r"(?P<count>\d+)|(?P<share>\d+(\.\d*)?|\.\d+)\s*%")


@dataclass(frozen=True)
class Wanted:
    """A parsed text: a kind, and a number of rows, a share of them in (0, 1), or a name (empty: a keyed choice)."""

    text: str
    kind: str
    count: int | None = None
    share: float | None = None
    name: str = ""

    def rows_of(self, total: int) -> int:
        """How many rows of `total`.

        Raises:
            InputError: none would be left.
        """
        count = self.count if self.share is None else max(1, round(self.share * total))
        if count is None or not 1 <= count < total:
            raise InputError(f"{self.text!r} asks for {count} of {total} rows: some must leave, and some must stay.")
        return count


@dataclass(frozen=True, eq=False)
class ForgetSet:
    """The rows to learn (with what was planted among them), and the ids of those to forget, in a fixed order."""

    rows: Rows
    ids: Array
    words: str


@dataclass(frozen=True, eq=False)
class Chooser:
    """What choosing needs beside the rows.

    Attributes:
        seed: of every choice. method: that is asked which rows it remembers, or which move it. test: rows whose loss
            influence is on. shadows: how many models tell what is remembered (an even number).
        scratch, jobs, progress: of the shadow models, as in `references.retrain`.
    """

    seed: int = 0
    method: Method[Any] | None = None
    test: Rows | None = None
    shadows: int = SHADOWS
    scratch: Path | None = None
    jobs: int | None = 1
    progress: Progress | None = None

    def choose(self, text: str, rows: Rows) -> ForgetSet:
        """The forget set that a text asks for.

        Raises:
            InputError: the text says nothing, or too much is asked for, or a method or test rows are missing.
            UnknownRows: no row is of this subject or class.
        """
        wanted = parse(text)
        match wanted.kind:
            case "subject":
                return self._subject(wanted, rows)
            case "class":
                return self._class(wanted, rows)
            case "mislabelled":
                count = wanted.rows_of(len(rows))
                made, ids = planted.mislabelled(rows, count, seed=self.seed)
                return ForgetSet(made, ids, f"{count} mislabelled rows")
            case "canary":
                count = wanted.rows_of(len(rows))
                made, ids = planted.canaries(rows, count, seed=self.seed)
                return ForgetSet(made, ids, f"{count} canaries")
            case _:
                return self._highest(wanted, rows)

    def _highest(self, wanted: Wanted, rows: Rows) -> ForgetSet:
        kinds: dict[str, tuple[Callable[[Rows], Floats], str]] = {
            "outliers": (row_scores.outlierness, "outliers"),
            "memorised": (self._memorisation, "most memorised rows"),
            "influence": (self._influence, "rows of the highest influence"),
        }
        count = wanted.rows_of(len(rows))
        if wanted.kind == "random":
            where = keyed.k_smallest(self.seed, ("forget set",), rows.keys, count)
            return ForgetSet(rows, rows.ids[where], f"{count} random row{'s' * (count > 1)}")
        score, words = kinds[wanted.kind]
        where = row_scores.highest(score(rows), rows.keys, count)
        return ForgetSet(rows, rows.ids[where], f"the {count} {words}")

    def _memorisation(self, rows: Rows) -> Floats:
        shadows = train_shadows(
            self._asked("memorised"),
            rows,
            count=self.shadows,
            seed=self.seed,
            scratch=self.scratch,
            jobs=self.jobs,
            progress=self.progress,
        )
        said = answers_of(self._asked("memorised"), shadows.models, rows)
        return row_scores.memorisation(said.log_confidences, shadows.inside)

    def _influence(self, rows: Rows) -> Floats:
        if self.test is None or not len(self.test):
            raise InputError("Influence is on the loss of test rows, and none were given: give some.")
        method = self._asked("influence")
        release = method.release(method.learn(rows, seed=self.seed, noise=NoiseKey.fresh(1)))
        signed = influence(trained_model(method, release, rows.schema), rows, self.test).scores
        return np.asarray(np.abs(signed), dtype=np.float64)

    def _asked(self, kind: str) -> Method[Any]:
        if self.method is None:
            raise InputError(f"Which rows are {kind!r} depends on a method, and none was given: name one.")
        return self.method

    def _subject(self, wanted: Wanted, rows: Rows) -> ForgetSet:
        if wanted.name and wanted.name in {column.name for column in rows.schema.columns}:
            values = rows.columns[wanted.name]
            if values.ndim > 1:
                raise InputError(f"Column {wanted.name!r} has several numbers a row, so it names no person.")
            listed = [str(value) for value in values.tolist()]
            value = self._one(listed)
            return _some(rows, np.array(listed) == value, f"all rows with {wanted.name} {value}")
        name = wanted.name
        if not name:
            subjects = rows.table().subjects
            if subjects is None:
                raise InputError("These rows name no subjects: give them (subjects=...), or a column as subject:NAME.")
            name = self._one(subjects.tolist())
        found = rows.of_subjects([name])
        return _some(rows, np.isin(rows.keys, found.keys), f"all {len(found)} rows of {name}")

    def _class(self, wanted: Wanted, rows: Rows) -> ForgetSet:
        names = rows.schema.classes
        if not names:
            raise InputError("These rows have no classes, so none can be forgotten: a regression has subjects only.")
        name = wanted.name or self._one([names[code] for code in np.unique(rows.y)])
        if name not in names:
            raise UnknownRows(f"There is no class {name!r}; the classes are {', '.join(names[:20])}.")
        return _some(rows, rows.y == names.index(name), f"the whole class {name}")

    def _one(self, values: list[Any]) -> str:
        """A keyed choice among the distinct values, as text."""
        distinct = sorted({str(value) for value in values})
        return distinct[int(keyed.k_smallest(self.seed, ("forget set", "one"), keyed.keys_of(distinct), 1)[0])]


def parse(text: str) -> Wanted:
    """Read a text such as "10", "1%", "mislabelled:50" or "class:3".

    Raises:
        InputError: it is none of these.
    """
    kind, colon, rest = text.strip().partition(":")
    if not colon and kind not in NAMED:
        kind, rest = "random", kind
    if kind in NAMED:
        return Wanted(text, kind, name=rest.strip())
    found = _AMOUNT.fullmatch(rest.strip())
    if kind not in KINDS or found is None:
        raise InputError(f"{text!r} names no forget set; give {GRAMMAR}.")
    count = None if found["count"] is None else int(found["count"])
    share = None if found["share"] is None else float(found["share"]) / 100
    if count == 0 or share == 0 or (share is not None and share >= 1):
        raise InputError(f"{text!r} asks for no row, or for all of them: some must leave, and some must stay.")
    return Wanted(text, kind, count, share)


def forget_set(text: str, rows: Rows, *, seed: int = 0) -> ForgetSet:
    """`Chooser.choose` where no model has to be asked.

    Raises:
        InputError, UnknownRows: as there.
    """
    return Chooser(seed=seed).choose(text, rows)


def _some(rows: Rows, mask: Any, words: str) -> ForgetSet:
    if mask.all():
        raise InputError(f"{words}: these are all rows, and some must stay.")
    return ForgetSet(rows, rows.ids[mask], words)
