"""The optimal covariance against a numeric minimiser, and divergences against their textbook form."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor

from expunge.errors import InputError
from expunge.maths.curvature import Diagonal, dense
from expunge.maths.curvature_noise import (
    NoiseLaw,
    expected_divergence,
    forgetting_lagrangian,
    gaussian_divergence,
    optimal_covariance,
    optimal_law,
    scrubbing_shape,
    structured_divergence,
)
from expunge.maths.kronecker import Factors, Kronecker, kronecker

TRADEOFF, ERROR_STD, D = 0.3, 0.2, 5  # sigma_h^2 = .04


def spd(d: int, seed: int) -> Tensor:
    root = torch.randn(d, d + 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return root @ root.T / d


def factored(seed: int) -> Kronecker:
    places = torch.arange(10)
    layers = (
        Factors(spd(3, seed), spd(2, seed + 1), places[:6].view(2, 3)),
        Factors(spd(4, seed), spd(1, seed), places[6:].view(1, 4)),
    )
    return kronecker(layers, 0.05)


def lagrangian(B: Tensor, Sigma: Tensor, Sigma_h: Tensor) -> float:
    """Written out with numpy, apart from the package."""
    b, s, e = (m.numpy() for m in (B, Sigma, Sigma_h))
    return float(np.trace(b @ s) / 2 + TRADEOFF * np.trace(np.linalg.inv(s) @ e) / 2)


@pytest.mark.parametrize("general", [False, True])
def test_the_closed_form_is_where_a_numeric_minimiser_ends(general: bool) -> None:
    B = spd(D, 4) + 0.1 * torch.eye(D, dtype=torch.float64)
    error = spd(D, 9) if general else ERROR_STD**2 * torch.eye(D, dtype=torch.float64)
    best = optimal_covariance(B, error, TRADEOFF)
    assert torch.allclose(best @ B @ best, TRADEOFF * error, atol=1e-12)
    lower = np.tril_indices(D)

    def of(flat: np.ndarray) -> float:
        root = np.zeros((D, D))
        root[lower] = flat
        return lagrangian(B, torch.from_numpy(root @ root.T), error)

    found = minimize(of, np.eye(D)[lower], method="BFGS", options={"gtol": 1e-9})
    assert found.fun == pytest.approx(forgetting_lagrangian(B, best, error, TRADEOFF), rel=1e-6)
    assert lagrangian(B, best, error) == pytest.approx(forgetting_lagrangian(B, best, error, TRADEOFF), rel=1e-12)


def test_every_other_covariance_costs_more_in_this_order() -> None:
    B = torch.diag(torch.tensor([0.02, 0.2, 1.0, 4.0, 30.0], dtype=torch.float64))
    error = ERROR_STD**2 * torch.eye(D, dtype=torch.float64)

    def best_of_shape(power: float) -> float:
        """The least Lagrangian among c B^power: c tr(B^{1+power}) / 2 + tradeoff sigma_h^2 tr(B^-power) / (2 c)."""
        loss, divergence = (B.diagonal() ** (1 + power)).sum(), TRADEOFF * ERROR_STD**2 * (B.diagonal() ** -power).sum()
        return float((loss * divergence).sqrt())

    best = forgetting_lagrangian(B, optimal_covariance(B, error, TRADEOFF), error, TRADEOFF)
    without = forgetting_lagrangian(B, optimal_covariance(B, error, 1.0), error, TRADEOFF)  # lambda left out
    assert best == pytest.approx(best_of_shape(-0.5), rel=1e-12)
    assert best < without
    assert best_of_shape(0) == pytest.approx(best_of_shape(-1), rel=1e-12)
    assert best < best_of_shape(-1) < best_of_shape(-2)
    assert best_of_shape(-2) > 2 * best  # noise F^-1 on the sample, as some print it


@pytest.mark.parametrize(("error", "p"), [("isotropic", 0), ("curvature", 1), ("gradient", 2)])
def test_the_law_is_the_general_solution_for_each_shape_of_error(error: str, p: int) -> None:
    B = spd(D, 4) + 0.1 * torch.eye(D, dtype=torch.float64)
    law, spectral, eye = optimal_law(TRADEOFF, ERROR_STD, error), dense(B), torch.eye(D, dtype=torch.float64)
    Sigma_h = ERROR_STD**2 * torch.linalg.matrix_power(torch.linalg.inv(B), p)
    root = torch.stack([law.sample(spectral, e) for e in eye], 1)  # the sample's map: Sigma = root root^T
    assert torch.allclose(root @ root.T, optimal_covariance(B, Sigma_h, TRADEOFF), atol=1e-12)
    variances = spectral.vectors @ torch.diag(law.variances(spectral)) @ spectral.vectors.T
    assert torch.allclose(root @ root.T, variances, atol=1e-12)
    expected = float(torch.trace(torch.linalg.solve(root @ root.T, Sigma_h)) / 2)
    assert expected_divergence(spectral, TRADEOFF, ERROR_STD, error) == pytest.approx(expected, rel=1e-10)


def test_the_sample_has_the_exponent_minus_a_quarter_and_the_covariance_minus_a_half() -> None:
    B = Diagonal(torch.tensor([1e-4, 1.0, 16.0], dtype=torch.float64))
    law = optimal_law(TRADEOFF, ERROR_STD, "isotropic")
    scale = (TRADEOFF * ERROR_STD**2) ** 0.25
    assert law.sample(B, torch.ones(3, dtype=torch.float64)).tolist() == pytest.approx([10 * scale, scale, scale / 2])
    assert law.variances(B).tolist() == pytest.approx([100 * scale**2, scale**2, scale**2 / 4])


def test_divergences_agree_with_the_formula_and_with_each_other() -> None:
    first, second = factored(0), factored(30)
    law, difference = NoiseLaw(0.1, -0.25), torch.linspace(-0.2, 0.3, 10, dtype=torch.float64)
    eye = torch.eye(10, dtype=torch.float64)
    covariances = []
    for B in (first, second):
        root = torch.stack([law.sample(B, e) for e in eye], 1)
        covariances.append((root @ root.T).numpy())
    S0, S1 = covariances
    m, inverse = difference.numpy(), np.linalg.inv(S1)
    signs = np.linalg.slogdet(inverse @ S0)[1]
    expected = (m @ inverse @ m + np.trace(inverse @ S0) - 10 - signs) / 2
    assert gaussian_divergence(difference, torch.from_numpy(S0), torch.from_numpy(S1)) == pytest.approx(expected)
    structured = structured_divergence(difference, first, law.variances(first), second, law.variances(second))
    assert structured == pytest.approx(expected)
    assert structured_divergence(0 * difference, first, law.variances(first), first, law.variances(first)) == (
        pytest.approx(0, abs=1e-12)
    )


def test_equal_covariances_leave_half_a_whitened_distance() -> None:
    B, law = dense(spd(D, 2), 0.1), NoiseLaw(0.05, -0.25)
    gradient = torch.linspace(0.01, 0.05, D, dtype=torch.float64)
    root = torch.stack([law.sample(B, e) for e in torch.eye(D, dtype=torch.float64)], 1)
    Sigma, step = root @ root.T, B.power(-1, gradient)
    assert law.divergence(B, gradient) == pytest.approx(gaussian_divergence(step, Sigma, Sigma), rel=1e-9)
    assert law.divergence(B, gradient, shape=B) == pytest.approx(law.divergence(B, gradient), rel=1e-9)
    assert law.divergence(B, 2 * gradient) == pytest.approx(4 * law.divergence(B, gradient), rel=1e-9)
    assert NoiseLaw(0.1, -0.25).divergence(B, gradient) == pytest.approx(law.divergence(B, gradient) / 4, rel=1e-9)


def test_scrubbing_clamps_by_layer() -> None:
    fisher = torch.tensor([1e-12, 1e-12, 1e-12, 4.0, 4.0, 4.0], dtype=torch.float64)
    last = torch.tensor([False, True, False, False, True, False])
    thin = torch.tensor([False, False, True, False, False, True])
    variances = scrubbing_shape(fisher, last, thin).values ** -0.5
    assert variances.tolist() == pytest.approx([1e3, 1e3, 1e4, 0.5, 5.0, 5.0], rel=1e-6)
    small = scrubbing_shape(torch.zeros(1, dtype=torch.float64), last[:1], thin[:1]).values ** -0.5
    assert float(small) == pytest.approx(1e3)  # (0 + 1e-8)^{-1/2} is 1e4, and 1e3 the most


def test_lambda_and_sigma_scale_the_noise_by_their_roots() -> None:
    base = optimal_law(1e-3, 1e-2, "isotropic").scale
    assert optimal_law(16e-3, 1e-2, "isotropic").scale == pytest.approx(2 * base)
    assert optimal_law(1e-3, 4e-2, "isotropic").scale == pytest.approx(2 * base)
    scales = [optimal_law(t, 1e-2, "isotropic").scale for t in (1e-4, 1e-3, 1e-2)]
    assert all(a < b for a, b in pairwise(scales))


@pytest.mark.parametrize("bad", [(0.0, 1.0, "isotropic"), (1.0, -1.0, "isotropic"), (1.0, math.inf, "isotropic")])
def test_numbers_out_of_range_are_refused(bad: tuple[float, float, str]) -> None:
    with pytest.raises(InputError, match="a positive number was expected"):
        optimal_law(*bad)
    with pytest.raises(InputError, match="choose one of isotropic"):
        optimal_law(1.0, 1.0, "other")
