"""`compare`: any methods on one data set, beside doing nothing, learning again and a private model.

The work is cut into cells (`cell.py`): a step of each method on each forget set under each seed, references, sequences
of requests, and levels of noise. What they gave is held together by `summary.py`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from expunge import keyed
from expunge.comparisons.case import Case
from expunge.comparisons.cell import Cell
from expunge.comparisons.plain_training import reference_of, settings_of
from expunge.comparisons.running import Progress, Workers, run
from expunge.comparisons.store import Outcome
from expunge.errors import InputError
from expunge.features import Pipeline
from expunge.method import Method

LEVELS = (0.1, 0.3, 3.0, 10.0)  # times a method's own noise
FIRST = 2  # references that tell whether learning draws anything at all


@dataclass(frozen=True, eq=False)
class Entry:
    """One method of a comparison, by the label it is shown under."""

    label: str
    method: Method[Any]
    boundary: bool = False


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        seed: of everything public: training seeds, reference seeds and samples derive from it, apart from each other.
        seeds: trainings of every method, each with its own. references: models learned again for every case.
        sequences: whether requests are also taken one after another. noise: whether other levels of noise are tried.
    """

    seed: int = 0
    seeds: int = 3
    references: int = 20
    sequences: bool = True
    noise: bool = True

    def __post_init__(self) -> None:
        if self.seeds < 1 or self.references < FIRST:
            raise InputError(
                f"seeds={self.seeds} and references={self.references} were given; at least 1 and {FIRST} were expected."
            )

    def training(self, place: int) -> int:
        """The seed of a method's training number `place`."""
        return keyed.subseed(self.seed, "comparison", "training", place)

    def reference(self, place: int) -> int:
        """The seed of reference number `place`."""
        return keyed.subseed(self.seed, "comparison", "reference", place)


@dataclass(frozen=True, eq=False)
class Measured:
    """All outcomes of one entry on one case: `steps` by seed, `references` by seed, and the rest where it was asked.

    Attributes:
        drawn: how many different references there are: all, or 1 where learning draws nothing.
        sequence: errors after k requests, or None. noised: (level, outcome) by rising level of noise.
    """

    entry: Entry
    case: Case
    steps: tuple[Outcome, ...]
    references: tuple[Outcome, ...]
    drawn: int
    sequence: Outcome | None = None
    noised: tuple[tuple[float, Outcome], ...] = ()


def compare(
    entries: Sequence[Entry], cases: Sequence[Case], plan: Plan, folder: Path, workers: Workers, progress: Progress
) -> list[Measured]:
    """Compute every missing cell, and gather; in the order of cases, and of entries in each.

    Raises:
        InputError: nothing to compare. WorkersLost: see `run`.
    """
    if not entries or not cases:
        raise InputError("A comparison needs at least one method and one forget set.")
    seeds = [plan.training(place) for place in range(plan.seeds)]
    steps = {
        (entry.label, case.words, seed): Cell("step", entry.label, entry.method, case, seed)
        for case in cases
        for entry in entries
        for seed in seeds
    }
    references = {(e.label, case.words): _references(e, case, plan) for case in cases for e in entries}
    longest = max(cases, key=lambda case: int(case.gone.sum()))
    sequences = {
        entry.label: Cell("sequence", entry.label, entry.method, longest, seeds[0])
        for entry in entries
        if plan.sequences
    }
    noised = {entry.label: _noised(entry, longest, seeds[0]) for entry in entries if plan.noise}
    found = run(list(steps.values()), folder, workers, "learning and forgetting", progress)
    applies = {cell.label for cell in steps.values() if _applies(found[cell.digest])}
    first = [cell for (label, _), cells in references.items() if label in applies for cell in cells[:FIRST]]
    found |= run(first, folder, workers, "retraining the first references", progress)
    more = [
        cell
        for (label, _), cells in references.items()
        if label in applies and not _same(found, cells)
        for cell in cells[FIRST:]
    ]
    found |= run(more, folder, workers, "retraining references", progress)
    wanted = [cell for label, cell in sequences.items() if label in applies]
    found |= run(wanted, folder, workers, "sequences of requests", progress)
    levels = [cell for label, cells in noised.items() if label in applies for _, cell in cells]
    found |= run(levels, folder, workers, "levels of noise", progress)
    gathered = []
    for case in cases:
        for entry in entries:
            own = [found[steps[entry.label, case.words, seed].digest] for seed in seeds]
            cells = references[entry.label, case.words] if entry.label in applies else []
            known = [found[cell.digest] for cell in cells if cell.digest in found]
            drawn = 1 if cells and _same(found, cells) else len(known)
            known += [known[0]] * (len(cells) - len(known)) if known else []
            last = case is longest and entry.label in applies
            sequence = found.get(sequences[entry.label].digest) if last and plan.sequences else None
            tried = _levels(entry, own[0], noised.get(entry.label, []), found) if last else ()
            gathered.append(Measured(entry, case, tuple(own), tuple(known), drawn, sequence, tried))
    return gathered


def _references(entry: Entry, case: Case, plan: Plan) -> list[Cell]:
    method = reference_of(entry.method)
    seeds = [plan.reference(place) for place in range(plan.references)]
    return [Cell("reference", entry.label, method, case, seed) for seed in seeds]


def _applies(outcome: Outcome) -> bool:
    return "refused" not in outcome.facts and "failed" not in outcome.facts


def _same(found: Mapping[str, Outcome], cells: Sequence[Cell]) -> bool:
    """Whether learning draws nothing: two seeds, and two noise keys, gave one release to the last bit."""
    digests = [found[cell.digest].facts.get("digests", {}).get("release") for cell in cells[:FIRST]]
    return digests[0] is not None and len(set(digests)) == 1


def _noised(entry: Entry, case: Case, seed: int) -> list[tuple[float, Cell]]:
    """The entry's method at other levels of noise; nothing where it adds none."""
    inner = entry.method.method if isinstance(entry.method, Pipeline) else entry.method
    own = settings_of(inner).get("noise_std")
    if not isinstance(own, float) or not own > 0:
        return []
    cells = []
    for times in LEVELS:
        changed: Method[Any] = dataclasses.replace(inner, noise_std=own * times)  # type: ignore[type-var]
        if isinstance(entry.method, Pipeline):
            changed = dataclasses.replace(entry.method, method=changed)
        cells.append((own * times, Cell("step", entry.label, changed, case, seed)))
    return cells


def _levels(
    entry: Entry, own: Outcome, cells: Sequence[tuple[float, Cell]], found: Mapping[str, Outcome]
) -> tuple[tuple[float, Outcome], ...]:
    if not cells:
        return ()
    inner = entry.method.method if isinstance(entry.method, Pipeline) else entry.method
    level = float(settings_of(inner)["noise_std"])
    return tuple(sorted([(level, own), *((noise, found[cell.digest]) for noise, cell in cells)], key=lambda p: p[0]))
