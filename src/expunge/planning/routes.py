"""Every route a request can take: what it guarantees, what it will cost, and why it is closed where it is.

A route is a way to serve a model without the rows. Of a method that has learned already (in a vault) it is its own
step of forgetting; of another, learning it on the rows that stay. Learning again is always open: it is what forgetting
means.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from expunge.certificate import Certificate, Certified, Exact
from expunge.errors import ExpungeError
from expunge.method import Method
from expunge.planning.pilots import Clock, Pilot, foretold, pilots, refusal
from expunge.planning.scaling import Law
from expunge.rows import Rows

Guarantee = Literal["exact", "certified", "none"]
STRONG: dict[Guarantee, int] = {"none": 0, "certified": 1, "exact": 2}
PILOT_SECONDS = 1.0


@dataclass(frozen=True)
class Route:
    """One way to honour a request; `closed` says why it is none, or is "".

    Attributes:
        name: of the method. how: "forget", or "learn again". guarantee: of the step. promise: the same in words.
        seconds: foretold, of one thread's processor. touched: retained rows visited, foretold.
        prepared: seconds that learning all rows takes, which a method must have done before it can forget.
        cost: what it loses on held-out rows against the most accurate open route (points of accuracy, or of the error
            in per cent); None where it is not known.
        basis: how all this is known.
    """

    name: str
    how: str
    guarantee: Guarantee = "none"
    promise: str = ""
    seconds: float | None = None
    touched: int | None = None
    prepared: float | None = None
    cost: float | None = None
    basis: str = ""
    closed: str = ""


@dataclass(frozen=True, eq=False)
class Live:
    """What a vault has already: the method's name, its record, and the rows that a request names."""

    name: str
    record: Any
    forgotten: Rows


def routes(
    methods: Mapping[str, Method[Any]],
    rows: Rows,
    forgotten: int,
    *,
    live: Live | None = None,
    pilot_seconds: float = PILOT_SECONDS,
    clock: Clock = time.thread_time,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[Route]:
    """The routes, from small runs of each method on samples of the rows; open ones first, the cheapest first.

    Args:
        forgotten: how many rows the request names. live: the method that has learned, where one has.
    """
    found: list[tuple[Route, float | None]] = []
    for place, (name, method) in enumerate(methods.items()):
        if progress is not None:
            progress("small runs", place, len(methods))
        try:
            runs = pilots(method, rows, forgotten, seconds=pilot_seconds, clock=clock)
        except ExpungeError as error:
            found.append((Route(name, "forget", closed=refusal(error)), None))
            continue
        own = live if live is not None and live.name == name else None
        found += _routes(name, method, runs, len(rows), forgotten, own, elsewhere=live is not None and own is None)
    if progress is not None:
        progress("small runs", len(methods), len(methods))
    best = max((quality for route, quality in found if quality is not None and not route.closed), default=None)
    priced = [_priced(route, quality, best) for route, quality in found]
    return sorted(priced, key=lambda route: (bool(route.closed), route.seconds if route.seconds is not None else 0.0))


def _routes(
    name: str,
    method: Method[Any],
    runs: Sequence[Pilot],
    rows: int,
    forgotten: int,
    live: Live | None,
    *,
    elsewhere: bool,
) -> list[tuple[Route, float | None]]:
    last, counts = runs[-1], [run.rows for run in runs]
    learning = Law.through(counts, [run.learn for run in runs])
    again = Route(
        name,
        "learn again",
        "exact",
        "a run of learning itself",
        learning.at(rows - forgotten),
        rows - forgotten,
        0.0,
        basis=learning.words(rows),
    )
    if elsewhere:  # nothing of this method was learned yet, so it may as well learn without the rows
        return [(again, last.quality)]
    prepared = 0.0 if live is not None else learning.at(rows)
    if last.why:
        return [
            (Route(name, "forget", prepared=prepared, closed=last.why), None),
            (again, last.quality),
        ]
    step = Law.through(counts, [run.forget for run in runs])
    touched = Law.through(counts, [run.touched for run in runs])
    seconds, visited, basis = step.at(rows), touched.at(rows), step.words(rows)
    if live is not None and last.work:
        work = foretold(method, live.record, live.forgotten)
        if work is not None:
            seconds, visited = last.forget * work / last.work, work
            basis = f"the method foretells {work:,.0f} rows; seconds a row from {last.rows:,}"
    guarantee, promise = _promise(last.certificate)
    forget = Route(name, "forget", guarantee, promise, seconds, round(visited), prepared, basis=basis)
    return [(forget, last.quality), (again, last.quality)]


def _promise(certificate: Certificate | None) -> tuple[Guarantee, str]:
    match certificate:
        case Exact():
            return "exact", "equal, bit for bit"
        case Certified(epsilon=epsilon, delta=delta):
            return "certified", f"ε {epsilon:.3g}, δ {delta:.0e}".replace("e-0", "e-")
    return "none", "none proved"


def _priced(route: Route, quality: float | None, best: float | None) -> Route:
    if quality is None or best is None or route.closed:
        return route
    lost = 100 * (best - quality) if best >= 0 else 100 * (quality / best - 1)
    return Route(**{**vars(route), "cost": max(lost, 0.0)})
