"""Small runs of a method on a sample of the rows: learn, forget, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from statistics import mean
from typing import Any

import numpy as np

from expunge import keyed
from expunge.audits.candidates import outputs, released
from expunge.audits.metrics import accuracy, rmse
from expunge.certificate import Certificate
from expunge.errors import ExpungeError, InputError, MustRetrain, NotConverged, Refused
from expunge.features import Pipeline
from expunge.learners.learner import one_thread
from expunge.method import Foretells, Forgetting, Method
from expunge.noise import NoiseKey
from expunge.rows import Block, Rows, Table

SMALLEST = 200  # rows of the smallest pilot, where there are as many
HELD_OUT = 0.2  # of a pilot's rows, to see how well it predicts
TENTH = 10  # a pilot forgets as many rows as are asked for, if that is at most a tenth of it; else the same share
SEED = 0
LEAST = 3  # runs: fewer show no slope
DRAWS = 3  # of the rows that leave: what a step costs may hang on which they are
QUICK = 0.02  # seconds

Clock = Callable[[], float]


@dataclass(frozen=True)
class Pilot:
    """One small run.

    Attributes:
        rows: learned. forgotten: how many of them. learn, forget: seconds of one thread's processor.
        touched: retained rows that the step visited, by its own count where it keeps one, else those it read.
        certificate: of the step; None where it asked to learn again, and `why` says so.
        quality: accuracy on held-out rows after the step; minus the error, for numbers; None of a clustering.
        work: what the method foretells of its steps, summed (`Foretells`); None where it foretells nothing.
    """

    rows: int
    forgotten: int
    learn: float
    forget: float
    touched: float
    certificate: Certificate | None
    why: str
    quality: float | None
    work: float | None = None


def pilots(
    method: Method[Any], rows: Rows, forgotten: int, *, seconds: float, clock: Clock = time.thread_time
) -> list[Pilot]:
    """Runs on samples of rising size (each twice the last), three at least, until one takes `seconds` or holds half
    of the rows.

    Raises:
        InputError, Refused: the method cannot learn these rows.
    """
    found: list[Pilot] = []
    for size in sizes(len(rows)):
        if not found and len(rows) > SMALLEST:
            pilot(method, rows, size, forgotten, clock=clock)  # the first run also pays for what it loads
        found.append(pilot(method, rows, size, forgotten, clock=clock))
        if len(found) >= LEAST and found[-1].learn + found[-1].forget > seconds:
            break
    return found


def sizes(rows: int) -> Iterator[int]:
    """The sizes to try: doubling, up to half of the rows."""
    size = min(SMALLEST, max(rows // 4, 2))
    while size <= max(rows // 2, 2):
        yield size
        size *= 2


def pilot(method: Method[Any], rows: Rows, size: int, forgotten: int, *, clock: Clock = time.thread_time) -> Pilot:
    """One run on `size` rows."""
    sample, held = _sample(rows, size)
    count = _count(forgotten, size, len(rows))
    with one_thread():
        started = clock()
        record = method.learn(sample, seed=SEED, noise=NoiseKey.fresh(1))
        learned = clock() - started
        try:
            steps = [_step(method, record, sample, count, draw, clock) for draw in range(DRAWS)]
        except (MustRetrain, Refused, NotConverged) as error:
            smaller = max(1, round(abs(forgotten) * size / len(rows)))
            if smaller < count:  # so many of so few: the same share of all rows may do
                return pilot(method, rows, size, -smaller, clock=clock)
            seen = _quality(method, record, held)
            return Pilot(size, count, learned, learned, size - count, None, refusal(error), seen)
        quality = _quality(method, steps[0].step.record, held)
    works = [step.work for step in steps if step.work is not None]
    return Pilot(
        size,
        count,
        learned,
        mean(step.seconds for step in steps),
        mean(step.touched for step in steps),
        steps[0].step.certificate,
        "",
        quality,
        mean(works) if works else None,
    )


@dataclass(frozen=True, eq=False)
class _Taken:
    """One step of a pilot, its seconds, the rows it touched, and what the method foretold of it."""

    step: Forgetting[Any]
    seconds: float
    touched: float
    work: float | None


def _step(method: Method[Any], record: Any, sample: Rows, count: int, draw: int, clock: Clock) -> _Taken:
    leaving = np.zeros(len(sample), dtype=np.bool_)
    leaving[keyed.k_smallest(SEED, ("plan", "leaving", draw), sample.keys, count)] = True
    forgetting, counter = sample.select(leaving), _Counter()
    retained, key = counter.counted(sample.select(~leaving)), NoiseKey.fresh(2)
    work = foretold(method, record, forgetting)
    started = clock()
    step = method.forget(record, retained, forgetting, noise=key)
    seconds = clock() - started
    if draw == 0 and seconds < QUICK:  # the first call also pays for what it loads
        started = clock()
        method.forget(record, retained, forgetting, noise=key)
        seconds = min(seconds, clock() - started)
    return _Taken(step, seconds, _touched(step.stats, len(retained), counter.read), work)


def foretold(method: Method[Any], record: Any, forgotten: Rows) -> float | None:
    """The rows that a step would learn again, as the method itself foretells it; None where it does not."""
    if isinstance(method, Pipeline):  # a tree sees features of the pipeline's making
        return None
    if not isinstance(method, Foretells):
        return None
    counts: Mapping[str, float] = method.preview(record, forgotten)
    return float(sum(value for name, value in counts.items() if name.startswith("rows_")))


def refusal(error: ExpungeError) -> str:
    """Why a method cannot learn these rows."""
    return f"{type(error).__name__}: {error}"


@dataclass
class _Counter:
    """Counts the retained rows that are read, each block once."""

    read: int = 0

    def counted(self, rows: Rows) -> Rows:
        return Rows([self._block(block) for block in rows.blocks], rows.schema)

    def _block(self, block: Block) -> Block:
        seen = False

        def read() -> Table:
            nonlocal seen
            self.read += 0 if seen else len(block)
            seen = True
            return block.read()

        return replace(block, read=read)


def _sample(rows: Rows, size: int) -> tuple[Rows, Rows]:
    """`size` rows to learn, and some to hold out; each pilot's rows are among those of the next."""
    order = keyed.permutation(SEED, ("plan", "sample"), rows.keys)
    masks = []
    for places in (order[:size], order[size : size + max(1, int(HELD_OUT * size))]):
        mask = np.zeros(len(rows), dtype=np.bool_)
        mask[places] = True
        masks.append(mask)
    learned, held = (rows.select(mask) for mask in masks)
    return Rows.from_table(learned.table(), rows.schema.classes), held


def _count(forgotten: int, size: int, total: int) -> int:
    if forgotten < 0:  # so many, whatever share that is
        return -forgotten
    if forgotten <= size // TENTH:
        return max(forgotten, 1)
    return min(max(1, round(forgotten * size / total)), size - 1)


def _touched(stats: Mapping[str, float], retained: int, read: int) -> float:
    if "rows_visited" in stats:
        return float(stats["rows_visited"]) + float(stats.get("rows_rebuilt", 0))
    return float(stats["passes"]) * retained if "passes" in stats else float(read)


def _quality(method: Method[Any], record: Any, held: Rows) -> float | None:
    if not len(held):
        return None
    try:
        seen = outputs(released(method, method.release(record)), held)
    except InputError:
        return None
    if seen.clusters is not None:
        return None
    return accuracy(seen.values, seen.y) if seen.classes else -rmse(seen.values, seen.y)
