"""Covariances of classes from exact sums, and the squared distances of rows from class means that they define."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from expunge.maths.exact_sums import ExactSums

Ints = NDArray[np.int64]


def covariances(counts: Ints, sums: ExactSums, products: ExactSums) -> Tensor:
    """One pooled covariance (1, p, p), divided by n, of `products` (1, p, p); of (K, p, p), one each, by n_c.

    `n_c sum x x' - s_c s_c'` is formed in integers. For the pooled one, with rounded means m_c and exact remainders
    r_c = s_c - n_c m_c, `s_c s_c' / n_c = m_c s_c' + r_c m_c' + r_c r_c' / n_c`, of which only the last term, itself of
    the size of a rounding error, is rounded. A class of one row has the covariance 0.
    """
    each = np.maximum(counts, 1)
    if len(counts) == products.shape[0]:
        n = ExactSums.of(each[:, None, None])
        within = n * products - sums[:, :, None] * sums[:, None, :]
        return torch.tensor(within.rounded() / each[:, None, None] / each[:, None, None])
    rounded = ExactSums.of(sums.over(each[:, None]))
    remainders = sums - ExactSums.of(each[:, None]) * rounded
    within = products[0] - rounded.transposed_times(sums) - remainders.transposed_times(rounded)
    rest = remainders.rounded()
    return torch.tensor((within.rounded() - rest.T @ (rest / each[:, None])) / counts.sum())[None]


def scales(counts: Ints, sums: ExactSums, products: ExactSums) -> Tensor:
    """The standard deviation of each column over all rows, (p,); 1 where a column does not vary."""
    n, total = counts.sum(), sums.sum(0)
    squares = products.sum(0)[np.diag_indices(sums.shape[1])]
    variances = (ExactSums.of(n) * squares - total * total).rounded() / n / n
    return torch.tensor(np.sqrt(np.where(variances > 0, variances, 1.0)))


def shrunk(matrices: Tensor, shrinkage: float, *, identity: bool) -> Tensor:
    """`(1 - a) C + a v I`, v the mean of C's diagonal, or 1."""
    eye = torch.eye(matrices.shape[-1], dtype=matrices.dtype)
    scale = matrices.new_ones(len(matrices)) if identity else matrices.diagonal(dim1=1, dim2=2).mean(1)
    return (1 - shrinkage) * matrices + shrinkage * scale[:, None, None] * eye


def inverse_roots(matrices: Tensor, scales: Tensor, floor: float) -> tuple[Tensor, Tensor]:
    """R (k, p, p) with R R' = C^-1, and log|C| (k,), no eigenvalue of C in units of `scales` (p,) below `floor`."""
    values, vectors = torch.linalg.eigh(matrices / scales[:, None] / scales)
    values = values.clamp(min=floor)
    return vectors / scales[:, None] / values.sqrt()[:, None, :], values.log().sum(1) + 2 * scales.log().sum()


def squared_distances(x: Tensor, means: Tensor, roots: Tensor) -> Tensor:
    """`(x - m_c)' C_c^-1 (x - m_c)`, (n, K), of rows (n, p), means (K, p) and roots (K, p, p) or (1, p, p)."""
    if len(roots) == len(means):
        each = [((x - mean) @ root).square().sum(1) for mean, root in zip(means, roots, strict=True)]
        return torch.stack(each, 1)
    centre = means.mean(0)
    mapped, places = (x - centre) @ roots[0], (means - centre) @ roots[0]
    return torch.stack([(mapped - place).square().sum(1) for place in places], 1)
