from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from expunge.errors import InputError, NotConverged
from expunge.maths.conjugate_gradient import conjugate_gradient
from expunge.maths.lissa import lissa, mean_square_radius


def problem(n: int = 60, d: int = 5, l2: float = 0.5, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Per-row Hessians x x^T + l2 I, (n, d, d), and a vector."""
    generator = torch.Generator().manual_seed(seed)
    X = torch.randn(n, d, generator=generator, dtype=torch.float64)
    return (
        X[:, :, None] * X[:, None, :] + l2 * torch.eye(d, dtype=torch.float64),
        torch.randn(d, generator=generator, dtype=torch.float64),
    )


def sampled(hessians: Tensor, seed: int = 0):
    choice = torch.randint(len(hessians), (50, 5000), generator=torch.Generator().manual_seed(seed))
    return lambda v, run, step: hessians[choice[run, step]] @ v


def largest(hessians: Tensor) -> float:
    return float(torch.linalg.eigvalsh(hessians).max())


def test_full_batches_and_depth_give_the_conjugate_gradient_answer() -> None:
    hessians, b = problem()
    H = hessians.mean(0)
    found = lissa(
        lambda v, run, step: H @ v, b, scale=largest(hessians), depth=2000, runs=1, matvec=lambda v: H @ v, tol=1e-10
    )
    exact = conjugate_gradient(lambda v: H @ v, b, tol=1e-12, max_iterations=50)
    assert found.converged
    assert torch.allclose(found.x, exact.x, atol=1e-9)
    assert (found.expansions, found.iterations) == (0, 2000)


def test_depth_one_is_the_gradient_step_over_the_scale_twice() -> None:
    hessians, b = problem()
    found = lissa(lambda v, run, step: hessians[0] @ v, b, scale=100.0, depth=1, runs=1)
    assert torch.allclose(found.x, (2 * b - hessians[0] @ b / 100.0) / 100.0)


def test_a_scale_above_every_batch_converges_to_the_sampling_error() -> None:
    hessians, b = problem()
    exact = torch.linalg.solve(hessians.mean(0), b)
    found = lissa(sampled(hessians), b, scale=largest(hessians), depth=800, runs=40)
    assert found.expansions == 0
    assert float((found.x - exact).norm()) < 4 * found.spread
    assert found.spread < 0.2 * float(exact.norm())


def test_without_a_full_product_nothing_is_called_converged() -> None:
    hessians, b = problem()
    found = lissa(sampled(hessians), b, scale=largest(hessians), depth=50, runs=2)
    assert not found.converged
    assert math.isnan(found.residual)
    assert math.isnan(lissa(sampled(hessians), b, scale=largest(hessians), depth=5, runs=1).spread)


def test_a_scale_between_the_mean_and_the_largest_curvature_diverges_and_is_caught() -> None:
    """The mean Hessian fits twice into this scale, yet single samples blow up: the certified trap of spec LiSSA."""
    hessians, b = problem(l2=0.01)
    scale = 0.2 * largest(hessians)
    assert largest(hessians.mean(0)[None]) < scale
    assert mean_square_radius(hessians, scale) > 1
    with pytest.raises(NotConverged, match=r"LiSSA diverges.*raise it"):
        lissa(sampled(hessians), b, scale=scale, depth=4000, runs=1)


def test_nan_is_caught() -> None:
    with pytest.raises(NotConverged, match="diverges"):
        lissa(lambda v, run, step: v * torch.nan, torch.ones(2), scale=1.0, depth=3, runs=1)


def test_mean_square_radius_is_the_spectral_radius_of_the_kronecker_mean() -> None:
    hessians, _ = problem(n=7, d=3)
    for scale in (1.0, 3.0, 20.0):
        shrink = torch.eye(3, dtype=torch.float64) - hessians / scale
        dense = torch.stack([torch.kron(one, one) for one in shrink]).mean(0)
        assert mean_square_radius(hessians, scale) == pytest.approx(
            float(torch.linalg.eigvals(dense).abs().max()), rel=1e-8
        )


def test_the_sufficient_condition_implies_the_true_one() -> None:
    hessians, _ = problem()
    assert mean_square_radius(hessians, largest(hessians)) < 1
    assert mean_square_radius(torch.eye(2, dtype=torch.float64)[None], 1.0) == 0.0


@pytest.mark.parametrize(("scale", "depth", "runs"), [(0.0, 1, 1), (1.0, 0, 1), (1.0, 1, 0), (-1.0, 1, 1)])
def test_hyperparameters_are_checked(scale, depth, runs) -> None:
    with pytest.raises(InputError, match="positive"):
        lissa(lambda v, run, step: v, torch.ones(2), scale=scale, depth=depth, runs=runs)
