"""Relearning a copy: what it counts, that the model stays, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import pytest
from audit_toys import rows_of

from expunge import record
from expunge.audits.relearning import relearn
from expunge.errors import InputError
from expunge.features import Pipeline, tabular
from expunge.learners.convex import Convex
from expunge.learners.sgd import Sgd
from expunge.method import Method
from expunge.methods.retrain import Retrain
from expunge.models import Mlp
from expunge.noise import NoiseKey
from expunge.rows import Rows

NETWORK = Sgd(Mlp(hidden=(32,)), epochs=30, batch_size=16, learning_rate=0.2, l2=0.0)
ROWS = rows_of(90, 1, mislabelled=10)
IDS = [str(i) for i in range(10)]


def release_of(method: Method, rows: Rows):  # type: ignore[no-untyped-def,type-arg]
    return method.release(method.learn(rows, seed=1, noise=NoiseKey.fresh(1)))


def test_a_model_that_kept_the_rows_needs_no_time_and_a_retrained_one_does() -> None:
    method, gone = Retrain(NETWORK), ROWS.only(IDS)
    kept, never = release_of(method, ROWS), release_of(method, ROWS.without(IDS))
    digest = record.digest(never)
    known = relearn(method, kept, gone, before=0.0, seed=0).accuracies[0]
    assert known >= 0.5
    at_once = relearn(method, kept, gone, before=known, seed=0)
    assert (at_once.epochs, at_once.steps, len(at_once.accuracies)) == (0.0, 0.0, 1)
    later = relearn(method, never, gone, before=known, seed=0, learning_rate=0.05)
    assert later.epochs >= 2
    assert later.epochs == len(later.accuracies) - 1
    assert later.steps == later.epochs  # ten rows are one batch
    assert later.accuracies[-1] >= 0.95 * known > later.accuracies[-2]
    assert relearn(method, never, gone, before=known, seed=0, learning_rate=0.05) == later
    assert record.digest(never) == digest


def test_never_is_infinite() -> None:
    method, gone = Retrain(NETWORK), ROWS.only(IDS)
    found = relearn(method, release_of(method, ROWS.without(IDS)), gone, before=1.0, seed=0, learning_rate=1e-9, most=3)
    assert (found.epochs, found.steps, len(found.accuracies)) == (float("inf"), float("inf"), 4)


def test_a_pipeline_is_looked_through() -> None:
    x = ROWS.columns["x"]
    rows = Rows.of({f"c{k}": x[:, k] for k in range(4)}, ROWS.y, classes=3)
    method = Pipeline(tabular(rows, statistics="exact"), Retrain(replace(NETWORK, epochs=2)))
    assert relearn(method, release_of(method, rows), rows.only(IDS), before=0.5, seed=0).accuracies


def test_what_is_refused() -> None:
    linear = Retrain(Convex())
    with pytest.raises(InputError, match="has no epochs to count"):
        relearn(linear, release_of(linear, ROWS), ROWS, before=1.0, seed=0)
    with pytest.raises(InputError, match="give an epoch at least"):
        relearn(linear, release_of(linear, ROWS), ROWS, before=1.0, seed=0, most=0)
    numbers = Rows.of(ROWS.columns["x"], ROWS.y.astype(float))
    regression = Retrain(replace(NETWORK, loss="squared", epochs=1, learning_rate=0.01))
    with pytest.raises(InputError, match="have no classes"):
        relearn(regression, release_of(regression, numbers), numbers, before=1.0, seed=0)
