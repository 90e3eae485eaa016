r"""k-means that forgets: quantised and divide-and-conquer [Ginart et al. 2019, NeurIPS, sections 3.1 and 3.2].

Q-k-means: k-means++ chooses k rows as initial centres c_0, and T of Lloyd's steps follow. Step t assigns each row to
the nearest of c_(t-1); a cluster of s rows with the sum S becomes, m = gamma n / k,

    c = S / s  where s >= m,    c = (S + (m - s) c_(t-1)) / m  where s < m,
    c_t = the point next to c of a lattice of side epsilon with a random phase for each step.

To forget x: if it was an initial centre, start again. Else for t = 1..T take x out of its cluster, by the nearest of
c_(t-1), and make *all* centroids again (m changes with n). Where they come out as they were, no other row changes its
cluster; where one does not, the steps after t are run again on the retained rows. x moves a centroid of s rows by
|x - c| / s, and so over a border of the lattice with a chance of about that over epsilon in each coordinate.

DC-k-means: each row goes to one of width^depth leaves, each clustered by itself; the nodes above cluster their
children's centroids. To forget x, its leaf is clustered again, and the nodes over it. With epsilon, leaves are
quantised too, and x is first tried to be taken out of its leaf as above.

Differs from the paper and its code in:
1. Draws are keyed: initial centres win races that each row runs for itself (`maths/initial_centres.py`), phases belong
   to (seed, node, step), a row's leaf to its owner. So the record equals the one learned without the rows, bit for bit,
   and new rows are learned likewise (`extend`).
2. All initial centres are recorded; the published code misses the first, and with it 1 in k of the restarts.
3. Sums are exact, and S - x over s - 1 is the new mean. An empty cluster stays where it was, and a row leaves: the
   published code divides x alone by s, makes NaN of empty clusters, and sets forgotten rows to zero.
4. Every step assigns by the centroids of the step before it, where the published code takes those of another one.
5. T is fixed: a stop at the first step that does not lower the loss would depend on every row.
6. Fewer rows than k make as many clusters: a deletion must not fail because few rows are left.
7. Centroids that climb the tree carry their clusters' sizes as weights; those of empty clusters stay behind.

k-means cannot adopt centroids made elsewhere: they tell neither which rows were initial centres, nor any step's sums.

Guarantee: exact, bit for bit
Models: k-means clustering; rows need no target
Strong: no retained row is read unless a rounded centroid moves; with a tree, one leaf is clustered again
Weak: a coarse lattice and many leaves cost inertia, and the k initial centres stay in the record
Paper: Ginart et al. 2019
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from expunge import keyed
from expunge.errors import InputError
from expunge.kernels.nearest import square_distances
from expunge.keyed import Keys
from expunge.learners.points import coordinates, dealt
from expunge.maths.cluster_tree import Levels, Tree
from expunge.maths.lloyd import Floats
from expunge.maths.quantised_k_means import NOTHING, Clusters, Problem, Run
from expunge.method import Forgetting, Method, Release, check_size, check_step
from expunge.methods.retrain import EXACT
from expunge.noise import NoiseKey
from expunge.rows import Rows
from expunge.schema import Array


@dataclass(frozen=True, eq=False)
class KMeansRecord:
    """`leaves`: their runs (without a lattice the last step only: any row changes the first). `above`: what the nodes
    over them end with, level by level, the root at the end.
    """

    seed: int
    leaves: tuple[Run, ...]
    above: Levels = ()


@dataclass(frozen=True)
class KMeans(Method[KMeansRecord]):
    """Exact forgetting for k-means. A target, where rows have one, is not looked at.

    Args:
        clusters: k. steps: T. gamma: clusters smaller than gamma n / k are drawn to where they were.
        lattice: side of the lattice that centroids are rounded to, in the units of x; None for no lattice.
        width, depth: of the tree, which has width^depth leaves. With width 1 there is one problem and no tree.
    """

    needs_target: ClassVar[bool] = False
    clusters: int = 8
    steps: int = 10
    lattice: float | None = 0.2
    gamma: float = 0.2
    width: int = 1
    depth: int = 1

    def __post_init__(self) -> None:
        for name in ("clusters", "steps", "width", "depth"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}={getattr(self, name)} was given, and at least 1 was expected.")
        if self.lattice is not None and not 0 < self.lattice < inf:
            raise InputError(f"lattice={self.lattice} was given; a positive side, or None for none, was expected.")
        if not 0 <= self.gamma <= 1:
            raise InputError(f"gamma={self.gamma} was given; a share from 0 to 1 was expected.")
        if self._leaves > 2**16:
            raise InputError(f"width={self.width} and depth={self.depth} make {self._leaves} leaves: take fewer.")

    def learn(self, rows: Rows, *, seed: int, noise: NoiseKey) -> KMeansRecord:
        """Cluster every leaf, and the nodes above. No noise is used.

        Raises:
            InputError: there is no row, no column x, or a number in it is NaN, infinite, text or beyond 1e100.
        """
        del noise
        if not len(rows):
            raise InputError("There is no row to learn from; give at least one.")
        nothing = KMeansRecord(seed, (NOTHING,) * self._leaves)
        return self._finished(nothing, rows, range(self._leaves)).record

    def forget(
        self, record: KMeansRecord, retained: Rows, forgotten: Rows, *, noise: NoiseKey
    ) -> Forgetting[KMeansRecord]:
        """Take the rows out of their leaves' steps, and run again what that changes.

        Raises:
            MustRetrain: no row is left. InputError: these are not the record's rows.
        """
        del noise
        check_step(retained, forgotten)
        check_size(_size(record), retained, forgotten)
        return self._changed(record, forgotten, -1, retained)

    def extend(self, record: KMeansRecord, retained: Rows, added: Rows, *, noise: NoiseKey) -> Forgetting[KMeansRecord]:
        """Add the rows to their leaves' steps, and run again what that changes: as if all were learned together.

        Raises:
            InputError: these are not the record's rows, or an id is among them already.
        """
        del noise
        check_size(_size(record), retained)
        return self._changed(record, added, 1, retained.and_rows(added))

    def release(self, record: KMeansRecord) -> Release:
        """The root's centroids, (min(k, n), p)."""
        root = record.above[-1][0] if record.above else Clusters.of(record.leaves[0])
        return Release({"centroids": root.centroids})

    def predict(self, release: Release, columns: Mapping[str, Array]) -> Tensor:
        """Minus the squared distance to each centroid, (m, k): the largest score is that of the row's cluster."""
        centroids = release.tensors["centroids"].numpy()
        return -torch.from_numpy(square_distances(coordinates(columns, centroids.shape[1]), centroids))

    def inertia(self, release: Release, columns: Mapping[str, Array]) -> float:
        """The sum over rows of the squared distance to the nearest centroid."""
        return -float(self.predict(release, columns).amax(1).sum())

    @property
    def _leaves(self) -> int:
        return int(self.width**self.depth)

    @property
    def _levels(self) -> int:  # of nodes over the leaves
        return self.depth if self.width > 1 else 0

    def _changed(self, record: KMeansRecord, changed: Rows, sign: int, rows: Rows) -> Forgetting[KMeansRecord]:
        """The record of `rows`, which are its own without those that left (-1), or with those that came (1)."""
        if not len(changed):
            return Forgetting(record, EXACT, {"rows_visited": 0})
        leaves = list(record.leaves)
        touched = dealt(changed, record.seed, self._leaves, columns=leaves[0].initial.shape[1])
        for leaf, points in touched.items():
            run = leaves[leaf] if self.lattice else leaves[leaf].only(slice(0))
            leaves[leaf] = self._problem(record.seed, self._levels, leaf, points.x.shape[1]).changed(run, points, sign)
        return self._finished(replace(record, leaves=tuple(leaves)), rows, touched)

    def _finished(self, record: KMeansRecord, rows: Rows, touched: Collection[int]) -> Forgetting[KMeansRecord]:
        """The record with the touched leaves run to their ends, and the nodes over them clustered again."""
        leaves = list(record.leaves)
        unfinished = [leaf for leaf in sorted(touched) if len(leaves[leaf]) < self.steps]
        steps = visits = started = 0
        for leaf, points in dealt(rows, record.seed, self._leaves, unfinished).items():
            before = leaves[leaf]
            run, passes = self._problem(record.seed, self._levels, leaf, points.x.shape[1]).finished(before, points)
            leaves[leaf] = run if self.lattice else run.only(slice(-1, None))
            steps, visits = steps + self.steps - len(before), visits + len(points) * passes
            started += not len(before.keys)
        stats = {"rows_visited": visits, "leaves_touched": len(touched), "leaves_run_again": len(unfinished)}
        stats |= {"steps_run_again": steps, "started_again": started}
        tree = Tree(self.width, self._levels, partial(self._problem, record.seed))
        above = tree.above([Clusters.of(run) for run in leaves], record.above, touched)
        return Forgetting(KMeansRecord(record.seed, tuple(leaves), above), EXACT, stats)

    def _problem(self, seed: int, level: int, node: int, columns: int) -> Problem:
        """The problem of a node (level 0 is the root's), with its own keyed draws."""

        def uniforms(choice: int, keys: Keys) -> Floats:
            return keyed.uniforms(seed, ("k-means", "centre", level, node, choice), keys)

        places = np.arange(self.steps * columns, dtype=np.uint64)
        phases = keyed.uniforms(seed, ("k-means", "phase", level, node), places).reshape(self.steps, columns)
        return Problem(self.clusters, self.gamma, self.lattice, phases, uniforms)


def _size(record: KMeansRecord) -> int:
    return int(sum(run.partition.sizes[-1].sum() for run in record.leaves))
