"""Rows through a frozen network: what goes into one of its layers becomes the feature `x`, under a head that forgets.

What a row becomes depends on no row beside it, in no bit: rows are read in batches of one size where every place of a
batch computes alike, and one by one where it does not. The network learns nothing here. What its weights owe to the
rows is declared:

- "public": given, and trained on none of these rows;
- "random": drawn from a seed, so they owe nothing to anybody (random features);
- "private": given, and trained on these rows under `mu`-Gaussian differential privacy for one row. m forgotten rows
  then cost m mu (group privacy: Dong, Roth & Su 2022, theorem 2.14), once for all releases: the weights are drawn once.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from expunge import keyed
from expunge.errors import InputError
from expunge.features.feature import Fitted, PublicFeature, State, check_columns, column
from expunge.models import Model, initial_weights
from expunge.noise import NoiseKey
from expunge.record import tensor_digest
from expunge.schema import Array, Column, Schema

ORIGINS = ("public", "random", "private")
BATCH = 64  # rows read together, always: the shape of a product decides its last bits, and other rows must not be felt
Kinds = tuple[tuple[str, tuple[int, ...], bool], ...]  # of each input its name, the shape of a row, whether it is float
PURPOSE = ("frozen_network",)


@dataclass(frozen=True, eq=False)
class FrozenNetwork(PublicFeature):
    """Columns through a frozen network to the input of one of its layers, (n, width), in float64.

    Args:
        model: builds the network. columns: what it reads: one column, or those that its forward names.
        origin: what its weights owe to rows: "public", "random" or "private".
        weights: its state_dict, for "public" and "private". seed: for "random".
        outputs: scores the network was built to give. scale: what the columns are multiplied by first (1/255 for
            pixels); at 1 integers stay integers. layer: whose input is the feature; "" for the last linear layer.
        mu: for "private": the Gaussian-DP budget of one row in the network's training. max_forgotten: for "private":
            how many forgotten rows, all steps together, a certificate covers.
    """

    model: Model
    columns: tuple[str, ...] = ("x",)
    origin: str = "public"
    weights: Mapping[str, Tensor] = field(default_factory=dict)
    seed: int = 0
    outputs: int = 1
    scale: float = 1.0
    layer: str = ""
    mu: float = 0.0
    max_forgotten: int = 0

    def __post_init__(self) -> None:
        check_columns("FrozenNetwork", self.columns)
        if self.origin not in ORIGINS:
            raise InputError(f"origin is one of {ORIGINS}, not {self.origin!r}.")
        if bool(self.weights) == (self.origin == "random"):
            raise InputError("Weights are given where origin is 'public' or 'private', and drawn where it is 'random'.")
        if self.outputs < 1 or not 0 < self.scale < math.inf:
            raise InputError(f"outputs={self.outputs} and scale={self.scale} were given; both are positive.")
        if self.origin == "private" and not (0 < self.mu < math.inf and self.max_forgotten >= 1):
            raise InputError(
                f"A private network needs mu > 0 and max_forgotten >= 1; given: {self.mu}, {self.max_forgotten}."
            )
        if self.origin != "private" and (self.mu or self.max_forgotten):
            raise InputError("mu and max_forgotten belong to origin='private': other networks owe nothing to the rows.")

    @property
    def share(self) -> float:
        """The mu that `max_forgotten` forgotten rows cost, by group privacy; 0 where the network owes them nothing."""
        return self.mu * self.max_forgotten

    def fit(self, state: State, noise: NoiseKey | None, purpose: str) -> Fitted:
        """`network`: a digest of its weights or seed, so that another one is noticed."""
        del state, noise, purpose
        parts = [f"{name} {tensor_digest(self.weights[name])}" for name in sorted(self.weights)] or [
            f"seed {self.seed}"
        ]
        return {"network": hashlib.sha256("\n".join(parts).encode()).hexdigest()}

    def transform(self, fitted: Fitted, columns: Mapping[str, Array]) -> NDArray[np.float64]:
        """(n, width). Nothing is kept, in memory or on disk."""
        del fitted
        inputs = {name: _tensor(name, column(columns, name), self.scale) for name in self.columns}
        network, n = self.cut(inputs), len(next(iter(inputs.values())))
        kinds = tuple((name, tuple(part.shape[1:]), part.is_floating_point()) for name, part in inputs.items())
        together = BATCH if _places_are_alike(self, kinds, torch.get_num_threads()) else 1
        rows = [network(_zeros(kinds))[:0]]
        for start in range(0, n, together):
            places = [min(place, n - 1) for place in range(start, start + together)]  # the last row fills up a batch
            rows.append(network({name: part[places] for name, part in inputs.items()})[: n - start])
        return np.asarray(torch.cat(rows).numpy())

    def assumptions(self) -> tuple[str, ...]:
        """What is declared of the network's weights."""
        match self.origin:
            case "public":
                return ("declared public: the weights of the frozen network, trained on none of these rows",)
            case "random":
                return (f"the frozen network's weights are drawn from seed {self.seed} and owe nothing to any row",)
            case _:
                told = f"declared: the frozen network was trained under {self.mu:g}-Gaussian differential privacy a row"
                return (f"{told}; up to {self.max_forgotten} forgotten rows are covered",)

    def cut(self, inputs: Mapping[str, Tensor]) -> _Cut:
        """The network for such inputs, in evaluation mode, cut at the layer."""
        declared = tuple(Column(name, "f", tuple(part.shape[1:])) for name, part in inputs.items())
        if len(declared) == 1:
            declared = (Column("x", "f", declared[0].shape),)
        module = self.model.build(Schema(declared, None), self.outputs).double().eval()
        given = self.weights or {**module.state_dict(), **initial_weights(module, self.seed, PURPOSE)}
        try:
            module.load_state_dict({name: part.double() if part.is_floating_point() else part
                                    for name, part in given.items()})  # fmt: skip
        except RuntimeError as error:
            raise InputError(f"The weights given are not those of {type(self.model).__name__}: {error}") from error
        return _Cut(module, self.layer or _last_linear(module))


class _Cut:
    """A module that gives the input of one of its layers, as (m, width)."""

    def __init__(self, module: nn.Module, layer: str) -> None:
        layers = dict(module.named_modules())
        if not layer or layer not in layers:
            raise InputError(f"The network has no layer {layer!r}; there are {[name for name in layers if name]}.")
        self.module, self.layer = module, layers[layer]

    def __call__(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """The features of a batch.

        Raises:
            InputError: the network cannot read the columns, or does not pass through the layer.
        """
        seen: list[Tensor] = []

        def keep(_: nn.Module, given: tuple[Tensor, ...]) -> None:
            seen.append(given[0])

        hook = self.layer.register_forward_pre_hook(keep)
        try:
            with torch.no_grad():
                self.module(*inputs.values()) if len(inputs) == 1 else self.module(**inputs)
        except (RuntimeError, TypeError) as error:
            shapes = {name: tuple(part.shape[1:]) for name, part in inputs.items()}
            raise InputError(f"The frozen network cannot read rows of {shapes}: {error}") from error
        finally:
            hook.remove()
        if not seen:
            raise InputError("The frozen network does not pass through the layer whose input is the feature.")
        return seen[-1].reshape(len(seen[-1]), -1)


@lru_cache(maxsize=8)
def _places_are_alike(feature: FrozenNetwork, kinds: Kinds, threads: int) -> bool:
    """Whether a row becomes the same, bit for bit, in every place of a batch; asked of rows drawn for that alone."""
    del threads  # another number of them splits the sums in another way
    drawn = {
        name: torch.from_numpy(keyed.normals(0, (*PURPOSE, name), (BATCH, *shape))) if floating else zero
        for (name, shape, floating), zero in zip(kinds, _zeros(kinds).values(), strict=True)
    }
    network = feature.cut(drawn)
    made = network(drawn)
    orders = [torch.arange(BATCH).roll(1), torch.arange(BATCH).flip(0)]
    return all(torch.equal(network({name: part[o] for name, part in drawn.items()}), made[o]) for o in orders)


def _zeros(kinds: Kinds) -> dict[str, Tensor]:
    """A batch of zeros."""
    return {
        name: torch.zeros((BATCH, *shape), dtype=torch.float64 if floating else torch.int64)
        for name, shape, floating in kinds
    }


def _last_linear(module: nn.Module) -> str:
    names = [name for name, part in module.named_modules() if isinstance(part, nn.Linear)]
    return names[-1] if names else ""


def _tensor(name: str, values: Array, scale: float) -> Tensor:
    if values.dtype.kind not in "fiub":
        raise InputError(f"Column {name!r} holds text; a frozen network reads numbers. Use FrozenText for text.")
    if values.dtype.kind != "f" and scale == 1.0:
        return torch.from_numpy(np.array(values, dtype=np.int64))
    numbers = scale * np.asarray(values, dtype=np.float64)
    if not np.isfinite(numbers).all():
        raise InputError(
            f"Column {name!r} holds NaN or infinity, which a network cannot read: fill it in or drop rows."
        )
    return torch.from_numpy(numbers)
