"""Certified Newton: what it refuses, what it costs, and long sequences."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from expunge.certificate import Basis, Certified, View
from expunge.errors import InputError, MustRetrain, Refused
from expunge.maths.privacy import residual_tolerance
from expunge.methods.certified_newton import CertifiedNewton
from expunge.objective import LinearObjective
from expunge.objective.bounds import largest_residual, magnitudes
from expunge.rows import Block, Rows, Table
from expunge.testing import noise_key


def digits_like(n: int = 400, p: int = 8, classes: int = 3) -> Rows:
    generator = np.random.default_rng(1)
    x = generator.normal(size=(n, p))
    y = np.argmax(x[:, :classes] + generator.normal(size=(n, classes)), axis=1)
    return Rows.of(x, y, classes=classes)


def counted(rows: Rows) -> tuple[Rows, list[int]]:
    """The same rows, and how many rows were read from each reading of a block."""
    reads: list[int] = []

    def spy(block: Block) -> Block:
        def read() -> Table:
            reads.append(len(block))
            return block.read()

        return Block(block.keys, read)

    return Rows([spy(block) for block in rows.blocks], rows.schema), reads


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epsilon": 0.0}, "epsilon is 0.0"),
        ({"epsilon": -1.0}, "epsilon is -1.0"),
        ({"epsilon": 50.0}, "max_epsilon=10.0"),
        ({"delta": 0.0}, "delta is 0.0"),
        ({"l2": 0.0}, "l2 is 0.0"),
        ({"noise_std": 0.0}, "without noise nothing is certified"),
        ({"loss": "hinge"}, "a certificate needs a convex one"),
    ],
)
def test_settings_without_a_guarantee_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        CertifiedNewton(**settings)


def test_the_certificate_says_the_fixed_budget_and_its_basis() -> None:
    rows, method = digits_like(), CertifiedNewton()
    record = method.learn(rows, seed=0, noise=noise_key(1))
    steps = [method.forget(record, rows.without([i]), rows.only([i]), noise=noise_key(i, 2)) for i in (3, 4)]
    certificates = [step.certificate for step in steps]
    assert certificates[0] == certificates[1]  # no measured figure is in it, so it says nothing of the row
    assert isinstance(certificates[0], Certified)
    assert certificates[0].basis is Basis.MEASURED
    assert certificates[0].view is View.STATE
    assert steps[0].stats["residual"] != steps[1].stats["residual"]


def test_a_forget_takes_at_most_six_passes_with_the_purge() -> None:
    rows, method = digits_like(), CertifiedNewton()
    record = method.learn(rows, seed=0, noise=noise_key(1))
    remaining = rows
    for release in range(2, 12):
        ids = [str(10 * release + i) for i in range(10)]
        retained, reads = counted(remaining.without(ids))
        step = method.forget(record, retained, remaining.only(ids), noise=noise_key(release, release))
        record, remaining = method.settle(step.record, retained), remaining.without(ids)
        assert sum(reads) <= 6 * len(retained)
        assert step.stats["passes"] * len(retained) == sum(reads) - len(retained)  # settle reads once


def test_a_thousand_removals_one_by_one_stay_within_their_tightening_tolerances() -> None:
    rows, method = digits_like(1200), CertifiedNewton(loss="cross_entropy", l2=1e-2)
    record, remaining = method.learn(rows, seed=0, noise=noise_key(1)), rows
    tolerances, passes = [], []
    for release in range(2, 1002):
        one = [str(release)]
        retained = remaining.without(one)
        step = method.forget(record, retained, remaining.only(one), noise=noise_key(release, release))
        assert step.stats["residual"] <= step.stats["tolerance"]
        record, remaining = method.settle(step.record, retained), retained
        tolerances.append(step.stats["tolerance"])
        passes.append(step.stats["passes"])
    assert all(later < earlier for earlier, later in itertools.pairwise(tolerances))
    assert max(passes) <= 6
    certificate = step.certificate
    assert isinstance(certificate, Certified)
    centre = method.centre(method.release(record), noise_key(1001, 1001))
    assert torch.linalg.vector_norm(centre - method.minimiser(remaining)) <= certificate.distance / 2


def test_release_numbers_grow() -> None:
    rows, method = digits_like(), CertifiedNewton()
    record = method.learn(rows, seed=0, noise=noise_key(1, 5))
    with pytest.raises(InputError, match="one after 5 is needed"):
        method.forget(record, rows.without([1]), rows.only([1]), noise=noise_key(2, 5))


def test_a_tolerance_below_rounding_is_refused() -> None:
    rows = digits_like()
    large = Rows.of(1e6 * rows.columns["x"], rows.y, classes=3)
    with pytest.raises(Refused, match="scale the columns"):
        CertifiedNewton(noise_std=1e-6).learn(large, seed=0, noise=noise_key(1, 10_000))


def test_a_late_release_aims_below_its_tolerance_by_what_rounding_takes() -> None:
    rows, method = digits_like(), CertifiedNewton(noise_std=1e-6, l2=1e-2)
    objective, clean = LinearObjective("cross_entropy", 1e-2, 8, 3), method.minimiser(rows)
    floor = largest_residual(objective, clean, rows, magnitudes(rows), 0.0)
    first = residual_tolerance(1e-6 * 0.268, 0.7797, 1e-2)  # that of release 1
    release = int(first / (1.5 * floor))  # two thirds of the tolerance are rounding
    record = method.learn(rows, seed=0, noise=noise_key(1, release))
    step = method.forget(record, rows.without([0]), rows.only([0]), noise=noise_key(2, release + 1))
    assert 0.1 * step.stats["tolerance"] < floor < step.stats["tolerance"]
    assert step.stats["residual"] + floor <= step.stats["tolerance"]
    with pytest.raises(Refused, match="scale the columns"):
        method.learn(rows, seed=0, noise=noise_key(1, 2 * release))


def test_forgetting_everything_must_retrain() -> None:
    rows, method = digits_like(), CertifiedNewton()
    record = method.learn(rows, seed=0, noise=noise_key(1))
    with pytest.raises(MustRetrain, match="No row is left"):
        method.forget(record, rows.select(np.zeros(len(rows), dtype=bool)), rows, noise=noise_key(2, 2))


def test_a_row_cannot_be_retained_and_forgotten() -> None:
    rows, method = digits_like(), CertifiedNewton()
    record = method.learn(rows, seed=0, noise=noise_key(1))
    with pytest.raises(InputError, match="still among the retained"):
        method.forget(record, rows, rows.only([1]), noise=noise_key(2, 2))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(bad: float) -> None:
    x = digits_like().columns["x"].copy()
    x[7, 3] = bad
    with pytest.raises(InputError, match="NaN or infinity"):
        CertifiedNewton().learn(Rows.of(x, digits_like().y), seed=0, noise=noise_key(1))


def test_an_adopted_model_ends_where_learning_ends() -> None:
    rows, method = digits_like(), CertifiedNewton()
    weights = {"weight": torch.ones(3, 8), "bias": torch.zeros(3)}
    adopted = method.adopt(weights, rows, seed=0, noise=noise_key(1))
    centre = method.centre(method.release(adopted), noise_key(1))
    certificate = method.forget(adopted, rows.without([0]), rows.only([0]), noise=noise_key(2, 2)).certificate
    assert isinstance(certificate, Certified)
    assert (
        torch.linalg.vector_norm(centre - method.minimiser(rows)) <= certificate.distance
    )  # that of release 1 is twice


def test_doing_nothing_is_named_where_it_would_do() -> None:
    rows = digits_like()
    record_of = {
        m: m.learn(rows, seed=0, noise=noise_key(1))
        for m in (CertifiedNewton(), CertifiedNewton(noise_std=8.0, l2=1.0))
    }
    flags = []
    for method, record in record_of.items():
        step = method.forget(record, rows.without([0]), rows.only([0]), noise=noise_key(2, 2))
        assert isinstance(step.certificate, Certified)
        flags.append(step.certificate.doing_nothing_meets_it)
    assert flags == [False, True]


def test_predictions_are_log_probabilities_of_the_release_alone() -> None:
    rows, method = digits_like(), CertifiedNewton()
    release = method.release(method.learn(rows, seed=0, noise=noise_key(1)))
    scores = method.predict(release, rows.columns)
    assert scores.shape == (400, 3)
    assert torch.allclose(scores.exp().sum(1), torch.ones(400, dtype=torch.float64))
    assert float((scores.argmax(1).numpy() == rows.y).mean()) > 0.5
