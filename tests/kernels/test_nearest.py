"""Distances and nearest centres: equal to plain numpy bit for bit, and a row's own whatever stands beside it."""

from __future__ import annotations

import numpy as np
import pytest

from expunge.kernels.nearest import nearest, nearest_in_numpy, square_distances, square_distances_in_numpy


@pytest.mark.parametrize(("n", "p", "k"), [(0, 3, 2), (1, 1, 1), (7, 3, 5), (100, 17, 9), (5, 0, 2), (33, 64, 16)])
def test_the_kernel_equals_its_numpy_twin(n: int, p: int, k: int, generator: np.random.Generator) -> None:
    x, centres = generator.normal(size=(n, p)), generator.normal(size=(k, p))
    assert np.array_equal(square_distances(x, centres), square_distances_in_numpy(x, centres))
    assert np.array_equal(nearest(x, centres), nearest_in_numpy(x, centres))


def test_a_rows_distance_does_not_depend_on_other_rows_centres_or_memory(generator: np.random.Generator) -> None:
    x, centres = generator.normal(size=(50, 33)), generator.normal(size=(11, 33))
    together = square_distances(x, centres)
    for i in range(0, 50, 7):
        assert np.array_equal(square_distances(x[i : i + 1], centres)[0], together[i])
    for k in range(11):
        assert np.array_equal(square_distances(x, centres[k : k + 1])[:, 0], together[:, k])
    assert np.array_equal(square_distances(np.asfortranarray(x), np.asfortranarray(centres)), together)
    assert np.array_equal(square_distances(x[::-1], centres)[::-1], together)


def test_of_equally_near_centres_the_first_is_taken() -> None:
    centres = np.array([[5.0], [1.0], [-1.0], [1.0]])
    assert nearest(np.array([[0.0], [1.0], [5.0], [3.0]]), centres).tolist() == [1, 1, 0, 0]


def test_rows_and_centres_of_different_widths_are_refused() -> None:
    for function in (nearest, square_distances):
        with pytest.raises(ValueError, match="Rows of 2 numbers and centres of 3"):
            function(np.zeros((4, 2)), np.zeros((1, 3)))
