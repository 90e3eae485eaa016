"""Which route to take, for a wanted guarantee and a budget of seconds; and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from expunge.errors import InputError
from expunge.planning.routes import STRONG, Guarantee, Route


@dataclass(frozen=True)
class Choice:
    """The route taken, or None; and the reason in a sentence or two."""

    route: Route | None
    why: str


def choose(routes: Sequence[Route], guarantee: str = "none", budget: float | None = None) -> Choice:
    """The quickest open route that is as strong as wanted and fits the budget; of equally quick ones the strongest.

    Args:
        guarantee: "exact", "certified" or "none"; a stronger one always does. budget: seconds for the request.

    Raises:
        InputError: there is no such guarantee, or the budget is not positive.
    """
    if guarantee not in STRONG:
        raise InputError(f"The guarantee is one of exact, certified and none, not {guarantee!r}.")
    if budget is not None and not budget > 0:
        raise InputError(f"The budget is {budget} seconds; a positive number was expected.")
    wanted: Guarantee = guarantee
    open_ones = [route for route in routes if not route.closed and route.seconds is not None]
    strong = [route for route in open_ones if STRONG[route.guarantee] >= STRONG[wanted]]
    if not strong:
        return Choice(None, f"No open route is {_words(wanted)}; name more methods.")
    ordered = sorted(strong, key=lambda route: (_seconds(route), -STRONG[route.guarantee]))
    within = [route for route in ordered if budget is None or _seconds(route) <= budget]
    if not within:
        first = ordered[0]
        return Choice(
            None,
            f"No {_words(wanted)} route fits {budget:g} seconds: the quickest, {first.name} ({first.how}), takes about "
            f"{_seconds(first):.3g}. Allow more, or ask for less.",
        )
    taken = within[0]
    told = [f"{taken.name} ({taken.how}) is the quickest of {len(within)} routes that are {_words(wanted)}"]
    if budget is not None:
        told.append(f"and fit {budget:g} seconds")
    weaker = [r for r in open_ones if STRONG[r.guarantee] < STRONG[wanted] and _seconds(r) < _seconds(taken)]
    if weaker:
        told.append(f"; {weaker[0].name} would be quicker and guarantees less")
    return Choice(taken, " ".join(told).replace(" ;", ";") + ".")


def _seconds(route: Route) -> float:
    assert route.seconds is not None
    return route.seconds


def _words(guarantee: Guarantee) -> str:
    return {"exact": "exact", "certified": "certified or exact", "none": "open"}[guarantee]
