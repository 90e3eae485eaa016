"""Divide-and-conquer k-means above its leaves [Ginart et al. 2019, algorithm 3].

Each node clusters the centroids of its children, weighted by the sizes of their clusters; empty clusters stay behind.
A leaf that changed changes the nodes on its way to the root and no others. A node has at most width k points, so it is
always clustered from the start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from expunge.maths.quantised_k_means import NOTHING, Clusters, Points, Problem

Levels = tuple[tuple[Clusters, ...], ...]


@dataclass(frozen=True)
class Tree:
    """`levels` levels of nodes over width^levels leaves; `problem`: (level, node, p) -> its problem, the root 0, 0."""

    width: int
    levels: int
    problem: Callable[[int, int, int], Problem]

    def above(self, leaves: Sequence[Clusters], before: Levels, touched: Iterable[int]) -> Levels:
        """What every node ends with, level by level, the root's at the end.

        Args:
            leaves: what they end with. before: the nodes as they were (nothing yet: all leaves are touched).
            touched: leaves that changed.
        """
        below, changed, found = tuple(leaves), set(touched), []
        for height, level in enumerate(reversed(range(self.levels))):
            changed = {child // self.width for child in changed}
            nodes = [
                self._node(level, node, below[node * self.width :][: self.width])
                if node in changed
                else before[height][node]
                for node in range(self.width**level)
            ]
            below = tuple(nodes)
            found.append(below)
        return tuple(found)

    def _node(self, level: int, node: int, children: Sequence[Clusters]) -> Clusters:
        problem, parts = self.problem(level, node, children[0].centroids.shape[1]), []
        for child, clusters in enumerate(children):
            held = np.flatnonzero(clusters.sizes.numpy())
            keys = (child * problem.clusters + held).astype(np.uint64)
            weights = clusters.sizes.numpy()[held].astype(np.float64)
            parts.append(Points(clusters.centroids.numpy()[held], weights, keys))
        return Clusters.of(problem.finished(NOTHING, Points.joined(parts))[0])
