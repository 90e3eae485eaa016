r"""Noise shaped by curvature: what to add to a forgotten model so that its remaining error says little.

Let h be the model after forgetting, with an error h - w' ~ N(0, Sigma_h) to the one learned without the rows, and B the
curvature of the retained loss at h. Adding n ~ N(0, Sigma) to both costs the loss tr(B Sigma)/2 and leaves a divergence
of tr(Sigma^-1 Sigma_h)/2. The Forgetting Lagrangian (Watanabe 2023, proposition 2.1)

    tr(B Sigma)/2 + tradeoff tr(Sigma^-1 Sigma_h)/2

is least where its gradient B - tradeoff Sigma^-1 Sigma_h Sigma^-1 vanishes: Sigma B Sigma = tradeoff Sigma_h. With
X = B^{1/2} Sigma B^{1/2} this is X^2 = tradeoff B^{1/2} Sigma_h B^{1/2}, hence

    Sigma = B^{-1/2} (tradeoff B^{1/2} Sigma_h B^{1/2})^{1/2} B^{-1/2}.

For Sigma_h = error_std^2 B^-p everything commutes: Sigma = sqrt(tradeoff) error_std B^{-(1+p)/2}, and a *sample* is

    n = (tradeoff error_std^2)^{1/4} B^{-(1+p)/4} xi,   xi ~ N(0, I).

p = 0 (isotropic error) gives the exponents -1/2 of the covariance and -1/4 of the sample. p = 1 is an error of equal
loss in every direction, p = 2 that of a solver which stops at a gradient norm.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from expunge.errors import InputError
from expunge.maths.curvature import Curvature, Diagonal, Spectral, positive

ERRORS: Mapping[str, int] = {"isotropic": 0, "curvature": 1, "gradient": 2}  # p of Sigma_h = error_std^2 B^-p
FLOOR, CAP, CAP_LAST, WIDER = 1e-8, 1e3, 1e2, 10.0  # of the variances of a scrubbing; see `scrubbing_shape`


@dataclass(frozen=True)
class NoiseLaw:
    """n = scale B^exponent xi: the covariance is scale^2 B^(2 exponent)."""

    scale: float
    exponent: float

    def sample(self, B: Curvature, xi: Tensor) -> Tensor:
        """`scale B^exponent xi`, (d,), for standard normals `xi` (d,)."""
        return self.scale * B.power(self.exponent, xi)

    def variances(self, B: Spectral) -> Tensor:
        """The eigenvalues of the covariance, in the basis of B, (d,)."""
        return self.scale**2 * B.values ** (2 * self.exponent)

    def divergence(self, B: Curvature, gradient: Tensor, *, shape: Curvature | None = None) -> float:
        """The divergence, in nats, of equal Gaussians whose centres are a Newton step B^-1 gradient apart.

        ||Sigma^{-1/2} B^-1 g||^2 / 2 = ||B^{-1-exponent} g||^2 / (2 scale^2): what is left to learn from a release
        whose noiseless centre has the retained gradient g, to second order. `shape` is the curvature that shapes the
        noise, where that is not B.
        """
        if shape is None:
            whitened = B.power(-1 - self.exponent, gradient)
        else:
            whitened = shape.power(-self.exponent, B.power(-1, gradient))
        return float(whitened.square().sum() / (2 * self.scale**2))


def optimal_law(tradeoff: float, error_std: float, error: str) -> NoiseLaw:
    """The law that minimises the Forgetting Lagrangian for Sigma_h = error_std^2 B^-p, p by the name `error`.

    Raises:
        InputError: there is no such kind of error, or a number is not positive and finite.
    """
    if error not in ERRORS:
        raise InputError(f"There is no error {error!r}; choose one of {', '.join(ERRORS)}.")
    for name, value in (("tradeoff", tradeoff), ("error_std", error_std)):
        if not 0 < value < float("inf"):
            raise InputError(f"{name} is {value}; a positive number was expected, such as 1e-3.")
    return NoiseLaw((tradeoff * error_std**2) ** 0.25, -(1 + ERRORS[error]) / 4)


def scrubbing_shape(fisher: Tensor, last: Tensor, thin: Tensor) -> Diagonal:
    """The diagonal curvature whose root's inverse is the clamped variance of a scrubbing (Golatkar et al. 2020).

    The variance on a weight is (F + 1e-8)^{-1/2}, at most 1e3 (1e2 in the last layer), and ten times that in the last
    layer and in vectors such as normalisations. Each rule goes by layer, none by class.

    Args:
        fisher: (d,). last: (d,) bool, the weights of the last layer. thin: (d,) bool, those in vectors.
    """
    caps = torch.where(last, CAP_LAST, CAP).to(fisher.dtype)
    variances = torch.minimum((fisher + FLOOR) ** -0.5, caps) * torch.where(last | thin, WIDER, 1.0).to(fisher.dtype)
    return Diagonal(variances**-2)


def expected_divergence(B: Spectral, tradeoff: float, error_std: float, error: str) -> float:
    """tr(Sigma^-1 Sigma_h)/2 = error_std tr(B^{(1-p)/2}) / (2 sqrt(tradeoff)), in nats, under the error model."""
    trace = float(torch.pow(B.values, (1 - ERRORS[error]) / 2).sum())
    return error_std * trace / (2 * math.sqrt(tradeoff))


def optimal_covariance(B: Tensor, error: Tensor, tradeoff: float) -> Tensor:
    """The Sigma (d, d) with Sigma B Sigma = tradeoff Sigma_h; `error` is Sigma_h (d, d), any semi-definite matrix."""
    values, vectors = torch.linalg.eigh(B)
    root = (vectors * positive(values).sqrt()) @ vectors.T
    inverse = (vectors / values.sqrt()) @ vectors.T
    middle, basis = torch.linalg.eigh(tradeoff * root @ error @ root)
    covariance: Tensor = inverse @ ((basis * middle.clamp(min=0).sqrt()) @ basis.T) @ inverse
    return covariance


def forgetting_lagrangian(B: Tensor, covariance: Tensor, error: Tensor, tradeoff: float) -> float:
    """tr(B Sigma)/2 + tradeoff tr(Sigma^-1 Sigma_h)/2, without the loss at the centre, which no Sigma changes."""
    divergence = torch.trace(torch.linalg.solve(covariance, error))
    return float((torch.trace(B @ covariance) + tradeoff * divergence) / 2)


def gaussian_divergence(difference: Tensor, covariance: Tensor, reference: Tensor) -> float:
    """KL(N(m0, covariance) || N(m1, reference)) in nats, `difference` = m0 - m1 (d,); matrices (d, d).

    ((m0-m1)^T S1^-1 (m0-m1) + tr(S1^-1 S0) - d - ln det(S1^-1 S0)) / 2.
    """
    factor, reference_factor = torch.linalg.cholesky(covariance), torch.linalg.cholesky(reference)
    apart = torch.linalg.solve_triangular(reference_factor, difference[:, None], upper=False)
    spread = torch.linalg.solve_triangular(reference_factor, factor, upper=False)
    volume = 2 * (factor.diagonal().log().sum() - reference_factor.diagonal().log().sum())
    return float((apart.square().sum() + spread.square().sum() - len(difference) - volume) / 2)


def structured_divergence(
    difference: Tensor, B: Spectral, variances: Tensor, reference: Spectral, reference_variances: Tensor
) -> float:
    """The same for covariances Q diag(variances) Q^T in the bases of B and of `reference`, of one kind.

    Raises:
        InputError: the bases are of different kinds.
    """
    apart = reference.into(difference).square() / reference_variances
    spread = reference.spread(B, variances) / reference_variances
    volume = (variances / reference_variances).log()
    return float((apart + spread - 1 - volume).sum() / 2)
