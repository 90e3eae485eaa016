"""Secants: exact along their step, in the right unit, and solved without a large matrix."""

from __future__ import annotations

import pytest
import torch

from expunge.errors import NotConverged
from expunge.maths.secant import secant_weight, solve_on_diagonal


def test_a_secant_is_the_hessian_along_its_step_and_scales_with_the_loss() -> None:
    generator = torch.Generator().manual_seed(0)
    root, s = torch.randn(5, 5, generator=generator).double(), torch.randn(5, generator=generator).double()
    H = root @ root.T
    for scale in (1.0, 7.0):
        g = scale * H @ s
        secant = secant_weight(g, s) * torch.outer(g, g)
        torch.testing.assert_close(secant @ s, scale * H @ s)
    assert secant_weight(-H @ s, s) == 0.0


def test_the_solve_is_that_of_the_dense_matrix() -> None:
    generator = torch.Generator().manual_seed(1)
    U, b = torch.randn(9, 2, generator=generator).double(), torch.randn(9, generator=generator).double()
    for weights in ([1.0, 0.5], [1.0, 0.0], [3.0, -0.01]):
        C = torch.tensor(weights).double()
        dense = 0.3 * torch.eye(9).double() + (U * C) @ U.T
        values, vectors = torch.linalg.eigh(dense)
        clamped = vectors @ torch.diag(values.clamp(min=0.3)) @ vectors.T
        found = solve_on_diagonal(U, C, 0.3, b)
        torch.testing.assert_close(found.x, torch.linalg.solve(clamped, b))
        assert found.clamped == (weights[1] < 0)


def test_a_rank_that_repeats_and_a_missing_diagonal() -> None:
    u, b = torch.ones(4, 1).double(), torch.arange(4.0).double()
    twice = solve_on_diagonal(u.repeat(1, 2), torch.tensor([1.0, 1.0]).double(), 1.0, b)
    torch.testing.assert_close(twice.x, torch.linalg.solve(torch.eye(4).double() + 2 * u @ u.T, b))
    with pytest.raises(NotConverged, match="positive diagonal"):
        solve_on_diagonal(u, torch.ones(1).double(), 0.0, b)
