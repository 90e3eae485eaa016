"""k-means against plain numpy and scikit-learn from the same initial centres, and its limits."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.cluster import KMeans as ScikitKMeans

from expunge.learners.points import dealt
from expunge.maths.quantised_k_means import NOTHING, Points
from expunge.methods.k_means import KMeans, KMeansRecord
from expunge.noise import NoiseKey
from expunge.rows import Rows

Floats = NDArray[np.float64]
NOISE = NoiseKey(bytes(32), 1)


def some_rows(n: int = 200, p: int = 3, seed: int = 0) -> Rows:
    generator = np.random.default_rng(seed)
    return Rows.of(generator.normal(size=(n, p)) + 2.0 * generator.integers(0, 3, size=(n, 1)))


def lloyd(x: Floats, initial: Floats, steps: int, weights: Floats | None = None) -> Floats:
    """Plain Lloyd's steps; an empty cluster stays where it is."""
    centres = initial.copy()
    each = np.ones(len(x)) if weights is None else weights
    for _ in range(steps):
        codes = ((x[:, None] - centres) ** 2).sum(2).argmin(1)
        for k in range(len(centres)):
            if (codes == k).any():
                centres[k] = np.average(x[codes == k], axis=0, weights=each[codes == k])
    return centres


def learned(method: KMeans, rows: Rows, seed: int = 1) -> tuple[KMeansRecord, Floats]:
    record = method.learn(rows, seed=seed, noise=NOISE)
    return record, method.release(record).tensors["centroids"].numpy()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("steps", [1, 2, 10])
def test_without_lattice_and_correction_it_is_lloyds_algorithm(seed: int, steps: int) -> None:
    rows = some_rows(seed=seed)
    record, found = learned(KMeans(5, steps, None, 0.0), rows, seed)
    initial = record.leaves[0].initial.numpy()
    assert all((rows.columns["x"] == centre).all(1).any() for centre in initial)
    np.testing.assert_allclose(found, lloyd(rows.columns["x"], initial, steps), rtol=1e-12, atol=1e-12)


def test_many_steps_end_where_scikit_learn_ends() -> None:
    rows = some_rows()
    record, found = learned(KMeans(4, 60, None, 0.0), rows)
    other = ScikitKMeans(4, init=record.leaves[0].initial.numpy(), n_init=1, tol=0.0, max_iter=300).fit(
        rows.columns["x"]
    )
    np.testing.assert_allclose(found, other.cluster_centers_, rtol=1e-10)
    method = KMeans(4, 60, None, 0.0)
    assert method.inertia(method.release(record), rows.columns) == pytest.approx(other.inertia_)
    assert method.predict(method.release(record), rows.columns).argmax(1).tolist() == other.labels_.tolist()


def test_a_lattice_of_vanishing_side_is_none() -> None:
    rows = some_rows()
    _, plain = learned(KMeans(5, 10, None, 0.0), rows)
    for side in (1e-6, 1e-9):
        _, found = learned(KMeans(5, 10, side, 0.0), rows)
        np.testing.assert_allclose(found, plain, atol=side)
    _, corrected = learned(KMeans(5, 10, None, 1e-9), rows)
    assert np.array_equal(corrected, plain)


def test_a_quantised_step_lies_within_half_a_side_of_the_plain_one() -> None:
    rows = some_rows()
    _, plain = learned(KMeans(5, 1, None, 0.0), rows)
    record, found = learned(KMeans(5, 1, 0.25, 0.0), rows)
    assert np.abs(found - plain).max() <= 0.125 + 1e-12
    phases = (found / 0.25) % 1.0
    np.testing.assert_allclose(phases, np.broadcast_to(phases[0], phases.shape), atol=1e-9)  # one phase a step
    assert record.leaves[0].partition.sizes.sum() == 200


def test_the_root_clusters_the_leaves_centroids_by_their_sizes() -> None:
    rows = some_rows(300)
    method = KMeans(4, 7, None, 0.0, width=3)
    record, found = learned(method, rows)
    points = np.concatenate([leaf.centroids[-1].numpy() for leaf in record.leaves])
    sizes = np.concatenate([leaf.partition.sizes[-1].numpy() for leaf in record.leaves]).astype(np.float64)
    assert sizes.min() > 0
    root, _ = method._problem(1, 0, 0, 3).finished(NOTHING, Points(points, sizes, np.arange(12, dtype=np.uint64)))
    assert sizes.sum() == int(record.above[0][0].sizes.sum()) == 300
    np.testing.assert_allclose(found, lloyd(points, root.initial.numpy(), 7, sizes), rtol=1e-12)


def test_each_leaf_is_lloyds_algorithm_on_its_rows() -> None:
    rows = some_rows(300)
    record, _ = learned(KMeans(4, 5, None, 0.0, width=3), rows)
    sizes = 0
    for number, leaf in enumerate(record.leaves):
        points = dealt(rows, 1, 3, [number])[number]
        np.testing.assert_allclose(leaf.centroids[-1].numpy(), lloyd(points.x, leaf.initial.numpy(), 5), rtol=1e-12)
        sizes += len(points)
    assert sizes == 300
