"""Sixty requests on ten digits, each the row of which the last release is least sure: every certificate holds.

The long version, a thousand requests and MNIST, is benchmarks/adaptive_requests.py; this runs the same code.
"""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from expunge.methods import CertifiedNewton
from expunge.rows import Rows
from expunge.testing import noise_key

BENCHMARK = Path(__file__).resolve().parents[2] / "benchmarks" / "adaptive_requests.py"


@pytest.fixture(scope="module")
def benchmark() -> dict[str, Any]:
    return runpy.run_path(str(BENCHMARK))


def halved(rows: Rows) -> Rows:
    """Pictures of 4 by 4 pixels instead of 8 by 8."""
    x = rows.columns["x"].reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(-1, 16)
    return Rows.of({"x": x}, rows.y, ids=rows.ids.tolist(), classes=10)


def test_sixty_adaptive_requests_stay_within_their_budgets(benchmark: dict[str, Any]) -> None:
    rows, test, loss, noise_std = benchmark["problems"](["digits"])["digits"]
    rows, test = halved(rows), halved(test)
    method = CertifiedNewton(loss=loss, l2=1e-3, noise_std=noise_std)
    seen = benchmark["run"](method, rows, test, 60, "least sure", lambda number: noise_key(number, number))
    assert (seen.steps, seen.certified, seen.relearned, seen.substituted) == (60, 60, 0, 6)
    assert 0 < seen.centre <= 1  # a share of half the distance: the reference was solved far beyond it
    assert seen.substitution <= 0.5  # each side has used its half at most
    assert max(seen.passes) <= 10
    assert float(np.median(seen.passes)) <= 6
    assert min(seen.accuracy) > 0.8


def test_the_sequence_notices_a_centre_that_is_off(benchmark: dict[str, Any]) -> None:
    """The check can fail."""
    rows, test, loss, noise_std = benchmark["problems"](["odd-even"])["odd-even"]
    method = CertifiedNewton(loss=loss, l2=1e-3, noise_std=noise_std)
    other = Forgetful(method)
    with pytest.raises(AssertionError, match="of what is allowed"):
        benchmark["run"](other, rows, test, 1, "in turn", lambda number: noise_key(number, number))


class Forgetful:
    """Certified Newton that, asked to forget, keeps the model it had."""

    def __init__(self, method: CertifiedNewton) -> None:
        self.inner, self.loss, self.l2 = method, method.loss, method.l2

    def forget(self, record: Any, retained: Any, forgotten: Any, *, noise: Any) -> Any:
        step = self.inner.forget(record, retained, forgotten, noise=noise)
        return type(step)(self.inner.learn(retained.and_rows(forgotten), seed=0, noise=noise), step.certificate, {})

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)
