"""Weights that carry no noise, beside noised ones in a release: they travel as the bits of their numbers.

What a release holds as floating numbers is read as noised by whoever judges it (the contract, audits, the exposure of
two releases). Public weights are none of that: integers under `public/<type>/<name>` say so, and lose nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

PUBLIC = "public/"
BITS = {torch.float32: torch.int32, torch.float64: torch.int64}
TYPES = {"float32": torch.float32, "float64": torch.float64}


def as_bits(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each tensor as integers of its bits, named by its type; integers stay as they are."""
    return {
        f"{PUBLIC}{str(part.dtype).removeprefix('torch.')}/{name}": part.view(BITS.get(part.dtype, part.dtype))
        for name, part in weights.items()
    }


def from_bits(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights that `as_bits` made; tensors of other names are passed over."""
    weights = {}
    for key, part in tensors.items():
        if key.startswith(PUBLIC):
            kind, _, name = key.removeprefix(PUBLIC).partition("/")
            weights[name] = part.view(TYPES.get(kind, part.dtype))
    return weights
