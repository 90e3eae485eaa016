"""Block-diagonal curvature whose blocks are Kronecker products G x A (K-FAC; Martens & Grosse 2015).

The block of a layer with weights W (out, in) is G x A on W read row after row: its product with V is G V A. With
A = R diag(a) R^T and G = L diag(g) L^T its eigenvalues are g_o a_i and V enters the basis as L^T V R, so the damped
inverse and every other power of G x A + damping I are exact.

Differs from the paper in: no split of the damping between the factors (their pi), which approximates the inverse taken
exactly here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from typing_extensions import override

from expunge.errors import InputError
from expunge.maths.curvature import Spectral, positive


@dataclass(frozen=True, eq=False)
class Factors:
    """One layer: `inputs` A (in, in), `outputs` G (out, out), `positions` (out, in) of its weights in the flat w.

    A layer with a bias has the constant 1 as its last input, and its bias as the last column.
    """

    inputs: Tensor
    outputs: Tensor
    positions: Tensor


@dataclass(frozen=True, eq=False)
class Basis:
    """Eigenvectors of one layer's factors: `left` (out, out), `right` (in, in); `positions` as in `Factors`."""

    left: Tensor
    right: Tensor
    positions: Tensor


@final
@dataclass(frozen=True, eq=False)
class Kronecker(Spectral):
    """`values` (d,): the eigenvalue of pair (o, i) stands at `positions[o, i]` of its layer."""

    values: Tensor
    layers: tuple[Basis, ...]

    @override
    def into(self, v: Tensor) -> Tensor:
        result = torch.empty_like(v)
        for layer in self.layers:
            result[layer.positions] = layer.left.T @ v[layer.positions] @ layer.right
        return result

    @override
    def out(self, coordinates: Tensor) -> Tensor:
        result = torch.empty_like(coordinates)
        for layer in self.layers:
            result[layer.positions] = layer.left @ coordinates[layer.positions] @ layer.right.T
        return result

    @override
    def spread(self, other: Spectral, variances: Tensor) -> Tensor:
        if not isinstance(other, Kronecker) or other.values.shape != self.values.shape:
            raise InputError("Two covariances are compared in one kind of basis; this one is factored, the other not.")
        result = torch.empty_like(variances)
        for mine, theirs in zip(self.layers, other.layers, strict=True):
            left, right = (mine.left.T @ theirs.left).square(), (mine.right.T @ theirs.right).square()
            result[mine.positions] = left @ variances[mine.positions] @ right.T
        return result


def kronecker(layers: Sequence[Factors], damping: float) -> Kronecker:
    """The blocks `G x A + damping I` of all layers.

    Raises:
        InputError: the layers do not cover 0..d-1 exactly once. NotConverged: a block is not positive definite.
    """
    size = sum(layer.positions.numel() for layer in layers)
    covered = torch.cat([layer.positions.reshape(-1) for layer in layers])
    if not torch.equal(covered.sort().values, torch.arange(size, device=covered.device)):
        raise InputError("The layers of a Kronecker-factored curvature must hold every weight exactly once.")
    values, bases = layers[0].inputs.new_empty(size), []
    for layer in layers:
        a, right = torch.linalg.eigh(layer.inputs)
        g, left = torch.linalg.eigh(layer.outputs)
        values[layer.positions] = g.clamp(min=0)[:, None] * a.clamp(min=0)  # rounding may take zeros below 0
        bases.append(Basis(left, right, layer.positions))
    return Kronecker(positive(values + damping), tuple(bases))
