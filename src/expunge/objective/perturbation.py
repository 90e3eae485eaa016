"""A row, perturbed many times: the losses and the activations of all slices that come with them.

Numbers get normal noise; of a network's column of token ids (the one that its largest embedding reads) a few positions
get random ids, the first one and the padding never; other integers, such as segments and places, stay. Rows go through
the module in batches, in inference mode, in the module's own precision. Hooks reduce each layer's linear output to its
mean over places (tokens that the mask leaves out do not count) as it comes by, so memory holds one batch and the
results. All draws are one stream of the seed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from expunge.errors import InputError
from expunge.objective.linear import LinearObjective
from expunge.objective.module import ModuleObjective
from expunge.objective.objective import Objective
from expunge.objective.slices import PROJECTIONS, Slices
from expunge.rows import Table
from expunge.schema import Array

MASK = "attention_mask"
BATCH_BYTES = 24 * 2**20  # of perturbed inputs that go through the module at once
BATCH_ROWS = 64


@dataclass(frozen=True)
class Perturbation:
    """Args: times: m. noise_scale: of the normals. tokens: positions of a text that change. vocabulary: ids below."""

    times: int = 1000
    noise_scale: float = 0.1
    tokens: int = 1
    vocabulary: int = 0

    def __post_init__(self) -> None:
        if self.times < 3 or not 0 < self.noise_scale < np.inf or self.tokens < 1 or self.vocabulary < 0:
            raise InputError(
                f"times={self.times}, noise_scale={self.noise_scale}, tokens={self.tokens}, vocabulary="
                f"{self.vocabulary}: give at least 3, a positive number, at least 1 and at least 0."
            )


@dataclass(frozen=True, eq=False)
class Perturbed:
    """`losses` (m,) and `activations` (m, slices), NaN in slices that have none; float64."""

    losses: NDArray[np.float64]
    activations: NDArray[np.float64]


def perturbed(
    objective: Objective, w: Tensor, slices: Slices, row: Table, how: Perturbation, *, seed: int
) -> Perturbed:
    """Perturb one row (a table of one), and record.

    Raises:
        InputError: the table has not one row; ids are to change and the vocabulary is not known.
    """
    if len(row) != 1:
        raise InputError(f"One row is perturbed at a time; {len(row)} were given.")
    first = next(iter(row.columns.values()))
    size = int(np.clip(BATCH_BYTES // max(1, first[0].size * 4), 1, BATCH_ROWS))
    generator, losses, activations = np.random.default_rng(seed), [], []
    weights = w.to(_precision(objective)) if isinstance(objective, ModuleObjective) else w
    recorder = _Recorder(slices, row.columns.get(MASK), linear=isinstance(objective, LinearObjective))
    with torch.inference_mode():
        vocabularies = _vocabularies(objective, weights, row.columns, how)
    with torch.inference_mode(), recorder.watching(objective):
        for start in range(0, how.times, size):
            count = min(size, how.times - start)
            columns = _drawn(objective, row.columns, how, vocabularies, count, generator)
            scores = objective.scores(weights, columns).double()
            y = np.repeat(np.asarray(row.y), count, axis=0)
            targets = objective.loss.targets(torch.as_tensor(y, device=w.device), scores.shape[1], scores.dtype)
            losses.append(objective.loss.values(scores, targets).cpu().numpy())
            activations.append(recorder.taken(scores))
    return Perturbed(np.concatenate(losses), np.concatenate(activations))


def _precision(objective: ModuleObjective) -> torch.dtype:
    return next(p.dtype for p in objective.module.parameters() if p.is_floating_point())


def _drawn(
    objective: Objective,
    columns: Mapping[str, Array],
    how: Perturbation,
    vocabularies: Mapping[str, int],
    count: int,
    generator: np.random.Generator,
) -> dict[str, Array]:
    """`count` copies of a row, each perturbed. Batches draw one after the other from one stream."""
    drawn: dict[str, Array] = {}
    numbers = "f" if isinstance(objective, ModuleObjective) else "fiub"  # a linear model has no token ids
    for name, column in sorted(columns.items()):
        copies = np.repeat(column, count, axis=0)
        if column.dtype.kind in numbers:
            noise = generator.standard_normal(copies.shape, dtype=np.float32)
            drawn[name] = copies + how.noise_scale * noise
        elif name in vocabularies:
            span = int(columns[MASK][0].sum()) if MASK in columns else column.shape[1]
            for copy in copies:
                where = 1 + generator.permutation(max(span - 1, 0))[: how.tokens]
                copy[where] = generator.integers(0, vocabularies[name], len(where))
            drawn[name] = copies
        else:
            drawn[name] = copies
    return drawn


def _vocabularies(objective: Objective, w: Tensor, columns: Mapping[str, Array], how: Perturbation) -> dict[str, int]:
    """The columns of token ids and how many ids there are: of those that embeddings read, the ones of the largest."""
    integers = {name: c for name, c in columns.items() if c.dtype.kind in "iu" and c.ndim > 1 and name != MASK}
    if not integers or not isinstance(objective, ModuleObjective):
        return {}
    found: dict[str, int] = {}

    def came(part: nn.Embedding, given: tuple[Tensor, ...]) -> None:
        for name, column in integers.items():
            if given and np.array_equal(given[0].cpu().numpy(), column):
                found[name] = min(part.num_embeddings, found.get(name, part.num_embeddings))

    with ExitStack() as stack:
        for part in objective.module.modules():
            if isinstance(part, nn.Embedding):
                hook: Any = part.register_forward_pre_hook
                stack.callback(hook(came).remove)
        objective.scores(w, columns)
    if how.vocabulary and not found:
        return dict.fromkeys(integers, how.vocabulary)
    if not found:
        raise InputError(
            f"Columns {sorted(integers)} hold integers and no embedding that reads them says how many there are: give "
            "vocabulary=."
        )
    return {name: how.vocabulary or size for name, size in found.items() if size == max(found.values())}


class _Recorder:
    """Takes each layer's reduced output as it comes by."""

    def __init__(self, slices: Slices, mask: Array | None, *, linear: bool) -> None:
        self.slices, self.linear = slices, linear
        self.layers = {layer.name: layer for layer in slices.layers if layer.features in ("last", "channel")}
        self.mask = None if mask is None else torch.as_tensor(np.asarray(mask) > 0)
        self.seen: dict[str, list[Tensor]] = {}

    @contextmanager
    def watching(self, objective: Objective) -> Iterator[None]:
        """Hooks on the module while the block runs; a linear model's scores are its activations."""
        with ExitStack() as stack:
            if isinstance(objective, ModuleObjective):
                for name, part in objective.module.named_modules():
                    if isinstance(part, nn.MultiheadAttention):
                        handle = part.register_forward_hook(partial(self._attended, name), with_kwargs=True)
                        stack.callback(handle.remove)
                    elif name in self.layers:
                        stack.callback(part.register_forward_hook(partial(self._passed, name)).remove)
            yield

    def taken(self, scores: Tensor) -> NDArray[np.float64]:
        """The activations (rows, slices) of what came by since the last call."""
        rows = []
        for layer in self.slices.layers:
            came = self.seen.get(layer.name, [scores] if self.linear else [])
            if came:  # of several calls the mean
                rows.append(torch.stack(came).mean(0).double())
            else:
                rows.append(torch.full((len(scores), len(layer.positions)), torch.nan, dtype=torch.float64))
        self.seen = {}
        return torch.cat([part.cpu() for part in rows], 1).numpy()

    def _passed(self, name: str, _: nn.Module, __: Any, out: Any) -> None:
        layer = self.layers[name]
        if isinstance(out, Tensor):
            self._keep(name, self._reduced(out, len(layer.positions), layer.features))

    def _attended(self, name: str, part: nn.MultiheadAttention, given: Any, named: Any, out: Any) -> None:
        """An attention computes its projections inside: they are computed again from what came in."""
        inputs = [*given, *(named[key] for key in ("query", "key", "value")[len(given) :] if key in named)][:3]
        weights: list[Any] = [part.q_proj_weight, part.k_proj_weight, part.v_proj_weight]
        if part.in_proj_weight is not None:
            weights = list(part.in_proj_weight.chunk(3))
        biases: list[Any] = [None] * 3 if part.in_proj_bias is None else list(part.in_proj_bias.chunk(3))
        products = [nn.functional.linear(*triple) for triple in zip(inputs, weights, biases, strict=True)]
        for kind, product in zip((*PROJECTIONS, "out_proj"), (*products, out[0]), strict=True):
            full = f"{name}.{kind}".lstrip(".")
            if full in self.layers:
                rows_first = product if part.batch_first or product.ndim < 3 else product.transpose(0, 1)
                self._keep(full, self._reduced(rows_first, product.shape[-1], "last"))

    def _keep(self, name: str, reduced: Tensor) -> None:
        self.seen.setdefault(name, []).append(reduced)

    def _reduced(self, out: Tensor, features: int, kind: str) -> Tensor:
        """(rows, features): the mean over places, of those the mask keeps."""
        if kind == "channel":
            return out.flatten(2).mean(2) if out.ndim > 2 else out
        places = out.reshape(len(out), -1, features)
        if self.mask is not None and places.shape[1] == self.mask.shape[1]:
            kept = self.mask.to(places.device, places.dtype)[:, :, None]
            return (places * kept).sum(1) / kept.sum(1)
        return places.mean(1)
