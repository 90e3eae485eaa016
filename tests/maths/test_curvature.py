"""Powers of curvatures, in every form, against dense matrices."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from expunge.errors import InputError, NotConverged
from expunge.maths.curvature import Curvature, Diagonal, MatrixFree, dense, factored
from expunge.maths.kronecker import Factors, Kronecker, kronecker
from expunge.maths.matrix_function import matrix_function

DAMPING = 0.05


def spd(d: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(d, d + 1, generator=generator, dtype=torch.float64)
    return root @ root.T / d


def factors(seed: int = 0) -> list[Factors]:
    """Two layers, (2, 3) and (1, 4), whose weights lie interleaved in the flat vector."""
    first = torch.tensor([[0, 2, 4], [6, 8, 9]])
    second = torch.tensor([[1, 3, 5, 7]])
    return [Factors(spd(3, seed), spd(2, seed + 1), first), Factors(spd(4, seed + 2), spd(1, seed + 3), second)]


def assembled(layers: list[Factors]) -> Tensor:
    whole = torch.zeros(10, 10, dtype=torch.float64)
    for layer in layers:
        flat = layer.positions.reshape(-1)
        whole[flat[:, None], flat[None]] = torch.kron(layer.outputs, layer.inputs)
    return whole + DAMPING * torch.eye(10, dtype=torch.float64)


def cases() -> dict[str, tuple[Curvature, Tensor]]:
    B = spd(10, 3) + DAMPING * torch.eye(10, dtype=torch.float64)
    values = torch.linspace(0.1, 3.0, 10, dtype=torch.float64)
    return {
        "dense": (dense(B - DAMPING * torch.eye(10, dtype=torch.float64), DAMPING), B),
        "diagonal": (Diagonal(values), torch.diag(values)),
        "kronecker": (kronecker(factors(), DAMPING), assembled(factors())),
        "factored": (factored(B - DAMPING * torch.eye(10, dtype=torch.float64), DAMPING), B),
        "matrix free": (MatrixFree(lambda v: B @ v, tolerance=1e-12), B),
    }


@pytest.mark.parametrize("name", ["dense", "diagonal", "kronecker", "factored", "matrix free"])
@pytest.mark.parametrize("exponent", [-1.0, -0.75, -0.25, 0.5])
def test_powers_are_those_of_the_matrix(name: str, exponent: float) -> None:
    curvature, B = cases()[name]
    values, vectors = torch.linalg.eigh(B)
    v = torch.linspace(-1, 2, 10, dtype=torch.float64)
    expected = vectors @ (values**exponent * (vectors.T @ v))
    assert torch.allclose(curvature.power(exponent, v), expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", ["dense", "diagonal", "kronecker"])
def test_spread_is_the_diagonal_in_the_other_basis(name: str) -> None:
    mine = cases()[name][0]
    other: Curvature = {
        "dense": dense(spd(10, 8)),
        "diagonal": Diagonal(torch.arange(1.0, 11.0, dtype=torch.float64)),
        "kronecker": kronecker(factors(20), DAMPING),
    }[name]
    variances = torch.linspace(0.5, 2.0, 10, dtype=torch.float64)
    eye = torch.eye(10, dtype=torch.float64)
    Q, P = (torch.stack([c.out(e) for e in eye], 1) for c in (mine, other))  # type: ignore[attr-defined]
    expected = (Q.T @ P @ torch.diag(variances) @ P.T @ Q).diagonal()
    assert torch.allclose(mine.spread(other, variances), expected, atol=1e-12)  # type: ignore[attr-defined]
    assert torch.allclose(mine.into(mine.out(variances)), variances)  # type: ignore[attr-defined]


def test_bases_of_two_kinds_are_not_compared() -> None:
    named = {name: curvature for name, (curvature, _) in cases().items() if name[0] in "dk"}
    for name, curvature in named.items():
        for other in named.values():
            if other is not curvature:
                with pytest.raises(InputError, match="one kind of basis"):
                    curvature.spread(other, torch.ones(10, dtype=torch.float64))  # type: ignore[attr-defined]
        assert name


def test_the_inverse_of_a_factored_block_is_exact_where_the_split_damping_is_not() -> None:
    layers, v = factors(), torch.ones(10, dtype=torch.float64)
    exact = torch.linalg.solve(assembled(layers), v)
    layer = layers[0]
    pi = ((torch.trace(layer.inputs) / 3) / (torch.trace(layer.outputs) / 2)).sqrt()
    split = torch.kron(
        layer.outputs + DAMPING**0.5 / pi * torch.eye(2, dtype=torch.float64),
        layer.inputs + DAMPING**0.5 * pi * torch.eye(3, dtype=torch.float64),
    )
    flat = layer.positions.reshape(-1)
    assert torch.allclose(kronecker(layers, DAMPING).power(-1, v), exact)
    assert (torch.linalg.solve(split, v[flat]) - exact[flat]).norm() > 0.01 * exact[flat].norm()


def test_layers_must_cover_every_weight_once() -> None:
    with pytest.raises(InputError, match="every weight exactly once"):
        kronecker(factors()[:1], DAMPING)
    assert isinstance(kronecker(factors(), DAMPING), Kronecker)


def test_what_is_not_positive_definite_is_named() -> None:
    indefinite = torch.diag(torch.tensor([1.0, -0.5, 2.0], dtype=torch.float64))
    v = torch.ones(3, dtype=torch.float64)
    with pytest.raises(NotConverged, match="raise the damping"):
        dense(indefinite)
    assert dense(indefinite, 1.0).values.min() > 0
    with pytest.raises(NotConverged, match="not positive definite"):
        MatrixFree(lambda u: indefinite @ u).power(-0.25, v)
    with pytest.raises(InputError, match="finite square matrix"):
        dense(torch.full((2, 2), torch.nan))


def test_lanczos_stops_by_its_tolerance_and_takes_no_more_products_than_there_are_eigenvalues() -> None:
    B, products = spd(200, 1) + torch.eye(200, dtype=torch.float64), []

    def product(u: Tensor) -> Tensor:
        products.append(1)
        return B @ u

    v = torch.ones(200, dtype=torch.float64)
    values, vectors = torch.linalg.eigh(B)
    exact = vectors @ (values**-0.25 * (vectors.T @ v))
    near = matrix_function(product, v, lambda s: s**-0.25, tol=1e-6, max_iterations=100)
    assert len(products) < 60
    assert (near - exact).norm() < 1e-6 * exact.norm()
    products.clear()
    twice = torch.diag(torch.tensor([2.0, 2.0, 5.0], dtype=torch.float64))
    assert torch.allclose(
        matrix_function(lambda u: product_of(twice, products, u), v[:3], torch.sqrt, tol=1e-9, max_iterations=9),
        twice.sqrt() @ v[:3],
    )
    assert len(products) == 2
    with pytest.raises(NotConverged, match="in 3 products"):
        matrix_function(product, v, lambda s: s**-0.25, tol=1e-6, max_iterations=3)
    assert not matrix_function(product, 0 * v, torch.sqrt, tol=1e-9, max_iterations=1).any()


def product_of(matrix: Tensor, products: list[int], u: Tensor) -> Tensor:
    products.append(1)
    return matrix @ u


def test_a_solve_that_does_not_get_there_says_so() -> None:
    B = torch.diag(torch.logspace(-6, 0, 60, dtype=torch.float64))
    with pytest.raises(NotConverged, match="after 3 products"):
        MatrixFree(lambda v: B @ v, max_iterations=3).power(-1, torch.ones(60, dtype=torch.float64))
