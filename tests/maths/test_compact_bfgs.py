"""The compact BFGS Hessian held against the dense recursion, and what conjugate pairs add."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from expunge.maths.compact_bfgs import Pair, compact, curvature
from expunge.maths.secants import Secants

D = 7


def quadratic(generator: np.random.Generator) -> torch.Tensor:
    root = generator.normal(size=(D, D))
    return torch.from_numpy(root @ root.T + 0.1 * np.eye(D))


def pairs_of(H: torch.Tensor, steps: list[torch.Tensor]) -> list[Pair]:
    return [(s, H @ s) for s in steps]


def random_steps(generator: np.random.Generator, count: int) -> list[torch.Tensor]:
    return [torch.from_numpy(generator.normal(size=D)) for _ in range(count)]


def along_a_path(generator: np.random.Generator, count: int) -> list[torch.Tensor]:
    """Points of a smooth curve: nearly parallel, as trajectories drift apart."""
    a, b, c = random_steps(generator, 3)
    return [t * a + t**2 / 10 * b + t**3 / 100 * c for t in np.linspace(1.0, 1.6, count)]


def dense(pairs: list[Pair]) -> torch.Tensor:
    """B_{k+1} = B - B s s^T B / s^T B s + y y^T / y^T s, from sigma I (Nocedal & Wright 2006, 6.19)."""
    s, y = pairs[-1]
    B = torch.eye(D, dtype=torch.float64) * (y @ s) / (s @ s)
    for s, y in pairs:
        Bs = B @ s
        B = B - torch.outer(Bs, Bs) / (s @ Bs) + torch.outer(y, y) / (y @ s)
    return B


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_product_is_that_of_the_dense_recursion(count: int, generator: np.random.Generator) -> None:
    H = quadratic(generator)
    pairs = [
        (s, y + 0.01 * torch.from_numpy(generator.normal(size=D)))
        for s, y in pairs_of(H, random_steps(generator, count))
    ]
    product = compact(pairs).product
    columns = torch.stack([product(e) for e in torch.eye(D, dtype=torch.float64)])
    np.testing.assert_allclose(columns, dense(pairs), rtol=1e-9, atol=1e-9)


def test_the_length_of_a_pair_does_not_matter(generator: np.random.Generator) -> None:
    H, (v,) = quadratic(generator), random_steps(generator, 1)
    pairs = pairs_of(H, random_steps(generator, 3))
    scaled = [(s * 10.0**-k, y * 10.0**-k) for k, (s, y) in enumerate(pairs)]
    np.testing.assert_allclose(compact(pairs).product(v), compact(scaled).product(v), rtol=1e-9)


def test_the_newest_pair_is_always_mapped_and_older_ones_only_where_conjugate(generator: np.random.Generator) -> None:
    H = quadratic(generator)
    pairs = pairs_of(H, along_a_path(generator, 3))
    plain, conjugate = compact(pairs), compact(pairs, conjugate=True)
    s, y = pairs[-1]
    np.testing.assert_allclose(plain.product(s), y, rtol=1e-8)
    for s, y in pairs:
        np.testing.assert_allclose(conjugate.product(s), y, rtol=1e-6)
    ahead = along_a_path(generator, 3)[-1]  # another curve: nothing is said of it
    assert float((conjugate.product(ahead) - H @ ahead).norm()) > 1e-3
    difference = pairs[0][0] - pairs[2][0]
    errors = [float((B.product(difference) - H @ difference).norm()) for B in (plain, conjugate)]
    assert errors[1] < 1e-6 < 1e-2 < errors[0]


@pytest.mark.parametrize("conjugate", [False, True])
def test_it_is_positive_definite_and_symmetric(conjugate: bool, generator: np.random.Generator) -> None:
    product = compact(pairs_of(quadratic(generator), along_a_path(generator, 4)), conjugate=conjugate).product
    B = torch.stack([product(e) for e in torch.eye(D, dtype=torch.float64)])
    np.testing.assert_allclose(B, B.T, atol=1e-8)
    assert float(torch.linalg.eigvalsh((B + B.T) / 2).min()) > 0


@pytest.mark.parametrize("conjugate", [False, True])
def test_pairs_that_repeat_one_another_do_no_harm(conjugate: bool, generator: np.random.Generator) -> None:
    H = quadratic(generator)
    other, same = random_steps(generator, 2)
    repeated = compact(pairs_of(H, [other, same, 2 * same]), conjugate=conjugate)
    assert repeated.wide.shape[0] == (4 if conjugate else 6)
    assert bool(torch.isfinite(repeated.product(other)).all())
    np.testing.assert_allclose(repeated.product(same), H @ same, rtol=1e-6)


def test_a_difference_without_curvature_is_left_out() -> None:
    first, second = torch.eye(2, dtype=torch.float64)
    H = torch.diag(torch.tensor([2.0, -1.0], dtype=torch.float64))
    pairs = [(first + 0.1 * second, H @ (first + 0.1 * second)), (first, H @ first)]
    assert compact(pairs, conjugate=True).wide.shape[0] == 2
    np.testing.assert_allclose(compact(pairs, conjugate=True).product(second), 2 * second)


def test_without_positive_curvature_products_are_refused_until_a_pair_is_taken_again() -> None:
    s = torch.tensor([1.0, 0.0], dtype=torch.float64)
    secants = Secants(2, floor=1e-8)
    assert secants.product(s) is None
    secants.add(s, 2 * s)
    assert secants.product(s) is not None
    secants.add(s, -s)
    assert (secants.product(s), secants.not_taken) == (None, 1)
    secants.add(s, 1e-9 * s)
    assert (secants.product(s), secants.not_taken) == (None, 2)
    secants.add(s, 3 * s)
    product = secants.product(s)
    assert product is not None
    np.testing.assert_allclose(product, 3 * s)


def test_a_product_longer_than_any_hessian_could_give_is_refused() -> None:
    s = torch.tensor([1.0, 0.0], dtype=torch.float64)
    steep, flat = Secants(2, floor=0.0, lipschitz=4.0), Secants(2, floor=0.0, lipschitz=6.0)
    for secants in (steep, flat):
        secants.add(s, 5 * s)
    assert steep.product(s) is None
    assert flat.product(s) is not None


def test_the_curvature_of_no_step_is_none() -> None:
    nothing = torch.zeros(2, dtype=torch.float64)
    assert curvature((nothing, nothing)) == -np.inf
