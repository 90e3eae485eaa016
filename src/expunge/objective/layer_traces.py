"""What goes into and comes back to the layers of a model: inputs, and slopes rooted in the curvature of the loss.

One backward pass for each output o sends back R e_o, a column of the root R R^T = C of the loss's curvature by the
scores (`maths.fisher_information.curvature_root`); what arrives at a layer's output is J^T R e_o. Labels have no part
in it, so what is built from these traces is the Fisher information and not the empirical one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from expunge.errors import InputError
from expunge.maths.fisher_information import curvature_root
from expunge.maths.losses import Loss
from expunge.objective.columns import column, numbers, targets
from expunge.objective.linear import LinearObjective
from expunge.objective.module import ModuleObjective
from expunge.objective.objective import Objective
from expunge.rows import Rows

MICRO_BATCH = 64  # rows whose unfolded images are held at once


@dataclass(frozen=True, eq=False)
class Trace:
    """One layer's part in some rows and one output.

    Attributes:
        layer: its name. output: o. inputs: (m, T, in), with the constant 1 last where the layer has a bias.
        slopes: (m, T, out). T counts the places where the layer's weights are used: the positions of a kernel.
    """

    layer: str
    output: int
    inputs: Tensor
    slopes: Tensor


Visit = Callable[[Trace], None]


def layer_positions(objective: Objective) -> dict[str, Tensor]:
    """Where each layer's weights (out, in), a bias as the last column, stand in the flat w.

    Raises:
        InputError: a trainable weight is in a layer that is neither nn.Linear nor a plain nn.Conv2d; they are named.
    """
    if isinstance(objective, LinearObjective):
        return {"scores": torch.arange(objective.dimension).view(objective.outputs, -1)}
    if not isinstance(objective, ModuleObjective):
        raise InputError(f"Layers are known of linear models and torch modules, not of {type(objective).__name__}.")
    flat = objective.weights(torch.arange(objective.dimension))
    found = {}
    for name, part in objective.module.named_modules():
        own = {kind: flat.pop(f"{name}.{kind}".lstrip("."), None) for kind, _ in part.named_parameters(recurse=False)}
        if _plain(part) and own["weight"] is not None:
            weight, bias = own["weight"].flatten(1), own.get("bias")
            found[name] = weight if bias is None else torch.cat([weight, bias[:, None]], 1)
        elif any(positions is not None for positions in own.values()):
            raise InputError(
                f"Layer {name!r} is a {type(part).__name__}, and factors are known for nn.Linear and for nn.Conv2d "
                "with zero padding and one group: take form='diagonal' or 'exact', or freeze its weights."
            )
    return found


def last_and_thin(objective: Objective) -> tuple[Tensor, Tensor]:
    """Which weights (d,) are in the last layer that has a matrix, and which in vectors outside it."""
    last, thin = (torch.zeros(objective.dimension, dtype=torch.bool) for _ in range(2))
    if not isinstance(objective, ModuleObjective):
        return ~last, thin
    named = objective.weights(torch.arange(objective.dimension))
    matrices = [name for name, positions in named.items() if positions.ndim > 1]
    layer = matrices[-1].rpartition(".")[0] if matrices else None
    for name, positions in named.items():
        if name.rpartition(".")[0] == layer:
            last[positions] = True
        elif positions.ndim == 1:
            thin[positions] = True
    return last, thin


def visit_layers(objective: Objective, w: Tensor, rows: Rows, visit: Visit) -> None:
    """Call `visit` for every layer, output and micro-batch; nothing is kept.

    Raises:
        InputError: as for `layer_positions`; or a layer is used twice in one forward pass.
    """
    if isinstance(objective, LinearObjective):
        _visit_linear(objective, w, rows, visit)
        return
    layers = layer_positions(objective)
    for output, probe in probes(objective, w, rows):
        with _watched(probe, layers, partial(_visit_one, visit, output)):
            probe.gradient_sum(w, rows)


def probes(objective: Objective, w: Tensor, rows: Rows) -> Iterator[tuple[int, ModuleObjective]]:
    """For each output o the objective whose slopes by the scores are R e_o: its row gradients are J_i^T R_i e_o."""
    if not isinstance(objective, ModuleObjective):
        raise InputError(f"Probes are made of torch modules, not of {type(objective).__name__}.")
    first = next(rows.batches(1))
    for output in range(objective.scores(w, first.columns).shape[1]):
        rooted = partial(_rooted, objective.loss, output)
        yield output, ModuleObjective(objective.module, rooted, 0.0, micro_batch=MICRO_BATCH)


def _rooted(loss: Loss, output: int, scores: Tensor, y: Tensor) -> Tensor:
    at = scores.detach()
    root = curvature_root(loss, at, loss.targets(y, at.shape[1], at.dtype))
    return (scores * root[:, :, output]).sum(1)


def _visit_linear(objective: LinearObjective, w: Tensor, rows: Rows, visit: Visit) -> None:
    for table in rows.batches(1024):
        x = numbers("x", column(table.columns, "x")).to(w.device, w.dtype).reshape(len(table), -1)
        inputs = torch.cat([x, x.new_ones((len(x), 1))], 1) if objective.intercept else x
        scores = objective.scores(w, table.columns)
        root = curvature_root(objective.loss, scores, targets(table, objective.loss, objective.outputs, w))
        for output in range(objective.outputs):
            visit(Trace("scores", output, inputs[:, None], root[:, None, :, output]))


def _visit_one(visit: Visit, output: int, layer: str, inputs: Tensor, slopes: Tensor) -> None:
    visit(Trace(layer, output, inputs, slopes))


@contextmanager
def _watched(
    probe: ModuleObjective, layers: dict[str, Tensor], seen: Callable[[str, Tensor, Tensor], None]
) -> Iterator[None]:
    """Hooks that hand over each layer's inputs and the slopes that come back to its output."""
    used: set[str] = set()

    def begin(_: nn.Module, __: Any) -> None:
        used.clear()

    def passed(name: str, part: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> None:
        if name in used:
            raise InputError(f"Layer {name!r} is used twice in one forward pass: take form='diagonal' or 'exact'.")
        used.add(name)
        if out.requires_grad:
            inputs = _unfolded(part, given[0].detach(), layers[name].shape[1])
            hook: Any = out.register_hook
            hook(lambda slopes: seen(name, inputs, _places(part, slopes)))

    with ExitStack() as stack:
        stack.enter_context(_removed(probe.module.register_forward_pre_hook(begin)))
        for name, part in probe.module.named_modules():
            if name in layers:
                stack.enter_context(_removed(part.register_forward_hook(partial(passed, name))))
        yield


@contextmanager
def _removed(handle: Any) -> Iterator[None]:
    try:
        yield
    finally:
        handle.remove()


def _plain(part: nn.Module) -> bool:
    if isinstance(part, nn.Conv2d):
        return part.groups == 1 and part.padding_mode == "zeros" and not isinstance(part.padding, str)
    return type(part) is nn.Linear


def _unfolded(part: nn.Module, given: Tensor, width: int) -> Tensor:
    """A layer's inputs as (m, T, width), the constant 1 added where `width` has room for it."""
    if isinstance(part, nn.Conv2d):
        padding: Any = part.padding  # not text: `_plain`
        patches = nn.functional.unfold(given, part.kernel_size, part.dilation, padding, part.stride)
        inputs = patches.transpose(1, 2)
    else:
        inputs = given.reshape(len(given), -1, given.shape[-1])
    if inputs.shape[2] == width:
        return inputs
    return torch.cat([inputs, inputs.new_ones((*inputs.shape[:2], 1))], 2)


def _places(part: nn.Module, slopes: Tensor) -> Tensor:
    """Slopes at a layer's output as (m, T, out)."""
    if isinstance(part, nn.Conv2d):
        return slopes.flatten(2).transpose(1, 2)
    return slopes.reshape(len(slopes), -1, slopes.shape[-1])
