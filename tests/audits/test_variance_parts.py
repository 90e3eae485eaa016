"""The three parts by simulation, by hand, and on a method that draws nothing when it forgets."""

from __future__ import annotations

import math

import numpy as np
import pytest
from audit_toys import LeastSquares, Overfit, rows_of

from expunge.audits.variance_parts import repeated, variance_parts
from expunge.errors import InputError


def test_parts_of_a_simulated_design_are_found(generator: np.random.Generator) -> None:
    a, b, c = (
        3.0 * generator.normal(size=(400, 1, 1)),
        2.0 * generator.normal(size=(400, 5, 1)),
        generator.normal(size=(400, 5, 4)),
    )
    found = variance_parts(10 + a + b + c)
    assert found.training == pytest.approx(3.0, rel=0.1)
    assert found.unlearning == pytest.approx(2.0, rel=0.1)
    assert found.evaluation == pytest.approx(1.0, rel=0.1)
    assert found.error == pytest.approx(math.sqrt((9 + 4 / 5 + 1 / 20) / 400), rel=0.1)


def test_parts_by_hand() -> None:
    """Two trainings, two unlearnings, two evaluations: mean squares 2, 2 - 1, ... worked out below."""
    values = np.array([[[0.0, 2.0], [4.0, 6.0]], [[10.0, 12.0], [14.0, 16.0]]])
    found = variance_parts(values)  # evaluations vary by 2; unlearning means 1, 5 | 11, 15 by 8; trainings 3, 13 by 50
    assert found.evaluation == pytest.approx(math.sqrt(2))
    assert found.unlearning == pytest.approx(math.sqrt(8 - 2 / 2))
    assert found.training == pytest.approx(math.sqrt(50 - 8 / 2))
    assert found.mean == 8.0
    assert found.error == pytest.approx(5.0)


def test_what_was_not_repeated_is_unknown() -> None:
    found = variance_parts(np.array([[[1.0, 3.0]]]))
    assert (found.training, found.unlearning, found.error) == (None, None, None)
    assert found.evaluation == pytest.approx(math.sqrt(2))
    with pytest.raises(InputError, match="trainings, unlearnings, evaluations"):
        variance_parts(np.zeros((2, 2)))


def test_unlearning_varies_by_its_noise_alone() -> None:
    rows = rows_of(80, 1)
    gone = rows.only(rows.ids[:8])

    def norm(release: object, seed: int) -> float:
        return float(release.tensors["w"].norm())  # type: ignore[attr-defined]

    noised = variance_parts(repeated(LeastSquares(), rows, gone, norm, trainings=3, unlearnings=4))
    exact = variance_parts(repeated(Overfit(width=40), rows, gone, norm, trainings=3, unlearnings=3))
    assert noised.unlearning is not None
    assert noised.unlearning > 0
    assert exact.unlearning == pytest.approx(0.0, abs=1e-12)
    assert exact.training is not None
    assert exact.training > 0
    assert noised.evaluation is None


def test_evaluations_get_seeds_of_their_own() -> None:
    rows = rows_of(60, 1)
    seen: list[int] = []

    def remember(release: object, seed: int) -> float:
        seen.append(seed)
        return 0.0

    repeated(Overfit(width=20), rows, rows.only(rows.ids[:3]), remember, trainings=2, unlearnings=2, evaluations=2)
    assert len(set(seen)) == 8
