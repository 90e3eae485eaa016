"""Newton in rounds: from far by L-BFGS, from near at once, and every pass counted."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from expunge.maths.newton import NewtonSolution, minimise

L2 = 1e-3


class Counted:
    """The mean logistic loss of fixed rows, counting calls."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(400, 12, generator=generator, dtype=torch.float64) * torch.logspace(-1, 1, 12)
        self.x = x * (2.0 * (torch.rand(400, generator=generator) < torch.sigmoid(x[:, 3] - x[:, 8])) - 1)[:, None]
        self.passes = 0
        self.values = 0

    def value_and_gradient(self, w: Tensor) -> tuple[Tensor, Tensor]:
        self.values += 1
        gradient = self.gradient(w)
        return -torch.nn.functional.logsigmoid(self.x @ w).mean() + L2 / 2 * w @ w, gradient

    def gradient(self, w: Tensor) -> Tensor:
        self.passes += 1
        return -(self.x.T @ torch.sigmoid(-self.x @ w)) / len(self.x) + L2 * w

    def hessian(self, w: Tensor) -> Tensor:
        self.passes += 1
        s = torch.sigmoid(self.x @ w)
        curvature: Tensor = (self.x.T * (s * (1 - s))) @ self.x / len(self.x)
        return curvature + L2 * torch.eye(12, dtype=torch.float64)

    def minimise(self, start: Tensor, *, dense: bool = True, tol: float = 1e-11) -> NewtonSolution:
        hessian = self.hessian if dense else None
        return minimise(self.value_and_gradient, self.gradient, hessian, start, None, tol=tol)


ZERO = torch.zeros(12, dtype=torch.float64)


@pytest.mark.parametrize("dense", [True, False])
def test_the_gradient_vanishes_and_every_pass_is_counted(dense: bool) -> None:
    loss = Counted()
    found = loss.minimise(ZERO, dense=dense)
    assert found.converged
    assert found.passes == loss.passes
    assert float(torch.linalg.vector_norm(loss.gradient(found.x))) <= 1e-11


def test_a_start_near_the_minimiser_needs_no_lbfgs() -> None:
    exact = Counted().minimise(ZERO).x
    near = Counted()
    found = near.minimise(exact + 1e-4)
    assert found.converged
    assert near.values == 1  # to see that it is near
    assert found.passes <= 7


def test_a_start_far_beyond_zero_is_brought_home() -> None:
    exact = Counted().minimise(ZERO).x
    found = Counted().minimise(torch.full_like(ZERO, 50.0))
    assert found.converged
    assert float(torch.linalg.vector_norm(found.x - exact)) < 1e-7
