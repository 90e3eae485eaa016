"""One cell: a sequence of small requests instead of one, and how far the model has drifted after so many of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from expunge import keyed
from expunge.audits import metrics
from expunge.audits.candidates import Outputs, outputs, released
from expunge.certificate import Exact
from expunge.comparisons.case import Case
from expunge.comparisons.step_cell import forgetting, key_for
from expunge.comparisons.store import Outcome
from expunge.features import offers
from expunge.learners.learner import one_thread
from expunge.method import Method, Release, Settles
from expunge.schema import Array

MARKS = (1, 2, 5, 10)  # requests after which the model is looked at


def sequence(method: Method[Any], case: Case, seed: int) -> Outcome:
    """Learn all rows, forget the case's in ten requests or fewer, and compare with learning again on the way.

    The error after k requests is the distance of the outputs (probabilities, or values) to those of the model learned
    again on the rows that are left, root mean square over forgotten and test rows; beside it that of doing nothing.
    """
    name = f"{case.digest}:{seed}:sequence"
    requests = _requests(case, seed)
    marks = [k for k in MARKS if k < len(requests)] + [len(requests)]
    errors: list[dict[str, float]] = []
    gone = np.zeros(len(case.rows), dtype=np.bool_)
    with one_thread():
        record = method.learn(case.rows, seed=seed, noise=key_for(1, name))
        before, seconds, relearned, exact = _said(method, method.release(record), case), 0.0, 0, True
        for number, leaving in enumerate(requests, start=1):
            gone |= leaving
            retained, forgotten = case.rows.select(~gone), case.rows.select(leaving)
            noise = key_for(number + 1, name)
            done, why, took = forgetting(method, record, retained, forgotten, seed, noise)
            seconds, relearned = seconds + took, relearned + bool(why)
            exact = exact and isinstance(done.certificate, Exact)
            record = method.settle(done.record, retained) if offers(method, Settles) else done.record  # type: ignore[attr-defined]
            if number in marks and (not exact or number == marks[-1]):
                key = noise if exact else key_for(number + 1, name, "again")
                again = _said(method, method.release(method.learn(retained, seed=seed, noise=key)), case)
                own = _said(method, method.release(record), case)
                found = {"requests": number, "rows": int(gone.sum())}
                errors.append(found | {"after": _gap(own, again), "nothing": _gap(before, again)})
    return Outcome({"errors": errors, "seconds": seconds, "relearned": relearned, "requests": len(requests)})


def _requests(case: Case, seed: int) -> list[Array]:
    """The case's rows cut into ten requests of about equal size, in keyed order; masks over all rows."""
    places = np.flatnonzero(case.gone)
    places = places[keyed.permutation(seed, ("comparison", "sequence"), case.rows.keys[places])]
    masks = []
    for part in np.array_split(places, min(max(MARKS), len(places))):
        mask = np.zeros(len(case.rows), dtype=np.bool_)
        mask[part] = True
        masks.append(mask)
    return masks


def _said(method: Method[Any], release: Release, case: Case) -> list[Outputs]:
    model = released(method, release)
    return [outputs(model, case.on[kind]) for kind in ("forgotten", "test") if kind in case.on]


def _gap(one: list[Outputs], other: list[Outputs]) -> float:
    sides = [np.concatenate([np.exp(o.values) if o.classes else o.values for o in seen]) for seen in (one, other)]
    return metrics.rmse(sides[0], sides[1])
