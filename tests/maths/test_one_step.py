"""The published bound of one Newton step: its constants are theorems, and its form has the stated scaling."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from expunge.errors import InputError
from expunge.maths.losses import CrossEntropy, Huber, Logistic, Loss, MultilabelLogistic, Squared
from expunge.maths.one_step import (
    curvature_lipschitz,
    hessian_rounding,
    largest_curvature,
    largest_slope,
    published_distance,
    step_distance,
)

FOUR = {"row": 1.5, "outputs": 1, "l2": 0.1, "learned": 100, "forgotten": 4, "residual": 0.0}


def dense_curvature(loss: Loss, z: torch.Tensor) -> torch.Tensor:
    curvature = loss.curvature(z, torch.zeros(len(z), dtype=torch.int64))
    return torch.diag_embed(curvature) if loss.separable else curvature


@pytest.mark.parametrize("loss", [Logistic(), MultilabelLogistic(), CrossEntropy(), Squared()])
@pytest.mark.parametrize("outputs", [1, 2, 3, 7])
def test_no_curvature_changes_faster_than_its_constant(
    loss: Loss, outputs: int, generator: np.random.Generator
) -> None:
    z = torch.from_numpy(3 * generator.normal(size=(2000, outputs)))
    step = torch.from_numpy(generator.normal(size=(2000, outputs)) * 10.0 ** generator.uniform(-3, 1, size=(2000, 1)))
    moved = torch.linalg.matrix_norm(dense_curvature(loss, z + step) - dense_curvature(loss, z), ord=2)
    assert (moved <= curvature_lipschitz(loss) * torch.linalg.vector_norm(step, dim=1) * (1 + 1e-9) + 1e-15).all()


@pytest.mark.parametrize(("loss", "z", "u"), [
    (Logistic(), [[1.0]], [1.0]),
    (CrossEntropy(), [[1.0, -1.0]], [1.0, -1.0]),
    (CrossEntropy(), [[1.0, -1.0, -60.0]], [1.0, -1.0, 0.0]),
])  # fmt: skip
def test_the_constant_is_met(loss: Loss, z: list[list[float]], u: list[float]) -> None:
    """Where p(1 - p)(1 - 2p) is largest, p = (3 + sqrt 3)/6, along the two classes' difference."""
    log_odds = math.log((3 + math.sqrt(3)) / (3 - math.sqrt(3)))
    at = torch.tensor(z, dtype=torch.float64)
    at[:, :2] *= log_odds if isinstance(loss, Logistic) else log_odds / 2
    unit = torch.tensor(u, dtype=torch.float64) / math.hypot(*u)
    change = dense_curvature(loss, at + 1e-5 * unit) - dense_curvature(loss, at - 1e-5 * unit)
    assert float(torch.linalg.matrix_norm(change, ord=2)) / 2e-5 == pytest.approx(curvature_lipschitz(loss), rel=1e-6)


@pytest.mark.parametrize("loss", [Logistic(), MultilabelLogistic(), CrossEntropy()])
def test_slopes_and_curvatures_are_bounded(loss: Loss, generator: np.random.Generator) -> None:
    outputs = 1 if isinstance(loss, Logistic) else 4
    z = torch.from_numpy(20 * generator.normal(size=(2000, outputs)))
    y = torch.zeros(2000, dtype=torch.int64) if isinstance(loss, CrossEntropy) else torch.zeros(2000, outputs)
    assert torch.linalg.vector_norm(loss.slopes(z, y), dim=1).max() <= largest_slope(loss, outputs)
    assert torch.linalg.matrix_norm(dense_curvature(loss, z)).max() <= largest_curvature(loss, outputs)
    assert largest_slope(Squared(), 1) == math.inf
    assert largest_curvature(Squared(), 4) == 2.0


def test_the_published_form() -> None:
    m, gradient = 1.5**3 / (6 * math.sqrt(3)), 2 * 1.5
    gamma = 2 * m * 16 * gradient**2 / (0.1**3 * 100**2)
    assert published_distance(Logistic(), **FOUR) == pytest.approx(gamma)
    with_residual = published_distance(Logistic(), **(FOUR | {"residual": 0.3}))
    assert with_residual == pytest.approx(gamma * (3.3 / 3) ** 2 + 100 / 96 * 0.3 / 0.1)
    assert published_distance(Logistic(), **(FOUR | {"forgotten": 8})) == pytest.approx(4 * gamma)
    assert published_distance(Logistic(), **(FOUR | {"l2": 0.2})) == pytest.approx(gamma / 8)
    assert published_distance(Squared(), **FOUR) == 0
    assert published_distance(Huber(), **FOUR) == math.inf
    assert published_distance(Logistic(), **(FOUR | {"forgotten": 0})) == 0


def test_the_theorem_speaks_of_at_most_half_of_the_rows() -> None:
    published_distance(Logistic(), **(FOUR | {"forgotten": 50}))
    with pytest.raises(InputError, match="51 of 100 rows are gone"):
        published_distance(Logistic(), **(FOUR | {"forgotten": 51}))


def test_the_step_taken_never_gives_more_than_the_longest_step() -> None:
    longest = 4 * 3.0 / (0.1 * 96)  # m L / (l2 n_r)
    taken = step_distance(Logistic(), row=1.5, step=longest, l2=0.1)
    assert taken <= published_distance(Logistic(), **FOUR) <= 4 * taken
    assert step_distance(Squared(), row=1.5, step=longest, l2=0.1) == 0


def test_rounding_of_a_down_dated_hessian_is_covered(generator: np.random.Generator) -> None:
    x = np.c_[generator.normal(size=(500, 6)), np.ones(500)]
    w = generator.normal(size=7)
    row = float(np.linalg.norm(x, axis=1).max())

    def mean(rows: np.ndarray, dtype: type) -> np.ndarray:
        z = rows.astype(dtype) @ w.astype(dtype)
        p = 1 / (1 + np.exp(-z))
        return (rows * (p * (1 - p))[:, None]).T.astype(dtype) @ rows.astype(dtype) / dtype(len(rows))

    down = 500 * mean(x, np.float64)
    for i in range(100):
        down = down - mean(x[i : i + 1], np.float64)
    error = float(np.linalg.norm(down / 400 - mean(x[100:], np.longdouble)))
    bound = hessian_rounding(
        Logistic(), row=row, weight=float(np.linalg.norm(w)), inputs=7, outputs=1, learned=500, forgotten=100, l2=0.1
    )
    assert 0 < error < bound < 1e-9
