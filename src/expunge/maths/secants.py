"""Secant pairs as they come in, and the Hessian of the newest few where it can be trusted."""

from __future__ import annotations

from collections import deque
from math import inf

import torch
from torch import Tensor

from expunge.maths.compact_bfgs import CompactHessian, Pair, compact, curvature


class Secants:
    """The last `memory` pairs; refuses products where they say nothing reliable of the curvature.

    A pair with s.y <= floor s.s is not taken, and no product is given until a later one is: the function is not convex
    there. Neither is one longer than `lipschitz` ||v||, which no Hessian within that bound could give.
    """

    def __init__(self, memory: int, *, floor: float, lipschitz: float = inf, conjugate: bool = True) -> None:
        """`memory`: at least 1. `floor`, `lipschitz`: bounds of the curvature. `conjugate`: see `compact_bfgs`."""
        self._pairs: deque[Pair] = deque(maxlen=memory)
        self._floor, self._lipschitz, self._conjugate = floor, lipschitz, conjugate
        self._hessian: CompactHessian | None = None
        self.not_taken = 0

    def add(self, s: Tensor, y: Tensor) -> None:
        """The next pair (s, y), each (d,) float64."""
        if not curvature((s, y)) > self._floor:
            self._hessian = None
            self.not_taken += 1
            return
        self._pairs.append((s, y))
        self._hessian = compact(tuple(self._pairs), conjugate=self._conjugate, floor=self._floor)

    def product(self, v: Tensor) -> Tensor | None:
        """B v, or None where it is refused."""
        if self._hessian is None:
            return None
        product = self._hessian.product(v)
        if self._lipschitz < inf and not bool(torch.linalg.vector_norm(product) <= self._lipschitz * v.norm()):
            return None
        return product
