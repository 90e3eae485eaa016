"""One problem of quantised k-means: learned, and changed when rows leave or come [Ginart et al. 2019, algorithms 1, 2].

What is kept of a run is what `changed` needs: the initial centres, and of each step the sizes, the exact sums and the
centroids. As long as no centroid changes, no other row changes its cluster; so a row that leaves or comes is followed
through the steps by itself, and only from the first changed centroid on have all rows to be looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from expunge.kernels.nearest import nearest
from expunge.maths.exact_sums import ExactSums
from expunge.maths.initial_centres import initial_centres
from expunge.maths.lloyd import Floats, Partition, balanced_means, moved, quantised

Keys = NDArray[np.uint64]
CHUNK_ROWS = 1 << 14  # of rows that leave or come: they are copied once for each step


@dataclass(frozen=True, eq=False)
class Points:
    """What a problem clusters: x (n, p), whole positive weights (n,), and keys (n,), all different."""

    x: Floats
    weights: Floats
    keys: Keys

    def __len__(self) -> int:
        return len(self.keys)

    @classmethod
    def joined(cls, parts: Sequence[Points]) -> Points:
        """The points of all parts, of which there is one at least."""
        x, weights, keys = zip(*((part.x, part.weights, part.keys) for part in parts), strict=True)
        return cls(np.concatenate(x), np.concatenate(weights), np.concatenate(keys))


@dataclass(frozen=True, eq=False)
class Run:
    """A problem clustered: what its initial centres are, and of t steps the partition and the centroids made of it.

    While it is being changed it may lack its last steps, or everything (`NOTHING`).

    Attributes:
        keys, initial: (c,) and (c, p) of the initial centres, c = min(k, n). centroids: (t, c, p).
    """

    keys: Tensor
    initial: Tensor
    partition: Partition
    centroids: Tensor

    def __len__(self) -> int:
        return len(self.centroids)

    def only(self, steps: slice) -> Run:
        """The same with these steps only."""
        return replace(self, partition=self.partition[steps], centroids=self.centroids[steps])


@dataclass(frozen=True, eq=False)
class Clusters:
    """What a problem ends with: `centroids` (c, p) and their clusters' `sizes` (c,)."""

    centroids: Tensor
    sizes: Tensor

    @classmethod
    def of(cls, run: Run) -> Clusters:
        """Those of the last step."""
        return cls(run.centroids[-1], run.partition.sizes[-1])


NOTHING = Run(
    torch.empty(0, dtype=torch.uint64),
    torch.empty(0, 0),
    Partition(torch.empty(0, 0, dtype=torch.int64), ExactSums.zeros(0, 0, 0)),
    torch.empty(0, 0, 0),
)


@dataclass(frozen=True, eq=False)
class Problem:
    """k-means++, then T steps.

    Args:
        clusters: k. gamma: of small clusters. side: of the lattice, or None for none (see `maths.lloyd`).
        phases: the lattices' of all steps, (T, p) in [0, 1).
        uniforms: (choice, keys) -> the noise in the race for that initial centre, (n,), in (0, 1).
    """

    clusters: int
    gamma: float
    side: float | None
    phases: Floats
    uniforms: Callable[[int, Keys], Floats]

    def finished(self, run: Run, points: Points) -> tuple[Run, int]:
        """The run with what it lacks, initial centres and steps, on all its points; and the passes over them."""
        passes = 0
        if not len(run.keys):
            run = self._started(points)
            passes = len(run.keys)
        partitions, centroids, codes = [run.partition], [*run.centroids.numpy()[:, None]], None
        for step in range(len(run), len(self.phases)):
            before = centroids[-1] if centroids else run.initial.numpy()[None]
            now = nearest(points.x, before[0])[None]
            if codes is None:
                partition = Partition.of(points.x, points.weights, now, before.shape[1])
            else:
                partition = moved(points.x, points.weights, partitions[-1], codes, now)
            partitions.append(partition)
            centroids.append(self._centroids(slice(step, step + 1), partition, before))
            codes, passes = now, passes + 1
            if self.side is None and np.array_equal(centroids[-1], before):  # a fixed point: so ends every later step
                left = len(self.phases) - step - 1
                partitions, centroids = partitions + [partition] * left, centroids + [centroids[-1]] * left
                break
        whole = torch.from_numpy(np.concatenate(centroids))
        return replace(run, partition=Partition.joined(partitions), centroids=whole), passes

    def changed(self, run: Run, points: Points, sign: int) -> Run:
        """The run after `points` came (1) or left (-1), as far as it can be told from them alone.

        As long as no centroid changes, all other rows stay in their clusters, and the points that came or left go to
        those of the centroids known. So the answer is complete where every centroid comes out as it was, else it ends
        with the first step where one does not; and it is NOTHING where the initial centres are others.
        """
        if not self._starts_alike(run, points, sign):
            return NOTHING
        if not len(run):
            return run
        before = np.concatenate([run.initial.numpy()[None], run.centroids.numpy()])[: len(run)]
        partition = run.partition
        for start in range(0, len(points), CHUNK_ROWS):
            x, weights = points.x[start:][:CHUNK_ROWS], points.weights[start:][:CHUNK_ROWS]
            codes = np.stack([nearest(x, centres) for centres in before])
            change = Partition.of(x, weights, codes, before.shape[1])
            partition = partition + change if sign > 0 else partition - change
        centroids = self._centroids(slice(len(run)), partition, before)
        other = (centroids != run.centroids.numpy()).any((1, 2))
        valid = slice(int(other.argmax()) + 1 if other.any() else len(run))
        return replace(run, partition=partition, centroids=torch.from_numpy(centroids)).only(valid)

    def _started(self, points: Points) -> Run:
        chosen = initial_centres(points.x, points.weights, points.keys, self.clusters, self.uniforms)
        keys, initial = torch.from_numpy(points.keys[chosen]), torch.from_numpy(points.x[chosen])
        none = Partition.of(points.x, points.weights, np.empty((0, len(points)), dtype=np.int64), len(chosen))
        return Run(keys, initial, none, torch.empty((0, *initial.shape), dtype=torch.float64))

    def _starts_alike(self, run: Run, points: Points, sign: int) -> bool:
        """Whether no initial centre left, and none that came would have won a race against the winners."""
        keys = run.keys.numpy()
        if sign < 0 or not len(keys):
            return len(keys) > 0 and not np.isin(keys, points.keys).any()
        winners = Points(run.initial.numpy(), np.ones(len(keys)), keys)
        return np.array_equal(self._started(Points.joined([winners, points])).keys.numpy(), keys)

    def _centroids(self, steps: slice, partition: Partition, before: Floats) -> Floats:
        """The centroids (t, c, p) of these steps, from their partitions and the centroids of the steps before."""
        means = balanced_means(partition, before, self.gamma)
        return (means if self.side is None else quantised(means, self.side, self.phases[steps])) + 0.0  # no -0.0
