"""What a Newton step leaves: norms that are never below the truth, and bounds in order."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from expunge.errors import InputError
from expunge.maths import newton_residual as nr


def problem(seed: int, n: int = 40, q: int = 5, k: int = 2) -> tuple[torch.Tensor, torch.Tensor, nr.Moved]:
    generator = torch.Generator().manual_seed(seed)
    X = torch.randn(n, q, generator=generator, dtype=torch.float64)
    step = torch.randn(k, q, generator=generator, dtype=torch.float64)
    return X, step, nr.moved(torch.linalg.vector_norm(X, dim=1), X @ step.T)


def test_the_third_derivative_of_the_logistic_loss() -> None:
    z = np.linspace(-10, 10, 2_000_001)
    p = 1 / (1 + np.exp(-z))
    assert np.abs(p * (1 - p) * (1 - 2 * p)).max() == pytest.approx(nr.THIRD_LOGISTIC, rel=1e-9)


@given(st.integers(0, 40))
def test_the_spectral_norm_is_never_bounded_from_below(seed: int) -> None:
    X = problem(seed)[0]
    true = float(np.linalg.svd(X.numpy(), compute_uv=False)[0])
    v = torch.ones(5, dtype=torch.float64)
    for _ in range(20):  # what the published code does: from below, whatever the number of iterations
        v = X.T @ (X @ v)
        v = v / v.norm()
    bound = nr.spectral_bound(X.T @ X, len(X))
    assert float((X @ v).norm()) <= true * (1 + 1e-14) <= bound <= true * (1 + 1e-10)
    assert nr.frobenius_bound(float(X.square().sum()), X.numel()) >= bound * (1 - 1e-12)


@given(st.integers(0, 40))
def test_the_bounds_are_in_order(seed: int) -> None:
    X, step, sums = problem(seed)
    spectral = nr.spectral_bound(X.T @ X, len(X))
    tight = nr.per_sample(nr.THIRD_LOGISTIC, sums, step)
    middle = nr.data_dependent(nr.THIRD_LOGISTIC, spectral, sums, step)
    assert tight <= middle <= nr.published(nr.THIRD_LOGISTIC, spectral, sums, step)


def test_blocks_add_up() -> None:
    X, step, whole = problem(3)
    parts = [nr.moved(torch.linalg.vector_norm(x, dim=1), x @ step.T) for x in torch.split(X, 7)]
    joined = parts[0]
    for part in parts[1:]:
        joined = joined.joined(part)
    assert nr.per_sample(1.0, joined, step) == pytest.approx(nr.per_sample(1.0, whole, step), rel=1e-12)
    assert (joined.rows, joined.longest) == (whole.rows, whole.longest)


def test_nothing_is_left_of_a_quadratic() -> None:
    X, step, sums = problem(0)
    assert nr.per_sample(0.0, sums, step) == 0
    assert nr.data_dependent(0.0, 9.0, sums, step) == 0
    assert nr.published(0.0, 9.0, sums, step) == 0
    linear = torch.zeros(2, dtype=torch.float64)
    assert nr.worst_case(0.0, row=1, l2=1, before=9, after=8, changed=1, linear=linear, residual=0.0) == 0
    assert len(X) == sums.rows


def test_theorem_one_with_its_constants_mended() -> None:
    """gamma/2 (2 C m)^2 / (lambda^2 n_r) at R = 1 and b = 0; b raises it."""
    zero = torch.zeros(1, dtype=torch.float64)
    given: dict[str, Any] = {"row": 1.0, "l2": 1e-2, "before": 103, "after": 100, "changed": 3, "residual": 0.0}
    bound = nr.worst_case(nr.THIRD_LOGISTIC, linear=zero, **given)
    assert bound == pytest.approx(nr.THIRD_LOGISTIC / 2 * 36 / (1e-4 * 100), rel=1e-12)
    tilted = nr.worst_case(nr.THIRD_LOGISTIC, linear=zero + 103.0, **given)
    assert tilted == pytest.approx(bound * (3 / 2) ** 2, rel=1e-12)


def test_the_published_budget() -> None:
    assert nr.objective_budget(10.0, 1.0, 1e-4) == pytest.approx(10 / math.sqrt(2 * math.log(15000)), rel=1e-12)
    assert nr.objective_budget(10.0, 1.0, 1e-4) == pytest.approx(2.28, abs=5e-3)
    with pytest.raises(InputError, match="positive numbers"):
        nr.objective_budget(0.0, 1.0, 1e-4)
