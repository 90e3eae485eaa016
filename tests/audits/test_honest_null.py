"""Retrained models passed off as models that forgot: their p-values are uniform and no attack accuses them.

`benchmarks/honest_null.py` does the same with networks, noise and twenty references.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from audit_toys import Overfit, rows_of
from scipy.stats import kstest

from expunge.audits import released
from expunge.audits.audit import Measure
from expunge.audits.calibration import calibrate_distances
from expunge.audits.candidates import Candidate
from expunge.audits.comparison import Comparison, compare
from expunge.audits.panel import Subject
from expunge.noise import NoiseKey
from expunge.rows import Rows

METHOD = Overfit(width=40)
REPETITIONS = 60
CONTINUOUS = (
    "loss on retained",
    "loss on test",
    "weight distance",
    "kl on test",
    "auc by margin",
    "jensen-shannon on forgotten",
)


def repetition(seed: int, audited: int, references: int, *, no_op: bool = False) -> Comparison:
    rows, test = rows_of(60, seed, mislabelled=15), rows_of(60, 10_000 + seed, first=10_000)
    retained, forgotten = rows.without(rows.ids[:15]), rows.only(rows.ids[:15])

    def learn(some: Rows, k: int) -> Candidate:
        return released(METHOD, METHOD.release(METHOD.learn(some, seed=100 * seed + k, noise=NoiseKey.fresh())))

    before = [learn(rows, k) for k in range(audited)]
    after = before if no_op else [learn(retained, 20 + k) for k in range(audited)]
    others = [learn(retained, 40 + k) for k in range(references)]
    subject = Subject(before[0], after[0], None, others, list(zip(before[1:], after[1:], strict=True)))
    return compare(subject, retained, forgotten, test)


def calibrated(found: Comparison) -> list[Measure]:
    return [*found.measures, *(attack.auc for attack in found.attacks), *found.scores]


@pytest.mark.parametrize(("audited", "references"), [(1, 6), (2, 4)])
def test_the_null_is_honest(generator: np.random.Generator, audited: int, references: int) -> None:
    values, beyond = defaultdict(list), 0
    for seed in range(REPETITIONS):
        found = repetition(seed, audited, references)
        beyond += any(attack.auc.where != "within" for attack in found.attacks)
        for measure in calibrated(found):
            assert measure.calibration is not None
            spread = measure.calibration.least_p * generator.random()
            values[measure.name].append(measure.calibration.p_value - spread * (measure.name in CONTINUOUS))
    assert beyond <= 0.05 * REPETITIONS
    for name, found_p in values.items():
        side = "two-sided" if name in CONTINUOUS else "greater"  # with ties a p-value may be too large, never too small
        assert kstest(found_p, "uniform", alternative=side).pvalue > 0.002, name


def test_doing_nothing_is_not_taken_for_retraining() -> None:
    seen = [repetition(seed, 1, 6, no_op=True) for seed in range(10)]
    for name in ("auc by calibrated margin", "loss on retained", "loss on forgotten"):
        of = [next(m for m in calibrated(found) if m.name == name).calibration for found in seen]
        assert np.median([c.p_value for c in of if c is not None]) == pytest.approx(1 / 7), name


def test_a_statistic_that_treats_the_audited_model_otherwise_is_not_honest(generator: np.random.Generator) -> None:
    """Its nearest of 3 references beside each reference's nearest of 2: it comes out lowest of 4 every other time."""
    lowest = {"unequal": 0, "calibrated": 0}
    for _ in range(400):
        points = generator.normal(size=(4, 2))
        distances = np.linalg.norm(points[:, None] - points, axis=2)
        rest = [np.min(np.delete(distances[k, 1:], k - 1)) for k in range(1, 4)]
        lowest["unequal"] += np.min(distances[0, 1:]) < min(rest)
        found = calibrate_distances(distances, 1, "less")
        assert found is not None
        lowest["calibrated"] += found.p_value == found.least_p
    assert lowest["unequal"] / 400 > 0.4
    assert 0.18 < lowest["calibrated"] / 400 < 0.32
