"""Lanczos: ends of spectra, and what may be said beyond them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from expunge.errors import InputError, NotConverged
from expunge.maths.lanczos import beyond, lanczos


def normals(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def with_spectrum(values: Tensor, seed: int = 0) -> Tensor:
    Q = torch.linalg.qr(normals(len(values), len(values), seed=seed)).Q
    return Q @ torch.diag(values) @ Q.T


def test_as_many_steps_as_dimensions_give_the_spectrum() -> None:
    A = with_spectrum(torch.linspace(-2.0, 5.0, 30, dtype=torch.float64))
    found = lanczos(lambda v: A @ v, normals(30), steps=100)
    assert found.steps == 30
    assert (found.smallest, found.largest) == pytest.approx((-2.0, 5.0), abs=1e-10)
    assert found.least == pytest.approx(-2.0, abs=1e-8)


def test_few_distinct_eigenvalues_end_early() -> None:
    A = with_spectrum(torch.tensor([1.0] * 20 + [3.0] * 20, dtype=torch.float64))
    found = lanczos(lambda v: A @ v, normals(40), steps=30)
    assert found.steps == 2
    assert (found.smallest, found.largest) == pytest.approx((1.0, 3.0), abs=1e-8)
    assert found.least <= 1.0 <= 3.0 <= found.most
    assert (found.least, found.most) == pytest.approx((1.0, 3.0), abs=1e-3)


def test_a_multiple_of_the_identity_takes_one_step() -> None:
    found = lanczos(lambda v: 0.25 * v, normals(7), steps=5)
    assert (found.steps, found.smallest, found.largest) == (1, pytest.approx(0.25), pytest.approx(0.25))


def test_ritz_values_lie_inside_and_the_bounds_outside() -> None:
    """An outlier at the low end, as networks have, for many starts: the bound may never be on the wrong side."""
    values = torch.cat([torch.tensor([-1.0]), torch.linspace(0.0, 10.0, 199)]).double()
    for seed in range(200):
        found = lanczos(lambda v: values * v, normals(200, seed=seed), steps=60)
        assert found.smallest >= -1.0 - 1e-12
        assert found.largest <= 10.0 + 1e-12
        assert found.least <= -1.0
        assert found.most >= 10.0


def test_the_theorem_holds_with_a_risk_large_enough_to_be_seen() -> None:
    """With risk 1/2 a bound may fail in half of the trials; that it fails in fewer shows it is an upper bound."""
    values, risk, failures = torch.linspace(0.0, 1.0, 100).double(), 0.5, 0
    for seed in range(300):
        found = lanczos(lambda v: values * v, normals(100, seed=seed), steps=9)
        out = beyond(found.largest - found.smallest, 100, 9, risk)
        failures += found.smallest - out > 0.0 or found.largest + out < 1.0
    assert failures <= risk * 300


def test_too_few_steps_bound_nothing() -> None:
    found = lanczos(lambda v: torch.arange(100.0, dtype=torch.float64) * v, normals(100), steps=5)
    assert found.least == -math.inf
    assert beyond(1.0, 10**6, 200) < beyond(1.0, 10**6, 100) < math.inf


def test_orthogonality_is_kept_over_many_steps() -> None:
    """Without it a dominant eigenvalue comes back as ghosts, and the other end is found late or never."""
    values = torch.cat([torch.linspace(0.0, 1.0, 298), torch.tensor([1e3, 1e6])]).double()
    found = lanczos(lambda v: values * v, normals(300), steps=300)
    assert found.largest == pytest.approx(1e6)
    assert found.smallest == pytest.approx(0.0, abs=1e-6)


def test_bad_input_is_refused() -> None:
    with pytest.raises(InputError, match="length 0"):
        lanczos(lambda v: v, torch.zeros(3, dtype=torch.float64), steps=2)
    with pytest.raises(InputError, match="0 steps"):
        lanczos(lambda v: v, normals(3), steps=0)
    with pytest.raises(NotConverged, match="not finite"):
        lanczos(lambda v: v * math.nan, normals(3), steps=2)
