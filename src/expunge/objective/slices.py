"""Slices of a model: the weights behind one output feature of one layer, as positions in the flat w.

| layer | a slice | its activation (the linear output, mean over places) |
|---|---|---|
| linear, and the transposed one of transformers | an output: row of the weight, and bias | of the output |
| convolution, 1 to 3 dimensions, groups | an output channel's kernels, and bias | of the channel |
| transposed convolution | the same, whose kernels lie along the weight's second axis | of the channel |
| batch, layer, group, instance and RMS norm | the pair of scale and shift | of the channel or feature |
| attention | a row of the query, key or value projection, packed or separate | of that projection |
| embedding | a token's row | none: exactly the rows of the tokens that occur have a gradient |
| anything else with weights | an entry of the first axis | none |

Layers go by their name in the module, never by the order of calls or by their text. Tied weights have one place in w:
slices of two layers may then hold the same positions. Frozen weights have none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from expunge.errors import InputError
from expunge.objective.linear import LinearObjective
from expunge.objective.module import ModuleObjective
from expunge.objective.objective import Objective

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
CHANNEL_NORMS = (
    nn.modules.batchnorm._NormBase,  # noqa: SLF001  (the one name for all batch and instance norms)
    nn.GroupNorm,
)
FEATURE_NORMS = (nn.LayerNorm, nn.RMSNorm)
PROJECTIONS = ("q_proj", "k_proj", "v_proj")


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer's slices.

    Attributes:
        name: of the module, with "in_proj" or "out_proj" after that of an attention.
        positions: (slices, width) in the flat w.
        features: how the activation lies in the layer's output: the "last" axis, axis 1 for "channel"; "token" and
            "none" have no activation.
    """

    name: str
    positions: Tensor
    features: str


@dataclass(frozen=True, eq=False)
class Slices:
    """All slices of a model, layer after layer."""

    layers: tuple[Layer, ...]

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """The number of each layer's first slice, and of all slices at the end."""
        counts = [0]
        for layer in self.layers:
            counts.append(counts[-1] + len(layer.positions))
        return tuple(counts)

    def __len__(self) -> int:
        return self.starts[-1]

    def layer_of(self, number: int) -> tuple[Layer, int]:
        """The layer of a slice, and its number in it."""
        for layer, start in zip(self.layers, self.starts, strict=False):
            if number < start + len(layer.positions):
                return layer, number - start
        raise InputError(f"There is no slice {number}; the model has {len(self)}.")

    def of(self, numbers: Iterable[int]) -> list[Tensor]:
        """The positions (width,) of each slice."""
        found = []
        for number in numbers:
            layer, row = self.layer_of(number)
            found.append(layer.positions[row])
        return found

    def norms(self, vector: Tensor) -> Tensor:
        """The norm of a flat vector (d,) in each slice, (slices,)."""
        return torch.cat([torch.linalg.vector_norm(vector[layer.positions], dim=1) for layer in self.layers])

    def tokens(self, vector: Tensor) -> list[int]:
        """The tokens whose rows a flat vector (d,) has something in: those that occur, for a gradient."""
        found = []
        for layer, start in zip(self.layers, self.starts, strict=False):
            if layer.features == "token":
                rows = vector[layer.positions].abs().amax(1).nonzero()[:, 0]
                found += [start + int(row) for row in rows]
        return found


def slices_of(objective: Objective) -> Slices:
    """The slices of a linear model or a torch module.

    Raises:
        InputError: the objective is of another kind.
    """
    if isinstance(objective, LinearObjective):
        scores = torch.arange(objective.dimension).view(objective.outputs, -1)
        return Slices((Layer("scores", scores, "last"),))
    if not isinstance(objective, ModuleObjective):
        raise InputError(f"Slices are known of linear models and torch modules, not of {type(objective).__name__}.")
    places = _places(objective)
    layers: list[Layer] = []
    done: set[int] = set()
    for name, part in objective.module.named_modules():
        if isinstance(part, nn.MultiheadAttention):
            layers += _attention(name, part, places, done)
        elif id(part) not in done:
            layers += _layer(name, part, {kind: places.get(id(p)) for kind, p in part.named_parameters(recurse=False)})
    return Slices(tuple(layers))


def _places(objective: ModuleObjective) -> dict[int, Tensor]:
    """The positions of each trainable parameter, by identity: tied ones are one."""
    named = objective.weights(torch.arange(objective.dimension))
    parameters = dict(objective.module.named_parameters())
    return {id(parameters[name]): positions for name, positions in named.items()}


def _layer(name: str, part: nn.Module, own: Mapping[str, Tensor | None]) -> list[Layer]:
    known = {kind: places for kind, places in own.items() if places is not None}
    if not known:
        return []
    weight, bias = known.pop("weight", None), known.pop("bias", None)
    others = [Layer(f"{name}.{kind}".lstrip("."), _rows(places), "none") for kind, places in known.items()]
    if weight is None and bias is None:
        return others
    if isinstance(part, nn.Embedding):
        features = "token"
    elif isinstance(part, (*CHANNEL_NORMS, *CONVOLUTIONS, *TRANSPOSED)):
        features = "channel"
    elif isinstance(part, nn.Linear) or _is_conv1d(part) or isinstance(part, FEATURE_NORMS):
        features = "last"
    else:
        features = "none"
    if weight is not None:
        weight = _by_output(part, weight)
    if bias is not None and weight is not None and len(weight) != bias.numel():
        return [Layer(name, weight, "none"), Layer(f"{name}.bias", bias.reshape(-1, 1), "none"), *others]
    pair = [weight, None if bias is None else bias.reshape(-1, 1)]
    return [Layer(name, torch.cat([each for each in pair if each is not None], 1), features), *others]


def _by_output(part: nn.Module, weight: Tensor) -> Tensor:
    """A weight's positions as (outputs, width)."""
    if isinstance(part, TRANSPOSED):
        grouped = weight.reshape(part.groups, part.in_channels // part.groups, *weight.shape[1:])
        return grouped.transpose(1, 2).reshape(part.out_channels, -1)
    if _is_conv1d(part):
        return weight.T
    return weight.reshape(-1, 1) if isinstance(part, FEATURE_NORMS) else _rows(weight)


def _attention(name: str, part: nn.MultiheadAttention, places: Mapping[int, Tensor], done: set[int]) -> list[Layer]:
    """Projections of an attention, whose output projection is no layer that is called."""
    done.add(id(part.out_proj))
    own = {kind: places.get(id(parameter)) for kind, parameter in part.named_parameters()}
    bias, found = own.get("in_proj_bias"), []
    biases = [None] * 3 if bias is None else list(bias.reshape(3, -1, 1))
    packed = own.get("in_proj_weight")
    separate = [own.get(f"{kind}_weight") for kind in PROJECTIONS]
    weights = separate if packed is None else list(packed.reshape(3, part.embed_dim, -1))
    for kind, weight, shift in zip(PROJECTIONS, weights, biases, strict=True):
        parts = [each for each in (weight, shift) if each is not None]
        if parts:
            found.append(Layer(f"{name}.{kind}".lstrip("."), torch.cat(parts, 1), "last"))
    out = [own.get("out_proj.weight"), own.get("out_proj.bias")]
    parts = [each.reshape(part.embed_dim, -1) for each in out if each is not None]
    if parts:
        found.append(Layer(f"{name}.out_proj".lstrip("."), torch.cat(parts, 1), "last"))
    for kind in ("bias_k", "bias_v"):
        extra = own.get(kind)
        if extra is not None:
            found.append(Layer(f"{name}.{kind}".lstrip("."), extra.reshape(-1, 1), "none"))
    return found


def _rows(positions: Tensor) -> Tensor:
    return positions.reshape(len(positions), -1) if positions.ndim else positions.reshape(1, 1)


def _is_conv1d(part: nn.Module) -> bool:
    """Whether it is the linear layer of transformers whose weight is (inputs, outputs)."""
    return type(part).__name__ == "Conv1D"
