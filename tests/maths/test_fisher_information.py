"""Roots of curvatures, layer diagonals and the empirical Fisher, against sums written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from expunge.errors import InputError
from expunge.maths.fisher_information import curvature_root, empirical_fisher, fisher_diagonal, layer_diagonal
from expunge.maths.losses import CrossEntropy, Custom, Huber, Logistic, Loss, MultilabelLogistic, Squared


@pytest.mark.parametrize(
    ("loss", "y"),
    [
        (CrossEntropy(), torch.tensor([0, 2, 1])),
        (MultilabelLogistic(), torch.ones(3, 4)),
        (Squared(), torch.zeros(3, 4)),
        (Huber(0.5), torch.zeros(3, 4)),
        (Logistic(), torch.ones(3, 1)),
    ],
)
def test_the_root_squared_is_the_curvature(loss: Loss, y: torch.Tensor) -> None:
    scores = torch.tensor(np.random.default_rng(0).normal(size=(3, y.shape[1] if y.ndim > 1 else 4)))
    curvature = loss.curvature(scores, y)
    full = torch.diag_embed(curvature) if loss.separable else curvature
    root = curvature_root(loss, scores, y)
    assert torch.allclose(root @ root.mT, full, atol=1e-14)


def test_the_root_owes_nothing_to_the_labels() -> None:
    scores = torch.tensor([[1.0, -2.0, 0.5]])
    roots = [curvature_root(CrossEntropy(), scores, torch.tensor([label])) for label in (0, 1)]
    assert torch.equal(roots[0], roots[1])


def test_a_loss_of_ones_own_has_no_root() -> None:
    with pytest.raises(InputError, match="convex losses only"):
        curvature_root(Custom(lambda s, y: (s[:, 0] - y) ** 4), torch.ones(2, 1), torch.ones(2))


def test_layer_diagonals_are_squares_of_row_gradients() -> None:
    generator = torch.Generator().manual_seed(0)
    for places in (1, 3):
        inputs = torch.randn(5, places, 4, generator=generator)
        slopes = torch.randn(5, places, 2, generator=generator)
        gradients = torch.stack([s.T @ a for s, a in zip(slopes, inputs, strict=True)])
        assert torch.allclose(layer_diagonal(inputs, slopes), gradients.square().sum(0), atol=1e-5)
        assert torch.allclose(fisher_diagonal(gradients.flatten(1)), gradients.square().sum(0).reshape(-1))


def test_the_empirical_fisher_is_a_second_moment() -> None:
    g = torch.tensor([[1.0, 2.0], [3.0, -1.0]])
    assert empirical_fisher(g).tolist() == [[10.0, -1.0], [-1.0, 5.0]]
